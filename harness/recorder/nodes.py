"""The autograd graph of a run: its nodes, their adjoints, and the recorded calls that each stands for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .applied import places_of, saves_plainly
from .functions import behind, in_custom_functions, marked_in_views
from .hooks import HookNote, Shown, noted_hooks, shown
from .preserving import as_left
from .rebased import Rebased, calls_of
from .recorded_run import Recording
from .recording import to_numpy
from .registered import operator_name
from .writes import Watch, Write, kept_from, put_back, saved_by

VIEW_NODES = ("CopySlices", "AsStridedBackward")


@dataclass
class Node:
    """One autograd node of the run.

    outputs: (output number, recorded variable); inputs: (edge number, recorded variable). calls: numbers of the
    recorded calls between them. called: where the call was made; for a custom Function, that of its `apply`.
    received, sent: PyTorch's adjoints, filled by the backward run (None where PyTorch passed nothing): what arrived
    after hooks on its way, and what the node itself sent before hooks of its own. returned: for a custom Function that
    ran, per edge what its `backward` returned before PyTorch made it fit. raised: whether that `backward` raised.
    writes: what it wrote into that was not its own. inner: `CopySlices` calls it with its part of an adjoint, no edge
    of the graph leads to it. spoils: whether others met what it wrote into a gradient.
    """

    node: Any
    name: str
    outputs: list[tuple[int, int]]
    inputs: list[tuple[int, int]]
    calls: list[int]
    called: str = ""
    received: list[Any] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)
    ran: bool = False
    returned: dict[int, Shown | None] = field(default_factory=dict)
    raised: bool = False
    writes: list[Write] = field(default_factory=list)
    inner: bool = False
    spoils: bool = False

    @property
    def is_custom(self) -> bool:
        return isinstance(self.node, torch.autograd.function.BackwardCFunction)


def nodes_of(recording: Recording) -> list[Node]:
    """All nodes that the outputs of the run reach, outputs first, without the gradient accumulators of leaves."""
    found: list[Node] = []
    seen: set[Any] = set()
    outputs: dict[Any, list[tuple[int, int]]] = {}
    edges = _as_handed(recording)
    for (owner, number), variable in edges.items():
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
            if key in edges:
                inputs.append((i, _as_met(recording, edges[key], node)))
            else:
                inputs.append((i, -1))
            waiting.append(before)
        outs = outputs.get(node, [])
        first = node._sequence_nr() - (1 if "CopySlices" in node.name() else 0)
        calls = sorted(behind(recording, [v for _, v in outs], {v for _, v in inputs}, first))
        called = next((recording.calls[c].where for c in reversed(calls) if recording.calls[c].func is not None), "")
        found.append(Node(node, operator_name(node) or node.name(), outs, inputs, calls, called))
    found += [n for one in recording.rebased if one.slices in seen and (n := _inner(recording, one, edges)) is not None]
    applied = places_of(recording.applied, [n.node for n in found])
    for n in found:
        n.called = applied.get(n.node, n.called)
    return found


def _inner(recording: Recording, one: Rebased, edges: dict[Any, int]) -> Node | None:
    """The node of a custom Function that wrote into a view, between the view as it was and as its writes left it.

    None where it wrote otherwise than by operations on the whole view, one after the other.
    """
    inputs = [
        (i, edges.get((id(before.variable), 0) if _is_accumulator(before) else (before, number), -1))
        for i, (before, number) in enumerate(one.node.next_functions)
        if before is not None
    ]
    mine = calls_of(one, recording.calls)
    last = first = dict(inputs).get(0)
    for call in (recording.calls[i] for i in sorted(mine)):
        if call.func is None or not call.func._schema.is_mutable:
            continue
        written = call.references()[0]
        if last is None and recording.variables[written].maker not in mine:  # a view of what no gradient goes to
            last = written
        if written != last or call.outputs[0] is None:
            return None
        last = call.outputs[0]
    if last is None or last == first:
        return None
    calls = sorted(mine & behind(recording, [last], {v for _, v in inputs}, one.sequence.start))
    return Node(one.node, one.node.name(), [(0, last)], inputs, calls, inner=True)


def _as_handed(recording: Recording) -> dict[Any, int]:
    """The edges, each with the variable that a custom Function was handed: one that writes into its argument without
    `mark_dirty` leaves the written numbers on the edge of what made the argument.
    """
    inside, told = in_custom_functions(recording), marked_in_views(recording)
    edges = dict(recording.edges)
    for key, variable in recording.edges.items():
        if isinstance(key[0], torch.autograd.function.BackwardCFunction):
            continue
        while variable not in told and (maker := recording.variables[variable].maker) in inside:
            call = recording.calls[maker]
            references = call.references()
            if call.func is None or not call.func._schema.is_mutable or not references:
                break
            variable = references[0]
        edges[key] = variable
    return edges


def _as_met(recording: Recording, variable: int, node: Any) -> int:
    """What a tensor held when a node's call met it, before later writes that autograd did not see."""
    held = [variable]
    while (maker := recording.variables[held[-1]].maker) is not None and recording.calls[maker].name == "data::write":
        held += recording.calls[maker].references()[:1]
    if len(held) > 1:
        own = (call.references() for call in recording.calls if call.sequence == node._sequence_nr())
        return next((v for met in own for v in held if v in met), variable)
    return variable


