"""Reads a scenario's own source: its setting, the code of its functions, and what the repair changes."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable
from typing import Any

from .scenario import Scenario

__all__ = ["caption", "code_of", "place_of", "repair_of", "setting_of"]


def code_of(function: Callable[..., Any]) -> list[str]:
    """The lines of a function as they stand in its file, without decorators and docstring."""
    lines = inspect.getsource(inspect.unwrap(function)).splitlines()
    node = ast.parse("\n".join(lines)).body[0]
    assert isinstance(node, ast.FunctionDef)
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        assert first.end_lineno is not None
        head, rest = lines[node.lineno - 1 : first.lineno - 1], lines[first.end_lineno :]
        return head + (rest[1:] if rest and not rest[0] else rest)
    return lines[node.lineno - 1 :]


def caption(function: Callable[..., Any]) -> str:
    """The docstring of a function on one line; empty where it has none."""
    return " ".join((inspect.getdoc(inspect.unwrap(function)) or "").split())


def repair_of(scenario: Scenario) -> list[str]:
    """The repaired function line by line: `- ` goes, `+ ` comes, two spaces stay."""
    before, after = code_of(scenario.faulty)[1:], code_of(scenario.fixed)
    changes = difflib.ndiff(before, after[1:], charjunk=None)
    return [f"  {after[0]}", *(line.rstrip() for line in changes if not line.startswith("?"))]


def setting_of(scenario: Scenario) -> list[str]:
    """What the three functions share: the module's constants and small functions, with their comments."""
    module = inspect.getmodule(inspect.unwrap(scenario.faulty))
    assert module is not None
    lines = inspect.getsource(module).splitlines()
    body = ast.parse("\n".join(lines)).body
    faulty = next(node for node in body if isinstance(node, ast.FunctionDef) and node.name == "faulty")
    prelude = [node for node in body if node.lineno < faulty.lineno and not _is_shared(node)]
    start = max(node.end_lineno or node.lineno for node in prelude)
    end = min([faulty.lineno, *(decorator.lineno for decorator in faulty.decorator_list)])
    return "\n".join(lines[start : end - 1]).strip("\n").splitlines()


def _is_shared(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign | ast.AnnAssign | ast.FunctionDef | ast.ClassDef)


def place_of(function: Callable[..., Any]) -> str:
    """Where a function stands, as in `scenarios/detach/item_round_trip.py:31`; the line is that of its `def`."""
    inner = inspect.unwrap(function)
    lines, start = inspect.getsourcelines(inner)
    offset = next(i for i, line in enumerate(lines) if line.startswith("def "))
    return f"{'/'.join(inner.__module__.split('.')[-3:])}.py:{start + offset}"
