"""Which operation is wrong: each recorded call on its own, asked in the same mode at its recorded arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..errors import TheirsRaised, UsageError
from ..recorder.recording import Call, Recording, Ref
from ..recorder.witnessing import Witnessed
from .comparing import Found, Subject, compare_forward_modes, compare_reverse
from .rows import Rows


def single_call(recording: Recording, call: Call, active: set[int], seed: int) -> Subject | None:
    """A recorded call as a subject of its own, at its recorded arguments; None for calls that write into their
    arguments.
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


def suspects(
    recording: Recording, seen: Witnessed, mode: str, seed: int = 0
) -> Iterator[tuple[Call, Subject, Found, Rows]]:
    """Every distinct recorded call whose own derivative in `mode` is a mismatch, in the order of the run."""
    tried: set[Any] = set()
    for call in recording.calls:
        subject = single_call(recording, call, set(seen.tracers), seed)
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
            found = compare_reverse(subject, rows) if mode == "R" else compare_forward_modes(subject, rows, mode)
        except (TheirsRaised, UsageError):  # a call that cannot be asked alone (no floating result, needs its context)
            continue
        if any(r["verdict"] == "mismatch" for r in rows.rows):
            yield call, subject, found, rows
