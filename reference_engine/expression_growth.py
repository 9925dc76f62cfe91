"""How formulas grow when a step is nested, next to the automatic gradient of the same nesting, which grows linearly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .counting import graph_cost
from .errors import DtypeError, ParameterError, several
from .scalar import Value
from .symbolic import tree_nodes, written

# Where a printed formula fills some ten pages: enough to see the growth, and each depth still takes about a second.
SIZE_LIMIT = 10_000
# Multiplying out writes more terms than are left once those of one kind are collected; of four small terms a node each
# at the eighth nesting of x ↦ 4x(1 - x) ten times as many.
WORK = 20
DEPTHS = range(1, 9)


@dataclass(frozen=True)
class Nesting:
    """Sizes at one depth, as numbers of nodes; None where a size limit stopped the work before that size was known.

    formula, derivative: of the trees as SymPy leaves them; derivative_distinct: of the derivative once common
    subexpressions are shared; derivative_operations: `sympy.count_ops`; expanded: of the derivative, multiplied out;
    digits: of the longest whole number in it; automatic: operations of one forward and one backward run of `Value`.
    """

    depth: int
    formula: int
    derivative: int | None
    derivative_distinct: int | None
    derivative_operations: int | None
    expanded: int | None
    digits: int | None
    automatic: int


@dataclass(frozen=True)
class Growth:
    """The rows, the limit they were held to, and the first depth beyond it (None: no size passed the limit)."""

    rows: tuple[Nesting, ...]
    size_limit: int
    exploded_at: int | None
    expanded_exploded_at: int | None


def expression_growth(
    step: Callable[[Any], Any], depths: Iterable[int] = DEPTHS, *, size_limit: int = SIZE_LIMIT, at: float = 0.4
) -> Growth:
    """Sizes of step(step(…x…)) and of its derivative, for each depth.

    step: a function of one number, such as lambda x: x * x.sin(). A depth whose derivative has more than `size_limit`
    nodes is the last whose derivative is taken; multiplying out stops before it could make so many terms. `at` is where
    the automatic gradient is taken, whose size does not depend on it. Raises ParameterError for depths that are not
    whole numbers from 1 up, DtypeError where step returns no number or one without x in it, DerivativeError where it
    compares.
    """
    import sympy

    depths = _increasing(depths)
    x = sympy.Symbol("x", real=True)
    formula = expanded = x
    root: Any = Value(at)
    rows: list[Nesting] = []
    exploded_at = expanded_exploded_at = None
    reached = 0
    for depth in depths:
        for _ in range(depth - reached):
            formula, root = written(step, formula), step(root)
            expanded = None if expanded is None else _multiplied_out(written(step, expanded), size_limit)
            if not isinstance(root, Value) or not formula.has(x):
                raise DtypeError(
                    f"expression_growth: step returned {root!r}, written {formula}; accepted is a number that depends "
                    "on x. Return an expression of the argument."
                )
        reached = depth
        nodes, _ = tree_nodes(formula)
        sizes: tuple[int | None, int | None, int | None] = (None, None, None)
        if exploded_at is None and nodes <= size_limit:
            derivative = sympy.diff(formula, x)
            size, distinct = tree_nodes(derivative)
            sizes = size, distinct, int(sympy.count_ops(derivative)) if size <= size_limit else None
        if exploded_at is None and (sizes[0] is None or sizes[0] > size_limit):
            exploded_at = depth
        slope = None if expanded is None else _multiplied_out(sympy.diff(expanded, x), size_limit)
        flat = None if slope is None else tree_nodes(slope)[0]
        digits = None if slope is None else max((len(str(abs(n))) for n in slope.atoms(sympy.Integer)), default=0)
        if expanded_exploded_at is None and (flat is None or flat > size_limit):
            expanded_exploded_at, expanded = depth, None
        rows.append(Nesting(depth, nodes, *sizes, flat, digits, graph_cost(root).operations))
    return Growth(tuple(rows), size_limit, exploded_at, expanded_exploded_at)


def _multiplied_out(expression: Any, size_limit: int) -> Any:
    """Products and whole powers of sums written as sums, or None where that could take WORK size limits of nodes."""
    import sympy

    if _work(expression) > WORK * size_limit:
        return None
    return sympy.expand(expression, power_exp=False, power_base=False, log=False)


def _work(expression: Any) -> int:
    """An upper bound of the nodes written while multiplying out, before terms of one kind are collected."""
    bounds: dict[Any, tuple[int, int]] = {}  # of each subexpression: its number of terms, nodes of the longest term
    path = [expression]
    while path:
        e = path[-1]
        waiting = [a for a in e.args if a not in bounds]
        if e not in bounds and waiting:
            path += waiting
            continue
        path.pop()
        terms = [bounds[a][0] for a in e.args]
        lengths = [bounds[a][1] for a in e.args]
        if e.is_Add:
            bounds[e] = sum(terms), max(lengths)
        elif e.is_Mul:
            bounds[e] = math.prod(terms), sum(lengths)
        elif e.is_Pow and e.exp.is_Integer and terms[0] > 1:
            n = abs(int(e.exp))
            powers = math.comb(terms[0] + n - 1, n) if n < WORK else 2**n  # multisets of n out of t terms; at least 2ⁿ
            bounds[e] = (powers, n * lengths[0]) if e.exp > 0 else (1, 1 + powers * n * lengths[0])
        else:
            bounds[e] = 1, 1 + sum(t * n for t, n in zip(terms, lengths, strict=True))
    return sum(t * n for t, n in bounds.values())


def _increasing(depths: Iterable[int]) -> list[int]:
    found = sorted(set(several("expression_growth", "depths", depths)))
    if not found or any(not isinstance(d, int) or d < 1 for d in found):
        raise ParameterError(
            f"expression_growth: depths={found}; accepted are whole numbers from 1 up, at least one. Pass for example "
            "range(1, 9)."
        )
    return found