def _is_accumulator(node: Any) -> bool:
    return hasattr(node, "variable") and "AccumulateGrad" in node.name()


def run_backward(
    recording: Recording,
    nodes: Sequence[Node],
    leaves: Sequence[torch.Tensor],
    cotangents: Sequence[torch.Tensor | None],
    hooks: list[HookNote] | None = None,
) -> list[torch.Tensor | None]:
    """PyTorch's own backward pass over the recorded run, each node's adjoints noted on the way.

    hooks: filled with what hooks of the user changed. Returns the gradients of `leaves` (None: PyTorch says unused).
    Raises whatever PyTorch raises.
    """
    pairs = [
        (t, g) for t, g in zip(recording.torch_outputs, cotangents, strict=True) if t.requires_grad and g is not None
    ]
    if not pairs:
        return [None] * len(leaves)
    hooked = {id(t): t for t in (*recording.hooked, *leaves, *recording.leaves.values())}
    written: list[Write] = []
    with as_left(recording.written), ExitStack() as undo:
        notes = undo.enter_context(noted_hooks(list(hooked.values()), [n.node for n in nodes]))
        for n in nodes:
            handle = n.node.register_hook(_note(n))
            undo.callback(handle.remove)
            table = handle.hooks_dict_ref()
            if len(table) > 1:  # what the node sent is noted before the user's hooks change it
                others = {k: h for k, h in table.items() if k != handle.id}
                own = table[handle.id]
                table.clear()
                table.update({handle.id: own, **others})
            if n.is_custom:
                n.node.apply = _applied(n, saves_plainly(recording.applied, n.node), written)
                undo.callback(n.node.__dict__.pop, "apply")
        try:
            outputs, arriving = [t for t, _ in pairs], [g.clone() for _, g in pairs]  # a backward may write into them
            if any("CheckpointFunction" in n.node.name() for n in nodes):
                gradients = _accumulated(leaves, outputs, arriving)
            else:
                asked = torch.autograd.grad(outputs, list(leaves), arriving, retain_graph=True, allow_unused=True)
                gradients = list(asked)
            return [g if g is None else kept_from(written, g) for g in gradients]
        finally:
            put_back(written)
            if hooks is not None:
                hooks += notes


def _accumulated(
    leaves: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor], arriving: Sequence[torch.Tensor]
) -> list[torch.Tensor | None]:
    """The gradients by `backward()`, read from .grad, which is put back: reentrant checkpoints refuse autograd.grad."""
    before = [x.grad for x in leaves]
    try:
        for x in leaves:
            x.grad = None
        torch.autograd.backward(outputs, arriving, retain_graph=True)
        return [x.grad for x in leaves]
    finally:
        for x, grad in zip(leaves, before, strict=True):
            x.grad = grad


def _note(n: Node) -> Callable[..., None]:
    """The hook that keeps what a node received and sent."""

    def note(sent: Any, received: Any) -> None:
        n.sent = [None if g is None else to_numpy(g) for g in sent]
        if not n.is_custom:
            n.received = [None if g is None else to_numpy(g) for g in received]
        n.ran = True

    return note


def _applied(n: Node, saves_plainly: bool, written: list[Write]) -> Callable[..., Any]:
    """The call of a custom Function's `backward`, which notes what it is given, before it may write into that, what it
    writes into, and the form of what it returns.

    saves_plainly: whether what it saved comes back as it is, so that it may be asked for once more. written: filled
    with the writes of all nodes.
    """
    call = n.node.apply
    asked = [i for i, needed in enumerate(n.node.needs_input_grad) if needed]
    edges = [k for k, (before, _) in enumerate(n.node.next_functions) if before is not None]

    def apply(*args: Any) -> Any:
        n.raised = True
        n.received = [to_numpy(g) if isinstance(g, torch.Tensor) else None for g in args]
        watch = Watch(args, saved_by(n.node) if saves_plainly else ())
        try:
            returned = call(*args)
        finally:
            n.writes = watch.writes()
            written.extend(n.writes)
        n.raised = False
        parts = returned if isinstance(returned, tuple) else (returned,)
        n.returned = {k: shown(parts[i]) if i < len(parts) else None for i, k in zip(asked, edges, strict=False)}
        if n.inner:  # no hook tells what it sent
            sent = {k: parts[i] for i, k in zip(asked, edges, strict=False) if i < len(parts)}
            n.sent = [to_numpy(g) if isinstance(g := sent.get(k), torch.Tensor) else None for k in range(edges[-1] + 1)]
            n.ran = True
        return returned

    return apply


def adjoint(parts: Sequence[Any], number: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Entry `number` of a node's adjoints as an array; zeros where PyTorch passed nothing."""
    g = parts[number] if number < len(parts) else None
    return np.zeros(shape) if g is None else np.asarray(g)
