"""Lines of the user's code: the one that runs now, found by walking the frames outwards."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

_TORCH = os.path.dirname(torch.__file__) + os.sep
_MODULES = os.path.join(_TORCH, "nn", "modules") + os.sep
_CALLS = os.path.join(_MODULES, "module.py")  # what calls the forward of any module, a user's too
_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # the whole of harness
# The files whose functions a user's line calls for a check. Any other file of ours is called by a command, or by pytest
_ASKED = frozenset(os.path.join(_HERE, *parts) for parts in (("checking.py",), ("plugin", "fixture.py")))


def run_code(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """`fn(*args, **kwargs)`. Its frame is the border of the user's code: lines are looked for within it."""
    return fn(*args, **kwargs)


def line_inside() -> str:
    """file:line of the innermost frame of the code that `run_code` runs; "" where there is none.

    In a plain nn.Module of PyTorch it is the line of that module. The caller's own frame is not looked at, nor those of
    whoever asks for the check.
    """
    frame: Any = sys._getframe(2)
    module = ""
    while frame is not None and frame.f_code is not run_code.__code__:
        file = frame.f_code.co_filename
        whose = _owner(file)
        if whose == "user":
            return f"{file}:{frame.f_lineno}"
        if not module and whose == "module":
            module = f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return module


def lines_of_call() -> tuple[str, ...]:
    """file:line of every frame of the user's code that `run_code` runs, innermost first.

    Where there is none: the line of a plain nn.Module of PyTorch; else, as a function of torch or the `apply` of a
    Function is itself what is checked, the line of the user that asks for the check; nothing where a command asks.
    """
    frame: Any = sys._getframe(2)
    users, modules = [], []
    while frame is not None and frame.f_code is not run_code.__code__:
        file = frame.f_code.co_filename
        whose = _owner(file)
        if whose in ("user", "module"):
            (users if whose == "user" else modules).append(f"{file}:{frame.f_lineno}")
        frame = frame.f_back
    return tuple(users or modules[:1] or _asking(frame))


def line_of_call() -> str:
    """The innermost of `lines_of_call`, "" where there is none."""
    return next(iter(lines_of_call()), "")


def _asking(frame: Any) -> list[str]:
    """The line of the user that asks for the check in which `frame` runs."""
    ours = ""
    while frame is not None:
        file = frame.f_code.co_filename
        whose = _owner(file)
        if whose == "user":
            return [f"{file}:{frame.f_lineno}"] if ours in _ASKED else []
        ours = file if whose == "ours" else ours
        frame = frame.f_back
    return []


def told_apart(calls: Sequence[tuple[Any, tuple[str, ...]]]) -> list[str]:
    """In words where each of some calls was made, so that no two calls of one function read alike.

    calls: what was called, and the lines of the call, innermost first. The innermost line is enough where no other call
    was made there; then those lines further out are added that others do not have, and at last, in a loop, the count.
    """
    said = [list(lines[:1]) for _, lines in calls]
    alike: dict[Any, list[int]] = {}
    for i, (function, lines) in enumerate(calls):
        alike.setdefault((function, lines[:1]), []).append(i)
    waiting = [(1, group) for group in alike.values() if len(group) > 1]
    while waiting:
        depth, group = waiting.pop()
        parts: dict[tuple[str, ...], list[int]] = {}
        for i in group:
            parts.setdefault(calls[i][1][depth : depth + 1], []).append(i)
        if list(parts) == [()]:
            for number, i in enumerate(group, 1):
                said[i] += [f"call {number} of {len(group)} there"] if said[i] else []
            continue
        for line, part in parts.items():
            for i in part if len(parts) > 1 else ():
                said[i] += [f"from {text}" for text in line]
            if len(part) > 1:
                waiting.append((depth + 1, part))
    return [", ".join(words) for words in said]


@functools.cache
def _owner(file: str) -> str:
    """Whose code a file holds: the user's, ours, an nn.Module's of PyTorch, or nobody's who is to be named."""
    if file.startswith(_HERE):
        return "ours"
    if not file.startswith(_TORCH) and not file.startswith("<frozen"):
        return "user"
    return "module" if file.startswith(_MODULES) and file != _CALLS else "other"
