"""The least that rounding moves each output, from its last roundings alone: found without a disturbed run.

What is rounded before them only adds to the spread, so an error that is small beside this bound is small beside the
spread. Sources: Higham, Accuracy and Stability of Numerical Algorithms, sec. 4.2; the law of total variance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .drift import UNIT_ROUNDOFF, Rounding
from .evaluate import Plan
from .noise import Noise
from .program import Equation, Variable
from .registry import PRIMITIVES, Array, Primitive

# Each entry of the result is an entry of an argument or 0, whatever the numbers are.
MOVES = frozenset(
    """reshape transpose broadcast_to flip roll tril triu diagonal put_diagonal take gather take_flat concat stack slice
    pad windows negative where""".split()
)
# How far an error of argument k moves the result: |∂y/∂xₖ| times it.
SLOPES = {
    "add": lambda s, k, y, xs: s,
    "subtract": lambda s, k, y, xs: s,
    "multiply": lambda s, k, y, xs: s * np.abs(xs[1 - k]),
    "divide": lambda s, k, y, xs: s / np.abs(xs[1]) if k == 0 else s * np.abs(y / xs[1]),
}


class LastRoundings:
    """One exact run of a plan that keeps what the last roundings of its outputs depend on.

    exact: the outputs. `least(i)` is a lower bound of the spread of output i, entry by entry.
    """

    def __init__(self, plan: Plan, given: Sequence[Any], dtype: str) -> None:
        names = {i: v for v, i in plan.slot.items()}
        self._outputs = [names[i] for i in plan.outputs]
        self._carried = carried(plan, self._outputs)
        self._steps: dict[Variable, tuple[Primitive, Equation, list[Any], Any]] = {}
        self.exact = [np.asarray(y) for y in plan.observe(given, self._keep)]
        self._noise = Noise(dtype, magnified=1.0, roundings=plan.roundings)
        self._found: dict[Variable, Any] = {}

    def _keep(self, primitive: Primitive, equation: Equation, arguments: list[Any], result: Any) -> Any:
        for k, v in enumerate(equation.outputs):
            if v in self._carried:
                part = result[k] if isinstance(result, tuple) else result
                self._steps[v] = (primitive, equation, arguments, part)
        return result

    def least(self, i: int) -> Array:
        """An array that broadcasts to output i."""
        with np.errstate(all="ignore"):
            return np.asarray(self._least(self._outputs[i]))

    def _least(self, v: Variable) -> Any:
        """The bound of one variable, and of those that it needs before it: a chain of them may be as long as a run."""
        waiting = [v]
        while waiting:
            top = waiting[-1]
            needed = [w for w in self._sources(top).values() if w in self._steps and w not in self._found]
            if not needed:
                waiting.pop()
                if top in self._steps and top not in self._found:
                    self._found[top] = self._bound(top)
            waiting += needed
        return self._found.get(v, 0.0)

    def _sources(self, v: Variable) -> dict[int, Variable]:
        """The arguments whose rounding `v` carries on, by their positions."""
        return {k: self._steps[v][1].inputs[k] for k in self._carried[v]} if v in self._steps else {}

    def _bound(self, v: Variable) -> Any:
        """The bound of a variable whose arguments have theirs."""
        primitive, equation, arguments, result = self._steps[v]
        s, _ = self._noise.deviation(primitive, equation, arguments, result, v)
        from_arguments = {k: self._found.get(w, 0.0) for k, w in self._sources(v).items()}
        if primitive.name in MOVES:
            moved = [from_arguments.get(k, 0.0) if x.dtype.kind in "fc" else x for k, x in enumerate(arguments)]
            shaped = [np.broadcast_to(m, x.shape) for m, x in zip(moved, arguments, strict=True)]
            params = equation.params | ({"value": 0.0} if "value" in equation.params else {})
            return np.abs(primitive.forward(*shaped, **params))
        for k, t in from_arguments.items():
            s = np.maximum(s, SLOPES[primitive.name](t, k, result, arguments))
        return s


def carried(plan: Plan, outputs: Sequence[Variable]) -> dict[Variable, tuple[int, ...]]:
    """The variables whose rounding shows in an output as it is, each with those arguments of its equation whose
    rounding it carries on.

    What moves data carries the rounding of its argument. Arithmetic carries that of an argument which is used nowhere
    else: only then can no other path cancel it.
    """
    makers = {v: e for e in plan.equations for v in e.outputs}
    uses = Counter([v for e in plan.equations for v in e.inputs] + list(outputs))
    found: dict[Variable, tuple[int, ...]] = {}
    waiting = [(v, True) for v in outputs]
    while waiting:
        v, at_output = waiting.pop()
        if v not in makers or v in found:
            continue
        e = makers[v]
        moves = e.primitive in MOVES
        follows = [
            k
            for k, w in enumerate(e.inputs)
            if (moves or e.primitive in SLOPES) and w.dtype.kind in "fc" and ((moves and at_output) or uses[w] == 1)
        ]
        found[v] = tuple(follows)
        waiting += [(e.inputs[k], moves and at_output) for k in follows]
    return found


def rounds_last(plan: Plan, dtype: str) -> list[float]:
    """For each output, the unit roundoff u of a rounding that every entry of it is the result of, so that its spread is
    at least 0.4 u |y|; 0 where there is none.

    Data movement is looked through; an output that may hold an entry of an input or constant as given is not counted.
    dtype: of what has no rounding of its own in `plan.roundings`.
    """
    rounded: dict[Variable, float] = {}
    roundings = plan.roundings or {}
    for e in plan.equations:
        primitive = PRIMITIVES[e.primitive]
        for v in e.outputs:
            if primitive.ulps > 0.0:
                own = roundings.get(v) or Rounding(dtype)
                known = own.stored is not None or primitive.ulps >= 1.0
                rounded[v] = UNIT_ROUNDOFF[own.stored or own.computed] if known else 0.0
            else:
                sources = [w for w in e.inputs if w.dtype.kind in "fc"]
                rounded[v] = min((rounded.get(w, 0.0) for w in sources), default=0.0)
    slots = {plan.slot[v]: r for v, r in rounded.items()}
    return [slots.get(i, 0.0) for i in plan.outputs]
