"""Derivatives of functions: grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp, with JAX's signatures.

A function is traced at each call (it may branch on numbers and close over arrays that change); the derived program is
kept, with the buffers that it computes in, and found again by its structure, so a second call costs one forward and one
backward evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from .errors import ParameterError, ShapeError
from .evaluate import Plan, evaluate
from .forward import forward
from .program import Program, Variable
from .reverse import reverse
from .simplify import simplify
from .structure import flatten, rebuild
from .tracing import Builder, Tracer, as_array

_kept: dict[Any, tuple[Plan, list[Any]]] = {}
_KEPT_PLANS = 256
_KEPT_BYTES = 2**29  # what the buffers of all kept plans may hold together


def _keep(key: Any, plan: Plan, constants: list[Any]) -> tuple[Plan, list[Any]]:
    """Remember a plan for a program that comes again; the oldest are forgotten first."""
    held = plan.nbytes + sum(other.nbytes for other, _ in _kept.values())
    while _kept and (len(_kept) >= _KEPT_PLANS or held > _KEPT_BYTES):
        oldest, _ = _kept.pop(next(iter(_kept)))
        held -= oldest.nbytes
    plan.forget_program()
    _kept[key] = (plan, constants)
    return plan, constants


class _Traced:
    """One run of a function: its program, the numbers it started from, and how arguments and results are nested."""

    def __init__(self, fn: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int]) -> None:
        self.builder = builder = Builder(eager=True)
        self.leaves: list[Any] = []
        arguments = list(args)
        for n in argnums:
            leaves = [x if type(x) is Tracer else as_array(x) for x in flatten(args[n])]
            self.leaves += leaves
            traced = [builder.input(x.shape, x.dtype, x) for x in leaves]
            arguments[n] = rebuild(args[n], traced)
        with np.errstate(all="ignore"):
            self.result = fn(*arguments)
        self.outputs = [builder.lift(t) for t in flatten(self.result)]
        self.program = builder.finish(self.outputs, getattr(fn, "__name__", "f"))
        self.nested = any(type(x) is Tracer for x in (*self.leaves, *builder.constants.values()))

    def value(self) -> Any:
        """What the function returned, as arrays (as traced values of the outer trace, if there is one)."""
        if self.nested:
            return rebuild(self.result, _as_list(evaluate(self.program, *self.leaves)))
        return rebuild(self.result, [np.asarray(t.value) for t in self.outputs])

    def derived(self, kind: str, derive: Callable[[Program], Program], more: Sequence[Any]) -> list[Any]:
        """Outputs of `derive(program)` at the leaves and `more`, starting from the values of the forward run."""
        if self.nested or any(type(x) is Tracer for x in more):
            return _as_list(evaluate(simplify(derive(self.program)), *self.leaves, *more))
        program, value_of = self.program, self.builder.value_of
        known = list(program.variables())
        plan, constants = _planned(kind, program, derive, known)
        return plan.run([*[value_of(v) for v in known], *[np.asarray(x) for x in more], *constants])

    def value_and_pull(self, cotangents: Sequence[Any]) -> tuple[Any, list[Any]]:
        """The value and the gradients from one plan, which computes forward and backward in the same buffers."""
        if self.nested:
            return self.value(), self.pull(cotangents)
        program = self.program
        known = [*program.inputs, *program.constants]
        plan, constants = _planned("value and reverse", program, _with_value, known)
        given = [*self.leaves, *program.constants.values(), *[np.asarray(x) for x in cotangents], *constants]
        results = plan.run(given)
        count = len(self.outputs)
        return rebuild(self.result, [np.asarray(y) for y in results[:count]]), results[count:]

    def pull(self, cotangents: Sequence[Any]) -> list[Any]:
        return self.derived("reverse", reverse, cotangents)

    def push(self, tangents: Sequence[Any]) -> list[Any]:
        return self.derived("forward", forward, tangents)


def _with_value(program: Program) -> Program:
    """The program (inputs…, cotangents…) -> (outputs…, gradients…)."""
    pulled = reverse(program)
    return replace(pulled, outputs=(*program.outputs, *pulled.outputs))


def _planned(
    kind: str, program: Program, derive: Callable[[Program], Program], known: Sequence[Variable]
) -> tuple[Plan, list[Any]]:
    """The plan of `derive(program)`, and the values of the constants that it adds.

    It takes the values of `known`, then those of the inputs and constants that `derive` added.
    """
    key = (kind, program.key())
    found = _kept.get(key)
    if found is not None:
        return found
    result = simplify(derive(program))
    extra = [v for v in result.constants if v not in program.constants]
    plan = Plan(result, [*known, *result.inputs[len(program.inputs) :], *extra])
    return _keep(key, plan, [result.constants[v] for v in extra])


def _as_list(results: Any) -> list[Any]:
    return list(results) if isinstance(results, tuple) else [results]


def _argnums(operation: str, argnums: int | Sequence[int], count: int) -> tuple[int, ...]:
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for n in numbers:
        if not -count <= n < count:
            raise ParameterError(
                f"{operation}: argnums={argnums} but the function was given {count} arguments; accepted are {-count} "
                f"to {count - 1}. Check argnums."
            )
    return tuple(n % count for n in numbers)


def value_and_grad(
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """The function that returns (fn(*args), gradient): one forward and one backward evaluation.

    ∂fn/∂args[argnums]; fn returns a scalar, shape (). The gradient has the nesting and shapes of args[argnums]: one
    array for a number, a tuple for several. With `has_aux`, fn returns (scalar, anything) and the value is that pair.
    At kinks: the element of least norm. Raises ShapeError if the value is not a scalar, ParameterError for an argnum
    that does not exist.
    """

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        numbers = _argnums("grad", argnums, len(args))
        aux: list[Any] = []

        def scalar(*a: Any) -> Any:
            result = fn(*a, **kwargs)
            if has_aux:
                result, extra = result
                aux.append(extra)
            return result

        traced = _Traced(scalar, args, numbers)
        if len(traced.outputs) != 1 or traced.outputs[0].shape != ():
            raise ShapeError(
                f"grad: {getattr(fn, '__name__', 'fn')} returned shapes {[t.shape for t in traced.outputs]}; accepted "
                f"is one scalar, shape (). "
                "Reduce it with ops.sum or ops.mean, or use vjp or jacobian."
            )
        value, gradients = traced.value_and_pull([1.0])
        split = []
        for n in numbers:
            leaves = len(flatten(args[n]))
            split.append(rebuild(args[n], gradients[:leaves]))
            gradients = gradients[leaves:]
        return ((value, aux[0]) if has_aux else value), (split[0] if isinstance(argnums, int) else tuple(split))

    return differentiated


def grad(fn: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns the gradient of the scalar function `fn`; see value_and_grad.

    With `has_aux` it returns (gradient, aux).
    """
    both = value_and_grad(fn, argnums, has_aux)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, result = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return gradient


