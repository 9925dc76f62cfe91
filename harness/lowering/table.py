"""The lowering table: what each ATen operation means, written in the witness's own operations.

A lowering is `fn(call, *args, **kwargs)` with the arguments of the ATen schema. Floating tensors arrive as traced
values, integer and Boolean tensors as NumPy arrays (they are decisions, taken from PyTorch's run), everything else as
it was passed. It returns one traced value per differentiable output: one, or a tuple in the order of the schema in
which an entry may be None (taken from the recording).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Lowering = Callable[..., Any]
_TABLE: dict[str, Lowering] = {}

# Operations whose result does not depend on the values of their floating arguments, only on shape and dtype, or is
# random.
CONSTANT: set[str] = set()


class NotCovered(Exception):
    """Raised by a lowering for arguments it does not cover; the message says which and why."""


@dataclass(frozen=True)
class CallSite:
    """What a lowering may know about the recorded call beside its arguments.

    outputs: the recorded outputs as NumPy arrays (None where not a tensor): decisions such as indices and masks are
    taken from here.
    number_of: the recorded number of an argument (a traced one has none of its own), to check a decision of PyTorch's
    against it.
    geometries: (shape, stride, offset) of every tensor argument, for operations that read storage. dtype: name of the
    dtype of the first output, "float32" for example. followed: names of the documented definitions relied on.
    only_adjoints: the derivative is asked for in reverse mode alone. tangents: the call was made inside forward mode,
    whose rules compute with what the call gives beside its result. made_in: names the shortest dtype that a number was
    held in on the way to the arguments. drifts: how far rounding in a dtype moves an argument in the run that led to
    it, a standard deviation for each entry. by_definition: the call is to be read by a documented definition that is
    right or wrong by what led to it. undecided: filled where it may be.
    """

    name: str
    outputs: tuple[Any, ...]
    dtype: str
    number_of: Callable[[Any], Any] = np.asarray
    geometries: tuple[Any, ...] = ()
    followed: list[str] = field(default_factory=list)
    only_adjoints: bool = False
    tangents: bool = False
    made_in: Callable[[], str] = lambda: "float64"
    drifts: Callable[[Any, str], Any] = lambda a, dtype: np.zeros(np.shape(a))
    by_definition: bool = False
    undecided: list[str] = field(default_factory=list)

    def follows(self, name: str) -> None:
        """Say that the reading of this call relies on a documented definition of harness/conventions.toml."""
        self.followed.append(name)

    def leaves_open(self) -> bool:
        """Say that a documented definition is right or wrong by what led to this call; whether to read it by that."""
        self.undecided.append(self.name)
        return self.by_definition

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(np.shape(self.outputs[0]))


def lowers(*names: str) -> Callable[[Lowering], Lowering]:
    """Enter a function as the lowering of ATen operations: "aten::add" for every overload, "aten::add.Tensor" for one.

    In-place variants ("aten::add_") use the same entry. A name entered twice is an error.
    """

    def enter(fn: Lowering) -> Lowering:
        for name in names:
            if name in _TABLE:
                raise ValueError(f"lowering {name!r}: entered twice; one is accepted. Remove one of them.")
            _TABLE[name] = fn
        return fn

    return enter


def lower_many(table: dict[str, Callable[..., Any]]) -> None:
    """Enter operations whose arguments are exactly those of one of our functions (tensors only, no keywords)."""
    for name, function in table.items():
        lowers(f"aten::{name}")(_plain(function))


def _plain(function: Callable[..., Any]) -> Lowering:
    def lowered(call: CallSite, *args: Any) -> Any:
        return function(*args)

    lowered.__doc__ = function.__doc__
    return lowered


def constant(names: Iterable[str]) -> None:
    """Declare operations whose outputs are constants: factories, random numbers, comparisons with float results."""
    CONSTANT.update(f"aten::{n}" for n in names)


def functional_name(name: str) -> str:
    """aten::add_ -> aten::add; names that end in two underscores are left alone."""
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def is_lowered(name: str) -> bool:
    """Whether exactly this name has an entry."""
    return name in _TABLE


def withdraw(name: str) -> None:
    """Take an entry out of the table, if it is there."""
    _TABLE.pop(name, None)


def find(name: str, overload: str) -> Lowering | None:
    """The lowering of an operation, or None. The exact overload wins over the bare name."""
    base = functional_name(name)
    return _TABLE.get(f"{base}.{overload}") or _TABLE.get(base)


def is_constant(name: str) -> bool:
    return name in CONSTANT or functional_name(name) in CONSTANT


def known_operations() -> list[str]:
    """Every operation that has a lowering, sorted."""
    return sorted(_TABLE)
