"""The judge: what is agreement, convention, lost accuracy and mismatch, and that no fault is excused by its size."""

import numpy as np
import pytest
from gradwitness.harness.judgement.judging import THRESHOLD, Question, judge, measured, worst
from gradwitness.harness.judgement.out_of_range import LARGEST
from gradwitness.reference_engine import ops, reverse, simplify, trace
from gradwitness.reference_engine.evaluate import Plan, arguments_of

UNIT = {"float64": 2.0**-53, "float32": 2.0**-24}


def question(fn, x, answer, dtype="float64", lossy=False):
    """The gradient of the scalar function `fn` at x, answered by `answer` (a function of the right gradient)."""
    x = np.asarray(x, dtype=np.float64)
    program = trace(lambda v: ops.sum(fn(v)), x)

    def asked(lose_digits):
        derived = simplify(reverse(program, lossy=lose_digits))
        plan = Plan(derived)
        return plan, arguments_of(derived, [x, 1.0])

    plan, given = asked(False)
    right = plan.run(given)[0]
    return Question(plan, given, [answer(np.array(right))], dtype, (lambda: asked(True)) if lossy else None)


def off_by(size, entry=0):
    def answer(right):
        right.reshape(-1)[entry] *= 1.0 + size
        return right

    return answer


def smooth(x):
    return ops.exp(x) * ops.sin(x) + x**3


X = np.linspace(0.3, 2.0, 50)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_an_error_of_one_rounding_agrees(dtype):
    (j,) = judge(question(smooth, X, off_by(2 * UNIT[dtype]), dtype))
    assert j.verdict == "agree"
    assert 0 < j.z < 16


@pytest.mark.parametrize(
    ("dtype", "size"), [("float64", 1e-6), ("float64", 1e-12), ("float32", 1e-3), ("float32", 1e-4)]
)
def test_an_error_in_one_entry_is_a_mismatch_and_the_entry_is_named(dtype, size):
    (j,) = judge(question(smooth, X, off_by(size, 37), dtype))
    assert j.verdict == "mismatch"
    assert j.entry == (37,)
    assert j.wrong == 1
    assert j.z > THRESHOLD
    assert j.rel_error == pytest.approx(size, rel=1e-2)


def test_equal_numbers_have_z_zero_and_a_nonzero_error_on_no_spread_is_a_mismatch():
    (same,) = judge(question(lambda x: ops.flip(x), X, lambda right: right))
    assert (same.verdict, same.z) == ("agree", 0.0)
    # data movement rounds nothing
    (off,) = judge(question(lambda x: ops.flip(x), X, off_by(1e-15)))
    assert off.verdict == "mismatch"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_where_the_derivative_is_finite_are_a_mismatch(bad):
    def answer(right):
        right[3] = bad
        return right

    (j,) = judge(question(smooth, X, answer))
    assert (j.verdict, j.entry) == ("mismatch", (3,))


def test_where_the_witness_has_no_number_the_verdict_is_indeterminate():
    (j,) = judge(question(lambda x: ops.sqrt(x) * ops.sqrt(x), [0.0, 1.0], lambda right: np.ones(2)))
    assert j.verdict == "indeterminate"


@pytest.mark.parametrize("slope", [0.0, 0.25, 0.5, 1.0])
def test_any_slope_between_the_one_sided_ones_is_a_convention_at_a_kink(slope):
    (j,) = judge(question(ops.relu, [-1.0, 0.0, 2.0], lambda right: np.array([0.0, slope, 1.0])))
    assert j.verdict == ("agree" if slope == 0.0 else "convention")
    assert slope == 0.0 or "kink" in j.note


@pytest.mark.parametrize("slope", [-0.1, 1.1, np.nan])
def test_a_slope_outside_the_set_is_a_mismatch(slope):
    (j,) = judge(question(ops.relu, [-1.0, 0.0, 2.0], lambda right: np.array([0.0, slope, 1.0])))
    assert j.verdict == "mismatch"


