"""Custom operators (`torch.library`) without a rule: judged by what PyTorch differentiates, or unsupported by name.

The expected derivatives are closed forms: d/dx (x sin x) = sin x + x cos x.
"""

import warnings

import numpy as np
import pytest
import torch
from gradwitness.harness import check, register_lowering
from gradwitness.reference_engine import ops

LIBRARY = torch.library.Library("gradwitness_kernels", "DEF")
X = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
NOT_REGISTERED = "an autograd kernel was not registered"


def product(x):
    return x.sin() * x


def by_numpy(x):
    return torch.from_numpy(np.square(x.detach().numpy()))


def into_raw_memory(x):
    """x², of which the factor x is written into memory past PyTorch."""
    y = torch.empty_like(x)
    y.detach().numpy()[:] = x.detach().numpy()
    return y * x


class Square(torch.autograd.Function):
    """x², with the derivative 3 x."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 3.0 * g * ctx.saved_tensors[0]


def define(name, kernels, signature="(Tensor x) -> Tensor"):
    LIBRARY.define(name + signature)
    for key, kernel in kernels.items():
        LIBRARY.impl(name, kernel, key)
    return getattr(torch.ops.gradwitness_kernels, name)


explicit = define("explicit", {"CompositeExplicitAutograd": product})
cpu = define("cpu", {"CPU": product})
FALLEN = {"CPU": product, "Autograd": torch.library.fallthrough_kernel}
OPERATORS = {
    "explicit": explicit,
    "cpu": cpu,
    "cpu beside implicit": define("two", {"CPU": product, "CompositeImplicitAutograd": product}),
    "falls through": define("fallen", FALLEN),
    "implicit": define("implicit", {"CompositeImplicitAutograd": product}),
    "autograd": define("autograd", {"Autograd": product}),
    "nested": define("nested", {"CompositeExplicitAutograd": lambda x: cpu(x) * 1.0}),
}
leaves_torch = define("leaves_torch", {"CompositeExplicitAutograd": by_numpy})
raw = define("raw", {"CPU": into_raw_memory})
wrong_inside = define("wrong_inside", {"CPU": lambda x: Square.apply(x)})
writes = define("writes", {"CPU": lambda x: [x.mul_(3.0), None][1]}, "(Tensor(a!) x) -> ()")
lists = define(
    "lists",
    {"CPU": lambda parts, a, *, b=None: [p * a for p in parts] + [b * b]},
    "(Tensor[] parts, float a, *, Tensor? b=None) -> Tensor[]",
)
two_results = define("two_results", {"CPU": lambda x: (x.sin(), x.detach().cos())}, "(Tensor x) -> (Tensor, Tensor)")


@torch.library.custom_op("gradwitness_kernels::without_backward", mutates_args=())
def without_backward(x: torch.Tensor) -> torch.Tensor:
    return product(x)


@torch.library.custom_op("gradwitness_kernels::with_backward", mutates_args=())
def with_backward(x: torch.Tensor) -> torch.Tensor:
    return product(x)


with_backward.register_autograd(
    lambda ctx, g: g * (ctx.x.sin() + ctx.x * ctx.x.cos()),
    setup_context=lambda ctx, inputs, output: setattr(ctx, "x", inputs[0]),
)


@torch.library.custom_op("gradwitness_kernels::doubled_into", mutates_args=("y",))
def doubled_into(x: torch.Tensor, y: torch.Tensor) -> None:
    y.copy_(2 * x)


class ByOperator(torch.autograd.Function):
    """x sin x by an operator's kernel; `slope` is the factor of the derivative that is 1 where it is right."""

    slope = 1.0

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return cpu(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return ByOperator.slope * g * (x.sin() + x * x.cos())


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=f".*{NOT_REGISTERED}")
        yield


@pytest.mark.parametrize("name", list(OPERATORS))
def test_an_operator_that_pytorch_differentiates_through_its_kernel_is_judged_through_its_kernel(name):
    operator = OPERATORS[name]
    leaf = X.clone().requires_grad_()
    (bare,) = torch.autograd.grad(operator(leaf * 2).sum(), leaf)
    torch.testing.assert_close(bare, 2 * ((2 * X).sin() + 2 * X * (2 * X).cos()))  # eager code has the derivative
    result = check(lambda x: operator(x * 2).sum(), X, modes=("R", "RR"))
    assert result.verdict == "agree", result.explain()
    assert {"aten::sin.default", "aten::mul.Tensor"} <= {*result.frame["program"]}


def test_a_wrong_function_within_a_kernel_is_named_by_its_own_line():
    result = check(lambda x: wrong_inside(x * 2).sum(), X)
    assert (result.verdict, result.culprit.operation) == ("mismatch", "SquareBackward")
    assert result.culprit.line == Square.backward.__code__.co_firstlineno
    assert (result.culprit.torch_value, result.culprit.reference_value) == (6.0 * X[0], 4.0 * X[0])


def test_lists_keywords_and_writes_of_an_operator_are_recorded_through():
    def fn(x):
        y = x * 2
        writes(y)
        parts = lists([x, y], 3.0, b=x)
        return parts[1].sum() + parts[2].sum()

    result = check(fn, X)
    assert result.verdict == "agree", result.explain()


def test_the_conjugate_of_an_argument_is_what_the_kernel_meets():
    result = check(lambda z: torch.view_as_real(cpu(z.conj())).sum(), torch.complex(X, X - 1))
    assert result.verdict == "agree", result.explain()


