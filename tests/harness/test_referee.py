"""The referee: right numbers, no engine accused without a cause, and every planted fault named."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import mpmath as mp
import pytest
import torch
from custom_functions import with_backward
from gradwitness.harness.arbitration.conditioning import read
from gradwitness.harness.arbitration.refereeing import FLOAT, NO_SLOPE, SAVED, answers, referee
from gradwitness.harness.errors import UsageError
from gradwitness.harness.generation.scalar_expressions import OPERATIONS, ScalarExpression, Step
from gradwitness.harness.strategies import scalar_expressions
from gradwitness.reference_engine import Dual, Value, ops
from gradwitness.reference_engine.number_types import FUNCTIONS
from hypothesis import given, settings

BY_FUNCTIONS = ("Value on float", "Value on mpf", "Dual on float")  # the engines that share one table of slopes
EXCUSED = {NO_SLOPE, *(SAVED.format(names) for names in ("tanh", "sigmoid", "sigmoid and tanh"))}
# Of 6,000 drawn expressions 1.9 % had an engine with a known cause; above four times that the table of causes is asked
# too often to be believed.
MOST_EXCUSED = 0.08


def written(*steps, inputs=1):
    return ScalarExpression(inputs, tuple(Step(*s) for s in steps))


def alone(name):
    return written((name, (0,) if OPERATIONS[name].arity == 1 else (0, 0)))


# -- no engine is accused ---------------------------------------------------------------------------------------------


def hold_drawn(rational, count, **how) -> Counter[str]:
    """Referee `count` drawn expressions; none may be odd without a known cause. Counts all of them and the excused."""
    seen: Counter[str] = Counter()

    @settings(max_examples=count, **how)
    @given(scalar_expressions(rational=rational))
    def holds(case):
        ruling = referee(*case)
        seen["all"] += 1
        seen["excused"] += bool(ruling.odd)
        assert [e for e in ruling.odd if e not in ruling.causes] == [], ruling
        assert set(ruling.causes.values()) <= EXCUSED
        assert all(e == "PyTorch" for e, cause in ruling.causes.items() if cause != NO_SLOPE)

    holds()
    return seen


@pytest.mark.parametrize(("rational", "count"), [(False, 300), (True, 150)])
def test_no_engine_is_odd_on_generated_expressions_without_a_known_cause(rational, count):
    hold_drawn(rational, count)


@pytest.mark.parametrize(("rational", "count"), [(False, 300), (True, 150)])
def test_few_expressions_need_to_be_excused(rational, count):
    # the share of one draw of 300 is 2 or 3 points off by chance: of the same draw each time it is a fact
    seen = hold_drawn(rational, count, derandomize=True, database=None)
    assert seen["all"] >= count / 2 and seen["excused"] <= MOST_EXCUSED * seen["all"], seen


def test_the_right_numbers_are_those_of_the_closed_form():
    ruling = referee(written(("multiply", (0, 1)), ("sin", (0,)), ("add", (2, 3)), inputs=2), (2.0, 3.0))
    assert ruling.right == pytest.approx((6.0 + math.sin(2.0), 3.0 + math.cos(2.0), 2.0), rel=2.0**-52)
    assert ruling.odd == () and ruling.kinks == () and ruling.singular == ()
    assert all(line.bound < 20.0 for line in ruling.lines)


def test_every_engine_answers_and_fractions_where_they_can():
    rational = referee(written(("divide", (1.0, 0)), ("pow", (1, 3.0))), (3.0,))
    assert list(dict.fromkeys(line.engine for line in rational.lines)) == [
        "Value on float",
        "Value on Fraction",
        "Value on mpf",
        "Dual on float",
        "array engine",
        "PyTorch",
    ]
    exact = next(a for a in answers(rational.expression, (3.0,)) if a.engine == "Value on Fraction")
    assert (exact.value, exact.gradient) == (Fraction(1, 27), (Fraction(-1, 27),))
    assert "Value on Fraction" not in str(referee(alone("exp"), (1.0,)))


def test_an_ill_conditioned_expression_accuses_nobody():
    ruling = referee(written(("add", (1e16, 0)), ("subtract", (1, 1e16)), ("multiply", (2, 2))), (1 / 3,))
    lost = [line for line in ruling.lines if line.engine == "PyTorch"]
    assert max(line.error for line in lost) > 1e14  # no digit is right
    assert ruling.odd == ()


def test_terms_that_cancel_along_two_edges_of_one_node_accuse_nobody():
    # x - x + erf(x): the adjoint of x is 1 - 1 + something small, which loses digits in some orders and not in others
    ruling = referee(written(("subtract", (0, 0)), ("erf", (0,)), ("add", (1, 2))), (-4.3,))
    assert ruling.odd == ()


def test_the_tail_of_tanh_is_odd_for_pytorch_by_a_known_cause():
    ruling = referee(alone("tanh"), (9.0,))
    with mp.workdps(50):
        assert ruling.right[1] == float(1 / mp.cosh(9) ** 2)
    assert ruling.odd == ("PyTorch",)
    assert ruling.causes == {"PyTorch": SAVED.format("tanh")}


# -- kinks, singular points, domain errors ----------------------------------------------------------------------------


def test_kinks_are_named_and_every_choice_between_their_sides_is_accepted():
    # relu(x) - relu(-x) at 0: each slope may be 0 or 1, so the sum may be anything from 0 to 2; it is x in truth
    steps = ("relu", (0,)), ("negative", (0,)), ("relu", (2,)), ("subtract", (1, 3))
    ruling = referee(written(*steps), (0.0,))
    assert ruling.kinks == ("relu in step 1 of 4", "relu in step 3 of 4")
    assert ruling.right == (0.0, None)
    assert ruling.odd == ()
    assert "kink: relu in step 1 of 4" in str(ruling)


def test_a_tie_of_one_number_with_itself_has_slope_one():
    assert referee(alone("maximum"), (2.0,)).right == (2.0, 1.0)


def test_a_slope_outside_those_of_both_sides_is_odd_at_a_kink_too(monkeypatch):
    monkeypatch.setitem(FUNCTIONS, "abs", replace(FUNCTIONS["abs"], slope=lambda x, y: 5))
    assert referee(alone("abs"), (0.0,)).odd == ("Value on float", "Value on Fraction", "Value on mpf", "Dual on float")


def test_an_infinite_slope_is_stated_and_accuses_nobody():
    ruling = referee(alone("sqrt"), (0.0,))
    assert ruling.singular == ("sqrt(0.0) has no finite slope",)
    assert ruling.right == (0.0, None)
    assert ruling.odd == ()


def test_a_domain_error_is_a_line_of_its_own():
    ruling = referee(written(("log", (0,)), ("exp", (1,))), (-1.0,))
    raised = {line.engine: line.found for line in ruling.lines if line.quantity == "raised"}
    assert set(raised) == {"Value on float", "Value on mpf", "Dual on float"}
    assert all("DerivativeError: log: a = -1.0" in text for text in raised.values())
    assert [line.found for line in ruling.lines if line.engine == "PyTorch"][0] == "nan"
    assert ruling.singular == ("log(-1.0) is no number",)
    assert ruling.odd == () and ruling.right == (None, None)
    assert "DerivativeError: log: a = -1.0" in str(ruling)


def test_an_engine_that_raises_where_there_is_a_number_is_odd(monkeypatch):
    monkeypatch.setattr(Dual, "exp", lambda self: 1 / 0)
    ruling = referee(alone("exp"), (1.0,))
    assert ruling.odd == ("Dual on float",)
    assert any("ZeroDivisionError" in line.found for line in ruling.lines)


def test_overflow_is_stated():
    ruling = referee(written(("exp", (0,)), ("exp", (1,))), (10.0,))
    assert "above the largest float" in ruling.singular[0]
    assert ruling.odd == ()


# -- tests of the tester ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n in OPERATIONS])
def test_a_slope_of_value_and_dual_that_is_wrong_by_a_billionth_is_named(monkeypatch, name):
    function = FUNCTIONS[name]
    wrong = replace(function, slope=lambda x, y: function.slope(x, y) * (1 + 2.0**-30))
    monkeypatch.setitem(FUNCTIONS, name, wrong)
    ruling = referee(written((name, (0,)), ("multiply", (1, 0))), (0.75,))
    # Value has a shorter way for relu of a float, which does not ask the table
    asked = [e for e in BY_FUNCTIONS if (name, e) != ("relu", "Value on float")]
    assert [e for e in ruling.odd if e != "Value on Fraction"] == asked
    assert ruling.causes == {}
    assert str(ruling).count("odd: ") == len(ruling.odd)


TanhOff = with_backward("TanhOff", torch.tanh, lambda x: (1 - torch.tanh(x) ** 2) * (1 + 1e-6))


def test_a_slope_of_torch_that_is_wrong_by_a_millionth_is_named_without_an_excuse(monkeypatch):
    monkeypatch.setattr(torch, "tanh", TanhOff.apply)
    ruling = referee(written(("tanh", (0,)), ("multiply", (1, 0))), (0.5,))
    assert ruling.odd == ("PyTorch",)
    assert ruling.causes == {}


def test_a_wrong_value_of_the_array_engine_is_named(monkeypatch):
    right = ops.exp
    monkeypatch.setattr(ops, "exp", lambda x: right(x) * (1 + 2.0**-40))
    assert referee(alone("exp"), (1.0,)).odd == ("array engine",)


def test_a_term_that_dual_forgets_is_named(monkeypatch):
    monkeypatch.setattr(Dual, "__mul__", lambda a, b: Dual(a.data * b.data, a.tangent * b.data))
    assert referee(alone("multiply"), (3.0,)).odd == ("Dual on float",)


def test_a_wrong_quotient_of_value_is_named_on_every_number_it_holds(monkeypatch):
    monkeypatch.setattr(Value, "__truediv__", lambda a, b: Value(a.data / b.data, (a, b), "/", (1 / b.data, a.data)))
    ruling = referee(written(("divide", (0, 1)), inputs=2), (1.0, 2.0))
    assert ruling.odd == ("Value on float", "Value on Fraction", "Value on mpf")


# -- the bound, and misuse --------------------------------------------------------------------------------------------


def test_the_bound_of_a_difference_grows_as_the_terms_are_greater_than_it():
    # (x + c) - c: the sum is rounded to its own size, c/x of which is left over
    reading = read(written(("add", (0, 2.0**20)), ("subtract", (1, 2.0**20))), (1.0,), FLOAT)
    assert 2.0**20 * FLOAT <= reading.value_bound <= 2.0**22 * FLOAT


def test_the_bound_shrinks_with_the_roundoff():
    expression = written(("sin", (0,)), ("exp", (1,)))
    rough, fine = (read(expression, (1.0,), u) for u in (FLOAT, mp.mpf(10) ** -50))
    assert float(rough.bounds[0] / fine.bounds[0]) == pytest.approx(FLOAT / 1e-50, rel=0.01)


@pytest.mark.parametrize("inputs", [(), (1.0, 2.0), (math.nan,), (math.inf,)])
def test_inputs_that_do_not_fit_are_refused(inputs):
    with pytest.raises(UsageError, match="accepted is one finite number for each input"):
        referee(alone("exp"), inputs)


def test_a_function_is_written_down_and_judged():
    ruling = referee(lambda x, y: (x.sin() * y - 1) / (2 + abs(y)).max(x) ** 2, [0.3, -1.5])
    assert ruling.odd == () and len(ruling.right) == 3
    assert ruling.right[0] == pytest.approx((math.sin(0.3) * -1.5 - 1) / 3.5**2, rel=4 * 2.0**-52)
    assert referee(lambda x: x, [2.0]).right == (2.0, 1.0)


@pytest.mark.parametrize(
    ("fn", "inputs", "message"),
    [
        ("x * x", [1.0], r"expression is a str; accepted is a ScalarExpression, or a function"),
        (lambda x: x.sin(), None, r"inputs=None; accepted is a sequence of finite numbers"),
        (lambda x: x.sin(), "abc", r"inputs='abc'; accepted is a sequence of finite numbers"),
        (lambda x: x if x > 0 else -x, [1.0], r"compares its arguments; accepted are functions without branches"),
        (lambda x: 3.0, [1.0], r"returned 3.0; accepted is a number that depends on its arguments"),
        (lambda x: x.gamma(), [1.0], r"'gamma' is no operation; accepted are add"),
        (lambda x: x + "a", [1.0], r"meets 'a' in add"),
        (lambda x, y: x, [1.0], r"accepted are functions of 1 numbers"),
    ],
)
def test_what_the_referee_cannot_judge_is_refused(fn, inputs, message):
    with pytest.raises(UsageError, match=message):
        referee(fn, inputs)
