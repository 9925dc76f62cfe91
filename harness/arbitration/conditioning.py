"""The right value and gradient of a scalar expression, and how far rounding may move both: mpmath alone, no engine.

The chain rule runs over the slopes of `exact_functions`. Beside every number runs a bound on what an evaluation with
unit roundoff u may have instead (running error analysis), so that an ill-conditioned expression accuses nobody.
Source: Higham, Accuracy and Stability of Numerical Algorithms, secs. 3.3 and 3.4.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import mpmath as mp

from ..generation.scalar_expressions import ScalarExpression, Step, given
from .exact_functions import EXACT, exactly

# Relative error of one result in roundoffs. Arithmetic is rounded once. Kernels of elementary functions stay within one
# unit in the last place, which is 2 roundoffs, and twice that is allowed; a function made of three of them adds up.
ARITHMETIC, KERNEL, COMPOSED = 1.0, 4.0, 12.0
ONCE = frozenset("add subtract multiply divide sqrt".split())
EXACTLY = frozenset("negative abs relu maximum minimum".split())
THREE = frozenset("sigmoid softplus".split())
# Passing a cotangent or tangent through a slope: a product, a sum, and a division where a quotient is differentiated.
PASSING = 4.0
SMALLEST = mp.ldexp(1, -1074)  # what underflow may leave of a result
LARGEST = mp.ldexp(1, 1024)  # what reaches it is infinite in floats
MOST_KINKS = 6  # 2⁶ combinations of choices are tried
# From here on a rounded argument says little about where in its period a function is.
LOST_PHASE = 1e-3


Edge = tuple[int, Any, Any]


@dataclass
class Node:
    """A step at the point: its value, how far rounding may move it, and its edges.

    edges: for each operand that is a node, that node, the slope, and how far rounding may move the slope. choices:
    where a kink lies within rounding, the edges of every branch there. lossy: what is added to the error of the slope
    where it is formed from the rounded result.
    """

    value: Any
    error: Any
    edges: list[Edge] = field(default_factory=list)
    choices: list[list[Edge]] = field(default_factory=list)
    lossy: Any = 0


@dataclass
class Reading:
    """The right numbers at 50 digits and their bounds. value None: the expression has no number there.

    gradient: entry by entry the least and the greatest legitimate number, one and the same away from kinks. bounds:
    the greatest error that an evaluation with unit roundoff u may have; lossy_bounds: with slopes of tanh and sigmoid
    that are formed from their rounded results. kinks, singular: sentences that say where. infinite_slopes: how many.
    """

    value: Any = None
    value_bound: Any = mp.inf
    gradient: list[tuple[Any, Any]] = field(default_factory=list)
    bounds: list[Any] = field(default_factory=list)
    lossy_bounds: list[Any] = field(default_factory=list)
    kinks: list[str] = field(default_factory=list)
    singular: list[str] = field(default_factory=list)
    lossy: list[str] = field(default_factory=list)
    infinite_slopes: int = 0


def read(expression: ScalarExpression, inputs: Sequence[float], u: Any) -> Reading:
    """The right value and gradient of the expression, and what rounding with unit roundoff u may make of them."""
    with exactly():
        reading = Reading()
        nodes = [Node(mp.mpf(x), mp.mpf(0)) for x in inputs]
        for number, step in enumerate(expression.steps):
            node = _forward(step, nodes, mp.mpf(u), reading)
            if node is None:
                return reading
            nodes.append(node)
            if node.lossy:
                reading.lossy.append(step.name)
            if node.choices:
                reading.kinks.append(f"{step.name} in step {number + 1} of {len(expression.steps)}")
        reading.value, reading.value_bound = nodes[-1].value, nodes[-1].error
        reading.gradient, reading.bounds = _backward(nodes, len(inputs), mp.mpf(u), lossy=False)
        reading.lossy_bounds = _backward(nodes, len(inputs), mp.mpf(u), lossy=True)[1]
        return reading


def _number(function: Any, operands: Sequence[Any]) -> Any:
    """The function there, or None where it has no real finite number."""
    try:
        y = function(*operands)
    except (ZeroDivisionError, ValueError, OverflowError):
        return None
    return None if isinstance(y, mp.mpc) or not mp.isfinite(y) else mp.mpf(y)


def _forward(step: Step, nodes: Sequence[Node], u: Any, reading: Reading) -> Node | None:
    """The node of a step; None, with a sentence, where it has no number."""
    places = [o if isinstance(o, int) else None for o in step.operands]
    xs = [mp.mpf(x) for x in given(step, [n.value for n in nodes], mp.mpf)]
    errors = [mp.mpf(0) if p is None else nodes[p].error for p in places]
    exact = EXACT[step.name]
    y = _number(exact.value, xs)
    shown = ", ".join(mp.nstr(x, 6) for x in xs)
    if y is None:
        reading.singular.append(f"{step.name}({shown}) is no number")
        return None
    corners = _corners(step.name, xs, errors)
    rounding = (
        0 if step.name in EXACTLY else ARITHMETIC if step.name in ONCE else COMPOSED if step.name in THREE else KERNEL
    )
    node = Node(y, _moved(exact.value, y, corners) + rounding * u * abs(y) + (SMALLEST if rounding else 0))
    if abs(y) > LARGEST * (1 - u):
        reading.singular.append(f"{step.name}({shown}) = {mp.nstr(y, 6)} is above the largest float")
        node.error = mp.inf
    ways = _branches(step.name, xs, errors)
    if ways:
        for slopes in ways:
            pairs = zip(places, slopes, strict=True)
            node.choices.append([(p, mp.mpf(s), mp.mpf(0)) for p, s in pairs if p is not None])
        return node
    for place, slope in zip(places, exact.slopes, strict=True):
        if place is None:
            continue
        assert slope is not None
        s = _number(slope, xs)
        if s is None:
            reading.singular.append(f"{step.name}({shown}) has no finite slope")
            reading.infinite_slopes += 1
            s, error = mp.mpf(0), mp.inf
        else:
            roundings = _slope_roundings(step.name, xs)
            error = _moved(slope, s, corners) + roundings * u * abs(s) + (SMALLEST if roundings else 0)
            if abs(s) > LARGEST:  # infinite in floats, and NaN as soon as it meets a zero or another infinity
                error = mp.inf
        node.edges.append((place, s, error))
    if step.name in ("tanh", "sigmoid"):
        # 1 - y² and y (1 - y) from y with KERNEL or COMPOSED roundoffs: each moves by 2y or 1 - 2y of that, at most 2.
        node.lossy = 2 * (rounding + 1) * u * abs(y)
    return node


def _corners(name: str, xs: Sequence[Any], errors: Sequence[Any]) -> list[list[Any]] | None:
    """The operands moved up and down as far as rounding may move them; None where that says nothing of the result."""
    if any(mp.isinf(e) for e in errors):
        return None
    crosses = [abs(x) <= e and e > 0 for x, e in zip(xs, errors, strict=True)]
    if name == "divide" and crosses[1]:
        return None
    if name == "pow" and crosses[0] and xs[1] < 2:  # the value or the slope may be infinite on the way
        return None
    if name in ("sin", "cos", "tan") and errors[0] > LOST_PHASE:
        return None
    if name == "tan" and mp.cos(xs[0] - errors[0]) * mp.cos(xs[0] + errors[0]) <= 0:
        return None
    signs = [(0,) if e == 0 else (-1, 0, 1) for e in errors]
    return [[x + s * e for x, s, e in zip(xs, chosen, errors, strict=True)] for chosen in itertools.product(*signs)]


def _moved(function: Any, y: Any, corners: list[list[Any]] | None) -> Any:
    """How far the function moves from y over the corners; infinitely where it has no number at one of them."""
    if corners is None:
        return mp.inf
    most = mp.mpf(0)
    for at in corners:
        moved = _number(function, at)
        if moved is None:
            return mp.inf
        most = max(most, abs(moved - y))
    return most


def _slope_roundings(name: str, xs: Sequence[Any]) -> Any:
    """Relative error of a computed slope in roundoffs, beside what its arguments bring with them."""
    if name == "erf":  # exp(-x²), whose argument is rounded
        return COMPOSED + xs[0] ** 2
    if name == "pow" and xs[0] > 0:  # a^(b-1), whose exponent is rounded
        return COMPOSED + (abs(xs[1]) + 1) * abs(mp.log(xs[0]))
    return 0 if name in EXACTLY or name in ("add", "subtract", "multiply") else COMPOSED


def _branches(name: str, xs: Sequence[Any], errors: Sequence[Any]) -> list[tuple[int, ...]]:
    """The slopes of both sides of a kink that lies within rounding of the operands; none away from kinks."""
    if name in ("abs", "relu") and abs(xs[0]) <= errors[0]:
        return [(-1,), (1,)] if name == "abs" else [(0,), (1,)]
    if name in ("maximum", "minimum") and abs(xs[0] - xs[1]) <= errors[0] + errors[1]:
        return [(1, 0), (0, 1)]
    return []


def _backward(nodes: Sequence[Node], inputs: int, u: Any, *, lossy: bool) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """The gradient's ends and bounds over all choices at kinks."""
    sites = [i for i, n in enumerate(nodes) if n.choices]
    if len(sites) > MOST_KINKS:
        return [(-mp.inf, mp.inf)] * inputs, [mp.inf] * inputs
    lower, upper, bounds = [mp.inf] * inputs, [-mp.inf] * inputs, [mp.mpf(0)] * inputs
    for chosen in itertools.product(*[nodes[i].choices for i in sites]):
        g, e = _sweep(nodes, dict(zip(sites, chosen, strict=True)), u, lossy)
        for i in range(inputs):
            lower[i], upper[i], bounds[i] = min(lower[i], g[i]), max(upper[i], g[i]), max(bounds[i], e[i])
    return list(zip(lower, upper, strict=True)), bounds


def _sweep(nodes: Sequence[Node], chosen: dict[int, list[Edge]], u: Any, lossy: bool) -> tuple[list[Any], list[Any]]:
    """The adjoint of every node, and how far rounding may move it.

    size: the same sum with all terms positive; products and sums of adjoints round in proportion to it, in whatever
    order an engine adds them.
    """
    count = len(nodes)
    adjoint, size, error = ([mp.mpf(0)] * (count - 1) + [mp.mpf(x)] for x in (1, 1, 0))
    for i in range(count - 1, -1, -1):
        node = nodes[i]
        for place, s, inexact in chosen.get(i, node.edges):
            inexact += node.lossy if lossy else 0
            adjoint[place] += adjoint[i] * s
            size[place] += size[i] * abs(s)
            for off, by in ((error[i], abs(s) + inexact), (inexact, size[i])):
                error[place] += off * by if off and by else 0  # an unbounded error times nothing is nothing
            error[place] += PASSING * u * size[i] * abs(s) + SMALLEST
            if size[place] > LARGEST:
                error[place] = mp.inf
    return adjoint, error
