"""What a value holds, and how another value is put into the place of what it holds: containers, objects, functions.

What cannot be changed (a tuple, a named tuple, a frozen set, a method) is made anew and put into its holder's place.
"""

from __future__ import annotations

import dis
import functools
import inspect
import itertools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from typing import Any, NamedTuple

import torch

TORCH = torch.__path__[0]
MOST = 10_000  # members of a container that are looked at: a list of samples is no place for what is to be learned
CONTAINERS = (tuple, list, dict, set, frozenset, types.MappingProxyType, MutableSequence, MutableMapping, MutableSet)
NUMBERS = (int, float, complex, str, bytes, type(None), type, types.ModuleType, torch.dtype, torch.device)
CHANGES = (torch.optim.Optimizer,)  # holds parameters to change them, not to compute with
NOT_OF_USERS = frozenset(("builtins", "abc", "collections", "typing", "torch"))
OF_MODULES = frozenset(torch.nn.Module().__dict__)
Bind = Callable[[Any], None]


class Part(NamedTuple):
    """A value that another one holds: its name there, and what puts another value into its place."""

    name: str
    value: Any
    bind: Bind


def cannot(_: Any) -> None:
    """The place of what is not held by anything that could hold another."""


def is_leaf(value: Any) -> bool:
    """Whether a value is a tensor that gathers a gradient."""
    return isinstance(value, torch.Tensor) and value.is_leaf and value.requires_grad


def counts(value: Any) -> bool:
    """Whether a value is differentiated itself, or has what is."""
    return isinstance(value, torch.nn.Module) or is_leaf(value)


def is_constant(value: Any) -> bool:
    """Whether a value can neither be changed nor be told from its equals, so that it has no place of its own."""
    return isinstance(value, (tuple, frozenset, types.MappingProxyType, types.MethodType))


def is_function(value: Any) -> bool:
    """Whether a value is a custom Function of a user: its forward may read a leaf that is no argument of `apply`."""
    return isinstance(value, type) and issubclass(value, torch.autograd.Function) and bool(_user_classes(value))


def may_hold(value: Any) -> bool:
    """Whether there may be something to differentiate in a value."""
    if isinstance(value, torch.Tensor):
        return is_leaf(value)
    return is_function(value) or not isinstance(value, (*NUMBERS, *CHANGES))


def parts_of(part: Part) -> Iterator[Part]:
    """What a value holds by name: a partial's function and arguments, a method's owner, a function's closure, the names
    of modules, leaf tensors, containers and functions that its code mentions, the members of a container, the
    attributes of an object, in slots too, those of its class, and what its `__call__` names; of a custom Function what
    its forward names.
    """
    value = part.value
    if isinstance(value, functools.partial):
        return iter(_of_partial(value))
    if inspect.ismethod(value):
        return _of_method(part)
    if inspect.isfunction(value):
        return named_by(value)
    if is_function(value):
        forward = inspect.unwrap(value.forward)
        return named_by(forward) if inspect.isfunction(forward) else iter(())
    if isinstance(value, CONTAINERS):
        own = _of_object(value) if _classes(value) else iter(())
        return itertools.chain(_of_container(part), own)
    if inspect.isbuiltin(value) or type(value).__module__ == "builtins":
        return iter(())
    return _of_object(value)


def of_module(m: torch.nn.Module) -> Iterator[Part]:
    """What a module holds beside its parameters, buffers and modules: other attributes, and what `forward` names.

    Of PyTorch's own modules what was put into them: private attributes (the flat weights of an LSTM) and functions (of
    a script, its source) are bookkeeping of what they register.
    """
    theirs = type(m).__module__.startswith("torch.")
    for key, value in list(m.__dict__.items()):
        kept = not key.startswith("_") and (is_leaf(value) or isinstance(value, CONTAINERS))
        if key not in OF_MODULES and may_hold(value) and (kept or not theirs):
            yield Part(key, value, functools.partial(m.__dict__.__setitem__, key))
    yield from _of_class(m)
    yield from _methods(m, "forward")