def test_a_kernel_that_leaves_torch_is_the_cut_it_makes():
    """d/dx Σ (2x)² = 8x; PyTorch only warns, and passes nothing."""
    result = check(lambda x: leaves_torch(x * 2).sum(), X)
    culprit = result.culprit
    assert (result.verdict, culprit.kind) == ("mismatch", "cut graph")
    assert culprit.operation.startswith("gradwitness_kernels::leaves_torch.default, an operator for whose derivative")
    assert culprit.line == test_a_kernel_that_leaves_torch_is_the_cut_it_makes.__code__.co_firstlineno + 2
    # a central quotient of a square with step 6e-6: exact but for rounding, 1e-16 · 16 / 6e-6
    assert culprit.torch_value == 0.0 and culprit.reference_value == pytest.approx(16.0, rel=1e-9)


def test_a_kernel_that_writes_past_torch_is_unsupported_by_name():
    result = check(lambda x: raw(x).sum(), X)
    assert result.verdict == "unsupported", result.explain()
    assert "gradwitness_kernels::raw.default" in result.unsupported


def test_a_result_without_a_history_is_the_operators_own():
    result = check(lambda x: sum(two_results(x)).sum(), X)
    assert "gradwitness_kernels::two_results.default" in result.unsupported
    judged = result.frame[result.frame["program"] == "aten::sin.default"]
    assert {*judged["verdict"]} == {"agree"}  # what its kernel differentiates is judged all the same


def takes_the_first(x):
    return two_results(x * 2)[0].sum()


def drops_the_result(x):
    with_backward(x * 2)
    return x.sin().sum()


@pytest.mark.parametrize("fn", [takes_the_first, drops_the_result], ids=lambda f: f.__name__)
@pytest.mark.parametrize("mode", ["R", "RR"])
def test_what_has_no_rule_and_reaches_no_output_keeps_nothing_from_being_compared(fn, mode):
    result = check(fn, X, modes=(mode,))
    assert result.verdict == "agree" and not result.unsupported, result.explain()


def test_without_register_autograd_pytorchs_own_sentence_is_shown():
    result = check(without_backward, X)
    assert result.verdict == "raised" and "no autograd formula was registered" in result.explain()


def test_with_register_autograd_the_next_step_is_named():
    result = check(with_backward, X)
    assert result.verdict == "unsupported"
    assert 'register_lowering("gradwitness_kernels::with_backward", fn)' in result.explain()


@pytest.mark.parametrize(("slope", "verdict"), [(1.0, "agree"), (1.5, "mismatch")])
def test_a_custom_function_around_an_operator_is_held_against_the_kernel(slope, verdict, monkeypatch):
    monkeypatch.setattr(ByOperator, "slope", slope)
    result = check(lambda x: ByOperator.apply(x * 2).sum(), X)
    assert result.verdict == verdict, result.explain()
    assert result.culprit is None or result.culprit.operation == "ByOperatorBackward"


@pytest.mark.parametrize("how", [{"modes": ("F",)}, {"modes": ("RF",)}, {"runners": ("func",)}], ids=str)
def test_torch_func_passes_nothing_through_and_the_operator_is_named(how):
    point = X.clone()
    (tangent,) = torch.func.jvp(explicit, (point,), (torch.ones(3, dtype=torch.float64),))[1:]
    assert not tangent.any()  # right is sin x + x cos x
    result = check(lambda x: explicit(x * 2).sum(), X, **how)
    assert (result.verdict, result.culprit.kind) == ("mismatch", "custom operator")
    assert result.culprit.operation == "gradwitness_kernels::explicit.default"


@pytest.mark.parametrize(
    ("rule", "verdict"), [(lambda x: x * ops.sin(x), "agree"), (lambda x: x * x, "mismatch")], ids=["right", "wrong"]
)
def test_a_rule_of_the_users_stands_for_the_operator_as_a_whole(rule, verdict):
    with register_lowering("gradwitness_kernels::explicit", rule):
        result = check(lambda x: explicit(x * 2).sum(), X)
    assert result.verdict == verdict, result.explain()
    assert "gradwitness_kernels::explicit.default" in {*result.frame["program"]}
    assert "aten::sin.default" not in {*result.frame["program"]}


def test_a_second_run_is_followed_through_a_kernel():
    calls = []

    def fn(x):
        calls.append(1)
        return cpu(x).sum() + len(calls)

    result = check(fn, X)
    assert result.verdict == "indeterminate" and "aten::add.Tensor" in result.explain()


def into_a_result(x):
    y = x * 3
    doubled_into(x, y)
    return (y * y).sum()


def test_an_operator_that_writes_into_a_result_is_named_since_pytorch_passes_the_gradient_of_what_was_there():
    """y = 2x, whose square has the slope 8x; PyTorch has 2 y · 3 = 12x."""
    leaf = X.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(into_a_result(leaf), leaf)[0], 12 * X)
    result = check(into_a_result, X)
    culprit = result.culprit
    assert (result.verdict, culprit.kind) == ("mismatch", "custom operator"), result.explain()
    written = "gradwitness_kernels::doubled_into.default, which writes into the result of aten::mul.Tensor"
    assert (culprit.operation, culprit.line) == (written, into_a_result.__code__.co_firstlineno + 2)
    assert "gradwitness_kernels::doubled_into.default" in result.unsupported


@pytest.mark.parametrize(("detached", "verdict"), [(False, "unsupported"), (True, "agree")])
def test_an_operator_that_writes_into_a_constant_is_unsupported_unless_it_is_given_constants(detached, verdict):
    def fn(x):
        y = torch.zeros_like(x)
        doubled_into(x.detach() if detached else x, y)
        return (x * y).sum()

    result = check(fn, X)
    assert result.verdict == verdict, result.explain()
    assert detached or "It writes into its arguments: let it return a new tensor" in result.explain()