def test_a_kink_somewhere_does_not_excuse_a_fault_elsewhere():
    (j,) = judge(question(ops.relu, [-1.0, 0.0, 2.0], lambda right: np.array([0.0, 1.0, 1.0 + 1e-9])))
    assert j.verdict == "mismatch"


def test_lost_digits_of_a_correct_formula_are_inaccurate_and_a_wrong_formula_is_not():
    # tanh' from the saved output, 1 - y², at 20: y rounds to 1, so that all digits are lost; right is 1.7e-17
    lost = judge(question(ops.tanh, [0.5, 20.0], lambda right: 1.0 - np.tanh([0.5, 20.0]) ** 2, lossy=True))
    assert lost[0].verdict == "inaccurate"
    half = judge(question(ops.tanh, [0.5, 9.0], lambda right: 1.0 - np.tanh([0.5, 9.0]) ** 2, lossy=True))
    assert half[0].verdict == "agree"  # 8 of 16 digits are right
    wrong = judge(question(ops.tanh, [0.5, 20.0], lambda right: 1.1 * (1.0 - np.tanh([0.5, 20.0]) ** 2), lossy=True))
    assert wrong[0].verdict == "mismatch"


def test_a_result_beyond_the_range_of_the_precision_may_be_infinite_with_its_sign():
    (j,) = judge(question(lambda x: x**3, [1e20], lambda right: np.array([np.inf]), "float32"))
    assert 3e40 > LARGEST["float32"]
    assert j.verdict == "agree"
    (j,) = judge(question(lambda x: x**3, [1e20], lambda right: np.array([-np.inf]), "float32"))
    assert j.verdict != "agree"


def test_a_gradient_of_another_shape_is_a_mismatch_that_says_so():
    (j,) = judge(question(smooth, X, lambda right: right[:-1]))
    assert j.verdict == "mismatch"
    assert "shape (49,)" in j.note


def test_the_worst_verdict_comes_first_in_the_documented_order():
    assert worst(["agree", "inaccurate", "convention"]) == "inaccurate"
    assert worst(["unsupported", "mismatch", "raised"]) == "mismatch"
    assert worst([]) == "agree"


def test_a_kink_elsewhere_widens_no_entry_that_has_one_derivative():
    tied = np.array([0.5, 0.7, 0.9])
    asked = question(lambda x: ops.maximum(x, 0.5), tied, off_by(40 * 2.0**-11, 2), "float16")
    assert judge(asked)[0].verdict == "mismatch"
    assert judge(question(lambda x: ops.maximum(x, 0.5), tied, off_by(1.0, 0), "float16"))[0].verdict == "convention"


@pytest.mark.parametrize(("entry", "verdict"), [(0, "convention"), (2, "mismatch")])
def test_a_nan_excuses_what_depends_on_it_alone(entry, verdict):
    asked = question(ops.exp, [np.nan, 0.5, 0.9], lambda right: np.where(np.arange(3) == entry, 7.0, right))
    asked.input_is_nan = True
    assert judge(asked)[0].verdict == verdict


def test_what_a_nan_does_not_reach_is_judged_where_entries_are_summed_too():
    x = np.array([[1.0, np.nan], [0.5, 2.0]])
    rows = question(lambda v: ops.sum(v, axis=1) ** 2, x, lambda right: right * np.array([[7.0], [1.0]]))
    rows.input_is_nan = True
    assert judge(rows)[0].verdict == "convention"
    rows.answers = [np.array(rows.answers[0]) * np.array([[1.0], [7.0]])]
    assert judge(rows)[0].verdict == "mismatch"


def test_rules_of_forward_mode_are_not_granted_to_reverse_mode():
    asked = question(lambda x: ops.maximum(0.6, x), [0.5, 0.7, 0.9], off_by(40 * 2.0**-11, 2), "float16", True)
    assert judge(asked)[0].verdict == "mismatch"


def test_spreads_are_measured_until_the_outermost_request_ends():
    def z():
        (j,) = judge(question(smooth, X, off_by(2 * UNIT["float64"])))
        return j.z

    bound = z()
    with measured():
        alone = z()
        with measured():
            pass
        assert z() == alone < bound
    assert z() == bound
