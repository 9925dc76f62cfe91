"""Hooks and custom Functions that change a gradient, its shape or its dtype: named, with both numbers and forms."""

import functools

import pytest
import torch
from gradwitness.harness import GradientMismatch, assert_gradients, check

POINT = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)


def doubled(g):
    return 2 * g


def tripled_in_module(module, to_input, to_output):
    return tuple(3 * g for g in to_input)


def negated_on_arrival(module, to_output):
    return tuple(-g for g in to_output)


def line_of(function):
    return function.__code__.co_firstlineno


def squares_with(hook):
    def fn(x):
        y = x * x
        y.register_hook(hook)
        return y.sum()

    return fn


def test_a_tensor_hook_is_named_with_its_line_and_both_numbers():
    # the adjoint that reaches y = x² of Σ y is 1; the hook makes 2 of it, and every gradient 2 · 2x
    result = check(squares_with(doubled), POINT)
    culprit = result.culprit
    assert result.verdict == "mismatch" and culprit.kind == "hook"
    assert (culprit.operation, culprit.file, culprit.line) == ("hook doubled", __file__, line_of(doubled))
    assert (culprit.torch_value, culprit.reference_value) == (2.0, 1.0)
    assert "a tensor hook changed 1 gradient" in result.explain() and "hook: this hook changed" in result.explain()
    whole = result.frame[result.frame["program"] == "whole"].iloc[0]
    assert whole["torch_value"] == 2 * whole["reference_value"]


def test_no_rule_is_accused_where_a_hook_is_at_fault():
    frame = check(squares_with(doubled), POINT).frame
    rules = frame[frame["program"].str.startswith("aten::")]
    assert set(rules["verdict"]) == {"agree"}


@pytest.mark.parametrize("hook", [lambda g: None, lambda g: g.clone()])
def test_a_hook_that_only_looks_is_no_fault(hook):
    assert check(squares_with(hook), POINT).verdict == "agree"


def test_a_hook_that_writes_into_the_gradient_is_seen_as_well():
    def halved_in_place(g):
        g.mul_(0.5)

    def fn(x):
        y = x.exp()
        y.register_hook(halved_in_place)
        return y * 3

    culprit = check(fn, POINT).culprit
    assert culprit.operation.endswith("halved_in_place") and culprit.kind == "hook"
    assert 2 * culprit.torch_value == culprit.reference_value


@pytest.mark.parametrize(
    ("register", "hook", "factor"),
    [
        ("register_full_backward_hook", tripled_in_module, 3.0),
        ("register_full_backward_pre_hook", negated_on_arrival, -1.0),
    ],
)
def test_a_backward_hook_of_a_module_is_named_and_stays_in_place(register, hook, factor):
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh()).double()
    getattr(model[1], register)(hook)
    before = dict(model[1]._backward_hooks), dict(model[1]._backward_pre_hooks)
    culprit = check(model, POINT[None]).culprit
    assert (culprit.kind, culprit.operation, culprit.line) == ("hook", f"hook {hook.__name__}", line_of(hook))
    assert culprit.torch_value == pytest.approx(factor * culprit.reference_value, rel=1e-15)  # one product
    assert (dict(model[1]._backward_hooks), dict(model[1]._backward_pre_hooks)) == before


def test_hooks_of_autograd_nodes_and_of_parameters_are_named():
    def on_the_node(sent, received):
        return tuple(5 * g for g in sent)

    def fn(x):
        y = x.sin()
        y.grad_fn.register_hook(on_the_node)
        return y

    culprit = check(fn, POINT).culprit
    assert culprit.kind == "hook" and culprit.operation.endswith("on_the_node")
    model = torch.nn.Linear(3, 1).double()
    handle = model.weight.register_hook(functools.partial(torch.mul, -1.0))
    culprit = check(model, POINT[None]).culprit
    assert culprit.kind == "hook" and culprit.torch_value == -culprit.reference_value
    assert len(model.weight._backward_hooks) == 1
    handle.remove()
    assert check(model, POINT[None]).verdict == "agree"


def test_a_hook_that_returns_another_shape_has_a_row_with_both_shapes():
    def cut_short(g):
        return g[:2]

    result = check(squares_with(cut_short), POINT)
    text = " ".join(result.frame["message"].dropna())
    assert "given shape (3,) and dtype float64 and returned shape (2,) and dtype float64" in text
    assert result.culprit.kind == "hook" and result.culprit.line == line_of(cut_short)
    assert isinstance(result.exception, RuntimeError)
    with pytest.raises(GradientMismatch, match="cut_short"):
        assert_gradients(squares_with(cut_short), POINT)


def returning(make):
    """A custom Function for 2x whose backward returns `make(2 g)`."""

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, other):
            return 2 * x

        @staticmethod
        def backward(ctx, g):
            return make(2 * g), None

    return Doubled


def form_row(result):
    return result.frame[result.frame["wrt"].str.startswith("form of the gradient").fillna(False)].iloc[0]


def test_a_gradient_of_a_larger_shape_which_pytorch_sums_is_a_mismatch_with_both_shapes():
    function = returning(lambda g: g.expand(2, 3) / 2)
    result = check(lambda x: function.apply(x, 1), POINT)
    row = form_row(result)
    assert row["verdict"] == result.verdict == "mismatch"
    assert "of shape (2, 3) and dtype float64; the argument has shape (3,)" in row["message"]
    assert "summed it without a word" in result.explain()
    assert result.culprit.kind == "custom Function" and result.culprit.line == line_of(function.backward)


def test_a_gradient_of_a_shape_that_pytorch_refuses_is_named_beside_the_exception():
    function = returning(lambda g: g[:2])
    result = check(lambda x: function.apply(x, 1), POINT)
    assert "shape (2,)" in form_row(result)["message"] and "refuses it" in form_row(result)["message"]
    assert set(result.frame["verdict"]) == {"mismatch", "raised"}
    assert result.culprit.operation == "DoubledBackward" and "invalid gradient" in str(result.exception)


def test_a_gradient_in_a_coarser_dtype_is_a_mismatch_and_in_a_finer_one_a_convention():
    coarse = returning(lambda g: g.float())
    row = form_row(check(lambda x: coarse.apply(x, 1), POINT))
    assert row["verdict"] == "mismatch"
    assert "dtype float32; the argument has shape (3,) and dtype float64" in row["message"]
    fine = returning(lambda g: g.double())
    result = check(lambda x: fine.apply(x, 1), POINT.float())
    assert form_row(result)["verdict"] == result.verdict == "convention"


def test_a_custom_function_that_returns_gradients_as_they_should_be_has_no_such_row():
    right = returning(lambda g: g)
    frame = check(lambda x: right.apply(x, 1), POINT).frame
    assert not frame["wrt"].str.startswith("form").any()


def test_a_hook_after_accumulation_is_not_said_to_leave_the_gradients_right():
    linear = torch.nn.Linear(2, 2).double()
    linear.weight.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(2))
    result = check(linear, torch.ones(3, 2, dtype=torch.float64))
    assert result.verdict == "mismatch" and result.culprit.kind == "hook"
    assert "end-to-end gradients agree" not in result.explain()
