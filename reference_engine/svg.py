"""A computation as a picture: self-contained SVG in the colours of the page that holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from .errors import ParameterError
from .graph import Edge, Graph, Node, graph_of
from .layered_layout import Point, layered_layout
from .markup import node_lines
from .number_text import cut, number_text

MOST_NODES = 150  # a larger picture is read by nobody
FONT = 13.0  # pixels
CHARACTER = 0.602 * FONT  # the width of a character in the usual monospaced fonts
LINE = 17.0  # pixels from line to line
PADDING = 9.0
WIDEST = 400.0  # pixels of a row of nodes: about a phone, so that it is hardly scaled down
LONGEST = 26  # characters of an expression in a node; the whole is in its tooltip
COLUMN_GAP, ROW_GAP = 18.0, 62.0
ARROW = 7.0
DIGITS = 4  # significant digits in the picture; tooltips have six
PLACES = (0.66, 0.56, 0.76, 0.46, 0.36, 0.26)  # where a label may stand on its stretch of an edge, best first

# The page's own colours where it has these variables, else those of its text. As a document of its own the picture
# follows the reader's choice of light or dark. The accent has a contrast of 4.5 on white and of 4.2 on #121212.
STYLE = """
.gradwitness-graph { color-scheme: light dark; max-width: 100%; height: auto; }
.gradwitness-graph:root { color: #1b1f24; }
@media (prefers-color-scheme: dark) { .gradwitness-graph:root { color: #e8eaed; background: #121212; } }
.gradwitness-graph text { font: 13px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; stroke: none;
  text-anchor: middle; fill: var(--ink, currentColor); }
.gradwitness-graph .title { font-weight: bold; }
.gradwitness-graph .slope { fill: var(--muted, currentColor); }
.gradwitness-graph .gradient { fill: var(--accent, #2777cd); }
.gradwitness-graph .box, .gradwitness-graph .edge { fill: none; stroke: var(--line, currentColor); stroke-width: 1.2; }
.gradwitness-graph .result { stroke: var(--accent, #2777cd); stroke-width: 2; }
.gradwitness-graph .arrow { fill: var(--line, currentColor); }
"""


def to_svg(root: Any, names: Mapping[str, Any] | None = None) -> str:
    """The graph of a Value, a Program or a Graph as one <svg> element, of at most 150 nodes.

    Inputs are rounded and above, results framed in the accent colour and below; a node shows its expression, its value,
    and the gradient of the result with respect to it; an edge shows the local derivative. It may stand in a page or
    alone, and takes the colours --ink, --muted, --accent, --line of its page. Raises ParameterError above 150 nodes,
    DtypeError for another root, DerivativeError for a cycle.
    """
    graph = graph_of(root, names=names, operation="to_svg")
    if len(graph.nodes) > MOST_NODES:
        raise ParameterError(
            f"to_svg: found {len(graph.nodes):,} nodes; accepted are at most {MOST_NODES}, for nobody reads more in "
            "one picture. Use text_tree(root), which shows the top of a graph of any size, or to_dot with Graphviz."
        )
    texts = [[cut(line, LONGEST) for line in node_lines(node, DIGITS)] for node in graph.nodes]
    sizes = [(max(map(len, lines)) * CHARACTER + 2 * PADDING, len(lines) * LINE + PADDING) for lines in texts]
    edges = list(graph.edges())
    layout = layered_layout(
        sizes, [(e.source, e.target) for e in edges], widest=WIDEST, column_gap=COLUMN_GAP, row_gap=ROW_GAP
    )
    drawn = _edges(edges, layout.routes)
    for i, (node, lines) in enumerate(zip(graph.nodes, texts, strict=True)):
        drawn.append(_node(node, lines, layout.centres[i], sizes[i], i in graph.results))
    width, height = layout.width + 4, layout.height + 4
    sentence = quoteattr(_sentence(graph))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="gradwitness-graph" role="img" aria-label={sentence} '
        f'viewBox="-2 -2 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}">'
        f"<title>{escape(_sentence(graph))}</title><style>{STYLE}</style>\n" + "\n".join(drawn) + "\n</svg>"
    )


def _sentence(graph: Graph) -> str:
    """What the picture shows, for those who do not see it."""
    results = ", ".join(_with_value(graph.nodes[i]) for i in graph.results)
    inputs = [node for node in graph.nodes if not node.operands]
    known = [f"{node.name} {number_text(node.gradient)}" for node in inputs if node.gradient is not None]
    gradient = f" Gradients: {', '.join(known)}." if known else ""
    return f"Graph of {results}, computed from {', '.join(map(_with_value, inputs))}.{gradient}"


def _with_value(node: Node) -> str:
    return node.name if node.value is None else f"{node.name} = {number_text(node.value)}"


def _node(node: Node, lines: Sequence[str], centre: Point, size: tuple[float, float], is_result: bool) -> str:
    (x, y), (width, height) = centre, size
    kind = "box result" if is_result else "box"
    radius = height / 2 if not node.text else 4.0
    parts = [
        f"<g><title>{escape(chr(10).join(node_lines(node)))}</title>"
        f'<rect class="{kind}" x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="{min(radius, 16.0):.1f}"/>'
    ]
    for k, line in enumerate(lines):
        role = "title" if k == 0 else line.split(" ", 1)[0]
        at = y - height / 2 + PADDING / 2 + (k + 0.75) * LINE
        parts.append(f'<text class="{role}" x="{x:.1f}" y="{at:.1f}">{escape(line)}</text>')
    return "".join(parts) + "</g>"


def _edges(edges: Sequence[Edge], routes: Sequence[Sequence[Point]]) -> list[str]:
    """Lines with arrow heads, each interrupted where its label stands; labels avoid other lines and other labels."""
    lines = [(k, a, b) for k, route in enumerate(routes) for a, b in zip(route, route[1:], strict=False)]
    labels: list[tuple[Point, Point]] = []
    drawn = []
    for k, (edge, route) in enumerate(zip(edges, routes, strict=True)):
        box = None
        if edge.slope is not None:
            text = cut(number_text(edge.slope, DIGITS), LONGEST)
            half = (len(text) * CHARACTER / 2 + 2, LINE / 2)
            middle = min(
                (_along(route, place) for place in PLACES),
                key=lambda m: (
                    sum(_meets(m, half, a, b) for j, a, b in lines if j != k)
                    + 3
                    * sum(abs(m[0] - o[0]) < half[0] + h[0] and abs(m[1] - o[1]) < half[1] + h[1] for o, h in labels)
                ),
            )
            labels.append((middle, half))
            box = (middle, half)
            drawn.append(f'<text class="slope" x="{middle[0]:.1f}" y="{middle[1] + 4.5:.1f}">{escape(text)}</text>')
        drawn.append(_line(route, box))
    return drawn


def _along(route: Sequence[Point], place: float) -> Point:
    """A point on the last stretch of a route."""
    (x0, y0), (x1, y1) = route[-2], route[-1]
    return x0 + place * (x1 - x0), y0 + place * (y1 - y0)


def _line(route: Sequence[Point], box: tuple[Point, Point] | None) -> str:
    *start, before, (x, y) = route
    inside = _inside(before, (x, y), *box) if box else None
    points = [*start, before]
    path = "M" + " L".join(f"{px:.1f} {py:.1f}" for px, py in points)
    if inside:
        (ax, ay), (bx, by) = (_along(route, t) for t in inside)
        path += f" L{ax:.1f} {ay:.1f} M{bx:.1f} {by:.1f}"
    path += f" L{x:.1f} {y - ARROW / 2:.1f}"
    dx, dy = x - before[0], y - before[1]
    length = (dx * dx + dy * dy) ** 0.5
    ux, uy = ARROW * dx / length, ARROW * dy / length
    head = " ".join(
        f"{px:.1f},{py:.1f}"
        for px, py in ((x, y), (x - ux - uy / 2, y - uy + ux / 2), (x - ux + uy / 2, y - uy - ux / 2))
    )
    return f'<path class="edge" d="{path}"/><polygon class="arrow" points="{head}"/>'


def _inside(a: Point, b: Point, middle: Point, half: Point) -> tuple[float, float] | None:
    """The part [t0, t1] of the line from a to b that lies in the box around `middle`. Source: Liang and Barsky 1984."""
    t0, t1 = 0.0, 1.0
    for axis in (0, 1):
        d, low = b[axis] - a[axis], middle[axis] - half[axis] - a[axis]
        high = low + 2 * half[axis]
        if d == 0:
            if low > 0 or high < 0:
                return None
            continue
        first, last = sorted((low / d, high / d))
        t0, t1 = max(t0, first), min(t1, last)
    return (t0, t1) if t0 < t1 else None


def _meets(middle: Point, half: Point, a: Point, b: Point) -> bool:
    return _inside(a, b, middle, half) is not None
