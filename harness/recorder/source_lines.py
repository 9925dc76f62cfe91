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
    rivals: dict[Any, list[int]] = {}
    for i, (function, lines) in enumerate(calls):
        rivals.setdefault((function, lines[:1]), []).append(i)
    return [_apart(calls, i, rivals[function, lines[:1]]) for i, (function, lines) in enumerate(calls)]


def _apart(calls: Sequence[tuple[Any, tuple[str, ...]]], own: int, rivals: Sequence[int]) -> str:
    """The words for the call `own` among `rivals` of the same innermost line, itself among them."""
    lines = calls[own][1]
    said = list(lines[:1])
    for depth, line in enumerate(lines[1:], 1):
        alike = [i for i in rivals if calls[i][1][depth : depth + 1] == (line,)]
        if len(alike) < len(rivals):
            said.append(f"from {line}")
            rivals = alike
    if len(rivals) > 1 and said:
        said.append(f"call {rivals.index(own) + 1} of {len(rivals)} there")
    return ", ".join(said)


@functools.cache
def _owner(file: str) -> str:
    """Whose code a file holds: the user's, ours, an nn.Module's of PyTorch, or nobody's who is to be named."""
    if file.startswith(_HERE):
        return "ours"
    if not file.startswith(_TORCH) and not file.startswith("<frozen"):
        return "user"
    return "module" if file.startswith(_MODULES) else "other"