def _of_object(value: Any) -> Iterator[Part]:
    held = getattr(value, "__dict__", None)
    if type(held) is dict:
        yield from (Part(k, v, functools.partial(held.__setitem__, k)) for k, v in list(held.items()) if may_hold(v))
    yield from _of_class(value)
    if callable(value):
        yield from _methods(value, "__call__")


def _of_class(value: Any) -> Iterator[Part]:
    """What lies in slots, and what the class holds for all of its objects and no object holds otherwise."""
    own = getattr(value, "__dict__", {})
    for cls in _classes(value):
        for key, entry in list(cls.__dict__.items()):
            if inspect.ismemberdescriptor(entry):
                try:
                    found = entry.__get__(value, cls)
                except AttributeError:  # a slot that is empty
                    continue
                if may_hold(found):
                    yield Part(key, found, functools.partial(entry.__set__, value))
            elif key not in own and not key.startswith("__") and (is_leaf(entry) or isinstance(entry, CONTAINERS)):
                yield Part(key, entry, functools.partial(setattr, cls, key))


def _classes(value: Any) -> list[type]:
    """The classes of a value that a user wrote."""
    return _user_classes(type(value))


def _user_classes(cls: type) -> list[type]:
    return [c for c in cls.__mro__ if c.__module__.partition(".")[0] not in NOT_OF_USERS]


def _methods(value: Any, name: str) -> Iterator[Part]:
    """What a method of this name mentions, and the methods of the same object that it calls, in their turn."""
    waiting, met = [name], set()
    while waiting:
        if (name := waiting.pop()) in met:
            continue
        met.add(name)
        function = inspect.getattr_static(type(value), name, None)
        if inspect.isfunction(function) and not function.__code__.co_filename.startswith(TORCH):
            yield from named_by(function)
            waiting += [n for code in _codes(function.__code__) for n in code.co_names]


def _of_method(part: Part) -> Iterator[Part]:
    method = part.value
    anew = _Anew(part, [method.__self__], lambda held: types.MethodType(method.__func__, held[0]))
    yield from anew.parts([""])
    yield Part("", method.__func__, cannot)


def _of_container(part: Part) -> Iterator[Part]:
    value = part.value
    if isinstance(value, Mapping):
        named = [(str(k), k, v) for k, v in _first(value.items()) if may_hold(v)]
        if isinstance(value, MutableMapping):
            return (Part(name, v, functools.partial(value.__setitem__, k)) for name, k, v in named)
        anew = _Anew(part, [v for *_, v in named], lambda new: _changed(value, [k for _, k, _ in named], new))
        return anew.parts([name for name, *_ in named])
    if isinstance(value, MutableSequence):
        numbered = [(i, v) for i, v in enumerate(_first(value)) if may_hold(v)]
        return (Part(f"item{i}", v, functools.partial(value.__setitem__, i)) for i, v in numbered)
    members = list(_first(value))
    if len(members) < len(value) or not any(map(may_hold, members)):
        return iter(())
    names = getattr(type(value), "_fields", None) or [f"item{i}" for i in range(len(members))]
    if isinstance(value, MutableSet):
        return _Anew(Part(part.name, value, _Refilled(value)), members, list).parts(names)
    return _Anew(part, members, functools.partial(_like, value)).parts(names)


def _first(members: Iterable[Any]) -> Iterator[Any]:
    return (v for v, _ in zip(members, range(MOST), strict=False))


def _changed(value: Mapping[Any, Any], keys: Sequence[Any], new: Sequence[Any]) -> Any:
    """A read-only mapping with other values under these keys."""
    return types.MappingProxyType({**value, **dict(zip(keys, new, strict=True))})


def _like(value: Any, members: list[Any]) -> Any:
    """A tuple or a frozen set of these members, of its own kind."""
    kind = type(value)
    if hasattr(kind, "n_sequence_fields"):  # what torch.max returns
        return kind(members)
    made = (tuple if isinstance(value, tuple) else frozenset).__new__(kind, members)
    getattr(made, "__dict__", {}).update(getattr(value, "__dict__", {}))
    return made


