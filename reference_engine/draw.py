"""A computation as a text tree: inputs, operations, value and gradient of each node, the result on top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import ParameterError
from .graph import Graph, graph_of
from .number_text import cut, number_text

DEEPEST = 8  # levels of one tree; what lies deeper is a tree of its own below, so that lines stay short
WIDEST = 60  # columns for the expressions, leaving 40 for the two numbers
MOST_LINES = 200


def text_tree(root: Any, names: Mapping[str, Any] | None = None, *, lines: int | None = MOST_LINES) -> str:
    """The graph of a Value, a Program or a Graph, from the result down to the inputs, one node a line.

    Each line has the expression, the value, and the gradient of the result with respect to that node (computed here,
    whether or not `backward` has run). A node that is used again is written out once and referred to afterwards.
    lines: after so many nodes comes how many are left; None shows all. Raises DtypeError for another root,
    DerivativeError for a cycle, ParameterError unless lines is at least 1.
    """
    if lines is not None and (type(lines) is not int or lines < 1):
        raise ParameterError(f"text_tree: lines={lines!r}; accepted is a whole number from 1 up, or None for all.")
    graph = graph_of(root, names=names, operation="text_tree")
    rows, left = _rows(graph, lines)
    width = min(WIDEST, max((len(head) for head, _, _ in rows), default=0))
    value_width = max((len(value) for _, value, _ in rows), default=0)
    text = [
        f"{cut(head, WIDEST):{width}}  {value:{value_width}}  {gradient}".rstrip() for head, value, gradient in rows
    ]
    if left:
        text.append(f"… and {left:,} more nodes; text_tree(root, lines=None) shows all {len(graph.nodes):,}")
    return "\n".join(text)


def _rows(graph: Graph, lines: int | None) -> tuple[list[tuple[str, str, str]], int]:
    """(expression, value, gradient) of each line, and how many nodes are not shown."""
    rows: list[tuple[str, str, str]] = []
    shown: set[int] = set()
    postponed = list(dict.fromkeys(graph.results))
    for top in postponed:  # grows while it is read
        pending = [(top, "", "", 0)]  # node, what stands before it, what stands before its operands, depth
        if top in shown:
            continue
        if rows:
            rows.append(("", "", ""))
        while pending:
            i, branch, stem, depth = pending.pop()
            node = graph.nodes[i]
            if i in shown:
                rows.append((f"{branch}{node.name}", "as above", ""))
                continue
            if depth == DEEPEST and node.operands:
                rows.append((f"{branch}{node.name}", "below", ""))
                postponed.append(i)
                continue
            if lines is not None and len(shown) >= lines:
                return rows, len(graph.nodes) - len(shown)
            shown.add(i)
            value = "" if node.value is None else f"value {number_text(node.value)}"
            gradient = "" if node.gradient is None else f"gradient {number_text(node.gradient)}"
            rows.append((branch + node.title, value, gradient))
            last = len(node.operands) - 1
            for k in range(last, -1, -1):
                end = k == last
                pending.append(
                    (node.operands[k], stem + ("└─ " if end else "├─ "), stem + ("   " if end else "│  "), depth + 1)
                )
    return rows, 0
