"""A computation in the languages of two drawing programs: DOT for Graphviz, Mermaid for Markdown pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import ParameterError
from .graph import Node, graph_of
from .number_text import number_text

MOST_EDGES = 500  # Mermaid's own limit (maxEdges); beyond it, it draws nothing but an error
# What Mermaid or the HTML beneath it may take for more than text. Source: Mermaid, "Entity codes to escape characters".
_SPECIAL = '#"&<>`\\%:;{}|*_~[]()'
_ENTITIES = {c: f"#{ord(c)};" for c in _SPECIAL}
# Mermaid looks for \n and $$ once more after decoding; a space of width 0 keeps the two characters apart.
_ENTITIES |= {"\\": "#92;\u200b", "$": "$\u200b"}


def to_dot(root: Any, names: Mapping[str, Any] | None = None) -> str:
    """The graph of a Value, a Program or a Graph in DOT, for Graphviz; of any size.

    A node shows its expression, its value, and the gradient of the result with respect to it; an edge shows the local
    derivative. Raises DtypeError for another root, DerivativeError for a cycle. Source: The DOT Language, graphviz.org.
    """
    graph = graph_of(root, names=names, operation="to_dot")
    lines = ["digraph computation {", '  node [shape=box, style=rounded, fontname="sans-serif"];']
    lines.append('  edge [fontname="sans-serif"];')
    for i, node in enumerate(graph.nodes):
        label = "\\n".join(map(_dot_text, node_lines(node)))
        lines.append(f'  n{i} [label="{label}"{", peripheries=2" if i in graph.results else ""}];')
    for source, target, slope in graph.edges():
        label = f' [label="{_dot_text(number_text(slope))}"]' if slope is not None else ""
        lines.append(f"  n{source} -> n{target}{label};")
    return "\n".join([*lines, "}"])


def to_mermaid(root: Any, names: Mapping[str, Any] | None = None) -> str:
    """The graph of a Value, a Program or a Graph as a Mermaid flow chart, of at most 500 edges.

    It shows what `to_dot` shows. Raises ParameterError above Mermaid's limit, and what `to_dot` raises.
    """
    graph = graph_of(root, names=names, operation="to_mermaid")
    edges = list(graph.edges())
    if len(edges) > MOST_EDGES:
        raise ParameterError(
            f"to_mermaid: found {len(edges):,} edges; accepted are at most {MOST_EDGES}, which is Mermaid's limit. "
            "Use to_dot with Graphviz, or text_tree(root), which shows the top of a graph of any size."
        )
    lines = ["flowchart TD"]
    for i, node in enumerate(graph.nodes):
        lines.append(f'  n{i}["{"<br/>".join(map(_mermaid_text, node_lines(node)))}"]')
    for source, target, slope in edges:
        label = f'|"{_mermaid_text(number_text(slope))}"| ' if slope is not None else ""
        lines.append(f"  n{source} --> {label}n{target}")
    return "\n".join(lines)


def node_lines(node: Node, digits: int = 6) -> list[str]:
    """What a drawn node says: expression, value, gradient; the last two where they are known."""
    numbers = (("value", node.value), ("gradient", node.gradient))
    return [node.title, *(f"{what} {number_text(x, digits)}" for what, x in numbers if x is not None)]


def _dot_text(text: str) -> str:
    """Inside a quoted string, where a backslash starts an escape sequence, and & an HTML entity."""
    return text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')


def _mermaid_text(text: str) -> str:
    return "".join(_ENTITIES.get(c, c) for c in text)
