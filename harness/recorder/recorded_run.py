"""The recorded run as straight-line code: its variables, its calls, its autograd edges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .applied import Lines
from .draws import Draws
from .nested import replaced
from .preserving import Written
from .rebased import Rebased


@dataclass(frozen=True)
class Ref:
    """Stands for a tensor in the arguments of a call: the number of a recorded variable."""

    index: int


@dataclass(slots=True)
class Recorded:
    """One value of the run in float64, bool or int64, with the dtype and the (shape, stride, offset) that PyTorch held
    it in. Complex numbers have their real and imaginary part along one more axis, the last.
    """

    value: np.ndarray[Any, Any]
    dtype: torch.dtype
    maker: int | None
    is_leaf_input: bool = False
    geometry: Any = None

    @property
    def is_float(self) -> bool:
        return self.dtype.is_floating_point or self.dtype.is_complex

    @property
    def stored(self) -> np.ndarray[Any, Any]:
        """The value as PyTorch shapes it: complex numbers as such."""
        return self.value[..., 0] + 1j * self.value[..., 1] if self.dtype.is_complex else self.value


@dataclass(slots=True)
class Call:
    """One ATen call. `args` and `kwargs` hold Ref for tensors; `outputs` are variable numbers (None: not a tensor).
    tangents: it was made inside forward mode."""

    name: str
    overload: str
    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[int | None, ...]
    sequence: int
    grad_enabled: bool
    where: str
    tangents: bool = False

    @property
    def qualified(self) -> str:
        return f"{self.name}.{self.overload}"

    def references(self) -> list[int]:
        found: list[int] = []
        replaced((self.args, self.kwargs), Ref, lambda ref: found.append(ref.index))
        return found


@dataclass
class Recording:
    """The run as straight-line code over recorded variables.

    inputs: variable numbers of the tensors handed to `capture`, in order; outputs: those that the function returned.
    edges: (autograd node, output number), or (id of a leaf, 0) -> variable. leaves: variable -> leaf that requires
    grad; made: those of them that the run made itself. drawn: the random numbers that the run drew. applied: where
    custom Functions were applied, by the number of their node; rebased: those that wrote into a view. written: tensors
    of the module that the run wrote into and that were put back since, with the numbers it left there.
    """

    variables: list[Recorded] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    edges: dict[Any, int] = field(default_factory=dict)
    leaves: dict[int, torch.Tensor] = field(default_factory=dict)
    made: set[int] = field(default_factory=set)
    hooked: list[torch.Tensor] = field(default_factory=list)
    drawn: Draws = field(default_factory=Draws)
    applied: Lines = field(default_factory=dict)
    rebased: list[Rebased] = field(default_factory=list)
    held: set[int] = field(default_factory=set)
    inside: list[Call] = field(default_factory=list)  # operators that are in `calls` by what their kernels called
    edits: list[tuple[int, int]] = field(default_factory=list)  # variable before and after a write that no call shows
    moved: bool = False  # whether an output has other numbers than those recorded
    unseen: dict[int, Any] = field(default_factory=dict)  # variables without a maker -> the autograd node they have
    autocast: str | None = None  # the dtype that autocast had, where a part of the run was under it
    written: Written = field(default_factory=list)
    result: Any = None
    torch_outputs: list[torch.Tensor] = field(default_factory=list)

    @property
    def operations(self) -> list[str]:
        return sorted({c.qualified for c in self.calls})

    @property
    def has_complex(self) -> bool:
        """Whether the run holds complex numbers."""
        return any(v.dtype.is_complex for v in self.variables)

    @property
    def draws(self) -> bool:
        """Whether the run drew random numbers: a generator moved (attention with a dropout of 0 leaves it alone)."""
        return bool(self.drawn)

    def program(self) -> Any:
        """The run as the witness reads it: a `Program` from the floating inputs to the floating outputs.

        Raises UnsupportedOperation naming the operations that have no rule.
        """
        from .witnessing import program_of

        return program_of(self)

    def __str__(self) -> str:
        """The recorded calls, one a line, with where each was made."""
        lines = []
        for c in self.calls:
            left = ", ".join("_" if o is None else f"v{o}" for o in c.outputs)
            shown = replaced(c.args, Ref, lambda a: f"v{a.index}")
            lines.append(f"{left} = {c.qualified}({', '.join(map(str, shown))})  # {c.where}")
        return "\n".join(lines)
