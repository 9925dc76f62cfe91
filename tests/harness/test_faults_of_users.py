"""Faults that users make, and what the witness must not take for one: who is named, and in which words."""

import pytest
import torch
from gradwitness.harness import UnsupportedOperation, assert_gradients, check

F64 = torch.float64
POINT = torch.tensor([0.5, -1.0, 2.0], dtype=F64)
BATCH = torch.linspace(-1.0, 1.0, 12, dtype=F64).reshape(4, 3)


def line_of(function):
    return function.__code__.co_firstlineno


class Exp(torch.autograd.Function):
    """e^x whose backward writes into the gradient that arrives; what it returns is right."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        return g.mul_(ctx.saved_tensors[0])


def test_a_backward_that_writes_into_the_gradient_it_is_given_is_judged_by_what_arrived():
    result = check(lambda x: (Exp.apply(x) * torch.full((3,), 3.0, dtype=F64)).sum(), POINT)
    assert result.verdict == "agree", result.explain()


class Clipped(torch.autograd.Function):
    """max(x, 0), written into its argument without mark_dirty."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        x.clamp_(min=0.0)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * (ctx.saved_tensors[0] > 0)


def test_a_function_that_writes_into_its_argument_is_judged_at_what_it_was_handed():
    result = check(lambda x: Clipped.apply((2 * x).sin()), POINT)
    assert result.verdict == "agree", result.explain()


@pytest.mark.parametrize("fn", [lambda x: x / x, lambda x: x * x.log()])
def test_where_every_output_is_nan_nothing_was_tested(fn):
    result = check(fn, torch.zeros(3, dtype=F64))
    assert result.verdict == "indeterminate" and not result.ok


def writes_through_data(x):
    y = x.exp()
    y.data.add_(1.0)
    return y.sum()


def test_a_write_through_data_is_named_with_its_line_and_no_rule_is_accused():
    result = check(writes_through_data, POINT)
    assert result.verdict == "mismatch" and result.culprit.kind == "overwritten"
    assert result.culprit.line == line_of(writes_through_data) + 2
    assert "PyTorch's own rule" not in result.explain()


class Cube(torch.autograd.Function):
    """x³, with a right backward that is a Function of its own."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return CubeSlope.apply(ctx.saved_tensors[0], g)


class CubeSlope(torch.autograd.Function):
    """3 x² g, with a backward that has 5 x g for its slope in x, where 6 x g is right."""

    @staticmethod
    def forward(ctx, x, g):
        ctx.save_for_backward(x, g)
        return 3 * x**2 * g

    @staticmethod
    def backward(ctx, h):
        x, g = ctx.saved_tensors
        return 5 * x * g * h, 3 * x**2 * h


def test_of_two_functions_the_one_whose_backward_is_wrong_is_named():
    assert check(Cube.apply, POINT).verdict == "agree"
    culprit = check(Cube.apply, POINT, modes=("RR",)).culprit
    assert (culprit.operation, culprit.line) == ("CubeSlopeBackward", line_of(CubeSlope.backward))


def doubled(p):
    p.grad.mul_(2.0)


def test_a_hook_after_accumulation_that_changes_the_gradient_is_named_and_leaves_no_trace():
    linear = torch.nn.Linear(3, 2, dtype=F64)
    linear.weight.register_post_accumulate_grad_hook(doubled)
    linear.weight.grad = torch.ones_like(linear.weight)
    result = check(linear, BATCH)
    assert result.verdict == "mismatch"
    assert (result.culprit.operation, result.culprit.line) == ("hook doubled", line_of(doubled))
    assert result.culprit.torch_value == 2 * result.culprit.reference_value
    assert torch.equal(linear.weight.grad, torch.ones_like(linear.weight))


def test_an_optimizer_that_steps_in_a_hook_is_no_fault_and_does_not_step():
    linear = torch.nn.Linear(3, 2, dtype=F64)
    optimizers = {p: torch.optim.SGD([p], lr=0.1, momentum=0.9) for p in linear.parameters()}

    def step(p):
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in linear.parameters():
        p.register_post_accumulate_grad_hook(step)
    before = [p.detach().clone() for p in linear.parameters()]
    assert check(linear, BATCH).verdict == "agree"
    assert all(torch.equal(p, b) for p, b in zip(linear.parameters(), before, strict=True))
    assert all(not o.state for o in optimizers.values())


def test_a_higher_order_operator_is_unsupported_by_name():
    def fn(x):
        return torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,))

    result = check(fn, POINT, modes=("R", "F"))
    assert result.verdict == "unsupported" and len(result.frame) == 2
    assert "torch.cond is a higher-order operator" in result.explain()
    with pytest.raises(UnsupportedOperation, match="torch.cond"):
        assert_gradients(fn, POINT)


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged], ids=["strided", "jagged"])
def test_a_nested_tensor_inside_the_callable_is_unsupported_by_that_name(layout):
    def fn(x):
        return torch.nested.as_nested_tensor([x, x], layout=layout).to_padded_tensor(0.0)

    result = check(fn, torch.ones(2, 3, dtype=torch.float64))
    assert result.verdict == "unsupported" and list(result.unsupported) == ["nested tensors"]
    assert "work on its parts (unbind)" in result.explain()


def test_a_derivative_that_pytorch_lacks_for_complex_outputs_is_its_refusal_and_no_failure():
    result = check(lambda a: torch.geqrf(a)[0], torch.eye(3, dtype=torch.complex128))
    assert result.verdict == "unsupported"
    assert "geqrf does not support automatic differentiation for outputs with complex dtype" in result.explain()


def test_a_derivative_that_torch_does_not_have_is_unsupported():
    result = check(torch.special.zeta, (torch.tensor([2.5], dtype=F64), torch.tensor([3.0], dtype=F64)))
    assert result.verdict == "unsupported" and "is not implemented" in result.explain()


def test_what_a_runner_has_no_form_of_is_not_called_an_operation_without_a_rule():
    with pytest.raises(UnsupportedOperation, match="create_graph in mode F .*Ask only for modes, runners") as error:
        assert_gradients(torch.sin, POINT, modes=("F",), runners=("create_graph",))
    assert "has no rule" not in str(error.value)


def test_a_row_about_a_missing_device_can_be_explained():
    text = check(torch.relu, POINT, devices=("cpu", "meta" if torch.cuda.is_available() else "cuda")).explain()
    assert "none is present here" in text


class Once(torch.autograd.Function):
    """x², differentiable once."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g


