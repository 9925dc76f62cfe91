"""What a callable reaches without being one: modules, and leaf tensors of an owner, a partial, closures, globals.

They are differentiated and left untouched like a module that is checked itself.
"""

from __future__ import annotations

import dis
import functools
import inspect
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch

OWNER = "module"  # the name of what is reached without a name: as the owner of a method, inside a partial
DEPTH = 3  # functions that call functions: how far they are looked through
TORCH = torch.__path__[0]
Bind = Callable[[Any], None]


class Part(NamedTuple):
    """A value that another one holds: its name there, and what puts another value into its place."""

    name: str
    value: Any
    bind: Bind


class Reached(torch.nn.Module):
    """A callable as a module: its parts are the modules that it reaches, and its parameters the leaf tensors that it
    reaches and no module has registered, under the names it reaches them by.

    Called while one of these parameters has another value, it finds that value in the place of its tensor.
    """

    def __init__(
        self, fn: Callable[..., Any], parts: Mapping[str, torch.nn.Module], leaves: Mapping[str, Part]
    ) -> None:
        super().__init__()
        # past what nn.Module looks for among parts and parameters: `fn` may be a module, a leaf may have any name
        self.__dict__["called"] = fn
        self._modules.update(parts)
        self._parameters.update({name: part.value for name, part in leaves.items()})
        self.__dict__["places"] = {name: (part.value, part.bind) for name, part in leaves.items()}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The callable's own result."""
        moved = [n for n, (tensor, _) in self.places.items() if self._parameters[n] is not tensor]
        if not moved:
            return self.called(*args, **kwargs)
        with ExitStack() as undo:
            for name in moved:
                tensor, bind = self.places[name]
                undo.callback(bind, tensor)
                bind(self._parameters[name])
            return self.called(*args, **kwargs)


def as_module(fn: Callable[..., Any]) -> tuple[Callable[..., Any], torch.nn.Module | None]:
    """What is called, and the module that it is; a callable that reaches modules, or leaf tensors that no module has
    registered, becomes one of them all."""
    parts: dict[str, torch.nn.Module] = {}
    leaves: dict[str, Part] = {}
    for name, found in _reached(Part(OWNER, fn, _cannot), DEPTH, set()):
        if isinstance(found.value, torch.Tensor):
            leaves[_free(name, (*parts, *leaves))] = found
        elif not any(any(found.value is inner for inner in part.modules()) for part in parts.values()):
            parts[_free(name, (*parts, *leaves))] = found.value
    registered = {id(p) for m in parts.values() for p in m.parameters()}
    leaves = {name: found for name, found in leaves.items() if id(found.value) not in registered}
    if isinstance(fn, torch.nn.Module) and not leaves:
        return fn, fn
    if not parts and not leaves:
        return fn, None
    made = Reached(fn, parts, leaves)
    return made, made


def _free(name: str, taken: Collection[str]) -> str:
    """A name as near to `name` as a part of a module may bear, and that no other part has."""
    name = name.replace(".", "_")
    return next(n for n in itertools.chain((name,), (f"{name}_{k}" for k in itertools.count(1))) if n not in taken)


