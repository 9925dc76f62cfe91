"""Evaluate a program: numbers in, numbers out, values freed when dead and their buffers used again.

A `Plan` is the program with variables replaced by slots. It can start from values that are already known (those of the
forward pass), and an observer may replace each result, which is how rounding and generalised derivatives are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import ShapeError
from .program import Equation, Program, Variable
from .registry import PRIMITIVES, Array, Primitive
from .tracing import Tracer, as_array, bind

Observer = Callable[[Primitive, Equation, list[Any], Any], Any]


class Plan:
    """A program compiled to slots.

    `known` are variables whose values the caller passes in, in that order, in addition to nothing else: by default the
    inputs and constants. Equations that only compute known values are left out.
    """

    def __init__(self, program: Program, known: Sequence[Variable] | None = None) -> None:
        self.program = program
        if known is None:
            known = [*program.inputs, *program.constants]
        self.slot = {variable: i for i, variable in enumerate(known)}
        needed = set(program.outputs) - set(self.slot)
        equations: list[Equation] = []
        for equation in reversed(program.equations):
            if not needed.isdisjoint(equation.outputs):
                needed.update(v for v in equation.inputs if v not in self.slot)
                equations.append(equation)
        equations.reverse()
        for equation in equations:
            for v in equation.outputs:
                self.slot.setdefault(v, len(self.slot))
        self.equations = equations
        self.outputs = [self.slot[v] for v in program.outputs]
        self._schedule(len(known))

    def _schedule(self, given: int) -> None:
        """Where each slot dies, and which dead buffer a result may be written into."""
        last = {i: n for n, e in enumerate(self.equations) for i in [self.slot[v] for v in e.inputs]}
        root = list(range(len(self.slot)))  # the slot that owns the memory
        for e in self.equations:
            if PRIMITIVES[e.primitive].view:
                root[self.slot[e.outputs[0]]] = root[self.slot[e.inputs[0]]]
        life: dict[int, int] = {}
        for i, r in enumerate(root):
            life[r] = max(life.get(r, -1), last.get(i, -1))
        kept = {root[i] for i in self.outputs}
        self.steps: list[tuple[Any, ...]] = []
        for n, e in enumerate(self.equations):
            primitive = PRIMITIVES[e.primitive]
            ins = tuple(self.slot[v] for v in e.inputs)
            donor = -1
            if primitive.ufunc and not e.params:
                for v, i in zip(e.inputs, ins, strict=True):
                    mine = (
                        root[i] == i
                        and i >= given
                        and i not in kept
                        and life[i] == n
                        and not PRIMITIVES[self._maker(i)].view
                    )
                    if mine and v.shape == e.outputs[0].shape and v.dtype == e.outputs[0].dtype and v.size > 256:
                        donor = i
                        break
            dead = tuple({i for i in ins if last[i] == n and root[i] not in kept})
            outs = tuple(self.slot[v] for v in e.outputs)
            self.steps.append((primitive.forward, ins, e.params, outs, dead, donor))

    def forget_program(self) -> None:
        """Drop the source (with the arrays among its constants) from a plan that is kept for other constants."""
        del self.program

    def _maker(self, slot: int) -> str:
        if not hasattr(self, "_makers"):
            self._makers = {self.slot[v]: e.primitive for e in self.equations for v in e.outputs}
        return self._makers[slot]

    def run(self, given: Sequence[Any]) -> list[Any]:
        """Values of the outputs, from the values of the known variables."""
        environment: list[Any] = [*given, *([None] * (len(self.slot) - len(given)))]
        with np.errstate(all="ignore"):
            for forward, ins, params, outs, dead, donor in self.steps:
                arguments = [environment[i] for i in ins]
                if donor >= 0:
                    result = forward(*arguments, out=environment[donor])
                else:
                    result = forward(*arguments, **params)
                for i in dead:
                    environment[i] = None
                if len(outs) == 1:
                    environment[outs[0]] = result
                else:
                    for i, r in zip(outs, result, strict=True):
                        environment[i] = r
        return [environment[i] for i in self.outputs]

    def observe(self, given: Sequence[Any], observer: Observer) -> list[Any]:
        """As `run`, but each result is what `observer(primitive, equation, arguments, result)` returns."""
        environment: list[Any] = [*given, *([None] * (len(self.slot) - len(given)))]
        with np.errstate(all="ignore"):
            for equation, (forward, ins, params, outs, dead, _) in zip(self.equations, self.steps, strict=True):
                arguments = [environment[i] for i in ins]
                result = observer(PRIMITIVES[equation.primitive], equation, arguments, forward(*arguments, **params))
                for i in dead:
                    environment[i] = None
                for i, r in zip(outs, result if len(outs) > 1 else (result,), strict=True):
                    environment[i] = r
        return [environment[i] for i in self.outputs]


def arguments_of(program: Program, inputs: Sequence[Any]) -> list[Array]:
    """Inputs as arrays of the program's dtypes, followed by its constants; complex ones pass (complex step)."""
    if len(inputs) != len(program.inputs):
        raise ShapeError(
            f"evaluate: found {len(inputs)} inputs; {program.name} takes {len(program.inputs)}. Pass one array for "
            f"each."
        )
    values = []
    for i, (x, v) in enumerate(zip(inputs, program.inputs, strict=True)):
        array = as_array(x, v.dtype.kind == "i")
        if array.shape != v.shape:
            raise ShapeError(
                f"evaluate: input {i} has shape {array.shape}; {program.name} takes {v.shape}. Reshape it, or trace "
                f"the function again at this shape."
            )
        values.append(array)
    return values + list(program.constants.values())


def evaluate(program: Program, *inputs: Any) -> Any:
    """The outputs of `program` at `inputs`: one array if it has one output, else a tuple.

    Tracers among the inputs or constants inline the program into their trace. Raises ShapeError when shapes differ
    from the program's.
    """
    if any(type(x) is Tracer for x in (*inputs, *program.constants.values())):
        results = inline(program, inputs)
    else:
        results = Plan(program).run(arguments_of(program, inputs))
    return results[0] if len(results) == 1 else tuple(results)


def inline(program: Program, inputs: Sequence[Any]) -> list[Any]:
    """Apply every equation anew with `bind`: the program becomes part of whatever trace its inputs belong to."""
    environment: dict[Variable, Any] = dict(program.constants)
    environment.update(zip(program.inputs, inputs, strict=True))
    for e in program.equations:
        results = bind(e.primitive, *[environment[v] for v in e.inputs], **e.params)
        environment.update(zip(e.outputs, results if isinstance(results, tuple) else (results,), strict=True))
    return [environment[v] for v in program.outputs]
