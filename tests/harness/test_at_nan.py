"""At NaN any derivative is legitimate, equal entries must have equal ones, and what is not NaN is judged as ever."""

import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gradwitness.harness import check
from gradwitness.harness.judgement.at_nan import by_entries, is_nan_everywhere
from gradwitness.harness.judgement.judging import Question, judge
from gradwitness.reference_engine import ops, reverse, simplify, trace
from gradwitness.reference_engine.evaluate import Plan, arguments_of

NAN = float("nan")
LENGTH = 67  # 64 entries fill the registers of every vector extension, three are left


class SlopeAtNan(torch.autograd.Function):
    """x, with a slope at NaN that `slope` gives entry by entry, and another one at numbers."""

    @staticmethod
    def forward(ctx, x, slope, at_numbers):
        ctx.save_for_backward(x, slope)
        ctx.at_numbers = at_numbers
        return x * 1.0

    @staticmethod
    def backward(ctx, g):
        x, slope = ctx.saved_tensors
        return g * torch.where(x.isnan(), slope, ctx.at_numbers), None, None


def with_slopes(slope, at_numbers=1.0, places=(1, 3)):
    x = torch.linspace(0.5, 1.5, len(slope), dtype=torch.float64)
    x[list(places)] = NAN
    return check(lambda x: SlopeAtNan.apply(x, torch.tensor(slope, dtype=torch.float64), at_numbers), x)


@pytest.mark.parametrize("slope", [0.0, 1.0, NAN, -3.0])
def test_any_slope_at_nan_is_legitimate_as_long_as_it_is_one(slope):
    assert with_slopes([slope] * 5).verdict in ("agree", "convention")


@pytest.mark.parametrize("slopes", [(0.0, 1.0), (NAN, 1.0), (1.0, 1.0 + 1e-9)])
def test_two_slopes_at_nan_are_a_mismatch_that_names_the_entry_and_both_numbers(slopes):
    result = with_slopes([1.0, slopes[0], 1.0, slopes[1], 1.0])
    assert result.verdict == "mismatch"
    assert result.culprit.operation == "SlopeAtNanBackward" and result.culprit.entry in ((1,), (3,))
    text = result.explain()
    assert "equal inputs, NaN among them" in text and "entry [1]" in text and "entry [3]" in text


def test_the_odd_entry_is_the_one_in_the_minority():
    result = with_slopes([0.0, 0.0, 0.0, 0.0, 1.0], places=(0, 1, 2, 3, 4))
    assert result.verdict == "mismatch" and result.culprit.entry == (4,)
    assert result.culprit.torch_value != 0.0 and result.culprit.reference_value == 0.0


def test_a_wrong_slope_at_a_number_is_not_excused_by_nan_elsewhere():
    result = with_slopes([1.0] * 5, at_numbers=1.0 + 1e-6)
    assert result.verdict == "mismatch" and result.culprit.entry not in ((1,), (3,))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mode", ["R", "F"])
def test_the_tail_of_a_vectorised_kernel_is_held_against_its_body(dtype, mode):
    x = torch.full((LENGTH,), NAN, dtype=dtype)
    result = check(F.hardtanh, x, modes=(mode,))
    assert result.verdict == "mismatch" and result.culprit.operation.startswith("aten::hardtanh")
    assert "pytorch/pytorch#195075" in set(result.frame["known"].dropna())
    x[40] = 0.5
    for even in (torch.relu, torch.sigmoid, F.gelu, torch.sin, lambda x: x * x):
        assert check(even, x, modes=(mode,)).verdict in ("agree", "convention")


def test_sums_are_not_entry_by_entry():
    def gradient_of(fn):
        return Plan(simplify(reverse(trace(fn, np.ones(3)))))

    assert by_entries(gradient_of(lambda x: ops.exp(x) * x))
    assert not by_entries(gradient_of(lambda x: ops.softmax(x, axis=0)))
    x = torch.tensor([[NAN, 1.0, NAN], [0.0, 1.0, 2.0]], dtype=torch.float64)
    assert check(lambda x: F.softmax(x, 1), x).verdict in ("agree", "convention")


def test_many_nans_take_memory_in_proportion_to_their_number():
    x = torch.full((200_000,), NAN, dtype=torch.float64)
    tracemalloc.start()
    try:
        assert check(torch.relu, x).verdict == "convention"
        assert tracemalloc.get_traced_memory()[1] < 100 * x.nbytes  # 256 numbers for each of them would be 256 times
    finally:
        tracemalloc.stop()


class ProductWithSlope(torch.autograd.Function):
    """x y, with the slope in x that is given."""

    @staticmethod
    def forward(ctx, x, y, slope):
        ctx.save_for_backward(x, slope)
        return x * y

    @staticmethod
    def backward(ctx, g):
        x, slope = ctx.saved_tensors
        return g * slope, g * x, None


