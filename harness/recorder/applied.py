"""Custom autograd Functions as they were applied in a run: the class, its arguments, and the line of the call."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch._functorch.utils as passed_by  # `Function.apply` hands its arguments to a function of this module

from .recording import _where as where_called


@dataclass(frozen=True)
class Applied:
    """One call of `apply`. args: with copies of the tensors; active: positions of those that required a gradient."""

    function: Any
    args: tuple[Any, ...]
    active: tuple[int, ...]
    where: str

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
    kept: Callable[..., Any] | None = getattr(passed_by, "unwrap_dead_wrappers", None)
    if kept is None:
        yield found
        return

    def noted(args: Any) -> Any:
        function = sys._getframe(1).f_locals.get("cls")
        if isinstance(function, type) and issubclass(function, torch.autograd.Function):
            tensors = [i for i, a in enumerate(args) if isinstance(a, torch.Tensor)]
            active = tuple(i for i in tensors if args[i].requires_grad)
            copies = tuple(a.detach().clone() if i in tensors else a for i, a in enumerate(args))
            found.append(Applied(function, copies, active, where_called()))
        return kept(args)

    passed_by.unwrap_dead_wrappers = noted
    try:
        yield found
    finally:
        passed_by.unwrap_dead_wrappers = kept
