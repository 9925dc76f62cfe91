"""Programs as PyTorch source: a function that uses torch and math alone, readable, with its constants as literals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...reference_engine.program import Equation, Program, Variable
from ...reference_engine.registry import PRIMITIVES
from ..errors import UsageError

# Operators that take a Python number as it is; it then follows the dtype of the other operand.
OPERATORS = frozenset(
    ("add", "subtract", "multiply", "divide", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
)


def number(x: Any) -> str:
    """A Python literal: shortest decimals that read back as the same float; math.inf, math.nan for the others."""
    if isinstance(x, (bool, np.bool_)):
        return repr(bool(x))
    if isinstance(x, (int, np.integer)):
        return repr(int(x))
    if isinstance(x, (complex, np.complexfloating)):
        return f"complex({number(x.real)}, {number(x.imag)})"
    x = float(x)
    if math.isnan(x):
        return "math.nan"
    if math.isinf(x):
        return "math.inf" if x > 0 else "-math.inf"
    return repr(x)


def nested(array: Any) -> str:
    """An array as nested lists of literals."""
    array = np.asarray(array)
    if array.ndim == 0:
        return number(array[()])
    return "[" + ", ".join(nested(a) for a in array) + "]"


def tensor(array: Any, dtype: str) -> str:
    """`torch.tensor(...)` of an array; empty shapes and constant arrays are written by their shape."""
    array = np.asarray(array)
    if array.dtype.kind == "b":
        dtype = "torch.bool"
    elif array.dtype.kind in "iu":
        dtype = "torch.int64"
    if array.size == 0:
        return f"torch.zeros({tuple(array.shape)}, dtype={dtype})"
    first = array.reshape(-1)[0]
    if array.size > 8 and (array == first).all():
        return f"torch.full({tuple(array.shape)}, {number(first)}, dtype={dtype})"
    return f"torch.tensor({nested(array)}, dtype={dtype})"


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_literal(v) for v in value) + ("," if len(value) == 1 else "") + ")"
    return number(value) if isinstance(value, (bool, int, float, complex, np.generic)) else repr(value)


def spelled(equation: Equation, names: Sequence[str]) -> str:
    """The PyTorch expression of one equation. Raises UsageError for a primitive that has no spelling."""
    spelling = PRIMITIVES[equation.primitive].torch
    if spelling is None:
        raise UsageError(
            f"emit: {equation.primitive} has no PyTorch spelling; accepted are programs of primitives that have one. "
            "Declare `torch=` where the primitive is declared."
        )
    if callable(spelling):
        return spelling(list(names), equation.params)
    params = {k: _literal(v) for k, v in equation.params.items()}
    return spelling.format(*names, args=", ".join(names), **params)


def emit(program: Program, name: str = "f", *, always_tuple: bool = False) -> str:
    """Source of a PyTorch function of the inputs of `program`, one line an equation.

    It needs `import math, torch`. Constants follow the dtype of the first input, so the same source runs in float64
    and in lower precision. It returns a tensor, or a tuple of tensors if the program has several outputs or
    `always_tuple`. Raises UsageError for a primitive that has no PyTorch spelling.
    """
    names: dict[Variable, str] = {v: f"x{i}" for i, v in enumerate(program.inputs)}
    dtype = "x0.dtype" if program.inputs else "torch.float64"
    lines = [f"def {name}({', '.join(names.values())}):"]
    scalars = {v: number(np.asarray(c)[()]) for v, c in program.constants.items() if v.shape == ()}
    named = _named_constants(program, scalars)
    for i, v in enumerate(named):
        names[v] = f"c{i}"
        lines.append(f"    c{i} = {tensor(program.constants[v], dtype)}")
    count = 0
    for e in program.equations:
        written = [scalars[v] if _inline(e, v, scalars) else names[v] for v in e.inputs]
        outputs = [f"y{count + i}" for i in range(len(e.outputs))]
        names.update(zip(e.outputs, outputs, strict=True))
        count += len(outputs)
        lines.append(f"    {', '.join(outputs)} = {_bare(spelled(e, written))}")
    results = [names[v] if v in names else tensor(program.constants[v], dtype) for v in program.outputs]
    lines.append(f"    return {', '.join(results)}{',' if always_tuple and len(results) == 1 else ''}")
    return "\n".join(lines) + "\n"


def _inline(e: Equation, v: Variable, scalars: Mapping[Variable, str]) -> bool:
    """Whether a scalar constant stands in the expression as a number: with operators whose other operand is a
    tensor.
    """
    return v in scalars and e.primitive in OPERATORS and any(w not in scalars for w in e.inputs)


def _named_constants(program: Program, scalars: Mapping[Variable, str]) -> list[Variable]:
    """Constants that need a name, in order: all arrays, and scalars that some function takes as a tensor."""
    used = {v for e in program.equations for v in e.inputs if v in program.constants and not _inline(e, v, scalars)}
    used.update(v for v in program.outputs if v in program.constants)
    return [v for v in program.constants if v in used]


def _bare(expression: str) -> str:
    """An expression without the parentheses around the whole of it."""
    if not (expression.startswith("(") and expression.endswith(")")):
        return expression
    depth = 0
    for i, c in enumerate(expression):
        depth += (c == "(") - (c == ")")
        if depth == 0 and i < len(expression) - 1:
            return expression
    return expression[1:-1]


def compiled(source: str, name: str = "f") -> Callable[..., Any]:
    """The function that `source` defines, compiled from memory (its file name is "<generated>")."""
    import torch

    namespace: dict[str, Any] = {"torch": torch, "math": math}
    exec(compile(source, "<generated>", "exec"), namespace)  # our own text, made from the registry's spellings
    return namespace[name]  # type: ignore[no-any-return]


def function_of(program: Program, *, always_tuple: bool = False) -> Callable[..., Any]:
    """`emit(program)` as a callable on tensors of any floating dtype."""
    return compiled(emit(program, always_tuple=always_tuple))
