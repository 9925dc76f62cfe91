"""Leaf tensors that take part in a run and are not differentiated: `check` does not find them, or they lie where no
other tensor can be put.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ..recorder.recorded_run import Recording
from .subject import Subject

NAME = "{0} of shape {1}, first used at {2}"
OUT_OF_REACH = (
    "it requires a gradient, and is neither an argument nor found as a parameter, in a closure, a global, a default, a "
    "partial, an attribute or a container, so that it is not differentiated: pass it as an argument"
)


def left_out(subject: Subject, recording: Recording) -> dict[str, str]:
    """A name and a sentence for every leaf that was there before the run, that PyTorch's graph of the outputs ends in,
    and that is none of the subject's leaves or of its module's parameters.
    """
    known = {id(t) for t in subject.leaves}
    if subject.module is not None:
        known |= {id(p) for p in subject.module.parameters()}
    before = {id(t): v for v, t in recording.leaves.items() if v not in recording.made}
    told = {}
    for leaf in _ends_of(recording.torch_outputs):
        if id(leaf) in before and id(leaf) not in known:
            where = next((c.where for c in recording.calls if before[id(leaf)] in c.references()), "")
            kind = "a parameter" if isinstance(leaf, torch.nn.Parameter) else "a leaf tensor"
            told[NAME.format(kind, tuple(leaf.shape), where or "an unknown line")] = OUT_OF_REACH
    return told


def _ends_of(outputs: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
    """The leaves in which the graph of these tensors ends."""
    waiting: list[Any] = [t.grad_fn for t in outputs if t.grad_fn is not None]
    met = set(waiting)
    while waiting:
        node = waiting.pop()
        if node.name() == "torch::autograd::AccumulateGrad":
            yield node.variable
        new = {n for n, _ in node.next_functions if n is not None} - met
        met |= new
        waiting += new
