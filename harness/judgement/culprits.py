"""What is at fault in a backward pass beside PyTorch's rules: custom Functions, their gradients' form, and hooks."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..recorder.functions import behind, in_custom_functions, is_custom, marked_in_views
from ..recorder.hooks import HookNote, described
from ..recorder.nodes import Node
from ..recorder.preserving import as_left
from ..recorder.recorded_run import Recording, Ref
from ..recorder.registered import registered_code
from ..recorder.values import to_numpy
from ..result import ATEN, CUSTOM, HOOK, OPERATOR, OVERWRITTEN, UNMARKED, Culprit
from .by_limits import NAN_MADE, SIDES
from .local import LocalVerdict
from .rows import Rows

FUNCTORCH = "torch._functorch.autograd_function"
LINE = re.compile(r"(.+?):(\d+)(?:, |$)")
ZERO_TIMES_SLOPE = (
    "{0} at {1} multiplies an adjoint of 0 by a slope that is infinite or NaN, and "
    f"{NAN_MADE}: select its argument first (torch.where before and after it), not its result alone"
)
INFINITE_TIMES_SLOPE = (
    "{0} at {1} multiplies an infinite adjoint by a slope of 0, and "
    f"{NAN_MADE}: write the two operations as one that has a slope there (x.abs() for the root of x²), or keep their "
    "argument away from it"
)


def culprit_of(v: LocalVerdict, node: Node | None, recording: Recording) -> Culprit:
    """Operation and line of a local verdict: for a custom Function, where its backward is written; where what a rule
    needs was overwritten unseen, the line that wrote.
    """
    j = v.judgement
    custom = node is not None and node.is_custom
    where = (backward_of(node) if custom and node is not None else "") or v.where
    kind = CUSTOM if custom else ATEN if v.operation.startswith("aten::") else OPERATOR
    operation = v.operation
    if kind == ATEN and node is not None and (writer := writer_of(node, recording)) is not None:
        function, where = writer
        operation = f"a write of {function} into its argument, without mark_dirty, that {v.operation} needs"
        kind = UNMARKED
    written = overwritten(node, recording) if node is not None and not custom and kind != UNMARKED else ""
    if written:
        how = "past all calls" if recording.edits else "through .data"
        operation, where, kind = f"a write {how} into what {v.operation} needs", written, OVERWRITTEN
    elif node is not None and not custom and not recording.drawn and (name := saved_changed(node, recording)):
        operation, kind = f"a change, after the call, of {name!r} that {v.operation} saved", OVERWRITTEN
    file, line = place(where)
    called = v.where if where != v.where else ""
    return Culprit(operation, file, line, j.entry, j.torch_value, j.reference, "R", called, kind, j.part)


def overwritten(node: Node, recording: Recording) -> str:
    """file:line of a later write, unseen by autograd (.data, a detached alias), into a tensor that a node stands
    between; "" where there is none."""
    held = {v for _, v in (*node.inputs, *node.outputs)}
    for number, call in enumerate(recording.calls):
        if call.name == "data::write" and not held.isdisjoint((*call.references(), *call.outputs)):
            return next((c.where for c in reversed(recording.calls[:number]) if c.where), "")
    return ""


def writer_of(node: Node, recording: Recording) -> tuple[str, str] | None:
    """The custom Function that wrote into what a node's calls read, and the line that wrote, where PyTorch was not told
    of it (`mark_dirty`); None where there is none.
    """
    inside = in_custom_functions(recording)
    told = {v for (owner, _), v in recording.edges.items() if is_custom(owner)} | marked_in_views(recording)
    for read in (v for i in node.calls for v in recording.calls[i].references()):
        maker = recording.variables[read].maker
        if maker is None or maker not in inside or maker in node.calls or read in told:
            continue
        call = recording.calls[maker]
        if call.func is not None and call.func._schema.is_mutable:
            made = ((o, v) for (o, _), v in recording.edges.items() if is_custom(o))
            owner = next(o for o, v in made if maker in behind(recording, [v], set(), o._sequence_nr()))
            return getattr(type(owner), "_forward_cls", type(owner)).__name__, call.where
    return None


def saved_changed(node: Node, recording: Recording) -> str:
    """The argument or result of a node's call that PyTorch has other numbers of in its backward pass than the call met;
    "" where there is none, or it cannot be told.
    """
    calls = [recording.calls[i] for i in node.calls if recording.calls[i].func is not None]
    if not calls:
        return ""
    call = calls[-1]
    given = {a.name: x for a, x in zip(call.func._schema.arguments, call.args, strict=False)} | call.kwargs
    met = {name: x.index for name, x in given.items() if isinstance(x, Ref)}
    met |= {name: v for name in ("result", "output") for v in call.outputs[:1] if v is not None}
    with as_left(recording.written):
        for name, variable in met.items():
            try:
                saved = getattr(node.node, f"_saved_{name}", None)
            except Exception:  # freed, or its hook raises: nothing can be told
                continue
            known = recording.variables[variable].value
            if isinstance(saved, torch.Tensor) and to_numpy(saved).shape == known.shape:
                if not np.array_equal(to_numpy(saved), known, equal_nan=known.dtype.kind in "fc"):
                    return name
    return ""


def backward_of(node: Node) -> str:
    """file:line of the first line of a custom Function's `backward` (or `vjp`), or of the one registered for a custom
    operator; "" where it is not Python.
    """
    if (code := registered_code(node.node)) is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    function = _written(getattr(type(node.node), "_forward_cls", None))
    for name in ("backward", "vjp"):
        method = getattr(function, name, None)
        code = getattr(inspect.unwrap(method), "__code__", None) if method is not None else None
        if code is not None and code.co_filename != torch.autograd.function.__file__:
            return f"{code.co_filename}:{code.co_firstlineno}"
    return ""


def _written(function: Any) -> Any:
    """The Function that the user wrote, where torch.func made one of its own around it (for `vmap`, for `grad`)."""
    while function is not None and getattr(function.backward, "__module__", "") == FUNCTORCH:
        inner = inspect.getclosurevars(function.backward).nonlocals.get("autograd_function")
        if inner is None:
            break
        function = inner
    return function


def place(where: str) -> tuple[str, int]:
    """file and line of "file:line", whatever follows after a comma; line 0 where there is none."""
    line = LINE.match(where)
    return (line[1], int(line[2])) if line else (where, 0)


def rows_of_forms(recording: Recording, nodes: Sequence[Node], rows: Rows, dtype: str) -> Culprit | None:
    """One row for every gradient that a custom Function returned in another shape or a coarser dtype than its argument.

    PyTorch sums a gradient of a larger shape, and casts one of another dtype, without a word. A dtype that loses
    nothing is a `convention`: PyTorch documents the cast.
    """
    culprit = None
    for node in nodes:
        for edge, form in node.returned.items():
            variable = dict(node.inputs).get(edge, -1)
            if form is None or variable < 0:
                continue
            argument = recording.variables[variable]
            wanted = argument.stored.shape, argument.dtype
            if form == wanted:
                continue
            outputs = [recording.variables[v].dtype for _, v in node.outputs]
            verdict = "mismatch" if form[0] != wanted[0] or _loses(form[1], wanted[1], outputs) else "convention"
            text = (
                f"{node.name} returned for its argument {edge} a gradient of {described(form)}; the argument has "
                f"{described(wanted)}. PyTorch {_made_fit(form, wanted, node)}"
            )
            rows.add(
                operation=node.name,
                mode="R",
                quantity="derivative",
                order=1,
                wrt=f"form of the gradient, argument {edge}",
                dtype=dtype,
                verdict=verdict,
                z=np.inf if verdict == "mismatch" else 0.0,
                entry="[]",
                culprit=node.name if verdict == "mismatch" else None,
                message=text,
            )
            if verdict == "mismatch" and culprit is None:
                file, line = place(backward_of(node))
                nothing = float("nan")
                culprit = Culprit(node.name, file, line, (), nothing, nothing, "R", node.called, CUSTOM)
    return culprit


def _loses(returned: torch.dtype, wanted: torch.dtype, outputs: Sequence[torch.dtype]) -> bool:
    """Whether a cast from `returned` to `wanted` finds fewer digits, or fewer parts, than the Function worked with."""
    if not (returned.is_floating_point or returned.is_complex):
        return True
    coarsest = max([torch.finfo(d).eps for d in (wanted, *outputs) if d.is_floating_point or d.is_complex])
    return returned.is_complex != wanted.is_complex or torch.finfo(returned).eps > coarsest


def _made_fit(form: Any, wanted: Any, node: Node) -> str:
    if node.raised or not node.ran:
        return "refuses it"
    summed = "summed it" if form[0] != wanted[0] else ""
    cast = "cast it" if form[1] != wanted[1] else ""
    return " and ".join(p for p in (summed, cast) if p) + " without a word"


def rows_of_hooks(notes: Sequence[HookNote], rows: Rows, dtype: str) -> Culprit | None:
    """One row for every hook that changed a gradient: the greatest change, with both numbers."""
    culprit: Culprit | None = None
    for function, where in dict.fromkeys((n.function, n.where) for n in notes):
        those = [n for n in notes if (n.function, n.where) == (function, where)]
        worst = max(those, key=_change)
        dtype_there = worst.given[1] if worst.given is not None else None
        entry, part, after, before = most_changed(worst.before, worst.after, dtype_there)
        text = f"a {worst.kind} changed {len(those)} gradient{'s' if len(those) > 1 else ''}"
        if worst.in_place:
            text += ": it wrote into what it was given, which other parts of the graph may be given too"
        elif not worst.same_form:
            text += f": it was given {described(worst.given)} and returned {described(worst.returned)}"
        file, line = place(where)
        error = abs(after - before)
        rows.add(
            operation=f"hook {function}",
            mode="R",
            quantity="derivative",
            order=1,
            wrt=where,
            dtype=dtype,
            verdict="mismatch",
            z=np.inf,
            abs_error=error,
            rel_error=error / abs(before) if before else np.inf,
            entry=f"{list(entry)}{part}",
            torch_value=after,
            reference_value=before,
            culprit=f"hook {function}",
            message=text,
        )
        if culprit is None:
            culprit = Culprit(f"hook {function}", file, line, entry, after, before, kind=HOOK, part=part)
    return culprit


def _change(n: HookNote) -> float:
    """The greatest absolute change; infinite where the form changed or a number became none."""
    if n.before is None or n.after is None or n.before.shape != n.after.shape:
        return np.inf
    return float(np.max(np.nan_to_num(np.abs(n.after - n.before), nan=np.inf), initial=0.0))


def most_changed(before: Any, after: Any, dtype: torch.dtype | None) -> tuple[tuple[int, ...], str, float, float]:
    """The entry that was changed most, its part where `dtype` is complex, and the number there after and before; NaN
    where shapes differ.
    """
    if before is None or after is None or before.shape != after.shape or not before.size:
        return (), "", float("nan"), float("nan")
    change = np.nan_to_num(np.abs(after - before), nan=np.inf)
    entry = tuple(int(i) for i in np.unravel_index(int(np.argmax(change)), change.shape))
    numbers = float(after[entry]), float(before[entry])
    if dtype is not None and dtype.is_complex:
        return entry[:-1], (".real", ".imag")[entry[-1]], *numbers
    return entry, "", *numbers


@dataclass(frozen=True)
class NanMade:
    """A node that sends a NaN although none arrives. infinite: what arrives is infinite and meets a slope of 0;
    otherwise an adjoint of 0 meets a slope that is not finite.
    """

    operation: str
    where: str
    infinite: bool

    def text(self, note: str) -> str:
        """What is wrong and what to do, and what limits say of the whole."""
        said = INFINITE_TIMES_SLOPE if self.infinite else ZERO_TIMES_SLOPE
        text = said.format(self.operation, self.where or "an unknown line")
        return f"{text}. {note}" if note.startswith(SIDES) else text


def where_nan_starts(local: Sequence[tuple[LocalVerdict, Node | None]]) -> NanMade | None:
    """The first node that makes a NaN, None if none does."""
    for v, n in local:
        if n is not None and v.quantity == "derivative" and _has_nan(n.sent) and not _has_nan(n.received):
            infinite = any(g is not None and np.isinf(g).any() for g in n.received)
            return NanMade(v.operation, v.where, infinite)
    return None


def _has_nan(parts: Sequence[Any]) -> bool:
    return any(g is not None and np.isnan(g).any() for g in parts)
