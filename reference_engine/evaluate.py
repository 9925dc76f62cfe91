"""Evaluate a program: numbers in, numbers out, in buffers that are used again as soon as a value is dead.

A `Plan` is the program with variables replaced by slots. It can start from values that are already known (those of the
forward pass), and an observer may replace each result, which is how rounding and generalised derivatives are read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import ShapeError
from .program import Equation, Program, Variable
from .registry import ELEMENTWISE, PRIMITIVES, Array, Primitive
from .tracing import Tracer, as_array, bind

Observer = Callable[[Primitive, Equation, list[Any], Any], Any]
Disturbance = Callable[..., Any]  # as an Observer, with one more argument: whether the result may be written into

# Where a step puts its result: wherever NumPy likes; into a buffer of the workspace; over an argument that dies here;
# into an array that leaves the plan and is used again once nobody else holds it.
FRESH, BUFFER, DONOR, RESULT = range(4)
LEAST_BYTES = 2048  # smaller results are not worth a buffer: NumPy keeps small memory at hand itself
KEPT_BYTES = 1 << 20  # buffers of a plan that is done with: more than this is given back by `release`
ALIGNMENT = 64  # bytes; one cache line, and what the widest vector instructions like
ONLY_OURS = 2  # references to an array that only the workspace holds: its list, and the argument of getrefcount


class Plan:
    """A program compiled to slots.

    `known` are variables whose values the caller passes in, in that order, in addition to nothing else: by default the
    inputs and constants. Equations that only compute known values are left out. `nbytes` is what its buffers hold.
    `roundings`: how single variables are rounded, for `rounding.spread`; None: all alike. `primal`: variables of the
    function itself, of which the plan is a derivative; they are computed in one order alone.
    """

    roundings: Mapping[Variable, Any] | None = None
    primal: Collection[Variable] = ()

    def __init__(self, program: Program, known: Sequence[Variable] | None = None) -> None:
        self.program = program
        if known is None:
            known = [*program.inputs, *program.constants]
        self.known = list(known)
        self.dtypes = [variable.dtype for variable in known]
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
        self._spare: list[list[Array | None]] = []
        self._parts: dict[tuple[int, ...], Plan] = {}
        self._schedule(len(known))

    def _schedule(self, given: int) -> None:
        """Where each slot dies, and where each step puts its result."""
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
        self._layout: list[tuple[int, Variable] | None] = []  # of each step: its buffer (-1: leaves the plan), its form
        self._buffers: list[int] = []  # bytes of each buffer
        holds: dict[int, int] = {}  # slot that owns a buffer now -> that buffer
        free: dict[int, list[int]] = {}  # bytes -> buffers of that size that nobody holds
        for n, e in enumerate(self.equations):
            primitive = PRIMITIVES[e.primitive]
            ins = tuple([self.slot[v] for v in e.inputs])
            outs = tuple([self.slot[v] for v in e.outputs])
            dead = tuple({i for i in ins if last[i] == n and root[i] not in kept})
            y, place, operand = e.outputs[0], FRESH, -1
            size = y.size * y.dtype.itemsize
            if primitive.ufunc and size >= LEAST_BYTES:
                over = -1
                if isinstance(primitive.forward, np.ufunc) and primitive.kind == ELEMENTWISE and outs[0] not in kept:
                    for i, v in zip(ins, e.inputs, strict=True):
                        dies = i >= given and root[i] == i and i not in kept and life[i] == n
                        if dies and (v.shape, v.dtype) == (y.shape, y.dtype):
                            over = i
                            break
                if over >= 0 and over not in holds:
                    place, operand = DONOR, over
                elif outs[0] in kept:
                    place = RESULT
                else:
                    place = BUFFER
                    if over >= 0:
                        operand = holds.pop(over)
                    elif free.get(size):
                        operand = free[size].pop()
                    else:
                        operand = len(self._buffers)
                        self._buffers.append(size)
                    holds[outs[0]] = operand
            self._layout.append((operand if place == BUFFER else -1, y) if place in (BUFFER, RESULT) else None)
            self.steps.append((primitive.forward, ins, e.params, outs, dead, place, operand))
            for r in {root[i] for i in (*ins, *outs)}:
                if r in holds and life[r] <= n:
                    buffer = holds.pop(r)
                    free.setdefault(self._buffers[buffer], []).append(buffer)
        leaving = sum(v.size * v.dtype.itemsize for at in self._layout if at is not None for b, v in [at] if b < 0)
        self.nbytes = sum(self._buffers) + leaving

    def release(self) -> None:
        """Give the memory of large buffers back; the next run takes some anew."""
        if self.nbytes > KEPT_BYTES:
            self._spare.clear()

    def forget_program(self) -> None:
        """Drop the source (with the arrays among its constants) from a plan that is kept for other constants."""
        del self.program

    def part(self, which: Sequence[int]) -> Plan:
        """The plan of some of the outputs, by their positions, from the same known values; it is kept."""
        key = tuple(which)
        if key == tuple(range(len(self.outputs))):
            return self
        if key not in self._parts:
            names = {i: v for v, i in self.slot.items()}
            outputs = tuple(names[self.outputs[k]] for k in key)
            made = Plan(Program(tuple(self.known), {}, tuple(self.equations), outputs, "part"))
            made.roundings, made.primal = self.roundings, self.primal
            made.forget_program()
            self._parts[key] = made
        return self._parts[key]

    def _workspace(self) -> list[Array | None]:
        """For each step the array that it writes into, or None. Taken by one run at a time: runs may overlap."""
        try:
            return self._spare.pop()
        except IndexError:
            starts = np.cumsum([0, *[-(-size // ALIGNMENT) * ALIGNMENT for size in self._buffers]]).tolist()
            block = np.empty(starts[-1], np.uint8)  # one block: NumPy asks for huge pages where it is large
            buffers = [block[at : at + size] for at, size in zip(starts, self._buffers, strict=False)]
        workspace: list[Array | None] = []
        for at in self._layout:
            if at is None:
                workspace.append(None)
            elif at[0] < 0:
                workspace.append(np.empty(at[1].shape, at[1].dtype))
            else:
                workspace.append(buffers[at[0]].view(at[1].dtype).reshape(at[1].shape))
        return workspace

    def run(self, given: Sequence[Any], disturb: Disturbance | None = None) -> list[Any]:
        """Values of the outputs, from the values of the known variables.

        disturb: gives what each result is replaced by. It is told whether the result lies in a buffer of ours, which it
        may write into; the arguments of an elementwise result may then be overwritten already.
        """
        if any([x.dtype != dtype for x, dtype in zip(given, self.dtypes, strict=True)]):
            # a complex step: buffers of declared dtypes would not hold it
            return self.observe(given, _as_computed if disturb is None else disturb)
        environment: list[Any] = [*given, *([None] * (len(self.slot) - len(given)))]
        workspace = self._workspace()
        with np.errstate(all="ignore"):
            for n, (forward, ins, params, outs, dead, place, operand) in enumerate(self.steps):
                arguments = [environment[i] for i in ins]
                if place == FRESH:
                    result = forward(*arguments, **params)
                elif place == BUFFER:
                    result = forward(*arguments, out=workspace[n], **params)
                elif place == DONOR:
                    result = forward(*arguments, out=environment[operand], **params)
                else:
                    if sys.getrefcount(workspace[n]) > ONLY_OURS:
                        v = self.equations[n].outputs[0]
                        workspace[n] = np.empty(v.shape, v.dtype)
                    result = forward(*arguments, out=workspace[n], **params)
                if disturb is not None:
                    e = self.equations[n]
                    ours = place != FRESH and result is (environment[operand] if place == DONOR else workspace[n])
                    result = disturb(PRIMITIVES[e.primitive], e, arguments, result, ours)
                for i in dead:
                    environment[i] = None
                if len(outs) == 1:
                    environment[outs[0]] = result
                else:
                    for i, r in zip(outs, result, strict=True):
                        environment[i] = r
        self._spare.append(workspace)
        return [environment[i] for i in self.outputs]

    def observe(self, given: Sequence[Any], observer: Observer) -> list[Any]:
        """As `run`, but each result is what `observer(primitive, equation, arguments, result)` returns."""
        environment: list[Any] = [*given, *([None] * (len(self.slot) - len(given)))]
        with np.errstate(all="ignore"):
            for equation, (forward, ins, params, outs, dead, *_) in zip(self.equations, self.steps, strict=True):
                arguments = [environment[i] for i in ins]
                result = observer(PRIMITIVES[equation.primitive], equation, arguments, forward(*arguments, **params))
                for i in dead:
                    environment[i] = None
                for i, r in zip(outs, result if len(outs) > 1 else (result,), strict=True):
                    environment[i] = r
        return [environment[i] for i in self.outputs]


def _as_computed(primitive: Primitive, equation: Equation, arguments: list[Any], result: Any) -> Any:
    return result


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
