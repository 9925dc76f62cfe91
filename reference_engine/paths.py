"""The chain rule as a sum over paths: every way from an input to the result, and the product of its slopes.

This is what reverse mode computes without listing the paths, whose number may double with every node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import DerivativeError, DtypeError, ParameterError
from .graph import labels, ordered, slopes_of
from .number_text import count_text, cut, factor_text, number_text
from .scalar import Value

MOST_PATHS = 1000
WIDEST = 48  # columns for the nodes of a path, and for its factors
LONGEST = 6  # nodes or factors of a path that are printed; of a longer one the first and the last three


@dataclass(frozen=True, slots=True)
class Path:
    """One way through the graph: nodes from leaf to root, the slope of each step, and their product.

    The product is taken from the root down, as `backward` does; it is 1 for the path without a step.
    """

    nodes: tuple[Value, ...]
    slopes: tuple[Any, ...]
    product: Any


@dataclass(frozen=True, slots=True)
class Paths(Sequence[Path]):
    """All paths from a leaf to a root. total = Σ_paths Π_steps slope = ∂root/∂leaf.

    total is the gradient exactly where numbers are exact, and up to rounding for floats. `str` is a table of the paths.
    """

    paths: tuple[Path, ...]
    total: Any
    labels: Mapping[Value, str]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: Any) -> Any:
        return self.paths[i]

    def __iter__(self) -> Iterator[Path]:
        return iter(self.paths)

    def __str__(self) -> str:
        """A line for each path, with its factors and their product, then the total."""
        rows = [
            (
                cut(_short([self.labels[node] for node in path.nodes], " → "), WIDEST),
                cut(_short([factor_text(slope) for slope in path.slopes], " · ") or "1", WIDEST),
                number_text(path.product),
            )
            for path in self.paths
        ]
        first, last = self.labels[self.paths[0].nodes[0]], self.labels[self.paths[0].nodes[-1]]
        way, factors = (max(len(row[k]) for row in (*rows, ("total", ""))) for k in (0, 1))
        lines = [f"∂{last}/∂{first}: {len(rows)} path{'s' if len(rows) > 1 else ''}"]
        lines += [f"  {row[0]:{way}}  {row[1]:{factors}} = {row[2]}" for row in rows]
        return "\n".join([*lines, f"  {'total':{way}}  {'':{factors}} = {number_text(self.total)}"])


def paths(root: Any, leaf: Any, names: Mapping[str, Any] | None = None, *, most: int = MOST_PATHS) -> Paths:
    """Every path from `leaf` to `root`, which are Values; x * x has two, one for each operand.

    They are counted first. Raises ParameterError where there are more than `most`, DerivativeError where `leaf` is not
    in the graph of `root` (its gradient is then 0), or for a cycle; DtypeError for anything but Values.
    Source: Griewank and Walther, Evaluating Derivatives, ch. 3 (Bauer's formula).
    """
    if type(leaf) is not Value:
        raise DtypeError(
            f"paths: leaf is {leaf!r} of type {type(leaf).__name__}; accepted is a Value that root was made from. Keep "
            "the Value that stands for the input."
        )
    order = ordered(root, "paths")
    label = labels(order, names, "paths")
    found, leading = _count(order, leaf)
    if not found:
        raise DerivativeError(
            f"paths: leaf {leaf!r} is not among the {len(order):,} nodes that root {root!r} was made from, so no path "
            "leads from it and the gradient is 0; accepted is one of them. Check where the graph was cut."
        )
    if found > most:
        raise ParameterError(
            f"paths: found {count_text(found)} paths; accepted are at most most={most}. Use root.backward(), which "
            "adds them up without listing them, or a smaller graph."
        )
    every = tuple(_walk(root, leaf, leading))
    total = 0 if type(root.data) is int else type(root.data)(0)
    for path in every:
        total += path.product
    return Paths(every, total, label)


def _count(order: Sequence[Value], leaf: Value) -> tuple[int, set[Value]]:
    """How many paths lead from leaf to the last node of `order`, and the nodes that any lead to.

    Counts may have as many digits as there are nodes, so each is forgotten after its last use.
    """
    uses: dict[Value, int] = {}
    for node in order:
        for operand in node._prev:
            uses[operand] = uses.get(operand, 0) + 1
    counts: dict[Value, int] = {}
    leading: set[Value] = set()
    count = 0
    for node in order:
        count = 1 if node is leaf else sum([counts.get(operand, 0) for operand in node._prev])
        for operand in node._prev:
            uses[operand] -= 1
            if not uses[operand]:
                counts.pop(operand, None)
        if count:
            leading.add(node)
            counts[node] = count
    return count, leading


def _walk(root: Value, leaf: Value, leading: set[Value]) -> Iterator[Path]:
    """The paths, in the order of the operands, by a walk from the root that enters no dead end."""

    def steps(node: Value) -> Iterator[tuple[Value, Any]]:
        if node is leaf:
            return iter(())
        return iter([(a, slope) for a, slope in slopes_of(node, "paths") if a in leading])

    nodes = [root]
    slopes: list[Any] = []
    products: list[Any] = [1]
    ways = [steps(root)]
    if root is leaf:
        yield Path((root,), (), 1)
    while ways:
        way = next(ways[-1], None)
        if way is None:
            ways.pop()
            nodes.pop()
            products.pop()
            if slopes:
                slopes.pop()
            continue
        node, slope = way
        nodes.append(node)
        slopes.append(slope)
        products.append(products[-1] * slope)
        ways.append(steps(node))
        if node is leaf:
            yield Path(tuple(reversed(nodes)), tuple(reversed(slopes)), products[-1])


def _short(parts: list[str], between: str) -> str:
    if len(parts) > LONGEST:
        half = LONGEST // 2
        parts = [*parts[:half], "…", *parts[-half:]]
    return between.join(parts)
