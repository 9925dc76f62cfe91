"""`text_tree` and the graph beneath every drawing: closed forms, shared nodes, long chains, programs, misuse."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from gradwitness.reference_engine import (
    DerivativeError,
    DtypeError,
    EngineError,
    ParameterError,
    Value,
    graph_of,
    ops,
    text_tree,
    to_dot,
    to_mermaid,
    to_svg,
    trace,
)
from hypothesis import given
from hypothesis import strategies as st

RENDERINGS = (text_tree, to_dot, to_mermaid, to_svg)


def course_graph() -> tuple[Value, dict[str, Value]]:
    x1, x2 = Value(2.0), Value(3.0)
    return (x1 + x2) * (x1 * x2), {"x1": x1, "x2": x2}


def test_the_tree_of_the_course_has_values_and_gradients_by_hand() -> None:
    y, names = course_graph()
    assert text_tree(y, names).splitlines() == [
        "v3 = v1 * v2     value 30.0  gradient 1",
        "├─ v1 = x1 + x2  value 5.0   gradient 6.0",
        "│  ├─ x1         value 2.0   gradient 21.0",
        "│  └─ x2         value 3.0   gradient 16.0",
        "└─ v2 = x1 * x2  value 6.0   gradient 5.0",
        "   ├─ x1         as above",
        "   └─ x2         as above",
    ]


def test_a_shared_node_is_written_out_once() -> None:
    x = Value(2.0)
    shared = x * x
    tree = text_tree((shared + 1) * shared, {"x": x, "shared": shared})
    assert tree.count("shared = x * x") == 1
    assert tree.count("as above") == 2  # shared the second time, and x the second time


@pytest.mark.parametrize("render", RENDERINGS)
def test_drawing_leaves_gradients_alone(render: Any) -> None:
    y, names = course_graph()
    y.backward(seed=-1.0)
    render(y, names)
    assert (names["x1"].grad, names["x2"].grad) == (-21.0, -16.0)


@given(
    steps=st.lists(st.tuples(st.sampled_from("+-*"), st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=15),
    inputs=st.lists(st.floats(-2, 2), min_size=1, max_size=4),
)
def test_gradients_are_bit_for_bit_those_of_backward(steps: list[tuple[str, int, int]], inputs: list[float]) -> None:
    made = [Value(x) for x in inputs]
    for op, i, j in steps:
        a, b = made[i % len(made)], made[j % len(made)]
        made.append(a + b if op == "+" else a - b if op == "-" else a * b)
    names = {f"n{i}": v for i, v in enumerate(made)}
    graph = graph_of(made[-1], names=names)
    made[-1].backward()
    assert [node.gradient for node in graph.nodes] == [names[node.name].grad for node in graph.nodes]


def test_each_node_comes_after_its_operands_and_edges_carry_the_slopes() -> None:
    y, names = course_graph()
    graph = graph_of(y, names=names)
    assert [node.name for node in graph.nodes] == ["x1", "x2", "v1", "v2", "v3"]
    assert [tuple(edge) for edge in graph.edges()] == [
        (0, 2, 1),
        (1, 2, 1),
        (0, 3, 3.0),
        (1, 3, 2.0),
        (2, 4, 6.0),
        (3, 4, 5.0),
    ]


def test_plain_numbers_stand_in_the_expression() -> None:
    x = Value(4.0)
    texts = [x + 1, x * -2, x - 3.5, x / 3, x ** Fraction(1, 2), x.max(-7), -x, x.tanh(), 1 - x]
    found = [graph_of(y, names={"x": x}).nodes[-1].text for y in texts]
    assert found == ["x + 1", "x * (-2)", "x - 3.5", "x / 3", "x ** (1/2)", "max(x, -7)", "-x", "tanh(x)", "v1 - x"]


def test_numbers_given_by_hand_avoid_names_that_are_taken() -> None:
    x, y = Value(1.0), Value(2.0)
    graph = graph_of(x * y + 1, names={"v1": x, "g2": y})
    assert [node.name for node in graph.nodes] == ["v1", "g2", "v3", "v4"]


def test_exact_numbers_stay_exact() -> None:
    x = Value(Fraction(1, 3))
    assert text_tree(x * x * x, {"x": x}).splitlines()[2].split() == ["│", "├─", "x", "value", "1/3", "gradient", "1/3"]


def test_the_head_of_a_chain_of_100_000_is_short_and_says_what_is_left() -> None:
    y = Value(1.0)
    for _ in range(100_000):
        y = y + 1
    tree = text_tree(y, lines=50)
    lines = tree.splitlines()
    assert lines[0].split() == "v100001 = v100000 + 1 value 100001.0 gradient 1".split()
    assert lines[-1] == "… and 99,951 more nodes; text_tree(root, lines=None) shows all 100,001"
    assert max(map(len, lines)) <= 100
    assert sum("value" in line for line in lines) == 50


def test_all_lines_of_a_deep_tree_are_short_and_every_node_is_there_once() -> None:
    y = Value(1.0)
    for _ in range(100):
        y = y + 1
    lines = text_tree(y, lines=None).splitlines()
    assert sum("value" in line for line in lines) == 101
    assert max(map(len, lines)) <= 100


def test_odd_names_stay_on_one_line() -> None:
    x = Value(1.0)
    assert text_tree(x, {"a\nb\x00\ud800": x}) == "a\\nb\\x00\\ud800  value 1.0  gradient 1"


def test_a_program_without_numbers_shows_equations_and_shapes() -> None:
    program = trace(lambda x: ops.sum(x * x), np.ones(3))
    assert text_tree(program).splitlines() == [
        "c: f64[] = sum(b, axes=(0,))",
        "└─ b: f64[3] = a * a",
        "   ├─ a: f64[3]",
        "   └─ a                       as above",
    ]


def test_a_program_with_inputs_shows_values_gradients_and_local_derivatives() -> None:
    program = trace(lambda x: ops.sum(x * x * 0.5), np.ones(2))
    graph = graph_of(program, np.array([2.0, -3.0]), names={"x": program.inputs[0]})
    values = [np.asarray(node.value).tolist() for node in graph.nodes]
    assert values == [[2.0, -3.0], [4.0, 9.0], [2.0, 4.5], 6.5]
    # L = Σ x²/2: ∂L/∂x = x, ∂L/∂(x²) = 1/2, ∂L/∂(x²/2) = 1
    assert [np.asarray(node.gradient).tolist() for node in graph.nodes] == [[2.0, -3.0], [0.5, 0.5], [1.0, 1.0], 1.0]
    slopes = [None if e.slope is None else np.asarray(e.slope).tolist() for e in graph.edges()]
    assert slopes == [[2.0, -3.0], [2.0, -3.0], [0.5, 0.5], None]
    assert graph.nodes[0].name == "x"


def test_a_program_with_two_results_has_values_and_no_gradient() -> None:
    graph = graph_of(trace(lambda x: (x + 1, x * 2), 1.0), 3.0)
    assert [float(node.value) for node in graph.nodes] == [3.0, 4.0, 6.0]
    assert {node.gradient for node in graph.nodes} == {None}
    assert graph.results == (1, 2)


def test_a_result_that_is_a_number_is_a_node_all_the_same() -> None:
    assert text_tree(trace(lambda x: 2.5, 1.0)) == "2.5: f64[]  value 2.5"


@pytest.mark.parametrize("render", RENDERINGS)
@pytest.mark.parametrize("root", [3.0, "x", None, np.ones(2), [Value(1.0)]])
def test_another_root_is_refused(render: Any, root: Any) -> None:
    with pytest.raises(DtypeError, match=f"{render.__name__}: root is .* accepted are a Value, a Program and a Graph"):
        render(root)


@pytest.mark.parametrize("render", RENDERINGS)
def test_a_cycle_is_refused(render: Any) -> None:
    x = Value(1.0)
    y = x * 2
    z = y + 1
    y._prev = (z,)
    with pytest.raises(DerivativeError, match="made from itself, in a cycle"):
        render(z)


@pytest.mark.parametrize("names", [{"": Value(1.0)}, {1: Value(1.0)}, {"x": 1.0}, ["x"]])
def test_names_that_are_no_names_are_refused(names: Any) -> None:
    with pytest.raises(ParameterError, match="text_tree: names"):
        text_tree(Value(1.0), names)


def test_inputs_and_names_are_refused_where_they_mean_nothing() -> None:
    x = Value(1.0)
    with pytest.raises(ParameterError, match="accepted are inputs for a Program"):
        graph_of(x, 2.0)
    with pytest.raises(ParameterError, match="names for a Value"):
        text_tree(graph_of(x), {"x": x})


@pytest.mark.parametrize("lines", [0, -1, 1.5, True])
def test_a_number_of_lines_that_is_none_is_refused(lines: Any) -> None:
    with pytest.raises(ParameterError, match="accepted is a whole number from 1 up, or None"):
        text_tree(Value(1.0), lines=lines)


def test_an_operation_of_ones_own_without_a_slope_is_refused_by_name() -> None:
    x = Value(1.0)
    y = Value(2.0, _op="mine")
    y._prev = (x,)
    with pytest.raises(EngineError, match="made by 'mine', has no slope towards"):
        text_tree(y)
