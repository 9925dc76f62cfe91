"""Where the graph is cut: PyTorch has no gradient for a tensor on which the result nevertheless depends.

The cut is found in the recording (detach, .data, no_grad), and its derivative by a reading that ignores it. What left
torch (.item(), NumPy) is found by moving the tensor, and its line by listening to another run.
"""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from ...reference_engine.errors import EngineError
from ...reference_engine.reverse import reverse
from ..lowering import is_constant
from ..recorder.functions import CHECKPOINT, in_custom_functions
from ..recorder.nested import tensors_in
from ..recorder.nodes import Node
from ..recorder.out_of_sight import reaches
from ..recorder.preserving import random_state, untouched
from ..recorder.recorded_run import Call, Recording
from ..recorder.recording import to_numpy
from ..recorder.source_lines import line_of_call, run_code
from ..recorder.witnessing import witness
from ..result import AS_WRITTEN, CUT, NOTHING_DEPENDS, Culprit
from .culprits import backward_of, place
from .plans import started
from .rows import Rows

if TYPE_CHECKING:
    from .subject import Subject

IS_CUT = "PyTorch has no gradient here (None), and the result depends on it: the graph is cut"
ALL_CUT = "no gradient passes at all, so that nothing was tested"
COPIED = "a copy that autograd does not follow (deepcopy, nn.Parameter, torch.tensor)"
RETURNED_NONE = ", which returned None for it"
BESIDE = (
    ", which got it inside a list or dictionary, or read it in its forward (autograd sees only tensors that are "
    "arguments of apply)"
)
NOT_IMPLEMENTED = "WarnNotImplemented"  # the node of what an operator made that has no derivative
NO_DERIVATIVE = ", an operator for whose derivative nothing is registered (torch.library.register_autograd)"
ZERO = "PyTorch has no gradient here (None), and the derivative is exactly 0"
# Two difference quotients whose step is halved agree to O(h²) where there is a derivative, and are in the ratio 1 : 2
# at a jump.
STEADY = 4 / 3
ENTRIES = 32  # entries that are moved one by one
LEAVES_TORCH = ("item", "tolist", "numpy", "__array__", "__float__", "__int__", "__bool__", "__complex__", "__index__")


@dataclass
class _Cut:
    """What cuts the graph, where, and the derivative that is lost, at its greatest entry."""

    operation: str
    where: str
    entry: tuple[int, ...]
    number: float


def rows_of_cuts(
    subject: Subject,
    recording: Recording,
    gradients: Sequence[torch.Tensor | None],
    wrt: Sequence[int],
    c: Sequence[torch.Tensor | None],
    rows: Rows,
    nodes: Sequence[Node] = (),
) -> Culprit | None:
    """Correct the end-to-end row of every leaf that has no gradient although the result depends on it.

    A mismatch where the user has the tensor require a gradient, or where nothing at all has one; else the row says that
    the tensor is held constant as written.
    """
    lost = [i for i, g in enumerate(gradients) if g is None]
    if not lost:
        return None
    nothing = len(lost) == len(gradients)
    culprit = None
    cuts = _in_recording(subject, recording, wrt, lost, c)
    moved = [i for i in lost if i not in cuts]
    cuts |= _outside_torch(subject, recording, moved, c, nodes, wrt) if moved else {}
    written = {r["wrt"]: r for r in rows.rows if r["program"] == "whole" and r["mode"] == "R" and r.get("order") == 1}
    for i in lost:
        row = written.get(subject.names[i])
        if row is None or row.get("culprit"):  # what is told of already
            continue
        cut = cuts.get(i)
        if cut is None:
            if row["verdict"] == "agree":
                row["message"] = row["message"] if row.get("message") == NOTHING_DEPENDS else ZERO
            continue
        by = f"by {cut.operation}" + (f" at {cut.where}" if cut.where else "")
        asked = i < len(subject.asked) and subject.asked[i]
        if not (nothing or asked or cut.operation.endswith((RETURNED_NONE, BESIDE))):
            row["message"] = f"{AS_WRITTEN}: cut off {by}"
            continue
        text = f"{IS_CUT} {by}"
        row.update(
            verdict="mismatch",
            z=np.inf,
            entry=str(list(cut.entry)),
            torch_value=0.0,
            reference_value=cut.number,
            abs_error=abs(cut.number),
            rel_error=1.0,
            culprit=cut.operation,
            message=f"{text}; {ALL_CUT}" if nothing else text,
        )
        culprit = culprit or Culprit(cut.operation, *place(cut.where), cut.entry, 0.0, cut.number, kind=CUT)
    return culprit


