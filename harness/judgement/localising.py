"""Which operation is wrong: each recorded call on its own, asked in the same mode at its recorded arguments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..errors import TheirsRaised, UsageError
from ..recorder.nested import tensors_in
from ..recorder.preserving import random_state
from ..recorder.recorded_run import Call, Recording, Ref
from ..recorder.witnessing import Witnessed
from .comparing import Found, Subject, compare_forward_modes, compare_reverse
from .modes import DIRECTIONS, ask_torch, direction, lower, steps
from .rows import Rows

ALONG_ZEROS = "along a direction of zeros the derivative is 0 whatever the slope; {0} has 0 times infinity"


def single_call(
    recording: Recording, call: Call, active: set[int], seed: int, widened: bool = False
) -> Subject | None:
    """A recorded call as a subject of its own, at its recorded arguments, which are `widened` to float64 or as they
    are; None for calls that write into their arguments.
    """
    if call.func is None or call.func._schema.is_mutable:
        return None
    flat, tree = tree_flatten((call.args, call.kwargs))
    leaves: list[torch.Tensor] = []
    positions: list[int] = []
    filled: list[Any] = []
    for i, a in enumerate(flat):
        if not isinstance(a, Ref):
            filled.append(a)
            continue
        recorded = recording.variables[a.index]
        tensor = torch.from_numpy(np.array(recorded.stored)).to(recorded.dtype)
        if widened and tensor.is_floating_point():
            tensor = tensor.double()
        if a.index in active and recorded.is_float:
            leaves.append(tensor.requires_grad_())
            positions.append(i)
        filled.append(tensor)
    if not leaves:
        return None

    def call_alone(*tensors: torch.Tensor) -> Any:
        values = list(filled)
        for i, t in zip(positions, tensors, strict=True):
            values[i] = t
        args, kwargs = tree_unflatten(values, tree)
        return call.func(*args, **kwargs)

    return Subject(call_alone, leaves, [], [f"argument {i}" for i in positions], None, seed)


# A rule may be right for every cotangent but 0, where it takes another branch.
WEIGHTS = (1.0, 0.0)


def weighted(subject: Subject, weight: float = 1.0) -> Subject:
    """The subject with each of its results multiplied by equal weights that are differentiated too.

    Above order 1 the derivative in the weights is Df[t], by the rule that differentiates the cotangent: elsewhere a
    cotangent depends on the inputs, in an operation alone it does not. Raises what the callable raises.
    """
    with random_state(), torch.no_grad():
        outputs = [y for y in tensors_in(subject.call(*subject.inputs)) if y.is_floating_point() or y.is_complex()]
    weights = [torch.full_like(y, weight).requires_grad_() for y in outputs]
    count = len(subject.inputs)

    def call(*tensors: torch.Tensor) -> list[torch.Tensor]:
        outputs = [y for y in tensors_in(subject.call(*tensors[:count])) if y.is_floating_point() or y.is_complex()]
        return [y * w for y, w in zip(outputs, tensors[count:], strict=True)]

    names = [*subject.names, *[f"weight {i}" for i in range(len(weights))]]
    return replace(subject, call=call, inputs=[*subject.inputs, *weights], names=names)


def suspects(
    recording: Recording,
    seen: Witnessed,
    mode: str,
    seed: int = 0,
    weight: float | None = None,
    widened: bool = False,
    verdict: str = "mismatch",
) -> Iterator[tuple[Call, Subject, Found, Rows]]:
    """Every distinct recorded call whose own derivative in `mode` is a mismatch, in the order of the run.

    weight: each with its results `weighted` by it. widened: in float64, where rounding hides no fault of a formula.
    verdict: "raised" for the calls whose own derivative PyTorch raises at.
    """
    tried: set[Any] = set()
    for call in (*recording.calls, *recording.inside):
        subject = single_call(recording, call, set(seen.tracers), seed, widened)
        if subject is None:
            continue
        shapes = tuple(tuple(t.shape) for t in subject.inputs)
        constants = str([a for a in tree_flatten((call.args, call.kwargs))[0] if not isinstance(a, Ref)])
        values = tuple(recording.variables[i].value.tobytes() for i in call.references())
        key = (call.qualified, shapes, constants, values)
        if key in tried:
            continue
        tried.add(key)
        rows = Rows(call.qualified, seed=seed)
        try:
            subject = subject if weight is None else weighted(subject, weight)
            found = compare_reverse(subject, rows) if mode == "R" else compare_forward_modes(subject, rows, mode)
        except (TheirsRaised, UsageError, RuntimeError):  # no floating result, or it needs its context
            continue
        if any(r["verdict"] == verdict for r in rows.rows):
            yield call, subject, found, rows


def nan_along_zeros(recording: Recording, seen: Witnessed, mode: str, seed: int = 0) -> Call | None:
    """The first recorded call, at numbers that are none of them NaN, whose derivative along a direction of zeros is NaN
    in `mode` or in one of lower order that it holds; None if there is none.

    (f(x + h 0) - f(x))/h = 0 whatever the slope, and the gradient of 0 f is 0 as well.
    """
    active = set(seen.tracers)
    for asked in (mode, *lower(mode)):
        for call in recording.calls:
            met = [recording.variables[i] for i in (*call.references(), *(o for o in call.outputs if o is not None))]
            subject = single_call(recording, call, active, seed)
            if subject is None or any(v.is_float and np.isnan(v.value).any() for v in met):
                continue
            try:
                if any(_is_nan(answers) for answers in _along_zeros(subject, asked)):
                    return call
            except (RuntimeError, NotImplementedError):  # PyTorch cannot be asked for this call in this mode
                continue
    return None


def _along_zeros(subject: Subject, mode: str) -> Iterator[list[torch.Tensor | None]]:
    """PyTorch's answers with each of the directions that `mode` takes set to zeros in turn."""
    generator = torch.Generator().manual_seed(subject.seed)

    def flat(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(y for y in tensors_in(subject.call(*tensors)) if y.is_floating_point() or y.is_complex())

    with random_state():
        x = [leaf.detach() for leaf in subject.inputs]
        given = [[direction(y, generator) for y in likes] for likes in (flat(*x), *[x] * len(DIRECTIONS))]
        for used in sorted({name for _, name in steps(mode)}):
            zeros = ("c" + DIRECTIONS).index(used)
            c, *along = ([torch.zeros_like(y) for y in d] if k == zeros else d for k, d in enumerate(given))
            yield ask_torch(flat, x, c, along, mode)


def _is_nan(answers: Sequence[torch.Tensor | None]) -> bool:
    return any(a is not None and bool(a.isnan().any()) for a in answers)
