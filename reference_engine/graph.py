"""A computation as a graph, neutral between `Value` and `Program`: what every drawing and listing reads.

Nodes stand in an order in which each comes after its operands. No recursion: a chain of a million nodes is as good as
any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .errors import DerivativeError, DtypeError, ParameterError
from .number_text import factor_text, number_text, one_line
from .scalar import Value

INFIX = ("+", "-", "*", "/", "**")


class Edge(NamedTuple):
    """From an operand to a result, both positions in `Graph.nodes`; slope is ∂result/∂operand, None if unknown."""

    source: int
    target: int
    slope: Any


@dataclass(slots=True)
class Node:
    """One value: its name, how it is made (`op` and `text` are "" for an input), and its numbers, None if unknown.

    gradient: ∂result/∂node. form: dtype and shape for a Program, "" for a Value. An operand used twice stands twice.
    """

    name: str
    op: str = ""
    text: str = ""
    value: Any = None
    gradient: Any = None
    operands: tuple[int, ...] = ()
    slopes: tuple[Any, ...] = ()
    form: str = ""

    @property
    def title(self) -> str:
        """`v3 = v1 * v2`, or the name alone for an input; with dtype and shape if it has them."""
        name = f"{self.name}: {self.form}" if self.form else self.name
        return f"{name} = {self.text}" if self.text else name


@dataclass(slots=True)
class Graph:
    """Nodes, each after its operands, and the positions of the results among them."""

    nodes: list[Node]
    results: tuple[int, ...]

    def edges(self) -> Iterator[Edge]:
        for i, node in enumerate(self.nodes):
            for source, slope in zip(node.operands, node.slopes, strict=True):
                yield Edge(source, i, slope)


def ordered(root: Any, operation: str) -> list[Value]:
    """Everything that `root` was made from, each after its operands, `root` last; the order of `Value.backward`.

    Raises DtypeError if root is not a Value, DerivativeError if nodes were tied into a cycle by hand.
    """
    if type(root) is not Value:
        raise DtypeError(
            f"{operation}: root is {one_line(repr(root))[:60]} of type {type(root).__name__}; accepted is a Value. "
            "Compute it from Value(...) inputs, and pass the result itself, not its data."
        )
    finished: list[Value] = []
    is_finished = {root: False}
    path = [(root, iter(root._prev))]
    while path:
        node, rest = path[-1]
        operand = next(rest, None)
        if operand is None:
            path.pop()
            is_finished[node] = True
            finished.append(node)
        elif operand not in is_finished:
            is_finished[operand] = False
            path.append((operand, iter(operand._prev)))
        elif not is_finished[operand]:
            raise DerivativeError(
                f"{operation}: {operand!r} is made from itself, in a cycle; accepted are expressions, which have none. "
                "Make a new Value instead of changing _prev."
            )
    return finished


def gradients(order: Sequence[Value], operation: str) -> dict[Value, Any]:
    """∂root/∂node for every node of `ordered(root)`, bit for bit what `root.backward()` gives; `grad` is left alone."""
    root = order[-1]
    zero = 0 if type(root.data) is int else type(root.data)(0)
    result: dict[Value, Any] = dict.fromkeys(order, zero)
    result[root] = 1
    for node in reversed(order):
        g = result[node]
        for operand, slope in slopes_of(node, operation):
            result[operand] += g * slope
    return result


def slopes_of(node: Value, operation: str) -> list[tuple[Value, Any]]:
    """Each operand with the slope towards it. Raises DerivativeError where an operation of the user's own has none."""
    pairs = list(zip(node._prev, node._slopes, strict=True))
    for operand, slope in pairs:
        if slope is None:
            raise DerivativeError(
                f"{operation}: {node!r}, made by {node._op!r}, has no slope towards {operand!r}; accepted is one "
                "number for each operand. Give it: Value(data, operands, name, slopes)."
            )
    return pairs


def named(names: Mapping[str, Any] | None, kind: type, operation: str) -> dict[Any, str]:
    """The first name of each node in `names`, on one line. Names of nodes outside the graph do no harm.

    Raises ParameterError for anything but a mapping from text to nodes of `kind`.
    """
    result: dict[Any, str] = {}
    if names is not None and not isinstance(names, Mapping):
        raise ParameterError(
            f"{operation}: names is a {type(names).__name__}; accepted is a mapping from name to {kind.__name__}. "
            'Write names={"x": x}.'
        )
    for name, node in (names or {}).items():
        if not isinstance(name, str) or not name or not isinstance(node, kind):
            raise ParameterError(
                f"{operation}: names holds {name!r}: {one_line(repr(node))[:60]}; accepted is text that is not empty, "
                f'and a {kind.__name__}. Write names={{"x": x}}.'
            )
        result.setdefault(node, one_line(name))
    return result


def labels(order: Sequence[Value], names: Mapping[str, Any] | None, operation: str) -> dict[Value, str]:
    """A name for every node: the given one, else v1, v2, ... in order, without those that are taken."""
    result = named(names, Value, operation)
    taken = set(result.values())
    i = 0
    for node in order:
        if node not in result:
            i += 1
            while f"v{i}" in taken or f"g{i}" in taken:  # g1 is how a listing calls the gradient of v1
                i += 1
            result[node] = f"v{i}"
    return result


def expression(node: Value, label: Mapping[Value, str]) -> str:
    """How a Value was made, as code: "x1 * x2", "tanh(v3)"; "" for an input. Plain numbers are written out."""
    operands = [label[operand] for operand in node._prev]
    if not operands:
        return ""
    op = one_line(node._op)
    if node._b is None and node._db is not None:
        operands.append(factor_text(node._db) if op in INFIX else number_text(node._db))
    if op in INFIX and len(operands) == 2:
        return f" {op} ".join(operands)
    if op == "neg":
        return f"-{operands[0]}"
    return f"{op or 'unnamed'}({', '.join(operands)})"


def graph_of(root: Any, *inputs: Any, names: Mapping[str, Any] | None = None, operation: str = "graph_of") -> Graph:
    """The graph of a Value, or of a Program; with `inputs`, one array for each input of a Program, also its numbers.

    names: {"x1": x1} names nodes of a Value's graph, or variables of a Program. Gradients are those of `root` (of a
    Program: of its only output, if it is one real number), computed here; `grad` of a Value is neither read nor set.
    A Graph is returned as it is. Raises DtypeError for another root, DerivativeError for a cycle.
    """
    from .program import Program
    from .program_graph import program_graph

    if isinstance(root, Program):
        return program_graph(root, inputs, names, operation)
    if inputs or (names and isinstance(root, Graph)):
        raise ParameterError(
            f"{operation}: root is a {type(root).__name__}, and {len(inputs)} inputs and {len(names or ())} names were "
            "given; accepted are inputs for a Program, and names for a Value or a Program. Leave them out."
        )
    if isinstance(root, Graph):
        return root
    if type(root) is not Value:
        raise DtypeError(
            f"{operation}: root is {one_line(repr(root))[:60]} of type {type(root).__name__}; accepted are a Value, a "
            "Program and a Graph. Pass the result of the computation itself, not its data."
        )
    order = ordered(root, operation)
    label = labels(order, names, operation)
    gradient = gradients(order, operation)
    position = {node: i for i, node in enumerate(order)}
    nodes = [
        Node(
            label[v],
            one_line(v._op),
            expression(v, label),
            v.data,
            gradient[v],
            tuple([position[operand] for operand in v._prev]),
            v._slopes,
        )
        for v in order
    ]
    return Graph(nodes, (len(nodes) - 1,))