def vjp(fn: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """(fn(*primals), pull) where pull(g) is the tuple of gᵀ ∂fn/∂primal.

    g has the nesting and shapes of the value. Source: Griewank and Walther, Evaluating Derivatives, ch. 3.
    """
    traced = _Traced(fn, primals, range(len(primals)))

    def pull(g: Any) -> tuple[Any, ...]:
        gradients = traced.pull(_fitting("vjp", "cotangent", flatten(g), [t.shape for t in traced.outputs]))
        split = []
        for p in primals:
            leaves = len(flatten(p))
            split.append(rebuild(p, gradients[:leaves]))
            gradients = gradients[leaves:]
        return tuple(split)

    return traced.value(), pull


def jvp(fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """(fn(*primals), Σ ∂fn/∂primal · tangent): forward mode.  Tangents have the nesting and shapes of the primals."""
    traced = _Traced(fn, primals, range(len(primals)))
    leaves = _fitting("jvp", "tangent", flatten(list(tangents)), [x.shape for x in traced.leaves])
    return traced.value(), rebuild(traced.result, traced.push(leaves))


def _fitting(operation: str, what: str, found: list[Any], shapes: list[tuple[int, ...]]) -> list[Any]:
    """`found` as arrays or tracers, checked against `shapes`."""
    arrays = [x if type(x) is Tracer else as_array(x) for x in found]
    if [x.shape for x in arrays] != shapes:
        raise ShapeError(
            f"{operation}: {what} shapes are {[x.shape for x in arrays]}; accepted are {shapes}. Pass one {what} of "
            f"that shape for each."
        )
    return arrays


def jacobian(
    fn: Callable[..., Any], argnums: int = 0, mode: Literal["reverse", "forward"] = "reverse"
) -> Callable[..., Any]:
    """The function that returns ∂y/∂x of one array output and one array argument.

    y.shape + x.shape. mode "reverse" pulls one row an output entry, "forward" pushes one column an input entry; both
    are the same numbers up to rounding. Raises ParameterError for another mode.
    """
    if mode not in ("reverse", "forward"):
        raise ParameterError(
            f"jacobian: mode={mode!r}; accepted are 'reverse' (one pass an output entry) and 'forward' (one pass an "
            f"input entry). Choose one."
        )

    def jacobian_at(*args: Any, **kwargs: Any) -> Any:
        (n,) = _argnums("jacobian", argnums, len(args))
        traced = _Traced(lambda *a: fn(*a, **kwargs), args, [n])
        if len(traced.leaves) != 1 or len(traced.outputs) != 1:
            raise ShapeError(
                f"jacobian: found {len(traced.leaves)} arrays in argument {n} and {len(traced.outputs)} outputs; "
                f"accepted is one of each. Take them one at a time."
            )
        x, y = traced.leaves[0], traced.outputs[0]
        if traced.nested:
            return _nested_jacobian(traced, x.shape, y.shape, mode)
        rows = y.size if mode == "reverse" else x.size
        shape = y.shape if mode == "reverse" else x.shape
        result = np.zeros((rows, x.size if mode == "reverse" else y.size))
        for k in range(rows):
            unit = np.zeros(rows)
            unit[k] = 1.0
            part = (traced.pull if mode == "reverse" else traced.push)([unit.reshape(shape)])
            result[k] = np.ravel(part[0])
        return (result if mode == "reverse" else result.T).reshape(y.shape + x.shape)

    return jacobian_at


def _nested_jacobian(traced: _Traced, x: tuple[int, ...], y: tuple[int, ...], mode: str) -> Any:
    """The same while an outer trace goes on: rows (or columns) are traced values, stacked by primitives."""
    from . import ops  # public functions sit beside this module

    shape = y if mode == "reverse" else x
    size = int(np.prod(shape, dtype=np.int64))
    parts = []
    for k in range(size):
        unit = np.zeros(size)
        unit[k] = 1.0
        parts.append((traced.pull if mode == "reverse" else traced.push)([unit.reshape(shape)])[0])
    stacked = ops.stack([ops.reshape(p, (-1,)) for p in parts], axis=0 if mode == "reverse" else 1)
    return ops.reshape(stacked, y + x)


def hessian(fn: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """The function that returns ∂²fn/∂x² of a scalar function: x.shape + x.shape, forward over reverse, one pass an
    entry of x.
    """
    return jacobian(grad(fn, argnums), argnums, mode="forward")


def hvp(fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Σ ∂²fn/∂x∂x′ · tangent of a scalar function, without the Hessian: forward over reverse.

    One primal: an array of its shape; several: a tuple with all mixed terms. Source: Pearlmutter, Fast exact
    multiplication by the Hessian, 1994.
    """
    numbers = tuple(range(len(primals)))
    _, product = jvp(grad(fn, numbers), primals, tangents)
    return product[0] if len(primals) == 1 else product
