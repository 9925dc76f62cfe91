"""Hooks of the user in the backward pass of a recorded run: what each was given, what it returned, where it is written.

Every hook is replaced by one that notes and calls it, for the time of one backward pass; its table is put back after.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.hooks import BackwardHook

from .recording import to_numpy

TENSOR, NODE, MODULE = "tensor hook", "hook of an autograd node", "module backward hook"
ACCUMULATED = "post-accumulate hook"
Shown = tuple[tuple[int, ...], torch.dtype]  # shape and dtype of a gradient


@dataclass
class HookNote:
    """One gradient that a hook returned otherwise than it came.

    function: its qualified name; where: file:line of its first line. before, after: the gradient in float64; given,
    returned: shape and dtype of both. in_place: the hook wrote into the tensor that it was given.
    """

    kind: str
    function: str
    where: str
    before: np.ndarray[Any, Any] | None
    after: np.ndarray[Any, Any] | None
    given: Shown | None
    returned: Shown | None
    in_place: bool = False

    @property
    def same_form(self) -> bool:
        """Whether shape and dtype are as they came."""
        return self.given == self.returned


def shown(t: Any) -> Shown | None:
    """Shape and dtype of a tensor, None for anything else."""
    return (tuple(t.shape), t.dtype) if isinstance(t, torch.Tensor) else None


def described(form: Shown | None) -> str:
    """ "shape (2, 3) and dtype float32"."""
    return "none" if form is None else f"shape {form[0]} and dtype {str(form[1]).removeprefix('torch.')}"


@contextmanager
def noted_hooks(tensors: Sequence[torch.Tensor], nodes: Sequence[Any]) -> Iterator[list[HookNote]]:
    """Within it, every hook of `tensors` and of the autograd nodes `nodes` is noted where it changes a gradient."""
    notes: list[HookNote] = []
    undo: list[Callable[[], Any]] = []
    try:
        for t in tensors:
            hooks = t._backward_hooks
            if hooks:
                _wrap_all(hooks, TENSOR, notes, undo)
        for node in nodes:
            for register in (node.register_prehook, node.register_hook):
                probe = register(_nothing)
                hooks = probe.hooks_dict_ref()
                probe.remove()
                if hooks:
                    _wrap_all(hooks, NODE, notes, undo)
        yield notes
    finally:
        for put_back in reversed(undo):
            put_back()


def _nothing(*_: Any) -> None:
    """A hook that changes nothing, registered to learn the table that hooks of a node are kept in."""


def _wrap_all(hooks: MutableMapping[Any, Any], kind: str, notes: list[HookNote], undo: list[Callable[[], Any]]) -> None:
    """Replace every hook of a table by one that notes what it changes."""
    before = dict(hooks)
    for key, hook in before.items():
        if not _wrap_those_of_module(hook, notes, undo):
            hooks[key] = _noting(hook, kind, 0, notes)

    def put_back() -> None:
        hooks.clear()
        hooks.update(before)

    undo.append(put_back)


def _wrap_those_of_module(hook: Any, notes: list[HookNote], undo: list[Callable[[], Any]]) -> bool:
    """A full backward hook of a module: PyTorch calls a list of the user's, whose members are wrapped instead."""
    cells = getattr(hook, "__closure__", None) or ()
    for cell in cells:
        owner = cell.cell_contents
        if isinstance(owner, BackwardHook):
            for table in (owner.user_hooks, owner.user_pre_hooks):
                before = list(table)
                if any(getattr(h, "notes", None) is notes for h in before):
                    continue
                table[:] = [_noting(h, MODULE, 1, notes) for h in before]
                undo.append(lambda table=table, before=before: table.__setitem__(slice(None), before))  # type: ignore[misc]
            return True
    return False


def _noting(hook: Any, kind: str, position: int, notes: list[HookNote]) -> Callable[..., Any]:
    """A hook that calls `hook` and notes what it makes of the gradients in argument `position`."""

    def noted(*args: Any) -> Any:
        given = args[position] if isinstance(args[position], tuple) else (args[position],)
        forms = [shown(g) for g in given]
        handed = {id(t): t for a in args for t in (a if isinstance(a, tuple) else (a,)) if isinstance(t, torch.Tensor)}
        before = {i: to_numpy(t) for i, t in handed.items()}
        returned = hook(*args)
        after = given if returned is None else returned if isinstance(returned, tuple) else (returned,)
        for g, form, a in zip(given, forms, after, strict=False):
            b, value = before.get(id(g)), to_numpy(a) if isinstance(a, torch.Tensor) else None
            changed = b is not None and value is not None and not np.array_equal(b, value, equal_nan=True)
            if a is not g and (shown(a) != form or changed):
                notes.append(HookNote(kind, *written(hook), b, value, form, shown(a)))
        for i, t in handed.items():
            value = to_numpy(t)
            if not np.array_equal(before[i], value, equal_nan=True):
                notes.append(HookNote(kind, *written(hook), before[i], value, shown(t), shown(t), in_place=True))
        return returned

    noted.notes = notes  # type: ignore[attr-defined]
    return noted


def noted_after_accumulation(
    leaves: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor | None]
) -> list[HookNote]:
    """What hooks that PyTorch calls once `.grad` is there make of it.

    Each is called with a copy of its tensor, that holds the gradient, and no leaf holds one meanwhile: a hook that
    steps an optimizer finds nothing to do. One that raises there, as it knows its own tensor alone, is not judged.
    """
    notes: list[HookNote] = []
    if not any(getattr(t, "_post_accumulate_grad_hooks", None) for t in leaves):
        return notes
    before = [(t, t.grad) for t in leaves if t.grad is not None and t.grad.dtype == t.dtype]
    try:
        for t, _ in before:
            t.grad = None
        for t, g in zip(leaves, gradients, strict=True):
            hooks = getattr(t, "_post_accumulate_grad_hooks", None)
            if not hooks or g is None:
                continue
            copy = t.detach().clone().requires_grad_()
            copy.grad = g.detach().clone()
            for hook in list(hooks.values()):
                given, form = to_numpy(copy.grad), shown(copy.grad)
                try:
                    hook(copy)
                except Exception:  # it knows its own tensor, not the copy
                    break
                if copy.grad is None:  # used up, as by an optimizer that steps in the backward pass
                    break
                value = to_numpy(copy.grad)
                if shown(copy.grad) != form or not np.array_equal(given, value, equal_nan=True):
                    notes.append(HookNote(ACCUMULATED, *written(hook), given, value, form, shown(copy.grad)))
    finally:
        for t, grad in before:
            t.grad = grad
    return notes


def written(hook: Any) -> tuple[str, str]:
    """Qualified name of a function, and file:line where it is written; the class where it is a callable object."""
    inner = (
        getattr(hook, "hook", hook) if not inspect.isroutine(hook) else hook
    )  # PyTorch's wrapper of old module hooks
    while hasattr(inner, "func") and not inspect.isroutine(inner):  # functools.partial
        inner = inner.func
    code = getattr(inspect.unwrap(inner), "__code__", None) or getattr(type(inner).__call__, "__code__", None)
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    return name, f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