def _in_recording(
    subject: Subject, recording: Recording, wrt: Sequence[int], lost: Sequence[int], c: Sequence[torch.Tensor | None]
) -> dict[int, _Cut]:
    """The cuts among the recorded calls, with derivatives that are not 0, by leaf."""
    custom = in_custom_functions(recording)
    calls = {i: _first_cut(recording, wrt[i], custom) for i in lost if wrt[i] >= 0}
    found = {i: call for i, call in calls.items() if call is not None}
    if not found:
        return {}
    used = list(dict.fromkeys(wrt[i] for i in found))
    whole = witness(recording, used, cut_no_grad=False, follow_detached=True)
    outputs = [(v, g) for v, g in zip(recording.outputs, c, strict=True) if g is not None and v in whole.tracers]
    if whole.missing or not outputs:
        return {}
    program = whole.program(used, [v for v, _ in outputs])
    given = [*[recording.variables[v].value for v in used], *[to_numpy(g) for _, g in outputs if g is not None]]
    try:
        plan, values = started(program, f"uncut {len(used)}", lambda p, **_: reverse(p, list(range(len(used)))), given)
        with np.errstate(all="ignore"):
            answers = dict(zip(used, plan.run(values), strict=True))
    except EngineError:
        return {}
    cuts = {}
    for i, call in found.items():
        entry, number = _greatest(np.asarray(answers[wrt[i]]))
        if number != 0.0:
            cuts[i] = _Cut(_named(call), call.where, entry, number)
    return cuts


def _first_cut(recording: Recording, variable: int, custom: set[int]) -> Call | None:
    """The first call on a way from a variable to the outputs that autograd does not follow."""
    needed = set(recording.outputs)
    ways: list[int] = []
    for number in range(len(recording.calls) - 1, -1, -1):
        call = recording.calls[number]
        if any(o in needed for o in call.outputs) and (call.name == "aten::detach" or not is_constant(call.name)):
            needed.update(v for v in call.references() if recording.variables[v].is_float)
            ways.append(number)
    reached = {variable}
    for number in reversed(ways):
        call = recording.calls[number]
        if reached.isdisjoint(call.references()):
            continue
        if number not in custom and (call.name in ("aten::detach", "data::write") or not call.grad_enabled):
            return call
        reached.update(o for o in call.outputs if o is not None and recording.variables[o].is_float)
    return None


def _named(call: Call) -> str:
    """What the user wrote: detach, .data or no_grad."""
    file, line = place(call.where)
    written = linecache.getline(file, line)
    if call.name == "data::write" or (call.name == "aten::detach" and ".data" in written and "detach" not in written):
        return ".data"
    return "detach" if call.name == "aten::detach" and call.grad_enabled else f"no_grad ({call.qualified})"


def _greatest(x: np.ndarray[Any, Any]) -> tuple[tuple[int, ...], float]:
    """The entry of the greatest absolute number, and the number; 0 for none."""
    if not x.size:
        return (), 0.0
    entry = tuple(int(i) for i in np.unravel_index(int(np.argmax(np.nan_to_num(np.abs(x)))), x.shape))
    return entry, float(x[entry])


