"""Tracing: run a NumPy-style function once on tracers and keep what it did as a `Program`.

`bind` applies a primitive: to arrays at once, to tracers by writing one more equation. A builder that is *eager* knows
the numbers of its inputs and computes a traced value when it is first asked for, so that traced code may branch on
numbers; code that does not ask costs nothing here, and its program runs as a whole, forward and backward together.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import DtypeError, ShapeError
from .program import Equation, Program, Variable, scalar_value
from .registry import BOOL, COMPLEX, FLOAT, INT, PRIMITIVES, Array, Primitive

_levels = itertools.count(1)


class Builder:
    """Collects equations. `level` orders nested traces: an operation is written into the innermost one it touches."""

    __slots__ = (
        "_lifted",
        "_makers",
        "_next_site",
        "constants",
        "eager",
        "equations",
        "inputs",
        "level",
        "site",
        "values",
    )

    def __init__(self, eager: bool = False) -> None:
        self.level = next(_levels)
        self.inputs: list[Variable] = []
        self.constants: dict[Variable, Any] = {}
        self.equations: list[Equation] = []
        self.eager = eager
        self.values: dict[Variable, Any] = {}
        self._makers: dict[Variable, Equation] = {}
        self._lifted: dict[Any, Tracer] = {}
        self.site = 0
        self._next_site = 0

    @classmethod
    def extending(cls, program: Program) -> Builder:
        """A builder that continues a program: same variables, so that values of the one are values of the other."""
        builder = cls()
        builder.inputs = list(program.inputs)
        builder.constants = dict(program.constants)
        builder.equations = list(program.equations)
        builder._next_site = 1 + max((e.site for e in program.equations), default=-1)
        for variable, constant in program.constants.items():
            value = scalar_value(constant)
            if value is not None:
                builder._lifted[(constant.dtype.char, value)] = Tracer(builder, variable)
        return builder

    def input(self, shape: tuple[int, ...], dtype: np.dtype[Any] = FLOAT, value: Any = None) -> Tracer:
        variable = Variable(shape, dtype)
        self.inputs.append(variable)
        if value is not None:
            self.values[variable] = value
        return Tracer(self, variable)

    def tracer(self, variable: Variable) -> Tracer:
        return Tracer(self, variable)

    def value_of(self, variable: Variable) -> Any:
        """The number of a variable, computed now if need be; None where it is not known."""
        known = self.values.get(variable)
        if known is None:
            known = self.constants.get(variable)
        if known is None and self.eager and variable in self._makers:
            self._compute(variable)
            known = self.values[variable]
        return known.value if type(known) is Tracer else known

    def _compute(self, variable: Variable) -> None:
        """Run the equations that `variable` stands on and that have not run yet, in order."""
        needed = {variable}
        pending: list[Equation] = []
        for e in reversed(self.equations):
            if not needed.isdisjoint(e.outputs):
                pending.append(e)
                needed.update(v for v in e.inputs if v in self._makers and v not in self.values)
        with np.errstate(all="ignore"):
            for e in reversed(pending):
                result = PRIMITIVES[e.primitive].forward(*[self.value_of(v) for v in e.inputs], **e.params)
                self.values.update(zip(e.outputs, result if isinstance(result, tuple) else (result,), strict=True))

    def lift(self, x: Any, integer: bool = False) -> Tracer:
        """`x` as a tracer of this builder: arrays and tracers of outer traces become constants."""
        if type(x) is Tracer:
            if x.builder is self:
                return x
            key: Any = id(x.variable)
            found = self._lifted.get(key)
            if found is None:
                variable = Variable(x.shape, x.dtype)
                self.constants[variable] = x
                found = self._lifted[key] = Tracer(self, variable)
            return found
        array = as_array(x, integer)
        key = (array.dtype.char, array.tobytes()) if array.ndim == 0 else ("array", id(x), integer)
        found = self._lifted.get(key)
        if found is None:
            variable = Variable(array.shape, array.dtype)
            self.constants[variable] = array
            found = self._lifted[key] = Tracer(self, variable)
            if array.ndim:
                self._lifted[("alive", id(x))] = x  # keeps the id from being reused
        return found

    def emit(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        integers = primitive.integers
        inputs = tuple([self.lift(x, i in integers).variable for i, x in enumerate(args)])
        avals = primitive.infer(*inputs, **params)
        many = isinstance(avals, list)
        outputs = tuple([Variable(shape, dtype) for shape, dtype in (avals if many else (avals,))])
        equation = Equation(primitive.name, inputs, params, outputs, self._next_site)
        self.equations.append(equation)
        self._next_site += 1
        if self.eager:
            for variable in outputs:
                self._makers[variable] = equation
        made = tuple([Tracer(self, v) for v in outputs])
        return made if many else made[0]

    def finish(self, outputs: Sequence[Tracer], name: str = "f") -> Program:
        return Program(
            tuple(self.inputs),
            self.constants,
            tuple(self.equations),
            tuple(self.lift(t).variable for t in outputs),
            name,
        )


def bind(name: str, *args: Any, **params: Any) -> Any:
    """Apply the primitive `name`: at once to arrays, as a new equation if any argument is a tracer."""
    builder = None
    for x in args:
        if type(x) is Tracer and (builder is None or x.builder.level > builder.level):
            builder = x.builder
    primitive = PRIMITIVES[name]
    if builder is not None:
        return builder.emit(primitive, args, params)
    arrays = [as_array(x, i in primitive.integers) for i, x in enumerate(args)]
    primitive.infer(*[Variable(a.shape, a.dtype) for a in arrays], **params)
    with np.errstate(all="ignore"):
        return primitive.forward(*arrays, **params)


def as_array(x: Any, integer: bool = False) -> Array:
    """`x` as an array of one of the four dtypes: float64, complex128, bool, or int64 where the operation wants indices.

    Raises DtypeError for anything that is not numeric.
    """
    array = np.asarray(x)
    kind = array.dtype.kind
    if kind == "f":
        return array if array.dtype == FLOAT else array.astype(FLOAT)
    if kind == "b":
        return array
    if kind in "iu":
        return array.astype(INT if integer else FLOAT)
    if kind == "c":
        return array if array.dtype == COMPLEX else array.astype(COMPLEX)
    raise DtypeError(
        f"as_array: found a {type(x).__name__} of dtype {array.dtype}; accepted are numbers and arrays of Booleans, "
        f"integers, floats or complex numbers. "
        "Convert it to a NumPy array of float64 first."
    )


class Tracer:
    """Stands for a value while a function is traced; takes part in NumPy-style expressions."""

    __slots__ = ("builder", "variable")
    __array_ufunc__ = None  # NumPy arrays on the left hand leave the operation to us
    __array_priority__ = 1000

    def __init__(self, builder: Builder, variable: Variable) -> None:
        self.builder = builder
        self.variable = variable

    @property
    def value(self) -> Any:
        """The number that this traced value stands for, where the trace knows it; else None."""
        return self.builder.value_of(self.variable)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.variable.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.variable.dtype

    @property
    def ndim(self) -> int:
        return len(self.variable.shape)

    @property
    def size(self) -> int:
        return self.variable.size

    def __repr__(self) -> str:
        return f"Tracer({self.variable!r}{'' if self.value is None else f', value={self.value}'})"

    def __add__(self, other: Any) -> Any:
        return bind("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return bind("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return bind("subtract", self, other)

    def __rsub__(self, other: Any) -> Any:
        return bind("subtract", other, self)

    def __mul__(self, other: Any) -> Any:
        return bind("multiply", self, other)

    def __rmul__(self, other: Any) -> Any:
        return bind("multiply", other, self)

    def __truediv__(self, other: Any) -> Any:
        return bind("divide", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return bind("divide", other, self)

    def __pow__(self, other: Any) -> Any:
        return _public("pow", self, other)

    def __rpow__(self, other: Any) -> Any:
        return _public("pow", other, self)

    def __matmul__(self, other: Any) -> Any:
        return _public("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _public("matmul", other, self)

    def __neg__(self) -> Any:
        return bind("negative", self)

    def __pos__(self) -> Tracer:
        return self

    def __abs__(self) -> Any:
        return bind("abs", self)

    def __getitem__(self, index: Any) -> Any:
        return _public("getitem", self, index)

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError("len: the traced value has shape (); accepted is at least one axis. Reshape it first.")
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __lt__(self, other: Any) -> Any:
        return bind("less", self, other)

    def __le__(self, other: Any) -> Any:
        return bind("less_equal", self, other)

    def __gt__(self, other: Any) -> Any:
        return bind("greater", self, other)

    def __ge__(self, other: Any) -> Any:
        return bind("greater_equal", self, other)

    def _known(self, wanted: str) -> Any:
        if self.value is None:
            raise DtypeError(
                f"{wanted}: the traced value {self.variable!r} has no number while a program is being built from "
                f"shapes alone; accepted is code that does not "
                "branch on it. Use ops.where, or trace with grad or value_and_grad, which know the numbers."
            )
        return self.value

    def __bool__(self) -> bool:
        return bool(self._known("bool"))

    def __float__(self) -> float:
        return float(self._known("float"))

    def __int__(self) -> int:
        return int(self._known("int"))

    def reshape(self, *shape: Any) -> Any:
        return _public("reshape", self, shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)

    def transpose(self, *axes: Any) -> Any:
        return _public(
            "transpose", self, (axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes) or None
        )

    @property
    def T(self) -> Any:  # noqa: N802 - NumPy's name
        return _public("transpose", self)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        return _public("sum", self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        return _public("mean", self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        return _public("max", self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Any:
        return _public("min", self, axis=axis, keepdims=keepdims)


def _public(name: str, *args: Any, **kwargs: Any) -> Any:
    from . import ops  # the public functions sit above tracing; looked up when an operator is used

    return getattr(ops, name)(*args, **kwargs)


def trace(fn: Callable[..., Any], *examples: Any, name: str = "f") -> Program:
    """The program of `fn` at the shapes and dtypes of `examples` (arrays, or anything with shape and dtype).

    `fn` returns one traced value or a sequence of them. Constants that `fn` closes over are kept as constants.
    """
    builder = Builder()
    arguments = []
    for x in examples:
        if not (hasattr(x, "shape") and hasattr(x, "dtype")):
            x = as_array(x)
        dtype = np.dtype(x.dtype)
        arguments.append(
            builder.input(
                tuple(x.shape),
                COMPLEX if dtype.kind == "c" else INT if dtype.kind in "iu" else BOOL if dtype.kind == "b" else FLOAT,
            )
        )
    result = fn(*arguments)
    return builder.finish(result if isinstance(result, (tuple, list)) else [result], name)
