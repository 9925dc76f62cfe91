"""All methods side by side, and the costs of gradients and Jacobians: closed forms, exact counts, honest labels."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gradwitness.reference_engine import evaluation_counts, jacobian_costs, ops, three_ways
from gradwitness.reference_engine.errors import DerivativeError, DtypeError, ParameterError
from gradwitness.reference_engine.jacobian_cost import crossings

ROOT = Path(__file__).resolve().parents[2]
EPSILON = 2.0**-52
RIDDERS_CALLS = 24  # 12 rows of the tableau, two calls each


def product_and_sine(*xs: Any) -> Any:
    """sin(x₁ x₂ ⋯)."""
    y = xs[0]
    for x in xs[1:]:
        y = y * x
    return y.sin()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_calls_are_those_that_theory_demands(n: int) -> None:
    point = [1.0 + 0.1 * i for i in range(n)]
    found = {way.method: way for way in three_ways(product_and_sine, point).ways}
    calls = {method: way.calls for method, way in found.items()}
    assert calls == {
        "symbolic": 1,
        "one_sided": n + 1,
        "central": 2 * n,
        "richardson": RIDDERS_CALLS * n,
        "complex_step": n,
        "forward": n,
        "reverse": 1,
    }
    assert {m: way.backward_passes for m, way in found.items() if way.backward_passes} == {"reverse": 1}


def test_every_gradient_has_the_error_of_its_method() -> None:
    x, y = 1.2, 0.7
    found = three_ways(product_and_sine, (x, y), lambda a, b: ops.sin(a * b))
    exact = (y * math.cos(x * y), x * math.cos(x * y))
    # At steps of 2√ε and 2ε^⅓ at most (|x| < 2) both terms of each error are below these; f and its derivatives are
    # below 2. The others round a handful of times.
    bounds = {"one_sided": 8 * EPSILON**0.5, "central": 8 * EPSILON ** (2 / 3), "richardson": 1e3 * EPSILON}
    assert found.exact == pytest.approx(exact, rel=4 * EPSILON)
    for way in found.ways:
        assert way.error <= bounds.get(way.method, 4 * EPSILON), way.method
        assert way.gradient == pytest.approx(exact, abs=way.error + 4 * EPSILON)
        assert way.relative_error == pytest.approx(way.error / max(exact))
    array_engine = found.ways[-1]
    assert (array_engine.method, array_engine.calls, array_engine.backward_passes) == ("array engine", 1, 1)


def test_formulas_and_digits_are_told_as_text() -> None:
    found = three_ways(lambda x: (x * x).sin(), 1.0)
    assert (found.formula, found.derivatives) == ("sin(x**2)", ("2*x*cos(x**2)",))
    assert found.exact_digits[0].startswith("1.0806046117362794348018732148")  # 2 cos 1
    assert found.rows()[0]["method"] == "symbolic"


def test_a_branch_leaves_the_symbolic_way_without_an_answer_and_says_why() -> None:
    found = three_ways(lambda x: x * x if x > 0 else -x, 0.5)
    symbolic, *others = found.ways
    assert math.isnan(symbolic.error) and "asks whether x > 0" in symbolic.problem
    assert not any(way.problem for way in others) and others[-1].gradient == (1.0,)


def test_a_step_across_the_edge_of_the_domain_is_a_problem_of_that_method_alone() -> None:
    problems = {way.method for way in three_ways(lambda x: x.log(), 1e-7).ways if way.problem}
    assert problems == {"central", "richardson"}  # their steps reach below 0, the others do not


def test_a_constant_has_slope_zero_by_every_method() -> None:
    assert {way.gradient for way in three_ways(lambda x, y: 3, (1.0, 2.0)).ways} == {(0.0, 0.0)}


BAD: list[tuple[Any, Any, type[Exception], str]] = [
    (lambda x: "text", 1.0, DtypeError, "accepted is one number"),
    (lambda x: [x], 1.0, DtypeError, "accepted is one number"),
    (lambda x: x, [], ParameterError, "one or more finite numbers"),
    (lambda x: x, math.inf, ParameterError, "one or more finite numbers"),
    (lambda x: x, 1j, DtypeError, "accepted are real numbers"),
    (lambda x: x, "text", DtypeError, "accepted is one number"),
    (lambda x: x.max(0), 0.0, DerivativeError, "0.0 from the left, 1.0 from the right and 0.5 by the rules"),
    (lambda x, y: x * abs(y), (1.0, 0.0), DerivativeError, "towards argument 1"),
]


@pytest.mark.parametrize(("fn", "x", "kind", "text"), BAD)
def test_bad_input_is_refused_with_a_reason(fn: Any, x: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        three_ways(fn, x)


def test_a_gradient_of_n_parameters_costs_one_call_and_one_pass_in_reverse_and_n_otherwise() -> None:
    rows = evaluation_counts([1, 7], full_up_to=10)
    assert all(row.measured and row.coordinates == row.parameters for row in rows)
    costs = [(row.method, row.parameters, row.calls, row.passes) for row in rows]
    assert costs == [
        ("one_sided", 1, 2, 0),
        ("central", 1, 2, 0),
        ("forward", 1, 1, 1),
        ("reverse", 1, 1, 1),
        ("one_sided", 7, 8, 0),
        ("central", 7, 14, 0),
        ("forward", 7, 1, 7),
        ("reverse", 7, 1, 1),
    ]


def test_costs_that_were_scaled_up_say_so() -> None:
    rows = {row.method: row for row in evaluation_counts([40], full_up_to=10)}
    assert {m: (r.calls, r.passes, r.coordinates, r.measured) for m, r in rows.items()} == {
        "one_sided": (41, 0, 8, False),
        "central": (80, 0, 8, False),
        "forward": (1, 40, 8, False),
        "reverse": (1, 1, 40, True),
    }


def test_all_methods_find_the_gradient_of_the_loss() -> None:
    rows = {row.method: row for row in evaluation_counts([20])}
    # A sum of 20 terms below 1; steps as in the docstrings of the differences, at |w| < 4; |x| < 4, so that derivatives
    # of tanh(w x) of order k are below 2·4ᵏ.
    assert rows["one_sided"].difference <= 4 * EPSILON**0.5 * 2 * 4**2 + 20 * EPSILON / EPSILON**0.5
    assert rows["central"].difference <= (4 * EPSILON ** (1 / 3)) ** 2 * 2 * 4**3 + 20 * EPSILON / EPSILON ** (1 / 3)
    assert rows["forward"].difference <= 8 * EPSILON * 4


@pytest.mark.parametrize("sizes", [[], [0], [-3], [2.5], [True]])
def test_sizes_that_are_no_sizes_are_refused(sizes: list[Any]) -> None:
    with pytest.raises(ParameterError, match="accepted are whole numbers from 1 up"):
        evaluation_counts(sizes)


def test_forward_mode_takes_a_pass_an_input_and_reverse_mode_a_pass_an_output() -> None:
    costs = jacobian_costs([(12, 3), (3, 12), (6, 6)], repeats=1)
    assert [(r.inputs, r.outputs, r.forward_passes, r.reverse_passes) for r in costs.rows] == [
        (3, 12, 3, 12),
        (6, 6, 6, 6),
        (12, 3, 12, 3),
    ]
    assert all(row.difference <= row.bound for row in costs.rows)
    assert costs.pass_crossings == (1.0,)


def test_passes_cross_at_one_input_per_output_also_between_the_shapes() -> None:
    assert jacobian_costs([(2, 8), (8, 2)], repeats=1).pass_crossings == pytest.approx((1.0,))
    assert jacobian_costs([(2, 8), (4, 8)], repeats=1).pass_crossings == ()


# Straight lines in log-log: from 0.1 at 1 to 10 at 100 the middle is 10; from 0.5 to 8 a quarter of the way.
CROSSINGS: list[tuple[list[float], list[float], tuple[float, ...]]] = [
    ([1, 100], [0.1, 10], (10.0,)),
    ([1, 16], [0.5, 8], (2.0,)),
    ([1, 2, 4], [0.5, 1, 2], (2.0,)),
    ([1, 4, 16, 64], [0.5, 1, 1, 2], (8.0,)),
    ([1, 2, 4], [0.5, 1, 0.5], ()),
    ([1, 2], [0.5, 0.25], ()),
    ([1, 4, 16], [0.5, 2, 0.5], (2.0, 8.0)),
    ([3], [1], (3.0,)),
]


@pytest.mark.parametrize(("positions", "quotients", "expected"), CROSSINGS)
def test_crossings_lie_on_straight_lines_in_log_log(
    positions: list[float], quotients: list[float], expected: tuple[float, ...]
) -> None:
    assert crossings(positions, quotients) == pytest.approx(expected)


@pytest.mark.parametrize("shapes", [[], [(0, 3)], [(3,)], [(2, -1)], [(2, 1.5)]])
def test_shapes_that_are_no_shapes_are_refused(shapes: list[Any]) -> None:
    with pytest.raises(ParameterError, match="accepted are pairs"):
        jacobian_costs(shapes)


def test_importing_the_engine_loads_neither_sympy_nor_mpmath() -> None:
    code = "import sys, gradwitness.reference_engine; print({'sympy', 'mpmath'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_benchmark_writes_its_tables(tmp_path: Path) -> None:
    page = tmp_path / "table.md"
    script = ROOT / "benchmarks" / "forward_against_reverse.py"
    command = [sys.executable, str(script), "--repeats", "1", "--largest", "10", "--out", str(page)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert "| 1,024 | 1 | 1,024 | 1 |" in text and "| 10 | one_sided | 11 | 0 |" in text
