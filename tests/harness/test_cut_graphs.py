"""Where the graph is cut: detach, .data, no_grad and numbers that leave torch, by line, entry and lost derivative."""

import numpy as np
import pytest
import torch
from gradwitness.harness import GradientMismatch, assert_gradients, check
from gradwitness.harness.recorder.witnessing import functional_overload

POINT = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)


def squared(x):
    return x * x


def by_detach(x):
    return squared(x).detach().sum()


def by_data(x):
    return squared(x).data.sum()


def by_no_grad(x):
    with torch.no_grad():
        y = x * x
    return y.sum()


def by_item(x):
    return torch.tensor(squared(x).sum().item(), dtype=torch.float64) * 1.0


def by_numpy(x):
    return torch.from_numpy(np.square(x.detach().numpy())).sum()


def by_bessel(x):
    return torch.special.bessel_j0(x)


def by_list(x):
    return torch.tensor([v * v for v in x.tolist()], dtype=torch.float64).sum()


@pytest.mark.parametrize(
    ("fn", "operation", "line"),
    [
        (by_detach, "detach", 1),
        (by_data, ".data", 1),
        (by_no_grad, "no_grad (aten::mul.Tensor)", 2),
        (by_item, ".item()", 1),
        (by_numpy, ".numpy()", 1),
        (by_list, ".tolist()", 1),
    ],
)
def test_a_cut_is_named_with_its_line_and_the_lost_derivative(fn, operation, line):
    """Σ x² has the gradient 2x, greatest at x = 2; PyTorch has none."""
    result = check(fn, POINT)
    culprit = result.culprit
    assert (result.verdict, culprit.kind, culprit.operation) == ("mismatch", "cut graph", operation)
    assert (culprit.file, culprit.line) == (__file__, fn.__code__.co_firstlineno + line)
    assert culprit.entry == (2,) and culprit.torch_value == 0.0
    # of numbers outside torch the derivative is a central quotient of Σ x² with step 6e-6: exact but for 2e-16 / 6e-6
    assert culprit.reference_value == pytest.approx(4.0, rel=1e-9)
    assert "the graph is cut by" in result.explain() and "nothing was tested" in result.explain()


class Cut(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.leave, self.idle = (torch.nn.Linear(3, 3).double() for _ in range(3))

    def forward(self, x):
        return self.leave(torch.tanh(self.enter(x)).detach())


def test_a_function_of_torch_without_a_derivative_is_the_cut_it_makes():
    """J₀′ = -J₁, which is 0.5767 at 2; PyTorch returns a tensor without a history."""
    result = check(by_bessel, torch.tensor([2.0], dtype=torch.float64))
    culprit = result.culprit
    assert (result.verdict, culprit.kind, culprit.operation) == ("mismatch", "cut graph", "torch.special_bessel_j0")
    assert (culprit.file, culprit.line) == (__file__, by_bessel.__code__.co_firstlineno + 1)
    assert culprit.torch_value == 0.0


def test_parameters_behind_a_cut_are_a_mismatch_and_idle_ones_agree():
    result = check(Cut(), POINT[None])
    rows = result.frame[result.frame["program"] == "whole"].set_index("wrt")
    assert set(rows.index[rows["verdict"] == "mismatch"]) == {"enter.weight", "enter.bias"}
    assert rows.loc["idle.weight", "verdict"] == rows.loc["leave.weight", "verdict"] == "agree"
    assert result.culprit.line == Cut.forward.__code__.co_firstlineno + 1
    with pytest.raises(GradientMismatch, match="the graph is cut by detach"):
        assert_gradients(Cut(), POINT[None])


def test_an_input_that_does_not_ask_for_a_gradient_is_held_constant_as_written_and_said_to_be():
    def loss(prediction, target):
        return (prediction - target.detach()).square().sum()

    result = check(loss, (POINT, POINT + 1))
    assert result.verdict == "agree"
    assert "target: held constant, as written: cut off by detach" in result.explain()
    asked = check(loss, (POINT, (POINT + 1).requires_grad_()))
    assert asked.verdict == "mismatch" and asked.culprit.reference_value == 2.0  # -2 (p - t), with p - t = -1


def test_a_frozen_parameter_behind_a_cut_is_no_fault():
    model = Cut()
    model.enter.requires_grad_(False)
    assert check(model, POINT[None]).verdict == "agree"


def test_none_where_the_derivative_is_exactly_zero_agrees_with_a_note():
    result = check(lambda x, y: y * 2 + (x > 0), (POINT, POINT + 0))
    row = result.frame[result.frame["wrt"] == "x"].iloc[0]
    assert row["verdict"] == "agree" and "None" in row["message"] and "exactly 0" in row["message"]


def test_a_zero_where_none_would_do_agrees():
    assert check(lambda x, y: y * 2 + x * 0, (POINT, POINT + 0)).verdict == "agree"


def test_a_step_function_of_numbers_outside_torch_is_not_called_a_cut():
    result = check(lambda x, y: y * float(round(x.sum().item())), (POINT, POINT + 0))
    assert result.verdict == "agree"


def test_a_gradient_that_a_custom_function_leaves_out_is_its_own_fault_and_no_cut():
    class Forgetful(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 3

        @staticmethod
        def backward(ctx, g):
            return None

    culprit = check(Forgetful.apply, POINT).culprit
    assert culprit.kind == "custom Function"
    assert culprit.torch_value == 0.0 != culprit.reference_value  # three times what arrived
    assert culprit.line == Forgetful.backward.__code__.co_firstlineno


def test_a_call_with_out_is_read_as_its_function_and_pytorch_s_refusal_is_shown():
    model = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(4, 4)).double()  # normalises with out=
    x = torch.ones(3, 4, dtype=torch.float64)
    result = check(model, x, modes=("R", "F", "RR"))
    whole = result.frame[result.frame["program"] == "whole"]
    assert set(zip(whole["mode"], whole["verdict"], strict=True)) == {
        ("R", "agree"), ("RR", "agree"), ("F", "unsupported")
    }  # fmt: skip
    assert "forward AD with div_out that does not support it" in " ".join(result.frame["message"])


@pytest.mark.parametrize(
    ("func", "overload"),
    [
        (torch.ops.aten.div.out, "Tensor"),
        (torch.ops.aten.div.out_mode, "Tensor_mode"),
        (torch.ops.aten.sum.IntList_out, "dim_IntList"),
        (torch.ops.aten.div.Tensor, "Tensor"),
    ],
    ids=["div.out", "div.out_mode", "sum.IntList_out", "div.Tensor"],
)
def test_the_overload_behind_one_with_out_has_the_same_arguments(func, overload):
    assert functional_overload(func) == overload


WEIGHT = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)


