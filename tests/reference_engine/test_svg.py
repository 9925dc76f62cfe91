"""`to_svg`: well-formed, accessible, in the page's colours, narrow, and a layout without overlaps."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from gradwitness.reference_engine import ParameterError, Value, graph_of, ops, to_svg, trace
from gradwitness.reference_engine.layered_layout import layered_layout
from hypothesis import given
from hypothesis import strategies as st

SVG = "{http://www.w3.org/2000/svg}"


def course_graph() -> tuple[Value, dict[str, Value]]:
    x1, x2 = Value(2.0), Value(3.0)
    return (x1 + x2) * (x1 * x2), {"x1": x1, "x2": x2}


def texts_of(svg: ElementTree.Element, role: str) -> list[str]:
    return [element.text or "" for element in svg.iter(f"{SVG}text") if element.get("class") == role]


def test_the_picture_of_the_course_shows_every_number() -> None:
    svg = ElementTree.fromstring(to_svg(*course_graph()))
    assert texts_of(svg, "title") == ["x1", "x2", "v1 = x1 + x2", "v2 = x1 * x2", "v3 = v1 * v2"]
    assert texts_of(svg, "value") == ["value 2.0", "value 3.0", "value 5.0", "value 6.0", "value 30.0"]
    assert texts_of(svg, "gradient") == [f"gradient {g}" for g in ("21.0", "16.0", "6.0", "5.0", "1")]
    assert sorted(texts_of(svg, "slope")) == ["1", "1", "2.0", "3.0", "5.0", "6.0"]


def test_it_says_in_words_what_it_shows_and_scales() -> None:
    svg = ElementTree.fromstring(to_svg(*course_graph()))
    sentence = "Graph of v3 = 30.0, computed from x1 = 2.0, x2 = 3.0. Gradients: x1 21.0, x2 16.0."
    assert (svg.tag, svg.get("role"), svg.get("aria-label")) == (f"{SVG}svg", "img", sentence)
    assert svg[0].tag == f"{SVG}title" and svg[0].text == sentence
    _, _, width, height = map(float, (svg.get("viewBox") or "").split())
    assert (svg.get("width"), svg.get("height")) == (f"{width:.0f}", f"{height:.0f}")


def test_it_is_self_contained_and_takes_every_colour_from_its_page() -> None:
    text = to_svg(*course_graph())
    assert {"--ink", "--muted", "--accent", "--line"} <= set(re.findall(r"var\((--\w+), ", text))
    assert "href" not in text and "url(" not in text and "<script" not in text
    outside_of_variables = re.findall(r"(?:fill|stroke): (?!var\(|none)[^;]*", text)
    assert outside_of_variables == []


def luminance(colour: str) -> float:
    """Relative luminance. Source: Web Content Accessibility Guidelines 2.1."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_fallback_accent_can_be_read_in_light_and_dark() -> None:
    (accent,) = set(re.findall(r"var\(--accent, (#\w+)\)", to_svg(Value(1.0))))
    on_white = (1 + 0.05) / (luminance(accent) + 0.05)
    on_dark = (luminance(accent) + 0.05) / (luminance("#121212") + 0.05)
    assert on_white >= 4.5 and on_dark >= 4.0


@given(name=st.text(min_size=1, max_size=12))
def test_any_name_leaves_it_well_formed(name: str) -> None:
    x = Value(1.0)
    svg = ElementTree.fromstring(to_svg(x * x, {name: x}))
    assert len(texts_of(svg, "title")) == 2


def test_markup_in_a_name_is_shown_as_text() -> None:
    x = Value(1.0)
    svg = ElementTree.fromstring(to_svg(x, {"<b>&\"'": x}))
    assert texts_of(svg, "title") == ["<b>&\"'"]


def test_a_long_expression_is_cut_in_the_node_and_whole_in_its_tooltip() -> None:
    program = trace(lambda x: ops.reshape(x, (1, 2, 1, 3, 1)), np.ones((2, 3)))
    svg = ElementTree.fromstring(to_svg(program))
    whole = "b: f64[1,2,1,3,1] = reshape(a, shape=(1, 2, 1, 3, 1))"
    assert texts_of(svg, "title")[1] == whole[:25] + "…"
    assert [title.text for title in svg.iter(f"{SVG}title")][2] == whole