def _outside_torch(
    subject: Subject,
    recording: Recording,
    lost: Sequence[int],
    c: Sequence[torch.Tensor | None],
    nodes: Sequence[Node],
    wrt: Sequence[int],
) -> dict[int, _Cut]:
    """The leaves that the result depends on all the same, since it moves when they are moved: by numbers that left
    torch, or through a custom Function that returned None for them.
    """
    base = [to_numpy(t) for t in recording.torch_outputs]
    rng = np.random.default_rng(subject.seed)
    leaves = subject.leaves
    directions = {i: _direction(rng, leaves[i]) for i in lost}
    together = _run(subject, {i: _step(leaves[i]) * t for i, t in directions.items()})
    if together is None or all(np.array_equal(a, b, equal_nan=True) for a, b in zip(together, base, strict=True)):
        return {}
    cuts = {}
    exits = _Leaving()
    try:
        with random_state(), untouched(subject.module), exits:
            run_code(subject.call, *subject.inputs)
    except Exception:  # a callable that can be called but a few times: what left torch until then is known
        pass
    calls = {i: _first_cut(recording, wrt[i], in_custom_functions(recording)) for i in lost if wrt[i] >= 0}
    operation, where = exits.first()
    silent = [n for n in nodes if any(form is None for form in n.returned.values())]
    if silent and not exits.found and not exits.dropped:
        operation, where = f"{silent[0].name}{RETURNED_NONE}", backward_of(silent[0])
    for i in lost:
        entry, number = _derivative(subject, i, directions[i], c)
        call = calls.get(i)
        if number != 0.0:
            known = _without_derivative(recording, nodes, wrt[i]) or _beside_arguments(recording, nodes, wrt[i])
            named = known or (operation, where) if call is None else (_named(call), call.where)
            cuts[i] = _Cut(*named, entry, number)
    return cuts


def _without_derivative(recording: Recording, nodes: Sequence[Node], variable: int) -> tuple[str, str] | None:
    """The operator without a derivative, and its line, that passes nothing on to a variable; None if there is none."""
    for node in nodes:
        if node.name.endswith(NOT_IMPLEMENTED) and reaches(node.node, recording, {variable}):
            makers = [recording.variables[v].maker for _, v in node.outputs]
            calls = [recording.calls[m] for m in makers if m is not None]
            if calls:
                return f"{calls[0].qualified}{NO_DERIVATIVE}", calls[0].where
    return None


def _beside_arguments(recording: Recording, nodes: Sequence[Node], variable: int) -> tuple[str, str] | None:
    """The custom Function, and the line of its call, whose forward works with a variable, or with what was made of it,
    though autograd has no edge from there to the Function; None if there is none.
    """
    made = {variable}
    for call in recording.calls:
        if not made.isdisjoint(call.references()):
            made.update(o for o in call.outputs if o is not None and recording.variables[o].is_float)
    keys = {v: key for key, v in recording.edges.items() if v in made}
    for node in reversed(nodes):
        if node.is_custom and node.name != CHECKPOINT:
            before = [(b, k) for b, k in node.node.next_functions if b is not None]
            given = {(id(b.variable), 0) if hasattr(b, "variable") else (b, k) for b, k in before}
            used = {v for c in node.calls for v in recording.calls[c].references() if v in keys}
            outside = [v for v in used if recording.variables[v].maker not in node.calls]
            if any(keys[v] not in given for v in outside):
                return f"{node.name}{BESIDE}", node.called
    return None


def _direction(rng: np.random.Generator, leaf: torch.Tensor) -> Any:
    """Standard normal numbers of the leaf's shape, in both parts where it is complex."""
    t = rng.standard_normal(tuple(leaf.shape))
    return t + 1j * rng.standard_normal(tuple(leaf.shape)) if leaf.is_complex() else t


def _derivative(
    subject: Subject, i: int, direction: Any, c: Sequence[torch.Tensor | None]
) -> tuple[tuple[int, ...], float]:
    """The greatest derivative along one entry of the leaf, of a few; along a random direction where those are 0."""
    shape = direction.shape
    places = np.unique(np.linspace(0, direction.size - 1, min(direction.size, ENTRIES)).astype(int))
    best: tuple[tuple[int, ...], float] = ((), 0.0)
    for p in places:
        unit = np.zeros(direction.size)
        unit[p] = 1.0
        number = _quotient(subject, i, unit.reshape(shape), c)
        if abs(number) > abs(best[1]):
            best = tuple(int(k) for k in np.unravel_index(int(p), shape)), number
    return best if best[1] != 0.0 else ((), _quotient(subject, i, direction, c))