class ReadsAGlobal(torch.autograd.Function):
    """x WEIGHT, where the weight is no argument."""

    @staticmethod
    def forward(ctx, x):
        return x * WEIGHT

    @staticmethod
    def backward(ctx, g):
        return g * WEIGHT


class TakesAList(torch.autograd.Function):
    """x w[0], where the weight is an argument inside a list."""

    @staticmethod
    def forward(ctx, x, weights):
        (ctx.weight,) = weights
        return x * ctx.weight

    @staticmethod
    def backward(ctx, g):
        return g * ctx.weight, None


class TakesBoth(torch.autograd.Function):
    """x w, where the weight is an argument, as it should be."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g * w, (g * x).sum()


def by_global(x):
    return ReadsAGlobal.apply(x).sum()


def by_closure():
    weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)

    class ReadsAClosure(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * weight

        @staticmethod
        def backward(ctx, g):
            return g * weight

    def fn(x):
        return ReadsAClosure.apply(x).sum()

    return fn


def by_list_of_a_leaf(x):
    return TakesAList.apply(x, [WEIGHT]).sum()


def by_list_of_a_result(x):
    return TakesAList.apply(x, [WEIGHT * 1.0]).sum()


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (by_global, "ReadsAGlobalBackward"),
        (by_closure(), "ReadsAClosureBackward"),
        (by_list_of_a_leaf, "TakesAListBackward"),
        (by_list_of_a_result, "TakesAListBackward"),
    ],
    ids=["global", "closure", "list", "list of a result"],
)
def test_a_leaf_that_a_function_works_with_past_its_arguments_is_named_with_the_line_of_the_call(fn, name):
    """Σ x w has the derivative Σ x = 3.5 in w; the gradient of x is right."""
    result = check(fn, POINT)
    culprit = result.culprit
    assert (result.verdict, culprit.kind) == ("mismatch", "cut graph"), result.explain()
    assert culprit.operation.startswith(f"{name}, which got it inside a list or dictionary, or read it in its forward")
    assert (culprit.file, culprit.line) == (__file__, fn.__code__.co_firstlineno + 1)
    # a central quotient of a function that is linear in w: exact but for 2e-16 / 6e-6
    assert (culprit.torch_value, culprit.reference_value) == (0.0, pytest.approx(3.5, rel=1e-9))


def test_a_function_that_is_checked_itself_has_the_line_of_the_check_where_it_reads_a_leaf():
    result = check(ReadsAGlobal.apply, POINT)
    assert result.verdict == "mismatch" and result.culprit.operation.startswith("ReadsAGlobalBackward")
    assert result.culprit.file == __file__


def test_an_input_inside_a_list_is_named_and_not_called_constant():
    result = check(lambda x, y: TakesAList.apply(x, [y]), (POINT, POINT + 1))
    assert result.verdict == "mismatch" and result.culprit.operation.startswith("TakesAListBackward")
    assert "held constant" not in result.explain()


def test_a_leaf_that_is_an_argument_of_apply_is_no_cut_nor_is_a_frozen_one_inside_a_list():
    assert check(lambda x: TakesBoth.apply(x, WEIGHT), POINT).verdict == "agree"
    frozen = WEIGHT.detach()
    assert check(lambda x: TakesAList.apply(x, [frozen]), POINT).verdict == "agree"
