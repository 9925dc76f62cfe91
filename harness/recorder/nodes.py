"""The autograd graph of a run: its nodes, their adjoints, and the recorded calls that each stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .recording import Recording, to_numpy
from .witnessing import behind

VIEW_NODES = ("CopySlices", "AsStridedBackward")


@dataclass
class Node:
    """One autograd node of the run.

    outputs: (output number, recorded variable); inputs: (edge number, recorded variable). calls: numbers of the
    recorded calls between them.
    received, sent: PyTorch's adjoints, filled by the backward run (None where PyTorch passed nothing).
    """

    node: Any
    name: str
    outputs: list[tuple[int, int]]
    inputs: list[tuple[int, int]]
    calls: list[int]
    received: list[Any] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)
    ran: bool = False

    @property
    def is_custom(self) -> bool:
        return isinstance(self.node, torch.autograd.function.BackwardCFunction)


def nodes_of(recording: Recording) -> list[Node]:
    """All nodes that the outputs of the run reach, outputs first, without the gradient accumulators of leaves."""
    found: list[Node] = []
    seen: set[Any] = set()
    outputs: dict[Any, list[tuple[int, int]]] = {}
    for (owner, number), variable in recording.edges.items():
        if not isinstance(owner, int):
            outputs.setdefault(owner, []).append((number, variable))
    waiting = [t.grad_fn for t in recording.torch_outputs if t.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if node in seen or _is_accumulator(node):
            continue
        seen.add(node)
        inputs = []
        for i, (before, number) in enumerate(node.next_functions):
            if before is None:
                continue
            key = (id(before.variable), 0) if _is_accumulator(before) else (before, number)
            if key in recording.edges:
                inputs.append((i, recording.edges[key]))
            else:
                inputs.append((i, -1))
            waiting.append(before)
        outs = outputs.get(node, [])
        first = node._sequence_nr() - (1 if "CopySlices" in node.name() else 0)
        calls = sorted(behind(recording, [v for _, v in outs], {v for _, v in inputs}, first))
        found.append(Node(node, node.name(), outs, inputs, calls))
    return found


def _is_accumulator(node: Any) -> bool:
    return hasattr(node, "variable") and "AccumulateGrad" in node.name()


def run_backward(
    recording: Recording,
    nodes: Sequence[Node],
    leaves: Sequence[torch.Tensor],
    cotangents: Sequence[torch.Tensor | None],
) -> list[torch.Tensor | None]:
    """PyTorch's own backward pass over the recorded run, each node's adjoints noted on the way.

    Returns the gradients of `leaves` (None: PyTorch says unused). Raises whatever PyTorch raises.
    """
    handles = []
    for n in nodes:

        def note(sent: Any, received: Any, n: Node = n) -> None:
            n.sent = [None if g is None else to_numpy(g) for g in sent]
            n.received = [None if g is None else to_numpy(g) for g in received]
            n.ran = True

        handles.append(n.node.register_hook(note))
    try:
        pairs = [
            (t, g)
            for t, g in zip(recording.torch_outputs, cotangents, strict=True)
            if t.requires_grad and g is not None
        ]
        if not pairs:
            return [None] * len(leaves)
        return list(
            torch.autograd.grad(
                [t for t, _ in pairs], list(leaves), [g for _, g in pairs], retain_graph=True, allow_unused=True
            )
        )
    finally:
        for h in handles:
            h.remove()


def adjoint(parts: Sequence[Any], number: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Entry `number` of a node's adjoints as an array; zeros where PyTorch passed nothing."""
    g = parts[number] if number < len(parts) else None
    return np.zeros(shape) if g is None else np.asarray(g)
