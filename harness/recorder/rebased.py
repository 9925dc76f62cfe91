"""Custom autograd Functions that wrote into a view and said so: PyTorch keeps their nodes inside `CopySlices`."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import FunctionCtx

Marked = list[tuple[Any, torch.Tensor]]  # the node of a Function, and a tensor that it marked as dirty


@dataclass(frozen=True)
class Rebased:
    """A custom Function that wrote into a view, after which PyTorch gives the base of the view a new history.

    node: the Function's own, which no tensor has. slices: the node of the base that calls it, None where no tensor is
    left that has it. sequence: the numbers that the nodes had which were made before or during its forward.
    """

    node: Any
    slices: Any
    sequence: range


@contextmanager
def noting_marks(found: Marked) -> Iterator[None]:
    """Within it, what custom Functions of this thread mark as dirty is noted."""
    kept, thread = FunctionCtx.mark_dirty, threading.get_ident()  # each thread numbers its own nodes

    def mark_dirty(self: Any, *args: Any) -> None:
        kept(self, *args)
        if threading.get_ident() == thread and isinstance(self, torch.autograd.function.BackwardCFunction):
            found.extend((self, a) for a in args if isinstance(a, torch.Tensor))

    FunctionCtx.mark_dirty = mark_dirty  # type: ignore[method-assign]
    try:
        yield
    finally:
        FunctionCtx.mark_dirty = kept  # type: ignore[method-assign]


def rebased(marked: Marked) -> list[Rebased]:
    """The Functions among them that autograd follows, and whose tensor is a view."""
    found = []
    for node, t in marked:
        if t._is_view() and t._base is not None and any(before for before, _ in node.next_functions):
            first = node._sequence_nr()
            slices = _slices(t._base.grad_fn, first)
            found.append(Rebased(node, slices, range(first, first + 1 if slices is None else slices._sequence_nr())))
    return found


def _slices(last: Any, after: int) -> Any:
    """The first `CopySlices` behind a node that was made later than the node with the number `after`."""
    met, waiting, found = set(), [last], []
    while waiting:
        node = waiting.pop()
        if node is None or node in met or hasattr(node, "variable") or node._sequence_nr() <= after:
            continue
        met.add(node)
        waiting += [before for before, _ in node.next_functions]
        found += [node] if "CopySlices" in node.name() else []
    return min(found, key=lambda node: node._sequence_nr(), default=None)


def calls_of(one: Rebased, calls: Sequence[Any]) -> set[int]:
    """The recorded calls that its forward made."""
    return {i for i, call in enumerate(calls) if call.sequence in one.sequence and not call.grad_enabled}
