"""Planted faults that plain reverse mode cannot show: wrong tangents, rules that are not themselves differentiable."""

from __future__ import annotations

from typing import Any

import torch

from .fault import Fault, NodeRule, fault

ONCE_MORE = "rule that is not itself differentiable"
FORMULA = "wrong formula in one mode"


def _constant(name: str, operation: str, program: str, node: str, slope: NodeRule, **options: Any) -> Fault:
    """A backward that is right, but whose slope is held constant when it is differentiated again."""
    says = options.pop("says", "the saved value is held constant in the second derivative")
    return fault(name, ONCE_MORE, operation, program, node, slope, says, **{"modes": "RR FR", **options})


def _tangent(name: str, functions: str, program: str, wrong: NodeRule, says: str, **options: Any) -> Fault:
    """A wrong tangent. wrong(y, ((x, tangent of x), …), t): the tangent of the result."""
    operation = options.pop("operation", functions)
    options = {"mechanism": "tangent", "modes": "F", "sized": True, **options}
    return fault(name, options.pop("fault_class", FORMULA), operation, program, functions, wrong, says, **options)


def _constant_tangent(name: str, functions: str, program: str, wrong: NodeRule, **options: Any) -> Fault:
    says = "the slope is held constant when the tangent is differentiated"
    options = {"fault_class": ONCE_MORE, "modes": "FF RF", "sized": False, **options}
    return _tangent(name, functions, program, wrong, options.pop("says", says), **options)


def _second(name: str, operation: str, through: str, node: str, program: str, edge: int, **options: Any) -> Fault:
    """The backward of a backward is wrong by a factor."""
    says = "the derivative of the backward is wrong"
    return fault(
        name,
        FORMULA,
        operation,
        program,
        node,
        lambda n, g, r: 1.5 * r,
        says,
        mechanism="inner node",
        through=through,
        edge=edge,
        modes="RR",
        sized=True,
        **options,
    )


def _plain(n: Any, g: Any, right: torch.Tensor) -> torch.Tensor:
    return right.detach()


