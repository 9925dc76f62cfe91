"""Forward mode inside the callable: its tangents have zeros without memory, and ask the meta device for shapes."""

import pytest
import torch
from gradwitness.harness import capture, check
from gradwitness.harness.recorder.kernels import READS_MEMORY, run_kernel
from torch.func import functional_call, grad, hessian, jacfwd, jvp, vmap
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode


def values(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.8 + 0.1


LOSSES = {
    "cube": lambda p: (p**3).sum(),
    "tanh of a product": lambda p: (p @ p.T).tanh().sum(),
    "softmax": lambda p: p.softmax(1).pow(2).sum(),
    "layer norm": lambda p: F.layer_norm(p, (3,)).pow(3).sum(),
    "cross entropy": lambda p: F.cross_entropy(p, torch.tensor([0, 2])),
    "determinant": lambda p: (p @ p.T + torch.eye(2, dtype=p.dtype)).det(),
}
WITHIN = {
    "hessian": lambda f: lambda x: hessian(f)(x).pow(2).sum(),
    "jvp of grad": lambda f: lambda x: jvp(grad(f), (x,), (x * x,))[1].sum(),
    "jacfwd of jacfwd": lambda f: lambda x: jacfwd(jacfwd(f))(x).pow(2).sum(),
}


# PyTorch's forward-mode rules of these hold constant what the operation saved: LU factors, mean and 1/σ.
HELD_CONSTANT = {
    ("determinant", "jvp of grad"): ("aten::_linalg_det.default", "pytorch/pytorch#192540"),
    ("determinant", "jacfwd of jacfwd"): ("aten::_linalg_det.default", "pytorch/pytorch#192540"),
    ("layer norm", "hessian"): ("aten::native_layer_norm.default", "pytorch/pytorch#196700"),
    ("layer norm", "jacfwd of jacfwd"): ("aten::native_layer_norm.default", "pytorch/pytorch#196700"),
}


@pytest.mark.parametrize("within", list(WITHIN))
@pytest.mark.parametrize("loss", list(LOSSES))
def test_derivatives_in_forward_mode_inside_the_callable_are_differentiated_again(loss, within):
    result = check(WITHIN[within](LOSSES[loss]), values(2, 3))
    if (loss, within) not in HELD_CONSTANT:
        assert result.verdict == "agree", result.explain()
        return
    wrong = result.frame[result.frame["verdict"] == "mismatch"]
    assert list(wrong["program"]) == ["whole"]
    assert (result.culprit.operation, wrong["known"].iloc[0]) == HELD_CONSTANT[loss, within]
    assert result.culprit.kind == "forward mode within" and "test_forward_mode_within.py" in result.culprit.file


def tangent(fn):
    """The derivative of fn along ones, in forward mode."""
    return lambda x: jvp(fn, (x,), (torch.ones_like(x),))[1].sum()


@pytest.mark.parametrize(
    ("fn", "x", "torch_value", "right"),
    [
        (lambda a: torch.linalg.det(a.reshape(1, 1)), 2.0, 0.5, 0.0),  # det [a] = a
        (lambda a: torch.linalg.solve(a.reshape(1, 1), torch.ones(1, 1, dtype=a.dtype)), 2.0, 0.125, 0.25),  # (1/a)''
    ],
)
def test_the_derivative_of_a_tangent_is_that_of_what_ran(fn, x, torch_value, right):
    result = check(tangent(fn), torch.tensor(x, dtype=torch.float64))
    last = result.frame.iloc[-1]
    assert (last["verdict"], last["torch_value"], last["reference_value"]) == ("mismatch", torch_value, right)
    assert "held constant in a derivative of its tangent" in last["message"]


def test_a_gradient_inside_the_callable_computes_with_the_matrix_itself_and_agrees():
    x = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    result = check(lambda a: grad(torch.logdet)(a).sum(), x)
    assert result.verdict == "agree", result.explain()


def test_a_fault_beside_a_tangent_keeps_its_name():
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return 2 * g

    inner = tangent(lambda a: torch.linalg.det(a.reshape(1, 1)) * a)
    result = check(lambda x: Doubled.apply(inner(x)), torch.tensor(2.0, dtype=torch.float64))
    assert result.culprit.operation == "DoubledBackward"


def test_statistics_that_pytorch_declares_not_differentiable_are_constants_outside_of_forward_mode():
    result = check(lambda x: torch.native_layer_norm(x, (3,), None, None, 1e-5)[1].sum() + x.sum(), values(2, 3))
    assert result.verdict == "agree", result.explain()


def test_the_gradient_of_a_sum_of_second_derivatives_is_the_third_derivative():
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    result = check(lambda x: hessian(lambda p: (p**3).sum())(x).sum(), x)
    assert result.verdict == "agree"
    last = result.frame.iloc[-1]
    assert (last["torch_value"], last["reference_value"]) == (6.0, 6.0)  # (x³)''' = 6


@pytest.mark.parametrize("second", ["hessian", "jacfwd"])
def test_a_network_under_vmap_and_forward_mode_agrees_with_its_parameters(second):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def residual(x, w):
        def u(q):
            return functional_call(net, {**parameters, "0.weight": w}, (q,)).sum()

        return vmap(hessian(u) if second == "hessian" else jacfwd(u))(x).pow(2).sum()

    result = check(residual, (values(5, 1), parameters["0.weight"]))
    assert result.verdict == "agree", result.explain()


def test_what_is_asked_of_the_meta_device_is_no_part_of_the_recorded_run():
    x = values(3).requires_grad_()
    recording = capture(lambda x: (x + torch.empty_like(x, device="meta").shape[0]).sum(), x)
    assert [c.name for c in recording.calls] == ["aten::add", "aten::sum"]
    assert not any("prims::" in c.name for c in capture(WITHIN["hessian"](LOSSES["cube"]), values(2, 3)).calls)


@pytest.mark.parametrize("func", sorted(READS_MEMORY, key=str), ids=str)
def test_a_zero_without_memory_survives_a_dispatch_mode(func):
    class Ours(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return run_kernel(func, args, kwargs or {})

    with Ours():
        y = func(torch._efficientzerotensor((2, 3), dtype=torch.float64), 2.0)
    other = torch.zeros(2, 3, dtype=torch.float64)
    assert torch.equal(y + other, func(other, 2.0))


@pytest.mark.parametrize("modes", [("R", "RR"), ("F",)])
def test_every_mode_and_runner_names_what_a_tangent_inside_holds_constant(modes):
    fn = tangent(lambda a: torch.linalg.solve(a.reshape(1, 1), torch.ones(1, 1, dtype=a.dtype)))
    result = check(fn, torch.tensor(2.0, dtype=torch.float64), modes=modes, runners=("autograd", "func"))
    wrong = result.frame[result.frame["verdict"] == "mismatch"]
    assert set(wrong["mode"]) == set(modes) and set(wrong["runner"]) == {"autograd", "func"}
    assert set(wrong["culprit"]) == {"aten::_linalg_solve_ex.default"}
    assert set(wrong["known"]) == {"pytorch/pytorch#196695"}