def test_a_neuron_of_four_inputs_fits_a_phone() -> None:
    inputs, weights = ([Value(0.1 * i) for i in range(1, 5)] for _ in range(2))
    y = sum((x * w for x, w in zip(inputs, weights, strict=True)), Value(0.0)).tanh()
    width = float(ElementTree.fromstring(to_svg(y)).get("width") or "inf")
    assert width <= 480  # pixels, so that 13 px type is at least 10 px high on a screen of 375


def test_a_graph_above_the_limit_is_refused_with_what_to_use_instead() -> None:
    y = Value(1.0)
    for _ in range(149):
        y = y + 1
    assert to_svg(graph_of(y)).count("<rect") == 150
    with pytest.raises(ParameterError, match="found 151 nodes; accepted are at most 150.* Use text_tree.* or to_dot"):
        to_svg(y + 1)


def acyclic_graphs() -> st.SearchStrategy[tuple[list[tuple[float, float]], list[tuple[int, int]]]]:
    """Sizes of boxes and edges from earlier boxes to later ones; shrinks towards one box."""
    sizes = st.lists(st.tuples(st.floats(10, 200), st.floats(10, 60)), min_size=1, max_size=15)

    def with_edges(
        boxes: list[tuple[float, float]],
    ) -> st.SearchStrategy[tuple[list[tuple[float, float]], list[tuple[int, int]]]]:
        pairs = st.tuples(st.integers(0, len(boxes) - 1), st.integers(0, len(boxes) - 1))
        ordered = st.lists(pairs.filter(lambda p: p[0] < p[1]), max_size=30) if len(boxes) > 1 else st.just([])
        return st.tuples(st.just(boxes), ordered)

    return sizes.flatmap(with_edges)


ROUNDING = 1e-6  # pixels: sums of a few hundred lengths below 1e4 in float64 err by less than 1e-9


@given(graph=acyclic_graphs())
def test_boxes_do_not_overlap_and_edges_lead_downwards_from_box_to_box(
    graph: tuple[list[tuple[float, float]], list[tuple[int, int]]],
) -> None:
    sizes, edges = graph
    layout = layered_layout(sizes, edges, widest=400, column_gap=10, row_gap=50)
    for (i, (x, y)), (j, (u, v)) in itertools.combinations(enumerate(layout.centres), 2):
        apart_x = abs(x - u) - (sizes[i][0] + sizes[j][0]) / 2
        apart_y = abs(y - v) - (sizes[i][1] + sizes[j][1]) / 2
        assert apart_x >= 10 - ROUNDING or apart_y >= 50 - ROUNDING
    for (x, y), (width, height) in zip(layout.centres, sizes, strict=True):
        assert width / 2 - ROUNDING <= x <= layout.width - width / 2 + ROUNDING
        assert height / 2 - ROUNDING <= y <= layout.height - height / 2 + ROUNDING
    for (source, target), route in zip(edges, layout.routes, strict=True):
        assert route[0] == (layout.centres[source][0], layout.centres[source][1] + sizes[source][1] / 2)
        assert math.isclose(route[-1][1], layout.centres[target][1] - sizes[target][1] / 2)
        assert abs(route[-1][0] - layout.centres[target][0]) <= sizes[target][0] / 2
        assert all(above[1] < below[1] for above, below in itertools.pairwise(route))


def test_a_row_that_can_be_ordered_without_crossings_is() -> None:
    # Two trees whose leaves were numbered alternately: 0, 2 -> 4 and 1, 3 -> 5.
    layout = layered_layout([(20.0, 10.0)] * 6, [(0, 4), (1, 5), (2, 4), (3, 5)], widest=400, column_gap=10, row_gap=50)
    xs = [x for x, _ in layout.centres]
    assert (max(xs[0], xs[2]) < min(xs[1], xs[3])) == (xs[4] < xs[5])
    assert (min(xs[0], xs[2]) > max(xs[1], xs[3])) == (xs[4] > xs[5])
