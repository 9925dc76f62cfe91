"""Mode strings of order 3: closed forms, kinks, custom Functions wrong there alone, runners, scripts, known issues."""

import json
import subprocess
import sys
from itertools import pairwise

import custom_functions
import numpy as np
import pytest
import torch
from custom_functions import with_backward
from gradwitness.harness import check
from gradwitness.harness.cli import main
from gradwitness.harness.evidence.known import KnownIssue
from gradwitness.harness.evidence.scripts import script_of_program
from gradwitness.harness.judgement.modes import MODES, ask_torch, lower, per_output, reference, steps
from gradwitness.harness.judgement.one_sided import WRONG_SUM
from gradwitness.harness.result import CUSTOM
from gradwitness.reference_engine import ops, trace
from hypothesis import given, settings
from hypothesis import strategies as st

THIRD = tuple(mode for mode in MODES if len(mode) == 3)
ULPS = 64 * 2.0**-52  # a handful of roundings of numbers of the size of the answer


def tensor(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


# f for torch and for the witness, x, and by hand at weights and directions of 1: ∇³(Σ f)[t, s] and D³f[t, s, r]
CLOSED = {
    "cube": (lambda x: x**3, lambda x: x**3, tensor(2.0, -0.5), [6.0, 6.0], [6.0, 6.0]),
    "exp": (torch.exp, ops.exp, tensor(0.5, -1.0), np.exp([0.5, -1.0]), np.exp([0.5, -1.0])),
    "product": (torch.prod, ops.prod, tensor(2.0, 3.0, 5.0), [2.0, 2.0, 2.0], 6.0),
    # with u = x y and t = s = (1, 1): d³/dx of sin u along them, by the chain rule
    "sine of a product": (
        lambda x: torch.sin(x[0] * x[1]),
        lambda x: ops.sin(x[0] * x[1]),
        tensor(0.7, 0.4),
        [
            -np.cos(0.28) * y * (0.7 + 0.4) ** 2 - 2 * np.sin(0.28) * (0.7 + 0.4) - 2 * y * np.sin(0.28)
            for y in (0.4, 0.7)
        ],
        -np.cos(0.28) * 1.1**3 - 6 * np.sin(0.28) * 1.1,
    ),
    # x⁻¹ of a matrix along ones E at the identity: -6 E³ = -24 E; its sum weighs each entry of the direction alike
    "inverse": (
        torch.linalg.inv,
        ops.inv,
        torch.eye(2, dtype=torch.float64),
        [[-24.0, -24.0], [-24.0, -24.0]],
        [[-24.0, -24.0], [-24.0, -24.0]],
    ),
}


@pytest.mark.parametrize("mode", THIRD)
@pytest.mark.parametrize("name", CLOSED)
def test_torch_and_the_witness_have_the_closed_form_in_every_nesting(name, mode):
    fn, of_arrays, x, gradient, tangent = CLOSED[name]
    right = np.asarray(tangent if per_output(mode) else gradient)
    c, along = [torch.ones_like(fn(x))], [[torch.ones_like(x)]] * 3
    (found,) = ask_torch(lambda a: (fn(a),), [x], c, along, mode)
    np.testing.assert_allclose(found.detach().numpy(), right, rtol=ULPS)
    program = trace(of_arrays, x.numpy())
    question = reference(program, [x.numpy()], [c[0].numpy()], [[d[0].numpy()] for d in along], mode)
    np.testing.assert_allclose(question.plan.run(question.given)[0], right, rtol=ULPS)


def test_a_complex_cube_has_its_third_derivative_in_every_nesting():
    z = torch.tensor([1.0 + 2.0j, -0.5j], dtype=torch.complex128)
    result = check(lambda z: z**3, z, modes=THIRD, runners=("autograd", "func"))
    assert set(result.frame["mode"]) == set(THIRD) and result.verdict == "agree", result.explain()
    # Re⟨1, z³⟩ has the gradient conj(3 z²); along t, s it moves by conj(6 t s)
    t, s = (torch.full_like(z, 1.0j), torch.full_like(z, 2.0 - 1.0j))
    for mode in THIRD[:-1]:
        (found,) = ask_torch(lambda a: (a**3,), [z], [torch.ones_like(z)], [[t], [s], [t]], mode)
        torch.testing.assert_close(found, (6 * t * s).conj(), rtol=ULPS, atol=0.0)


@pytest.mark.parametrize("runner", ["autograd", "func"])
def test_a_scalar_leaf_meets_its_direction_in_all_14_modes(runner):
    result = check(lambda x: x**5, torch.tensor(0.5, dtype=torch.float64), modes=MODES, runners=(runner,))
    assert set(result.frame["mode"]) == set(MODES) and result.verdict == "agree", result.explain()


def test_the_parts_of_a_mode_are_named_innermost_first_and_its_steps_share_no_direction():
    assert lower("RFR") == ("FR", "RF", "R", "F") and lower("FF") == ("F",) and lower("R") == ()
    assert list(steps("RRF")) == [("F", "t"), ("R", "c"), ("R", "s")]
    for mode in MODES:
        names = [name for _, name in steps(mode)]
        assert len(set(names)) == len(mode) and ("c" in names) == ("R" in mode)
        assert all(len(a) >= len(b) for a, b in pairwise(lower(mode)))


# cos, whose second derivative lacks a factor: 0.9 of -cos; and sin, right up to its second derivative
Slope = with_backward("Slope", torch.cos, lambda x: -(x.detach().sin() + 0.9 * (x.sin() - x.detach().sin())))
Sine = with_backward("Sine", torch.sin, Slope.apply)


def test_a_custom_function_that_is_wrong_only_at_third_order_is_found_and_named():
    def fn(x):
        return (2.0 * Sine.apply(x)).exp()

    x = tensor(0.3, 1.1)
    assert check(fn, x, modes=("R", "RR")).verdict == "agree"
    result = check(fn, x, modes=("RRR",))
    assert result.verdict == "mismatch" and result.culprit.kind == CUSTOM
    assert result.culprit.operation == "SlopeBackward" and result.culprit.mode == "RR"
    assert result.culprit.file == custom_functions.__file__


def test_a_kink_is_a_convention_or_agrees_and_wrong_sums_are_found():
    x = tensor(0.0, -1.0, 2.0)
    assert check(lambda x: torch.relu(x) * x.exp(), x, modes=THIRD).ok
    assert check(lambda x: x.abs() * x.square(), tensor(1.0, -2.0), modes=THIRD).verdict == "agree"
    result = check(lambda x: (torch.relu(x) - torch.relu(-x)) * x * x, tensor(0.0), modes=("RRR", "FFF"))  # x³: 6
    assert set(result.frame["verdict"]) == {"mismatch"}, result.explain()
    assert all(WRONG_SUM in text for text in result.frame["message"])


@settings(max_examples=25, deadline=None, database=None)
@given(
    powers=st.lists(st.integers(0, 3), min_size=2, max_size=2),
    numbers=st.lists(st.floats(0.25, 4.0), min_size=2, max_size=2),
    mode=st.sampled_from(THIRD),
    runner=st.sampled_from(["autograd", "func"]),
)
def test_monomials_agree_with_their_polynomial_derivatives(powers, numbers, mode, runner):
    a, b = powers
    result = check(lambda x: x[0] ** a * x[1] ** b * x[0], tensor(*numbers), modes=(mode,), runners=(runner,))
    assert result.verdict == "agree", result.explain()


@pytest.mark.parametrize("mode", THIRD)
def test_the_script_of_a_mode_asks_the_same_and_shows_the_difference(mode, tmp_path):
    # PyTorch's cumprod at 0 is wrong in the derivative of its forward rule, which these modes differentiate
    program = trace(lambda x: ops.cumprod(x, axis=0), np.zeros(4))
    text = script_of_program(program, [np.array([0.0, 2.0, 3.0, 0.5])], mode)
    assert bool(text) == mode.endswith(("RF", "FF"))
    if not text:
        return
    path = tmp_path / "repro.py"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, "-I", str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "torch=" in done.stdout and "right=" in done.stdout, done


def test_a_known_issue_of_order_two_covers_the_third_derivatives_that_it_enters():
    issue = KnownIssue("cumprod", ("aten::cumprod*",), ("RF",), "an entry is 0", "by hand")
    given = "autograd", "float64", "mismatch"
    covered = {mode for mode in MODES if issue.covers(["aten::cumprod.default"], mode, *given)}
    assert covered == {"RF", "RRF", "FRF", "RFR", "RFF"}
    first = KnownIssue("first", ("aten::sin*",), ("R", "F"), "any", "by hand")
    assert not first.covers(["aten::sin.default"], "RRF", *given)


def test_a_campaign_compares_third_derivatives_where_it_is_told_to(tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["run", "--source", "opinfo", "--only", "exp,matmul", "--orders", "3", "--out", str(tmp_path)])
    assert end.value.code == 0
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["comparisons"] >= 8 * 2 and summary["verdicts"]["agree"] == summary["comparisons"]