def _quotient(subject: Subject, i: int, t: Any, c: Sequence[torch.Tensor | None]) -> float:
    """The central difference quotient of Σ⟨c, f⟩ along t where it is steady; 0 elsewhere (a jump has no derivative)."""
    values = []
    for h in (_step(subject.leaves[i]), _step(subject.leaves[i]) / 2):
        ends = [_run(subject, {i: sign * h * t}) for sign in (1.0, -1.0)]
        if ends[0] is None or ends[1] is None:
            return 0.0
        pairs = zip(ends[0], ends[1], c, strict=True)
        values.append(sum(float(np.sum((a - b) * to_numpy(g))) for a, b, g in pairs if g is not None))
        values[-1] /= 2 * h
    steady = values[0] * values[1] > 0 and 1 / STEADY < abs(values[0] / values[1]) < STEADY
    return values[1] if steady else 0.0


def _step(leaf: torch.Tensor) -> float:
    """The third root of the dtype's precision: where a central quotient's truncation and rounding balance."""
    return float(torch.finfo(leaf.dtype).eps ** (1 / 3))


def _run(subject: Subject, moves: dict[int, Any]) -> list[np.ndarray[Any, Any]] | None:
    """The outputs after some leaves were moved; None where the callable raises there or returns something else.

    A parameter moves to other storage: what was detached from it before the call stays where it is, as it was written.
    """
    count = len(subject.inputs)
    inputs = list(subject.inputs)
    parameters = [(subject.parameters[i - count], m) for i, m in moves.items() if i >= count]
    kept = [p.data for p, _ in parameters]
    with random_state(), untouched(subject.module):
        for i, m in moves.items():
            if i < count:
                x = subject.inputs[i]
                inputs[i] = (x.detach() + torch.as_tensor(m).to(x.dtype).to(x.device)).requires_grad_()
        try:
            for p, m in parameters:
                p.data = p.data + torch.as_tensor(m).to(p.dtype).to(p.device)
            outputs = [to_numpy(t) for t in tensors_in(subject.call(*inputs))]
        except Exception:  # the callable is asked away from its point, where it need not be defined
            return None
        finally:
            for (p, _), value in zip(parameters, kept, strict=True):
                p.data = value
    return outputs


class _Leaving(TorchFunctionMode):
    """Notes where numbers of tensors leave torch, those of tensors with a history apart; and what takes a tensor with a
    history and returns one without, such as a function of torch that has no derivative.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str, bool]] = []
        self.dropped: list[tuple[str, str]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        first = args[0] if args else None
        if name in LEAVES_TORCH and isinstance(first, torch.Tensor) and first.is_floating_point():
            said = f".{name}()" if not name.startswith("__") else name.strip("_") + "()"
            self.found.append((said, line_of_call(), first.requires_grad))
        result = func(*args, **(kwargs or {}))
        reads = name == "__get__"  # an attribute, such as .data: a cut by it is among the recorded calls
        if not reads and torch.is_grad_enabled() and any(t.requires_grad for t in tensors_in((args, kwargs or {}))):
            made = [t for t in tensors_in(result) if t.is_floating_point() or t.is_complex()]
            if made and not any(t.requires_grad for t in made):
                self.dropped.append((f"torch.{name}" if name else str(func), line_of_call()))
        return result

    def first(self) -> tuple[str, str]:
        """What took a number out of torch first, and where: of a tensor with a history, if there is one. Else what
        returned a tensor without one.
        """
        told = [f[:2] for f in self.found if f[2]] or [f[:2] for f in self.found] or self.dropped
        return told[0] if told else (COPIED, "")
