"""`Case`: a program and the point at which it is differentiated, what every generated comparison starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...reference_engine.errors import ProgramError
from ...reference_engine.program import Program, Variable, array_from_json, array_to_json
from ..errors import CaseError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Case:
    """A program with its inputs (float64 arrays, one per input of the program, same shapes).

    left_out: what the generator drew and did not keep, counted by "operation: reason"; it is not part of the program.
    """

    program: Program
    inputs: tuple[Array, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def operations(self) -> int:
        """Number of equations."""
        return len(self.program.equations)

    @property
    def elements(self) -> int:
        """Number of entries of all inputs."""
        return sum(x.size for x in self.inputs)

    @property
    def primitives(self) -> list[str]:
        """Names of the primitives, equation by equation."""
        return [e.primitive for e in self.program.equations]

    def source(self) -> str:
        """PyTorch source of the program: a function of its inputs."""
        from .emit import emit

        return emit(self.program)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` reads back."""
        return {"program": self.program.to_json(), "inputs": [array_to_json(x) for x in self.inputs]}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Case:
        """The inverse of `to_json`. Raises CaseError naming the part that cannot be read."""
        try:
            program = Program.from_json(data["program"])
            if len(data["inputs"]) != len(program.inputs):
                raise ValueError(f"{len(data['inputs'])} inputs for a program of {len(program.inputs)}")
            pairs = zip(data["inputs"], program.inputs, strict=True)
            return Case(program, tuple(array_from_json(x, v.dtype.name, v.shape) for x, v in pairs))
        except (KeyError, TypeError, ValueError, ProgramError) as error:
            raise CaseError(
                f"Case.from_json: the case could not be read ({type(error).__name__}: {error}); accepted is what "
                "Case.to_json writes. Write the case again, or restore the file from where it came."
            ) from error

    def __repr__(self) -> str:
        """The program as code, then the inputs."""
        return "\n".join([str(self.program), *[f"    # {_name(i)} = {x.tolist()}" for i, x in enumerate(self.inputs)]])


def _name(i: int) -> str:
    return f"input {i}"


def pruned(program: Program) -> Program:
    """The program without equations, constants and inputs that its outputs do not need.

    Unlike `simplify`, nothing is merged or skipped: what a generator drew stays as it was drawn.
    """
    alive: set[Variable] = set(program.outputs)
    kept = []
    for e in reversed(program.equations):
        if not alive.isdisjoint(e.outputs):
            alive.update(e.inputs)
            kept.append(e)
    kept.reverse()
    return Program(
        tuple(v for v in program.inputs if v in alive),
        {v: c for v, c in program.constants.items() if v in alive},
        tuple(kept),
        program.outputs,
        program.name,
    )


def depends(program: Program) -> set[Variable]:
    """The variables that depend on an input of the program through a differentiable value."""
    active = set(program.inputs)
    for e in program.equations:
        if not active.isdisjoint(e.inputs):
            active.update(v for v in e.outputs if v.dtype.kind in "fc")
    return active