FAULTS = (
    _constant("tanh-slope-constant", "tanh", "tanh", "TanhBackward0",
        lambda n, g, r: g[0] * (1 - n._saved_result.detach() ** 2)),
    _constant("sin-slope-constant", "sin", "sin", "SinBackward0", lambda n, g, r: g[0] * n._saved_self.detach().cos()),
    _constant("exp-slope-constant", "exp", "exp", "ExpBackward0", lambda n, g, r: g[0] * n._saved_result.detach()),
    _constant("sigmoid-slope-constant", "sigmoid", "sigmoid", "SigmoidBackward0",
        lambda n, g, r: g[0] * (n._saved_result.detach() * (1 - n._saved_result.detach()))),
    _constant("log-slope-constant", "log", "log", "LogBackward0", lambda n, g, r: g[0] / n._saved_self.detach()),
    _constant("sqrt-slope-constant", "sqrt", "sqrt", "SqrtBackward0",
        lambda n, g, r: g[0] / (2 * n._saved_result.detach())),
    _constant("power-slope-constant", "pow", "cube", "PowBackward0",
        lambda n, g, r: g[0] * n._saved_exponent * n._saved_self.detach() ** (n._saved_exponent - 1)),
    _constant("mul-other-constant", "mul", "mul", "MulBackward0", lambda n, g, r: g[0] * n._saved_other.detach(),
        says="the other factor is held constant"),
    _constant("div-other-constant", "div", "div", "DivBackward0", lambda n, g, r: g[0] / n._saved_other.detach(),
        says="the divisor is held constant"),
    _constant("softmax-constant", "_softmax softmax", "softmax", "SoftmaxBackward0",
        lambda n, g, r: n._saved_result.detach() * (g[0] - (g[0] * n._saved_result.detach()).sum(1, True))),
    _constant("log-softmax-constant", "_log_softmax log_softmax", "log_softmax", "LogSoftmaxBackward0",
        lambda n, g, r: g[0] - n._saved_result.detach().exp() * g[0].sum(1, True)),
    _constant("logsumexp-constant", "logsumexp", "logsumexp", "LogsumexpBackward0",
        lambda n, g, r: g[0].unsqueeze(1) * (n._saved_self - n._saved_result.unsqueeze(1)).detach().exp()),
    _constant("norm-constant", "linalg_vector_norm", "norm", "LinalgVectorNormBackward0",
        lambda n, g, r: g[0].unsqueeze(1) * n._saved_self / n._saved_result.detach().unsqueeze(1),
        says="the norm is held constant, the vector is not", source="pytorch/pytorch#92075"),
    _constant("layer-norm-constant", "native_layer_norm", "layer_norm", "NativeLayerNormBackward0", _plain,
        says="the backward leaves the graph", modes="RR"),
    _constant("mse-constant", "mse_loss", "mse_loss", "MseLossBackward0", _plain, says="the backward leaves the graph",
        modes="RR"),
    _constant("gelu-constant", "gelu", "gelu", "GeluBackward0", _plain, says="the backward leaves the graph",
        modes="RR"),
    _constant("mm-constant", "mm", "matrix product", "MmBackward0", lambda n, g, r: g[0] @ n._saved_mat2.detach().mT,
        says="the other matrix is held constant"),
    _constant("inverse-constant", "linalg_inv_ex inverse", "inverse", "LinalgInvExBackward0",
        lambda n, g, r: -n._saved_inverse.detach().mT @ g[0] @ n._saved_inverse.detach().mT),
    _constant("kl-div-constant", "xlogy", "kl_div", "XlogyBackward0", _plain, says="the backward leaves the graph",
        modes="RR", source="pytorch/pytorch#65466"),
    _constant("logaddexp-again", "logaddexp", "logaddexp", "LogaddexpBackward0",
        lambda n, g, r: g[0] * torch.sigmoid((n._saved_self - n._saved_other).detach())),
    _constant_tangent("tanh-tangent-constant", "tanh", "tanh", lambda y, p, t: p[0][1] * (1 - y.detach() ** 2)),
    _constant_tangent("sin-tangent-constant", "sin", "sin", lambda y, p, t: p[0][1] * p[0][0].detach().cos()),
    _constant_tangent("exp-tangent-constant", "exp", "exp", lambda y, p, t: p[0][1] * y.detach()),
    _constant_tangent("sigmoid-tangent-constant", "sigmoid", "sigmoid",
        lambda y, p, t: p[0][1] * (y * (1 - y)).detach()),
    _constant_tangent("log-tangent-constant", "log", "log", lambda y, p, t: p[0][1] / p[0][0].detach()),
    _constant_tangent("mul-tangent-constant", "mul", "mul",
        lambda y, p, t: p[0][1] * p[1][0].detach() + p[1][1] * p[0][0].detach()),
    _constant_tangent("softmax-tangent-constant", "softmax _softmax", "softmax",
        lambda y, p, t: y.detach() * (p[0][1] - (y.detach() * p[0][1]).sum(1, True))),
    _constant_tangent("norm-tangent-constant", "linalg_vector_norm vector_norm", "norm",
        lambda y, p, t: (p[0][0] * p[0][1]).sum(1) / y.detach(), says="the norm is held constant",
        source="pytorch/pytorch#196700"),
    _tangent("sin-tangent", "sin", "sin", lambda y, p, t: -t, "the sign is wrong"),
    _tangent("cos-tangent", "cos", "cos", lambda y, p, t: p[0][1] * p[0][0].sin(), "the sign of -sin is missing"),
    _tangent("exp-tangent", "exp", "exp", lambda y, p, t: p[0][1] * (y + 1), "y + 1, the slope of expm1"),
    _tangent("tanh-tangent", "tanh", "tanh", lambda y, p, t: p[0][1] * (1 - y), "1 - y for 1 - y²"),
    _tangent("pow-tangent-of-the-first", "pow", "pow",
        lambda y, p, t: p[0][1] * p[1][0] * p[0][0] ** (p[1][0] - 1) + p[0][1] * y * p[0][0].log(),
        "the tangent of the exponent is taken to be that of the base", source="ml-explore/mlx#3634"),
    _tangent("mul-tangent-half", "mul", "mul", lambda y, p, t: p[0][1] * p[1][0],
        "the product rule without its second term"),
    _tangent("div-tangent-sign", "div", "div", lambda y, p, t: p[0][1] / p[1][0] + p[1][1] * y / p[1][0],
        "the sign of the second term is missing"),
    _tangent("softmax-tangent", "softmax _softmax", "softmax", lambda y, p, t: y * p[0][1],
        "the mean of the tangent is not subtracted"),
    _tangent("logsumexp-tangent", "logsumexp", "logsumexp", lambda y, p, t: 2 * t, "a factor"),
    _tangent("mm-tangent", "mm", "matrix product", lambda y, p, t: p[0][1] @ p[1][0],
        "the tangent of the right matrix is ignored"),
    _tangent("cumsum-tangent", "cumsum", "cumsum", lambda y, p, t: t.flip(1), "summed from the wrong end"),
    _tangent("inverse-tangent", "linalg_inv inv linalg_inv_ex", "inverse", lambda y, p, t: -y @ y @ p[0][1],
        "factors multiplied in the wrong order, as in cholesky_inverse", source="pytorch/pytorch#196682"),
    _tangent("solve-tangent", "linalg_solve solve _linalg_solve_ex", "solve", lambda y, p, t: t * 0.5,
        "half of the tangent"),
    _tangent("mse-tangent", "mse_loss", "mse_loss", lambda y, p, t: t / 2, "the 2 of the square is missing"),
    _second("tanh-second", "tanh", "TanhBackward0", "TanhBackwardBackward0", "tanh", 1),
    _second("sigmoid-second", "sigmoid", "SigmoidBackward0", "SigmoidBackwardBackward0", "sigmoid", 1),
    _second("gelu-second", "gelu", "GeluBackward0", "GeluBackwardBackward0", "gelu", 1),
    _second("softplus-second", "softplus", "SoftplusBackward0", "SoftplusBackwardBackward0", "softplus", 1),
    _second("elu-second", "elu", "EluBackward0", "EluBackwardBackward0", "elu", 1,
        source="tensorflow/tensorflow#11091"),
    _second("hardswish-second", "hardswish", "HardswishBackward0", "HardswishBackwardBackward0", "hardswish", 1),
    _second("layer_norm-second", "native_layer_norm", "NativeLayerNormBackward0", "NativeLayerNormBackwardBackward0",
        "layer_norm", 1),
    _second("log_softmax-second", "log_softmax _log_softmax", "LogSoftmaxBackward0", "LogSoftmaxBackwardDataBackward0",
        "log_softmax", 1),
    _second("mse-second", "mse_loss", "MseLossBackward0", "MseLossBackwardBackward0", "mse_loss", 1),
    _second("logsigmoid-second", "log_sigmoid_forward log_sigmoid", "LogSigmoidBackward0",
        "LogSigmoidBackwardBackward0", "logsigmoid", 1),
    _second("softmax-second", "softmax _softmax", "SoftmaxBackward0", "SoftmaxBackwardDataBackward0", "softmax", 1),
)  # fmt: skip