def test_a_second_derivative_that_is_silently_none_is_said_to_be_so():
    result = check(lambda x: Once.apply(x).sum(), POINT, modes=("RR",))
    assert result.verdict == "mismatch" and "carries no graph" in result.explain()


def test_a_sum_of_legitimate_choices_has_a_relative_error():
    frame = check(lambda x: (torch.relu(x) - torch.relu(-x)).sum(), torch.zeros(1, dtype=F64)).frame
    assert list(frame[frame["verdict"] == "mismatch"]["rel_error"]) == [1.0]


def test_a_mask_behind_an_infinite_slope_is_not_called_a_wrong_rule():
    result = check(lambda x: torch.where(x > 0, x.log(), x), torch.tensor([0.0, 2.0], dtype=F64))
    assert result.culprit.kind == "0 · inf"
    assert "PyTorch's own rule" not in result.explain()


def weight_clipped(x):
    y = LINEAR(x)
    LINEAR.weight.data.clamp_(-0.01, 0.01)
    return y.square().sum()


def constant_doubled(x):
    constant = torch.full_like(x, 2.0)
    y = x * constant
    constant.data.mul_(2)
    return y.sum()


def packed_in_half(x):
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.half(), lambda t: t.to(F64)):
        return x.exp().sum()


LINEAR = torch.nn.Linear(2, 2, dtype=F64)


@pytest.mark.parametrize("fn", [weight_clipped, constant_doubled, packed_in_half], ids=lambda f: f.__name__)
def test_what_a_rule_saved_and_has_other_numbers_of_is_overwritten_and_no_rule_is_accused(fn):
    result = check(fn, torch.tensor([[0.3, -0.7], [1.1, 0.4]], dtype=F64))
    assert result.verdict == "mismatch" and result.culprit.kind == "overwritten"
    first = fn.__code__.co_firstlineno
    assert result.culprit.file == __file__ and first < result.culprit.line <= first + 3


def test_a_rule_of_pytorch_s_own_that_is_wrong_is_still_accused():
    result = check(torch.digamma, torch.tensor([1.2], dtype=F64))
    assert result.culprit.kind == "ATen rule"
