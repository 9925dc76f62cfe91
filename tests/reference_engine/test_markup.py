"""DOT and Mermaid: the drawing of the course by hand, well-formedness, and names that would break the syntax."""

from __future__ import annotations

import re

import numpy as np
import pytest
from gradwitness.reference_engine import ParameterError, Value, graph_of, ops, to_dot, to_mermaid, trace
from hypothesis import given
from hypothesis import strategies as st

ODD_NAMES = [
    'a"b',
    "<b>",
    "#35;",
    "`md`",
    "back\\nslash",
    "style:#x",
    "%%{init}%%",
    "a|b",
    "$$x$$",
    '"]--x',
    "&lt;",
    "\n",
]

DOT_STRING = r'"(?:[^"\\\n]|\\.)*"'
DOT_LINE = re.compile(
    rf"  (?:n\d+(?: -> n\d+)?|node|edge)(?: \[\w+=(?:{DOT_STRING}|\w+)(?:, \w+=(?:{DOT_STRING}|\w+))*\])?;"
)
MERMAID_LINE = re.compile(r'  n\d+(?:\["[^"`|{}\\]*"\]| -->(?: \|"[^"`|{}\\]*"\|)? n\d+)')


def course_graph() -> tuple[Value, dict[str, Value]]:
    x1, x2 = Value(2.0), Value(3.0)
    return (x1 + x2) * (x1 * x2), {"x1": x1, "x2": x2}


def test_dot_of_the_course_by_hand() -> None:
    assert to_dot(*course_graph()).splitlines()[3:-1] == [
        r'  n0 [label="x1\nvalue 2.0\ngradient 21.0"];',
        r'  n1 [label="x2\nvalue 3.0\ngradient 16.0"];',
        r'  n2 [label="v1 = x1 + x2\nvalue 5.0\ngradient 6.0"];',
        r'  n3 [label="v2 = x1 * x2\nvalue 6.0\ngradient 5.0"];',
        r'  n4 [label="v3 = v1 * v2\nvalue 30.0\ngradient 1", peripheries=2];',
        '  n0 -> n2 [label="1"];',
        '  n1 -> n2 [label="1"];',
        '  n0 -> n3 [label="3.0"];',
        '  n1 -> n3 [label="2.0"];',
        '  n2 -> n4 [label="6.0"];',
        '  n3 -> n4 [label="5.0"];',
    ]


def test_mermaid_of_a_square_by_hand() -> None:
    x = Value(3.0)
    assert to_mermaid(x * x, {"x": x}).splitlines() == [
        "flowchart TD",
        '  n0["x<br/>value 3.0<br/>gradient 6.0"]',
        '  n1["v1 = x #42; x<br/>value 9.0<br/>gradient 1"]',
        '  n0 --> |"3.0"| n1',
        '  n0 --> |"3.0"| n1',
    ]


def names_are_drawn_well(names: list[str]) -> None:
    nodes = [Value(1.0) for _ in names]
    total = sum(nodes[1:], nodes[0])
    given = dict(zip(names, nodes, strict=True))
    dot = to_dot(total, given).splitlines()
    assert (dot[0], dot[-1]) == ("digraph computation {", "}")
    assert [line for line in dot[1:-1] if not DOT_LINE.fullmatch(line)] == []
    mermaid = to_mermaid(total, given).splitlines()
    assert [line for line in mermaid[1:] if not MERMAID_LINE.fullmatch(line)] == []


def test_names_that_mean_something_to_the_drawing_programs_are_escaped() -> None:
    names_are_drawn_well(ODD_NAMES)


@given(names=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3, unique=True))
def test_any_name_is_escaped(names: list[str]) -> None:
    names_are_drawn_well(names)


def test_the_escapes_of_each_language() -> None:
    x = Value(1.0)
    assert r'label="\"\\&amp;' in to_dot(x, {'"\\&': x})
    assert '["#34;#92;\u200b#38;#35;$\u200b<br/>' in to_mermaid(x, {'"\\&#$': x})


def test_a_program_without_numbers_has_bare_edges() -> None:
    program = trace(lambda x: ops.sum(ops.tanh(x)), np.ones(3))
    assert to_mermaid(program).splitlines() == [
        "flowchart TD",
        '  n0["a#58; f64#91;3#93;"]',
        '  n1["b#58; f64#91;3#93; = tanh#40;a#41;"]',
        '  n2["c#58; f64#91;#93; = sum#40;b, axes=#40;0,#41;#41;"]',
        "  n0 --> n1",
        "  n1 --> n2",
    ]
    assert "  n0 -> n1;\n" in to_dot(program)


def test_mermaid_refuses_what_it_would_not_draw_and_dot_takes_it() -> None:
    y = Value(1.0)
    for _ in range(500):
        y = y + 1
    assert len(to_mermaid(graph_of(y)).splitlines()) == 1 + 501 + 500
    with pytest.raises(ParameterError, match="found 501 edges; accepted are at most 500.* Use to_dot .* or text_tree"):
        to_mermaid(y + 1)
    assert to_dot(y + 1).count("->") == 501
