"""What a recorded value was made of: the coarsest dtype on the way to it, and how far rounding moves it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...reference_engine.evaluate import Plan
from ...reference_engine.program import Program, Variable
from ...reference_engine.rounding import UNIT_ROUNDOFF, spread
from ...reference_engine.tracing import Builder, Tracer
from .functions import behind
from .recorded_run import Recording


def coarsest_behind(recording: Recording, variables: list[int]) -> str:
    """The shortest real dtype that a number was held in on the way to `variables`, their own among them."""
    first = min((c.sequence for c in recording.calls), default=0)
    calls = [recording.calls[i] for i in behind(recording, variables, set(), first)]
    met = {*variables, *[i for c in calls for i in (*c.references(), *c.outputs) if i is not None]}
    floats = [v.dtype.to_real() for v in (recording.variables[i] for i in met) if v.is_float]
    names = [str(d).removeprefix("torch.") for d in floats]
    return max((n for n in names if n in UNIT_ROUNDOFF), key=lambda n: UNIT_ROUNDOFF[n])


def drift_so_far(builder: Builder, values: Mapping[Variable, Any], x: Tracer, dtype: str) -> np.ndarray[Any, Any]:
    """How far rounding in `dtype` moves a traced value in the run that led to it: a standard deviation, by entry;
    0 for a value that was given.
    """
    plan = Plan(Program(tuple(builder.inputs), builder.constants, tuple(builder.equations), (x.variable,), "so far"))
    given = [*[values[v] for v in builder.inputs], *builder.constants.values()]
    return np.asarray(spread(plan, given, dtype)[1][0])
