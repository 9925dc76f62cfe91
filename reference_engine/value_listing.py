"""The backward pass of a `Value` written out: each operation beside what it adds to the gradients of its operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .aligned import aligned
from .errors import EngineError
from .graph import expression, gradients, labels, named, ordered, slopes_of
from .number_text import factor_text, number_text
from .number_types import FUNCTIONS, choose, divide, log, power_slope
from .scalar import Value

BOUNDS = (28, 12, 28, 26)  # columns: forward code and value, backward code and numbers; 100 with what is between

# What y = op(a, b) adds to the gradient of a, and of b, when its own gradient is g; as code.
CONTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "+": ("{g}", "{g}"),
    "-": ("{g}", "-{g}"),
    "*": ("{g} * {b}", "{g} * {a}"),
    "/": ("{g} / {b}", "-{g} * {y} / {b}"),
    "**": ("{g} * {b} * {a} ** ({b} - 1)", "{g} * {y} * log({a})"),
    "neg": ("-{g}",),
    "max": ("{g} * ({a} > {b})", "{g} * ({b} > {a})"),
    "min": ("{g} * ({a} < {b})", "{g} * ({b} < {a})"),
    "exp": ("{g} * {y}",),
    "log": ("{g} / {a}",),
    "sqrt": ("{g} / (2 * {y})",),
    "sin": ("{g} * cos({a})",),
    "cos": ("-{g} * sin({a})",),
    "tan": ("{g} * (1 + {y} * {y})",),
    "tanh": ("{g} / cosh({a}) ** 2",),
    "sigmoid": ("{g} * sigmoid({a}) * sigmoid(-{a})",),
    "softplus": ("{g} * sigmoid({a})",),
    "erf": ("{g} * 2 / sqrt(pi) * exp(-{a} * {a})",),
    "abs": ("{g} * sign({a})",),
    "relu": ("{g} * ({a} > 0)",),
}

# The slopes of these from the numbers a, b and y, to see whether a node has those of its name.
_SLOPES: dict[str, Callable[[Any, Any, Any], tuple[Any, ...]]] = {
    "+": lambda a, b, y: (1, 1),
    "-": lambda a, b, y: (1, -1),
    "*": lambda a, b, y: (b, a),
    "/": lambda a, b, y: (divide(1, b), -divide(y, b)),
    "neg": lambda a, b, y: (-1,),
    **{name: lambda a, b, y, f=f: (f.slope(a, y),) for name, f in FUNCTIONS.items()},  # type: ignore[misc]
}


def backward_listing(root: Any, names: Mapping[str, Any] | None = None) -> str:
    """The forward pass of a Value from the top down, and beside each line its part of the backward pass.

    The backward pass starts in the last line and is read upwards; g3 is the gradient of v3, g_x1 that of x1. Comments
    hold the numbers: the value; gradient times slope of each contribution; at an input its whole gradient. The numbers
    are those of `root.backward()`, which is not needed. Where slopes are not those of the operation's name (one of your
    own, a tie, data changed by hand) the slope stands as a number. Raises DtypeError for another root, DerivativeError
    for a cycle.
    """
    order = ordered(root, "backward_listing")
    label = labels(order, names, "backward_listing")
    given = named(names, Value, "backward_listing")
    gradient = gradients(order, "backward_listing")
    g = {node: f"g_{label[node]}" if node in given else f"g{label[node][1:]}" for node in order}
    rows = [("forward, downwards", "", "backward, upwards", "")]
    for node in order:
        text = expression(node, label)
        if not text:
            rows.append(
                (f"{label[node]} = {number_text(node.data)}", "", "", f"# {g[node]} = {number_text(gradient[node])}")
            )
            continue
        left = (f"{label[node]} = {text}", f"# {number_text(node.data)}")
        for k, (operand, slope) in enumerate(slopes_of(node, "backward_listing")):
            factors = f"{factor_text(gradient[node])} * {factor_text(slope)}"
            contribution = _contribution(node, k, label, g[node])
            numbers = f"# {factors} = {number_text(gradient[node] * slope)}"
            rows.append((*(left if k == 0 else ("", "")), f"{g[operand]} += {contribution}", numbers))
    rows.append(("", "", f"{g[root]} = 1", "# start here"))
    return aligned(rows, BOUNDS, ("  ", " | ", "  "))


def _contribution(node: Value, k: int, label: Mapping[Value, str], g: str) -> str:
    """What is added to the gradient of operand k, as code."""
    op, a, b = node._op, node._a, node._b
    slope = node._slopes[k]
    b_data = b.data if b is not None else node._db
    if not _is_by_name(op, k, a.data, b_data, node.data, slope):
        return f"{g} * {factor_text(slope)}"
    b_text = label[b] if b is not None else factor_text(b_data)
    if op == "**" and b is None:
        return _power(g, label[a], b_data)
    return CONTRIBUTIONS[op][k].format(g=g, a=label[a], b=b_text, y=label[node])


def _power(g: str, a: str, exponent: Any) -> str:
    """g b aᵇ⁻¹ for a number b."""
    if exponent == 2:
        return f"{g} * {factor_text(exponent)} * {a}"
    return f"{g} * {factor_text(exponent)} * {a} ** {factor_text(exponent - 1)}"


def _is_by_name(op: str, k: int, a: Any, b: Any, y: Any, slope: Any) -> bool:
    """Whether `slope` is what the operation called `op` has towards operand k at these numbers."""
    if op not in CONTRIBUTIONS or k >= len(CONTRIBUTIONS[op]):
        return False
    try:
        if op == "**":
            expected = power_slope(a, b) if k == 0 else y * log(a)
        elif op in ("max", "min"):
            if a == b:
                return False
            expected = choose(op, a, b)[1 + k]
        else:
            expected = _SLOPES[op](a, b, y)[k]
    except (EngineError, ArithmeticError, TypeError):
        return False  # data was changed by hand to numbers at which the operation has no slope
    return bool(expected == slope or (expected != expected and slope != slope))
