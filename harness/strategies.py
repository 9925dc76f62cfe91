"""Hypothesis strategies of programs that find faults: `expressions()`, `networks()`, `programs()`.

Each draws a `Case`; `scalar_expressions()`, for single numbers, draws the arguments of `referee`. Hypothesis only
draws: nothing here runs PyTorch, and what is drawn and not kept is counted in `Case.left_out`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..reference_engine import ops
from ..reference_engine.errors import EngineError
from ..reference_engine.program import Variable
from ..reference_engine.registry import BOOL, ELEMENTWISE, FLOAT, PRIMITIVES
from ..reference_engine.tracing import bind
from .errors import UsageError
from .generation import contents
from .generation.drawn import Case, depends, pruned
from .generation.layers import LAYERS, LOSSES
from .generation.pool import MASKED, Limits, Pool
from .generation.scalar_expressions import scalar_expressions as scalar_expressions

Step = Callable[[Pool], Any]
FEWEST, MOST = 3, 14
# After the fewest operations one draw in 1 + STOP ends the program: the median is then about 8.
STOP = 11


@lru_cache(maxsize=4096)
def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


def _compared(name: str) -> Step:
    """How a program uses a comparison: as the condition of a choice between values."""

    def draw(pool: Pool) -> Any:
        a = pool.array()
        if name in ("isnan", "isfinite"):
            mask = bind(name, a)
        elif name.startswith("logical"):
            mask = ops.greater(a, pool.broadcastable(a.shape))
            mask = bind(name, mask) if name == "logical_not" else bind(name, mask, ops.less(a, 1.0))
        else:
            mask = bind(name, a, pool.broadcastable(a.shape))
        return ops.where(mask, a, pool.broadcastable(mask.shape))

    return draw


@lru_cache(maxsize=1)
def steps() -> dict[str, Step]:
    """Every operation that a program can draw, by the name of its primitive: those with a `draw`, and comparisons.

    Simple ones come first, since hypothesis shrinks an index towards 0.
    """
    simple = ("add", "multiply", "negative", "sum")
    names = [*simple, *(n for n in PRIMITIVES if n not in simple)]
    found: dict[str, Step] = {}
    for name in names:
        primitive = PRIMITIVES[name]
        if primitive.draw:
            found[name] = primitive.draw
        elif primitive.kind == ELEMENTWISE and _is_decision(name):
            found[name] = _compared(name)
    return found


def _is_decision(name: str) -> bool:
    """Whether the elementwise primitive is a comparison or a logical function."""
    primitive = PRIMITIVES[name]
    return bool(primitive.infer(*[Variable((), FLOAT) for _ in primitive.domain])[1] == BOOL)


@st.composite
def _operation(draw: Any, pool: Pool, options: Sequence[tuple[str, Step]], enough: bool) -> int | None:
    """Apply one operation: 1 if it is kept, 0 if not; None to stop, if there are `enough` already.

    One draw says whether to go on (low numbers stop) and with which operation.
    """
    stops = max(1, len(options) // STOP)
    number = draw(_integers(0, stops + len(options) - 1))
    if number < stops and enough:
        return None
    name, step = options[max(0, number - stops)]
    pool.begin(name, draw(_integers(0, 9999)))
    try:
        with np.errstate(all="ignore"):
            return int(pool.keep(step(pool), name))
    except (EngineError, np.linalg.LinAlgError) as error:  # drawn operands or parameters that the operation refuses
        pool.left_out[f"{name}: refused ({type(error).__name__})"] += 1
        return 0


@st.composite
def _cases(
    draw: Any, stages: Sequence[Sequence[tuple[str, Step]]], fewest: int, most: int, limits: Limits, nonfinite: bool
) -> Case:
    """A program of operations from the first stage, then one of each further stage.

    At least `fewest` are drawn and kept, and no more once the program holds `most` equations.
    """
    pool = Pool(lambda low, high: draw(_integers(low, high)), limits, nonfinite=nonfinite)
    options = stages[0]
    if contents.masked in pool.kinds:  # a program about -inf holds what meets it in real models
        options = [o for o in options if o[0] in MASKED] or options
    kept = tried = 0
    while len(pool.builder.equations) < most and tried < 2 * most:
        tried += 1
        done = draw(_operation(pool, options, kept >= fewest))
        if done is None:
            break
        kept += done
    for stage in stages[1:]:
        draw(_operation(pool, stage, False))
    return _finished(pool)


def _finished(pool: Pool) -> Case:
    """The program whose outputs are all values that nothing reads and that depend on an input."""
    builder = pool.builder
    if not pool.values:
        pool.keep(ops.multiply(pool.fresh((2,)), 2.0), "multiply")
    whole = builder.finish([], "f")
    active = depends(whole)
    outputs = [v for v in pool.values if v.variable in pool.unused and v.variable in active]
    if not outputs:
        outputs = [v for v in pool.values if v.variable in active][-1:]
    if not outputs:
        x = builder.tracer(builder.inputs[0]) if builder.inputs else pool.fresh((2,))
        outputs = [ops.multiply(x, 2.0)]
    program = pruned(builder.finish(outputs, "f"))
    return Case(program, tuple(np.asarray(builder.values[v]) for v in program.inputs), dict(pool.left_out))


def programs(
    *,
    only: Iterable[str] | None = None,
    fewest: int = FEWEST,
    most: int = MOST,
    long: bool = False,
    nonfinite: bool = False,
) -> st.SearchStrategy[Case]:
    """Programs of any primitives, with every kind of operand that has found faults before.

    only: names of primitives to draw from (default: all that can be drawn). fewest, most: number of operations kept.
    long: axes up to 33 and values up to 12,000 entries, instead of up to 256. nonfinite: inputs may hold NaN and inf
    (not otherwise). Shrinks towards few operations, `add`, small shapes and the numbers 1, 0, 2, ½. Raises UsageError
    for a name that cannot be drawn.
    """
    table = steps()
    names = list(table) if only is None else list(only)
    for name in names:
        if name not in table:
            raise UsageError(
                f"programs: only holds {name!r}; accepted are primitives that can be drawn. List them "
                "with sorted(strategies.steps())."
            )
    limits = Limits(entries=12_000, long=True) if long else Limits()
    return _cases([[(n, table[n]) for n in names]], fewest, most, limits, nonfinite)


def expressions(*, fewest: int = FEWEST, most: int = MOST, nonfinite: bool = False) -> st.SearchStrategy[Case]:
    """Elementwise expressions of one to three inputs that broadcast against each other.

    Shrinks towards few operations, `add`, small shapes and the numbers 1, 0, 2, ½.
    """
    table = steps()
    options = [(n, s) for n, s in table.items() if PRIMITIVES[n].kind == ELEMENTWISE]
    return _cases([options], fewest, most, Limits(inputs=3, entries=64, reshapes=False), nonfinite)


def networks(*, fewest: int = 1, most: int = 10, nonfinite: bool = False) -> st.SearchStrategy[Case]:
    """Small networks: at least `fewest` layers (linear, convolution, normalisation, activation, pooling, attention,
    residual, dropout, embedding), no further layer once there are `most` equations, then a loss.  Batch and channels
    are at least 2.

    Shrinks towards few layers, a linear layer and a sum of squares.
    """
    return _cases([list(LAYERS.items()), list(LOSSES.items())], fewest, most, Limits(inputs=8), nonfinite)
