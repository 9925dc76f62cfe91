"""Custom autograd Functions in a recorded run: the calls of their forwards, and what these made outside torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from ..lowering import is_constant
from .out_of_sight import out_of_sight
from .rebased import Rebased, calls_of
from .recorded_run import Recording

CHECKPOINT = "CheckpointFunctionBackward"  # the node of a reentrant checkpoint, whose forward is the callable itself
NOT_TORCH = "{0}: its forward is not made of torch operations on its inputs" + (
    TEACH := ". Make it an operator of torch.library, and say with register_lowering what it computes"
)
DECIDED = (
    "{0}: its forward, as it ran, depends on its inputs by decisions alone ({1}), as a step or a bisection does. "
    f"The derivative of that run is 0, and a backward that means another one cannot be held against it{TEACH}"
)


def left_torch(
    recording: Recording, traced: Collection[int], lowered: Collection[int], used: Collection[int]
) -> dict[int, str]:
    """Variables without a reading, and why: outputs of custom Functions that no recorded call connects with the
    differentiated inputs of the Function, what a Function wrote into past all calls, and what was made out of sight.

    What the lowering of a call declares constant is connected; a reentrant checkpoint sends what its own second run
    has, and so nothing to what is not. traced: variables that depend on what is differentiated; lowered: calls that
    have a reading; used: variables from which derivatives reach an output.
    """
    edges = recording.edges
    left = {}
    for (node, _), variable in edges.items():
        if isinstance(node, int) or not is_custom(node) or node.name() == CHECKPOINT:
            continue
        name = getattr(type(node), "_forward_cls", type(node)).__name__
        if recording.edits:
            own = behind(recording, [variable], set(), node._sequence_nr())
            edited = [after for before, after in recording.edits if before in traced]
            left |= {v: NOT_TORCH.format(name) for v in edited if recording.variables[v].maker in own}
        if variable in traced or recording.variables[variable].maker in lowered:
            continue
        keys = [(id(b.variable), 0) if hasattr(b, "variable") else (b, k) for b, k in node.next_functions if b]
        if recording.variables[variable].is_float and any(edges.get(key) in traced for key in keys):
            left[variable] = _reason(recording, variable, node, traced, name)
    for one in recording.rebased if recording.edits else ():
        name = getattr(type(one.node), "_forward_cls", type(one.node)).__name__
        edited = {after for before, after in recording.edits if before in traced and _is_before(one, before, recording)}
        left |= {v: NOT_TORCH.format(name) for v in _read_from(one, recording) if v in edited}
    return left | out_of_sight(recording, traced, used)


def _is_before(one: Rebased, variable: int, recording: Recording) -> bool:
    """Whether a variable was there before a Function was applied."""
    maker = recording.variables[variable].maker
    return maker is None or recording.calls[maker].sequence < one.sequence.start


def _read_from(one: Rebased, recording: Recording) -> list[int]:
    """The base of the view that a Function wrote into, and the views that PyTorch takes from it since."""
    if one.slices is None:
        return []
    owned = [(owner, v) for (owner, _), v in recording.edges.items() if not isinstance(owner, int)]
    return [v for o, v in owned if one.slices in (o, *(before for before, _ in o.next_functions[:1]))]


def carrying(recording: Recording, cut_no_grad: bool) -> set[int]:
    """The variables from which a derivative reaches an output: not what is detached or decided by before it does, nor,
    with `cut_no_grad`, what is used under no_grad outside custom Functions. A write reaches what it writes into.
    """
    inside = in_custom_functions(recording)
    found = set(recording.outputs)
    for number, call in reversed([*enumerate(recording.calls)]):
        if not any(o in found and recording.variables[o].is_float for o in call.outputs if o is not None):
            continue
        writes = call.name.endswith(("_", "::write"))
        cut = cut_no_grad and not call.grad_enabled and not writes and number not in inside - recording.held
        if not cut and (not is_constant(call.name) or (call.name == "aten::detach" and number in inside)):
            found.update(call.references())
    return found


def _reason(recording: Recording, variable: int, node: Any, traced: Collection[int], name: str) -> str:
    """Why an output of a custom Function has no reading: decisions are named, as results that are not floating are."""
    own = [recording.calls[i] for i in sorted(behind(recording, [variable], set(), node._sequence_nr()))]
    decides = [c for c in own if any(o is not None and not recording.variables[o].is_float for o in c.outputs)]
    named = dict.fromkeys(c.qualified for c in decides if any(v in traced for v in c.references()))
    return DECIDED.format(name, ", ".join(named)) if named else NOT_TORCH.format(name)


def in_custom_functions(recording: Recording, name: str = "") -> set[int]:
    """Calls that ran inside the forward of a custom Function; name: of one whose node has that name alone.

    Its node is created before its forward runs, so they are what its outputs are made of, back to calls with a smaller
    sequence number.
    """
    inside: set[int] = set()
    for (node, _), variable in recording.edges.items():
        if not isinstance(node, int) and is_custom(node) and name in ("", node.name()):
            inside |= behind(recording, [variable], set(), node._sequence_nr())
    for one in recording.rebased:
        if name in ("", one.node.name()):
            inside |= calls_of(one, recording.calls)
    return {i for i in inside if not recording.calls[i].grad_enabled}


def marked_in_views(recording: Recording) -> set[int]:
    """Variables that custom Functions wrote into a view, of which PyTorch was told."""
    made = set().union(*(calls_of(one, recording.calls) for one in recording.rebased))
    return {v for i in made for v in recording.calls[i].outputs if v is not None}


def behind(recording: Recording, outputs: list[int], stops: set[int], sequence: int) -> set[int]:
    """The calls that compute `outputs`, followed back until a variable in `stops` or a call older than `sequence`."""
    found: set[int] = set()
    waiting = [v for v in outputs if v not in stops]
    while waiting:
        number = recording.variables[waiting.pop()].maker
        if number is None or number in found or recording.calls[number].sequence < sequence:
            continue
        found.add(number)
        waiting += [v for v in recording.calls[number].references() if v not in stops]
    return found


def is_custom(node: Any) -> bool:
    """Whether an owner of an edge is the node of a custom Function."""
    return isinstance(node, torch.autograd.function.BackwardCFunction)