def name_of(fn: Callable[..., Any]) -> str:
    """The qualified name of a callable, of what a partial calls, or of its class."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    if isinstance(fn, torch._ops.OpOverloadPacket):
        return str(fn._qualified_op_name)
    owner = getattr(fn, "__self__", None)
    public = _public_name(fn)
    if public:
        return public
    if isinstance(owner, type):  # a class method: `apply` of a custom Function
        return f"{owner.__qualname__}.{fn.__name__}"
    return getattr(fn, "__qualname__", type(fn).__name__)


def _public_name(fn: Callable[..., Any]) -> str:
    """Where torch offers one of its own functions that is not written in Python; "" for any other."""
    if inspect.isfunction(fn) or not hasattr(fn, "__name__"):
        return ""
    name: str = fn.__name__
    for home in HOMES:
        short = name.removeprefix(f"{home.__name__.rpartition('.')[2]}_")
        if getattr(home, short, None) is fn:
            return f"{home.__name__}.{short}" if home is not torch.Tensor else f"torch.Tensor.{short}"
    return ""


HOMES = (torch, torch.nn.functional, torch.special, torch.linalg, torch.fft, torch.Tensor)


def _is_leaf(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_leaf and value.requires_grad


def _reached(part: Part, depth: int, met: set[int], name: str = OWNER) -> Iterator[tuple[str, Part]]:
    """(name, part) for every module and leaf tensor that a value is, holds, or, as a function, names."""
    value = part.value
    if id(value) in met:
        return
    met.add(id(value))
    if isinstance(value, torch.nn.Module):
        yield name, part
        for path, m in value.named_modules():
            for held in _unregistered(m):
                yield from _reached(held, 0, met, ".".join(p for p in (name, path, held.name) if p).replace(".", "_"))
        return
    if _is_leaf(value):
        yield name, part
        return
    if depth == 0 or isinstance(value, (torch.Tensor, type, str, bytes)) or inspect.ismodule(value):
        return
    for inner in _parts(value):
        yield from _reached(inner, depth - 1, met, inner.name or name)


def _unregistered(m: torch.nn.Module) -> list[Part]:
    """Leaf tensors among the attributes of a module, and in lists and dictionaries that are attributes."""
    found = []
    for key, value in m.__dict__.items():
        if _is_leaf(value):
            found.append(Part(key, value, functools.partial(m.__dict__.__setitem__, key)))
        elif isinstance(value, (list, dict)) and not key.startswith("_"):
            found += [Part(f"{key}_{p.name}", p.value, p.bind) for p in _parts(value) if _is_leaf(p.value)]
    return found


def _cannot(_: Any) -> None:
    """The place of what is not held by anything that could hold another."""


def _parts(value: Any) -> list[Part]:
    """What a value holds by name: a partial's function and arguments, a method's owner, a function's closure, the names
    of modules, leaf tensors and functions that its code mentions, the members of a container, the attributes of an
    object.
    """
    if isinstance(value, functools.partial):
        return _of_partial(value)
    if inspect.ismethod(value):
        return [Part("", value.__self__, _cannot), Part("", value.__func__, _cannot)]
    if inspect.isfunction(value):
        return _named_by(value)
    if isinstance(value, (list, dict)):
        named = value.items() if isinstance(value, dict) else ((i, v) for i, v in enumerate(value))
        prefix = "" if isinstance(value, dict) else "item"
        return [Part(f"{prefix}{k}", v, functools.partial(value.__setitem__, k)) for k, v in named if _counts(v)]
    if isinstance(value, (Mapping, tuple)):
        items = value.items() if isinstance(value, Mapping) else ((f"item{i}", v) for i, v in enumerate(value))
        return [Part(str(k), v, _cannot) for k, v in items if isinstance(v, torch.nn.Module)]
    if inspect.isbuiltin(value) or type(value).__module__ == "builtins":
        return []
    held = getattr(value, "__dict__", None)
    if type(held) is not dict:
        return []
    own = [Part(k, v, functools.partial(held.__setitem__, k)) for k, v in held.items()]
    return [*own, *([Part("", type(value).__call__, _cannot)] if callable(value) else [])]


def _counts(value: Any) -> bool:
    return isinstance(value, torch.nn.Module) or _is_leaf(value)


def _of_partial(value: functools.partial[Any]) -> list[Part]:
    def argument(i: int) -> Bind:
        def bind(new: Any) -> None:
            args = (*value.args[:i], new, *value.args[i + 1 :])
            value.__setstate__((value.func, args, value.keywords, value.__dict__))  # type: ignore[attr-defined]

        return bind

    args = [Part(f"argument{i}", a, argument(i)) for i, a in enumerate(value.args)]
    keywords = [Part(k, v, functools.partial(value.keywords.__setitem__, k)) for k, v in value.keywords.items()]
    return [Part("", value.func, _cannot), *args, *keywords]


def _named_by(function: Any) -> list[Part]:
    """The closure of a function, its defaults, and those globals its code names that are modules, leaf tensors or its
    neighbours."""
    code = function.__code__
    if code.co_filename.startswith(TORCH):
        return []
    cells = [(n, c) for n, c in zip(code.co_freevars, function.__closure__ or (), strict=True) if _is_filled(c)]
    named = [Part(n, c.cell_contents, functools.partial(setattr, c, "cell_contents")) for n, c in cells]
    candidates = {n for n in code.co_names if n in function.__globals__}
    read = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"} if candidates else set()
    for name in [n for n in code.co_names if n in candidates & read]:  # not as the name of an attribute
        value = function.__globals__[name]
        here = inspect.isfunction(value) and value.__module__ == function.__module__
        if _counts(value) or here:
            named.append(Part(name, value, functools.partial(function.__globals__.__setitem__, name)))

    def default(i: int) -> Bind:
        def bind(new: Any) -> None:
            old = function.__defaults__
            function.__defaults__ = (*old[:i], new, *old[i + 1 :])

        return bind

    defaults = [Part("default", d, default(i)) for i, d in enumerate(function.__defaults__ or ()) if _counts(d)]
    by_name = function.__kwdefaults__ or {}
    keywords = [Part(k, d, functools.partial(by_name.__setitem__, k)) for k, d in by_name.items() if _counts(d)]
    return [*named, *defaults, *keywords]


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name of the enclosing function that has no value yet
        return False
