"""`Program`: straight-line code in single assignment form, the one thing that every reading of the engine reads.

A program has inputs, constants, equations `outputs = primitive(inputs, params)` and outputs. It can be printed as code
and written to JSON and back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import ProgramError

DTYPES = {
    "float64": np.dtype(np.float64),
    "complex128": np.dtype(np.complex128),
    "bool": np.dtype(bool),
    "int64": np.dtype(np.int64),
}
SHORT = {"float64": "f64", "complex128": "c128", "bool": "bool", "int64": "i64"}


class Variable:
    """One value of a program, known by identity; it has a shape and one of the four dtypes of the engine."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self.dtype = dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __repr__(self) -> str:
        return f"{SHORT[self.dtype.name]}[{','.join(map(str, self.shape))}]"


@dataclass(slots=True, eq=False)
class Equation:
    """`outputs = primitive(*inputs, **params)`; `primitive` is a name in the registry, `params` are hashable.

    `site` numbers the equation for the choices its rules leave open; it survives simplification and further orders.
    """

    primitive: str
    inputs: tuple[Variable, ...]
    params: dict[str, Any]
    outputs: tuple[Variable, ...]
    site: int = 0


@dataclass(slots=True, eq=False)
class Program:
    """Straight-line code.

    `constants` are arrays met while tracing (a value may itself be a tracer when traces are nested).
    Every variable is assigned once, before it is used.
    """

    inputs: tuple[Variable, ...]
    constants: dict[Variable, Any]
    equations: tuple[Equation, ...]
    outputs: tuple[Variable, ...]
    name: str = field(default="f")

    def variables(self) -> Iterator[Variable]:
        """All variables in the order in which they are defined: inputs, constants, then equation by equation."""
        yield from self.inputs
        yield from self.constants
        for equation in self.equations:
            yield from equation.outputs

    def numbering(self) -> dict[Variable, int]:
        return {variable: i for i, variable in enumerate(self.variables())}

    def key(self) -> tuple[Any, ...]:
        """Hashable structure: equal keys mean equal code, whatever the arrays among the constants hold."""
        number = self.numbering()
        return (
            tuple((v.shape, v.dtype.char) for v in self.inputs),
            tuple((v.shape, v.dtype.char, scalar_value(c)) for v, c in self.constants.items()),
            tuple(
                (e.primitive, tuple([number[v] for v in e.inputs]), tuple(sorted(e.params.items())) if e.params else ())
                for e in self.equations
            ),
            tuple(number[v] for v in self.outputs),
        )

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` reads back; NaN and infinities are written as strings."""
        number = self.numbering()
        return {
            "name": self.name,
            "inputs": [{"shape": list(v.shape), "dtype": v.dtype.name} for v in self.inputs],
            "constants": [
                {"shape": list(v.shape), "dtype": v.dtype.name, "data": array_to_json(c)}
                for v, c in self.constants.items()
            ],
            "equations": [
                {
                    "primitive": e.primitive,
                    "inputs": [number[v] for v in e.inputs],
                    "params": e.params,
                    "outputs": [{"shape": list(v.shape), "dtype": v.dtype.name} for v in e.outputs],
                }
                for e in self.equations
            ],
            "outputs": [number[v] for v in self.outputs],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Program:
        """The inverse of `to_json`. Raises ProgramError naming the part that cannot be read."""
        part = "the whole"
        try:
            part = "inputs"
            inputs = tuple(_variable(v) for v in data["inputs"])
            part = "constants"
            constants = {_variable(c): array_from_json(c["data"], c["dtype"], c["shape"]) for c in data["constants"]}
            known: list[Variable] = [*inputs, *constants]
            equations = []
            for i, e in enumerate(data["equations"]):
                part = f"equations[{i}]"
                outputs = tuple(_variable(v) for v in e["outputs"])
                if any(j < 0 for j in e["inputs"]):
                    raise IndexError("negative variable number")
                equations.append(
                    Equation(
                        str(e["primitive"]), tuple(known[j] for j in e["inputs"]), _hashable(e["params"]), outputs, i
                    )
                )
                known.extend(outputs)
            part = "outputs"
            return Program(
                inputs,
                constants,
                tuple(equations),
                tuple(known[j] for j in data["outputs"]),
                str(data.get("name", "f")),
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ProgramError(
                f"Program.from_json: {part} could not be read ({type(error).__name__}: {error}); accepted is what "
                f"Program.to_json writes. "
                "Write the case again, or restore the file from where it came."
            ) from error

    def dumps(self) -> str:
        return json.dumps(self.to_json())

    def __str__(self) -> str:
        """The program as readable code, one equation a line."""
        names = {v: letters(i) for i, v in enumerate(self.variables())}
        lines = [f"def {self.name}({', '.join(f'{names[v]}: {v!r}' for v in self.inputs)}):"]
        for v, c in self.constants.items():
            lines.append(f"    {names[v]}: {v!r} = {_short(c)}")
        for e in self.equations:
            arguments = [names[v] for v in e.inputs] + [f"{k}={value!r}" for k, value in e.params.items()]
            left = ", ".join(f"{names[v]}: {v!r}" for v in e.outputs)
            lines.append(f"    {left} = {e.primitive}({', '.join(arguments)})")
        lines.append(f"    return {', '.join(names[v] for v in self.outputs)}")
        return "\n".join(lines)


def scalar_value(constant: Any) -> Any:
    """A 0-d array as a hashable number (NaN by its bytes, so that it equals itself); None for anything else."""
    if isinstance(constant, np.ndarray) and constant.ndim == 0:
        return constant.tobytes()
    return None


def array_to_json(array: Any) -> Any:
    """Nested lists; floats that JSON cannot hold become "nan", "inf", "-inf"; complex numbers become [re, im]."""
    array = np.asarray(array)
    if array.dtype.kind == "c":
        return array_to_json(np.stack([array.real, array.imag], axis=-1))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return np.vectorize(lambda v: v if math.isfinite(v) else repr(float(v)), otypes=[object])(array).tolist()
    return array.tolist()


def array_from_json(data: Any, dtype: str, shape: Sequence[int]) -> np.ndarray[Any, Any]:
    if dtype == "complex128":
        pairs = np.array(data, dtype=object).astype(np.float64).reshape(*shape, 2)
        return np.asarray(pairs[..., 0] + 1j * pairs[..., 1])
    return np.array(data, dtype=object).astype(DTYPES[dtype]).reshape(tuple(shape))


def _variable(data: Mapping[str, Any]) -> Variable:
    return Variable(tuple(int(n) for n in data["shape"]), DTYPES[data["dtype"]])


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _hashable(v) for k, v in value.items()}
    return tuple(_hashable(v) for v in value) if isinstance(value, list) else value


def letters(i: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    name = ""
    i += 1
    while i:
        i, r = divmod(i - 1, 26)
        name = chr(ord("a") + r) + name
    return name + "_" if name in ("as", "if", "in", "is", "or", "def", "for") else name


def _short(constant: Any) -> str:
    if isinstance(constant, np.ndarray):
        return (
            repr(constant.item())
            if constant.ndim == 0
            else np.array2string(constant, threshold=8, precision=6, separator=", ").replace("\n", "")
        )
    return "<traced value>"
