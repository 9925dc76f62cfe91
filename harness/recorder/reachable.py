"""The modules that a callable reaches without being one: a method's owner, what a partial holds, closures and globals.

They are differentiated and left untouched like a module that is checked itself.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

OWNER = "module"  # the name of a module that is reached without a name: as the owner of a method, inside a partial
DEPTH = 3  # functions that call functions: how far they are looked through


class Reached(torch.nn.Module):
    """A callable as a module whose parts are the modules that it reaches, under the names it reaches them by."""

    def __init__(self, fn: Callable[..., Any], parts: Mapping[str, torch.nn.Module]) -> None:
        super().__init__()
        self.called = fn
        self._modules.update(parts)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The callable's own result."""
        return self.called(*args, **kwargs)


def as_module(fn: Callable[..., Any]) -> tuple[Callable[..., Any], torch.nn.Module | None]:
    """What is called, and the module that it is; a callable that reaches modules becomes one of them all."""
    if isinstance(fn, torch.nn.Module):
        return fn, fn
    parts: dict[str, torch.nn.Module] = {}
    for name, m in _modules(fn, DEPTH, set()):
        if not any(m is part or any(m is inner for inner in part.modules()) for part in parts.values()):
            parts[name if name not in parts else f"{name}_{len(parts)}"] = m
    if not parts:
        return fn, None
    made = Reached(fn, parts)
    return made, made


def name_of(fn: Callable[..., Any]) -> str:
    """The qualified name of a callable, of what a partial calls, or of its class."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    owner = getattr(fn, "__self__", None)
    if isinstance(owner, type):  # a class method: `apply` of a custom Function
        return f"{owner.__qualname__}.{fn.__name__}"
    return getattr(fn, "__qualname__", type(fn).__name__)


def _modules(value: Any, depth: int, met: set[int], name: str = OWNER) -> Iterator[tuple[str, torch.nn.Module]]:
    """(name, module) for every module that a value is, holds, or, as a function, names."""
    if id(value) in met:
        return
    met.add(id(value))
    if isinstance(value, torch.nn.Module):
        yield name, value
        return
    if depth == 0 or isinstance(value, (torch.Tensor, type, str, bytes)) or inspect.ismodule(value):
        return
    for key, part in _parts(value):
        yield from _modules(part, depth - 1, met, key or name)


def _parts(value: Any) -> list[tuple[str, Any]]:
    """What a value holds by name: a partial's function and arguments, a method's owner, a function's closure, the names
    of modules and functions that its code mentions, the members of a container, the attributes of an object.
    """
    if isinstance(value, functools.partial):
        arguments = [(f"argument{i}", a) for i, a in enumerate(value.args)]
        return [("", value.func), *arguments, *value.keywords.items()]
    if inspect.ismethod(value):
        return [("", value.__self__), ("", value.__func__)]
    if inspect.isfunction(value):
        return _named_by(value)
    if isinstance(value, Mapping):
        return [(str(k), v) for k, v in value.items() if isinstance(v, torch.nn.Module)]
    if isinstance(value, (list, tuple)):
        return [(f"item{i}", v) for i, v in enumerate(value) if isinstance(v, torch.nn.Module)]
    if inspect.isbuiltin(value) or type(value).__module__ == "builtins":
        return []
    held = getattr(value, "__dict__", None)
    if type(held) is not dict:
        return []
    return [*held.items(), *([("", type(value).__call__)] if callable(value) else [])]


def _named_by(function: Any) -> list[tuple[str, Any]]:
    """The closure of a function, its defaults, and those globals its code names that are modules or its neighbours."""
    code = function.__code__
    if code.co_filename.startswith(TORCH):
        return []
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    named = [(name, cell.cell_contents) for name, cell in cells if _is_filled(cell)]
    for name in code.co_names:
        value = function.__globals__.get(name)
        here = inspect.isfunction(value) and value.__module__ == function.__module__
        if isinstance(value, torch.nn.Module) or here:
            named.append((name, value))
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [*named, *[("default", d) for d in defaults if isinstance(d, torch.nn.Module)]]


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name of the enclosing function that has no value yet
        return False


TORCH = torch.__path__[0]
