"""What is wrong inside a reentrant checkpoint: to autograd it is one custom Function, whose backward runs the callable
once more. That run is recorded and judged here like any other, with the adjoint that arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..errors import NothingReturned, TheirsRaised, UsageError
from ..recorder.checkpointed import second_run
from ..recorder.functions import CHECKPOINT
from ..recorder.nested import tensors_in
from ..recorder.nodes import Node
from ..result import END_TO_END, Culprit
from .rows import Rows
from .subject import Subject


def inside_checkpoints(
    subject: Subject, nodes: Sequence[Node], culprit: Culprit | None, compare: Callable[[Subject, Rows], Any]
) -> Culprit | None:
    """The operation inside a reentrant checkpoint that is at fault, where the checkpoint is accused, or nothing but the
    whole is; None if there is none. compare: judges one run in mode R, what is nested in it too.
    """
    if culprit is None or (culprit.kind != END_TO_END and culprit.operation != CHECKPOINT):
        return None
    for node in nodes:
        if node.name == CHECKPOINT and node.ran:
            rows = Rows("inside", seed=subject.seed)
            try:
                found = compare(_inner(subject, node), rows).culprit
            except (TheirsRaised, NothingReturned, UsageError, RuntimeError):  # it runs but once
                continue
            if found is not None and found.kind != END_TO_END and any(r["verdict"] == "mismatch" for r in rows.rows):
                accused: Culprit = found
                return accused
    return None


def _inner(subject: Subject, node: Node) -> Subject:
    """The run that the checkpoint makes in its backward pass."""
    call, inputs, positions = second_run(node.node)
    names = [f"argument {i}" for i in positions]
    names += subject.names[len(subject.inputs) :]
    made = Subject(call, inputs, subject.parameters, names, subject.module, subject.seed)
    made.arriving = lambda outputs: _arrived(node, outputs)
    made.spoiled = node.spoils
    return made


def _arrived(node: Node, outputs: Sequence[torch.Tensor]) -> list[torch.Tensor | None] | None:
    """What arrived at the checkpoint, one adjoint per output of it; None where it cannot be told which is whose."""
    received = node.received
    if len(received) != len(outputs) or any(y.is_complex() for y in tensors_in(list(outputs))):
        return None
    return [None if g is None else torch.from_numpy(g).to(y.dtype) for g, y in zip(received, outputs, strict=True)]
