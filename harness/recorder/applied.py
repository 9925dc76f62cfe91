"""Custom autograd Functions as they were applied in a run: the class, its arguments, and the line of the call."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch._functorch.utils as passed_by  # `Function.apply` hands its arguments to a function of this module

from .source_lines import lines_of_call, told_apart


@dataclass(frozen=True)
class Applied:
    """One call of `apply`. args: with copies of the tensors; active: positions of those that required a gradient.
    lines: of the call, innermost first. where: in words, as `told_apart` says it among other calls.
    """

    function: Any
    args: tuple[Any, ...]
    active: tuple[int, ...]
    lines: tuple[str, ...]
    where: str = ""

    def line_of(self, method: str) -> str:
        """file:line of the first line of a method of the Function; "" where it has none of its own."""
        own = getattr(self.function, method, None)
        code = getattr(inspect.unwrap(own), "__code__", None) if own is not None else None
        ours = code is not None and code.co_filename != torch.autograd.function.__file__
        return f"{code.co_filename}:{code.co_firstlineno}" if code is not None and ours else ""


@contextmanager
def noting_functions() -> Iterator[list[Applied]]:
    """Within it, every custom Function that is applied outside of torch.func's transforms is noted.

    A version of PyTorch whose `apply` works otherwise notes none.
    """
    found: list[Applied] = []

    def note(function: Any, args: tuple[Any, ...], lines: tuple[str, ...]) -> None:
        tensors = [i for i, a in enumerate(args) if isinstance(a, torch.Tensor)]
        active = tuple(i for i in tensors if args[i].requires_grad)
        copies = tuple(a.detach().clone() if i in tensors else a for i, a in enumerate(args))
        found.append(Applied(function, copies, active, lines))

    with _listening(note):
        yield found


def placed(applied: Sequence[Applied]) -> list[Applied]:
    """The same calls, each with the place where it was made."""
    said = told_apart([(a.function, a.lines) for a in applied])
    return [replace(a, where=where) for a, where in zip(applied, said, strict=True)]


# Sequence number of a node -> its Function, the lines of the call, and whether what it saves passes no hooks.
Lines = dict[int, tuple[Any, tuple[str, ...], bool]]


@contextmanager
def noting_lines(found: Lines) -> Iterator[None]:
    """Within it, the lines of every `apply` of this thread are noted under the number that its node is about to get.

    Of what a transform of torch.func applies, it is the node below the transform: the one that a recorded graph has.
    """
    thread = threading.get_ident()  # each thread numbers its own nodes

    def note(function: Any, args: tuple[Any, ...], lines: tuple[str, ...]) -> None:
        if threading.get_ident() == thread:
            hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
            found[torch._C._autograd._get_sequence_nr()] = function, lines, hooks is None

    with _listening(note):
        yield


def places_of(found: Lines, nodes: Sequence[Any]) -> dict[Any, str]:
    """The node of each custom Function whose `apply` was noted -> where that call was made."""
    said = dict(zip(found, told_apart([noted[:2] for noted in found.values()]), strict=True))
    return {n: said[n._sequence_nr()] for n in nodes if _noted(found, n) is not None}


def saves_plainly(found: Lines, node: Any) -> bool:
    """Whether what the node of a custom Function saved comes back without hooks, of which some may run but once."""
    noted = _noted(found, node)
    return noted is not None and noted[2]


def _noted(found: Lines, node: Any) -> tuple[Any, tuple[str, ...], bool] | None:
    """What was noted when the node of a custom Function was made, if it was."""
    noted = found.get(node._sequence_nr()) if isinstance(node, torch.autograd.function.BackwardCFunction) else None
    return noted if noted is not None and noted[0] is getattr(type(node), "_forward_cls", None) else None


@contextmanager
def _listening(note: Callable[[Any, tuple[Any, ...], tuple[str, ...]], None]) -> Iterator[None]:
    """Within it, `note` is called with the Function, its arguments and the lines of the call at each `apply`."""
    kept: Callable[..., Any] | None = getattr(passed_by, "unwrap_dead_wrappers", None)
    if kept is None:
        yield
        return

    def noted(args: Any) -> Any:
        function = sys._getframe(1).f_locals.get("cls")
        if isinstance(function, type) and issubclass(function, torch.autograd.Function):
            note(function, args, lines_of_call())
        return kept(args)

    passed_by.unwrap_dead_wrappers = noted
    try:
        yield
    finally:
        passed_by.unwrap_dead_wrappers = kept