def test_one_group_of_equal_entries_with_two_slopes_is_found_among_many_with_one():
    x, y = torch.full((60,), NAN, dtype=torch.float64), 1.0 + torch.arange(60.0, dtype=torch.float64) // 3
    inner = 1.0 + y  # not the derivative, and one number wherever y is one

    def with_slope(slope):
        return check(lambda x, y: ProductWithSlope.apply(x, y, slope), (x, y)).frame

    assert "mismatch" not in set(with_slope(inner)["verdict"])
    inner[31] += 1e-9
    wrong = with_slope(inner)
    assert list(wrong[wrong["verdict"] == "mismatch"]["entry"])[0] == "[31]"


def test_nan_excuses_no_gradient_of_another_shape():
    program = trace(lambda x: x * 2.0, np.full(3, NAN))
    given = arguments_of(program, [np.full(3, NAN)])
    question = Question(Plan(program), given, [np.full(4, NAN)], "float64", input_is_nan=True)
    assert [j.verdict for j in judge(question)] == ["mismatch"]


class ComplexDouble(torch.autograd.Function):
    """2 z, with the factor that is given in its backward."""

    @staticmethod
    def forward(ctx, z, factor):
        ctx.factor = factor
        return z * 2

    @staticmethod
    def backward(ctx, g):
        return g * ctx.factor, None


@pytest.mark.parametrize("fn", [lambda z: z * 2, lambda z: (z * 2).imag.exp(), lambda z: z.real * z.imag])
def test_a_complex_number_with_a_part_that_is_nan_is_nan_in_both(fn):
    """PyTorch's (nan + 0.3i) · 2 is nan + nan i, the product with 2 + 0i."""
    z = torch.tensor([complex(NAN, 0.3), complex(0.3, NAN), 1.0 + 1.0j], dtype=torch.complex128)
    assert check(fn, z, modes=("R", "F", "RR")).verdict in ("agree", "convention")


def test_a_wrong_derivative_at_a_complex_number_is_not_excused_by_nan_elsewhere():
    z = torch.tensor([complex(NAN, 0.3), 1.0 + 1.0j], dtype=torch.complex128)
    result = check(lambda z: ComplexDouble.apply(z, 2.0 + 1e-6), z)
    assert result.verdict == "mismatch" and result.culprit.entry == (1,)


@pytest.mark.parametrize("mode", ["R", "F", "RR", "FR", "RF", "FF"])
def test_a_function_that_is_nan_everywhere_has_no_derivative_that_could_be_wrong(mode):
    result = check(torch.mean, torch.zeros(0, dtype=torch.float64), modes=(mode,))
    assert (result.verdict, result.ok) == ("indeterminate", False) and "nothing was tested" in result.explain()


def test_no_number_at_all_is_not_nan():
    assert not is_nan_everywhere([]) and not is_nan_everywhere([np.zeros(0)])
    assert is_nan_everywhere([np.full(2, NAN), np.zeros(0)]) and not is_nan_everywhere([np.array([NAN, 1.0])])


@pytest.mark.parametrize("runner", ["func", "checkpoint"])
def test_runners_take_nan_as_the_plain_run_does(runner):
    nothing = check(torch.mean, torch.zeros(0, dtype=torch.float64), modes=("F",), runners=(runner,))
    assert nothing.verdict == "indeterminate"
    z = torch.tensor([complex(NAN, 0.3), complex(0.3, NAN), 1.0 + 1.0j], dtype=torch.complex128)
    result = check(lambda z: (z * 2).imag.exp(), z, modes=("R", "F", "RR"), runners=(runner,))
    assert result.verdict in ("agree", "convention"), result.explain()


STACK = [[[1.0, NAN, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 9.0]], [[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 1.0]]]


@pytest.mark.parametrize("mode", ["R", "F", "RR", "FR"])
@pytest.mark.parametrize("fn", [torch.linalg.det, torch.linalg.slogdet, torch.matrix_exp, lambda a: a.amax(-1)])
def test_what_a_result_that_is_nan_sends_may_be_nan_wherever_it_sends_anything(fn, mode):
    """Of a determinant with one NaN, the cofactor of that entry is a number, and torch has NaN in the whole matrix."""
    a = torch.tensor(STACK, dtype=torch.float64)
    assert check(fn, a, modes=(mode,)).verdict in ("agree", "convention")


class NanInTheSecond(torch.autograd.Function):
    """The greatest of each row, with a gradient that is NaN in the last row, whatever is NaN."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.amax(-1)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        sent = torch.where(x == x.amax(-1, keepdim=True), g[:, None], 0.0)
        sent[-1] = NAN
        return sent


def test_nan_is_an_error_where_no_result_that_is_nan_sends_anything():
    x = torch.tensor([[NAN, 1.0, 2.0], [0.5, 1.0, 2.0]], dtype=torch.float64)
    result = check(NanInTheSecond.apply, x)
    assert result.verdict == "mismatch" and result.culprit.entry[0] == 1