class _Refilled:
    """Puts the members that it is called with into a set, or the first ones again."""

    def __init__(self, value: MutableSet[Any]) -> None:
        self.value, self.before = value, list(value)

    def __call__(self, new: Any) -> None:
        members = self.before if new is self.value else new
        self.value.clear()
        for member in members:
            self.value.add(member)


class _Anew:
    """Members of what cannot be changed: for another member it is made anew, by `make`, and bound in its holder."""

    def __init__(self, part: Part, members: Sequence[Any], make: Callable[[list[Any]], Any]) -> None:
        self.part, self.before, self.now, self.make = part, list(members), list(members), make

    def parts(self, names: Sequence[str]) -> Iterator[Part]:
        """Those that may hold something, by name."""
        for i, (name, v) in enumerate(zip(names, self.before, strict=True)):
            if may_hold(v):
                yield Part(name, v, cannot if self.part.bind is cannot else functools.partial(self._bind, i))

    def _bind(self, i: int, new: Any) -> None:
        self.now[i] = new
        same = all(a is b for a, b in zip(self.now, self.before, strict=True))
        self.part.bind(self.part.value if same else self.make(self.now))


def _of_partial(value: functools.partial[Any]) -> list[Part]:
    def argument(i: int) -> Bind:
        def bind(new: Any) -> None:
            args = (*value.args[:i], new, *value.args[i + 1 :])
            value.__setstate__((value.func, args, value.keywords, value.__dict__))  # type: ignore[attr-defined]

        return bind

    def function(new: Any) -> None:
        value.__setstate__((new, value.args, value.keywords, value.__dict__))  # type: ignore[attr-defined]

    args = [Part(f"argument{i}", a, argument(i)) for i, a in enumerate(value.args) if may_hold(a)]
    by_name = value.keywords
    keywords = [Part(k, v, functools.partial(by_name.__setitem__, k)) for k, v in by_name.items() if may_hold(v)]
    return [Part("", value.func, function), *args, *keywords]


def named_by(function: Any) -> Iterator[Part]:
    """The closure of a function, its defaults, and those globals its code names that are modules, leaf tensors,
    containers, custom Functions, objects of the same file or its neighbours."""
    code = function.__code__
    if code.co_filename.startswith(TORCH):
        return
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        if is_filled(cell) and may_hold(cell.cell_contents):
            yield Part(name, cell.cell_contents, functools.partial(setattr, cell, "cell_contents"))
    for name in dict.fromkeys(n for c in _codes(code) for n in _globals_of(c, function.__globals__)):
        value = function.__globals__[name]
        here = getattr(value, "__module__", None) == function.__module__ and not isinstance(value, type)
        if counts(value) or here or isinstance(value, CONTAINERS) or is_function(value):
            yield Part(name, value, functools.partial(function.__globals__.__setitem__, name))

    def default(i: int) -> Bind:
        def bind(new: Any) -> None:
            old = function.__defaults__
            function.__defaults__ = (*old[:i], new, *old[i + 1 :])

        return bind

    for i, d in enumerate(function.__defaults__ or ()):
        if may_hold(d):
            yield Part("default", d, default(i))
    by_name = function.__kwdefaults__ or {}
    yield from (Part(k, d, functools.partial(by_name.__setitem__, k)) for k, d in by_name.items() if may_hold(d))


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code and those inside it: of comprehensions, generators and inner functions."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _codes(inner)


def _globals_of(code: types.CodeType, known: Mapping[str, Any]) -> list[str]:
    """The names of globals that a code reads, not those that it has for attributes."""
    candidates = {n for n in code.co_names if n in known}
    read = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"} if candidates else set()
    return [n for n in code.co_names if n in candidates & read]


def is_filled(cell: Any) -> bool:
    """Whether a variable of an enclosing function has a value yet."""
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
