"""What a callable reaches without being one: modules, and leaf tensors of an owner, a partial, closures, globals.

They are differentiated and left untouched like a module that is checked itself.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch

from .holding import CONTAINERS, Bind, Part, cannot, is_constant, is_leaf, may_hold, of_module, parts_of

OWNER = "module"  # the name of what is reached without a name: as the owner of a method, inside a partial
DEPTH = 3  # functions that call functions: how far they are looked through
INSIDE = 2  # the same, from what a module holds


class Leaf(NamedTuple):
    """A leaf tensor that a callable reaches, and what puts another tensor into each of its places."""

    tensor: torch.Tensor
    places: Sequence[Bind]


class Alias(NamedTuple):
    """A parameter that a module has registered under a name, and its places elsewhere."""

    module: torch.nn.Module
    name: str
    leaf: Leaf


class Reached(torch.nn.Module):
    """A callable as a module: its parts are the modules that it reaches, and its parameters the leaf tensors that it
    reaches and no module has registered, under the names it reaches them by.

    Called while a parameter has another value, it finds that value in every place where it reaches its tensor.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        parts: Mapping[str, torch.nn.Module],
        leaves: Mapping[str, Leaf],
        aliases: Sequence[Alias] = (),
    ) -> None:
        super().__init__()
        # past what nn.Module looks for among parts and parameters: `fn` may be a module, a leaf may have any name
        self.__dict__["called"] = fn
        self._modules.update(parts)
        self._parameters.update({name: leaf.tensor for name, leaf in leaves.items()})  # type: ignore[misc]
        self.__dict__["places"] = leaves
        self.__dict__["aliases"] = aliases

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The callable's own result."""
        held = [(self._parameters[name], leaf) for name, leaf in self.places.items()]
        held += [(a.module._parameters.get(a.name), a.leaf) for a in self.aliases]
        moved = [(new, leaf) for new, leaf in held if new is not None and new is not leaf.tensor]
        if not moved:
            return self.called(*args, **kwargs)
        with ExitStack() as undo:
            for new, leaf in moved:
                for bind in leaf.places:
                    undo.callback(bind, leaf.tensor)
                    bind(new)
            return self.called(*args, **kwargs)


def as_module(fn: Callable[..., Any]) -> tuple[Callable[..., Any], torch.nn.Module | None]:
    """What is called, and the module that it is; a callable that reaches modules, or leaf tensors that no module has
    registered, becomes one of them all.

    A leaf in a place that cannot hold another tensor is left out.
    """
    parts: dict[str, torch.nn.Module] = {}
    reached: dict[int, tuple[str, torch.Tensor, list[Bind]]] = {}
    made: list[Reached] = []

    def bind(new: Any) -> None:
        made[0].__dict__["called"] = new

    for name, found in _reached(Part(OWNER, fn, bind), DEPTH, set()):
        if isinstance(found.value, torch.Tensor):
            name = _free(name, (*parts, *[n for n, *_ in reached.values()]))
            reached.setdefault(id(found.value), (name, found.value, []))[2].append(found.bind)
        elif not any(any(found.value is inner for inner in part.modules()) for part in parts.values()):
            parts[_free(name, (*parts, *[n for n, *_ in reached.values()]))] = found.value
    registered = {id(p): (m, k) for part in parts.values() for m in part.modules() for k, p in m._parameters.items()}
    leaves: dict[str, Leaf] = {}
    aliases = []
    for key, (name, tensor, places) in reached.items():
        if cannot in places:
            continue
        if key in registered:
            aliases.append(Alias(*registered[key], Leaf(tensor, places)))
        else:
            leaves[name] = Leaf(tensor, places)
    if isinstance(fn, torch.nn.Module) and len(parts) == 1 and not leaves and not aliases:
        return fn, fn
    if not parts and not leaves:
        return fn, None
    made.append(Reached(fn, parts, leaves, aliases))
    return made[0], made[0]


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


def _reached(
    part: Part, depth: int, met: set[int], name: str = OWNER, inside: bool = False
) -> Iterator[tuple[str, Part]]:
    """(name, part) for every module and every place of a leaf tensor that a value is, holds, or, as a function, names.

    A container is no step on the way. inside: what a module holds, which is named by the way to it.
    """
    value = part.value
    if is_leaf(value):
        yield name, part
        return
    if id(value) in met or not may_hold(value):
        return
    if not is_constant(value):
        met.add(id(value))
    if isinstance(value, torch.nn.Module):
        yield name, part
        for path, m in value.named_modules():
            met.add(id(m))
            for held in of_module(m):
                way = ".".join(p for p in (name, path, held.name) if p).replace(".", "_")
                yield from _reached(held, INSIDE, met, way, True)
        return
    step = 0 if isinstance(value, CONTAINERS) else 1
    if depth < step:
        return
    for inner in parts_of(part):
        below = f"{name}_{inner.name}" if inside and inner.name else inner.name or name
        yield from _reached(inner, depth - step, met, below, inside)
