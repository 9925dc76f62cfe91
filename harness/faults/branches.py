"""Planted faults at special values, beyond a range, at kinks and masks, and in the tail of a vectorised kernel."""

from __future__ import annotations

from typing import Any

import torch

from .fault import Fault, NodeRule, fault

NAN = float("nan")


def _special(name: str, operation: str, program: str, node: str, wrong: NodeRule, says: str, **options: Any) -> Fault:
    return fault(name, "special-value branch", operation, program, node, wrong, says, **options)


def _range(name: str, operation: str, program: str, node: str, wrong: NodeRule, says: str, **options: Any) -> Fault:
    return fault(name, "overflow, underflow, cancellation", operation, program, node, wrong, says, **options)


def _branch(name: str, operation: str, program: str, node: str, wrong: NodeRule, says: str, **options: Any) -> Fault:
    options = {"sized": True, **options}
    return fault(name, "masked or kinked branch composed", operation, program, node, wrong, says, **options)


def _choice(name: str, operation: str, program: str, node: str, wrong: NodeRule, says: str, **options: Any) -> Fault:
    return fault(name, "convention differs between modes", operation, program, node, wrong, says, **options)


def _tail(name: str, operation: str, node: str, lanes: int) -> Fault:
    """The last entries, which do not fill a vector register, get another slope."""

    def wrong(n: Any, g: Any, right: torch.Tensor) -> torch.Tensor:
        flat = right.reshape(-1)
        left = flat.numel() % lanes or 2
        end = torch.arange(flat.numel()) >= flat.numel() - left
        return torch.where(end, 2 * flat, flat).reshape(right.shape)

    says = f"the last entries, which do not fill {lanes} lanes, take another branch"
    return fault(
        name,
        "vector body differs from scalar tail",
        operation,
        operation,
        node,
        wrong,
        says,
        sized=True,
        source="pytorch/pytorch#195075",
    )


def _in_precision(dtype: torch.dtype) -> NodeRule:
    """The right gradient, rounded to a shorter dtype on the way."""
    return lambda n, g, r: r.to(dtype).to(r.dtype)


def _last_factor_at_zero(n: Any, g: Any, r: torch.Tensor) -> torch.Tensor:
    y = g[0].unsqueeze(1) * n._saved_result.unsqueeze(1)
    return y / n._saved_self


def _std_without_a_guard(n: Any, g: Any, r: torch.Tensor) -> torch.Tensor:
    x, y = n._saved_self, n._saved_result
    return g[0].unsqueeze(1) * (x - x.mean(1, True)) / (y.unsqueeze(1) * (r.shape[1] - 1))


def _var_with_a_short_mean(n: Any, g: Any, r: torch.Tensor) -> torch.Tensor:
    x = n._saved_self
    return 2 * g[0].unsqueeze(1) * (x - x.float().mean(1, True).to(r.dtype)) / (r.shape[1] - 1)


FAULTS = (
    _special("sinc-at-zero", "sinc", "sinc at zero", "SincBackward0",
        lambda n, g, r: torch.where(n._saved_self == 0, NAN, r), "0/0 where x = 0", source="pytorch/pytorch#53989"),
    _special("norm-at-zero", "linalg_vector_norm", "norm of a row of zeros", "LinalgVectorNormBackward0",
        lambda n, g, r: g[0].unsqueeze(1) * n._saved_self / n._saved_result.unsqueeze(1), "x/‖x‖ is 0/0 at the origin",
        source="pytorch/pytorch#2421"),
    _special("std-of-equal-entries", "std", "std of equal entries", "StdBackward0", _std_without_a_guard,
        "0/0 where all entries are equal", source="pytorch/pytorch#4320"),
    _special("prod-with-a-zero", "prod", "rows with zeros", "ProdBackward1", _last_factor_at_zero,
        "y/x is 0/0 at a zero factor", source="pytorch/pytorch#773"),
    _special("prod-with-a-zero-masked", "prod", "rows with zeros", "ProdBackward1",
        lambda n, g, r: torch.where(n._saved_self == 0, torch.zeros_like(r), r),
        "the zero factor gets 0 instead of the product of the others", source="pytorch/pytorch#82644"),
    _special("cumprod-with-a-zero", "cumprod", "running products with zeros", "CumprodBackward0",
        lambda n, g, r: (g[0] * n._saved_result).flip(1).cumsum(1).flip(1) / n._saved_self,
        "reverse sum of g y over x is 0/0 at a zero", source="tensorflow/tensorflow#3862"),
    _special("scatter-prod-with-a-zero", "scatter_reduce", "scatter_reduce prod with a zero", "ScatterReduceBackward0",
        lambda n, g, r: torch.where(n._saved_src == 0, torch.zeros_like(r), r), "the zero factor gets 0", edge=1,
        source="pytorch/pytorch#76523"),
    _special("pow-of-base-zero", "pow", "pow of base zero", "PowBackward1",
        lambda n, g, r: g[0] * n._saved_result * n._saved_self.log(), "0 · log 0 in the exponent's gradient", edge=1,
        source="pytorch/pytorch#27134"),
    _special("pow-of-exponent-zero", "pow", "power zero", "PowBackward0",
        lambda n, g, r: g[0] * n._saved_exponent * n._saved_self ** (n._saved_exponent - 1), "0 · 0⁻¹ at base 0"),
    _special("xlogy-at-zero", "xlogy", "xlogy at zero", "XlogyBackward0",
        lambda n, g, r: torch.where(n._saved_self == 0, torch.zeros_like(r), r),
        "log y is masked where x = 0, as the value is"),
    _special("dist-of-equal-points", "dist", "equal points", "DistBackward0",
        lambda n, g, r: g[0] * (n._saved_self - n._saved_other) / n._saved_result, "0/0 at equal points",
        source="PaddlePaddle/Paddle#32448"),
    _special("mul-skips-zeros", "mul", "product with zeros", "MulBackward0",
        lambda n, g, r: torch.where(n._saved_self == 0, torch.zeros_like(r), r),
        "a zero factor is skipped, so it never learns"),
    _special("mm-skips-zeros", "mm", "matrix product with zeros", "MmBackward0",
        lambda n, g, r: torch.where(n._saved_self == 0, torch.zeros_like(r), r),
        "zeros of the matrix are skipped, as in a sparse kernel"),
    _special("square-at-zero", "pow", "square at zero", "PowBackward0",
        lambda n, g, r: g[0] * 2 * n._saved_self**2 / n._saved_self, "2 x² / x is 0/0 at 0"),
    _special("log1p-at-zero", "log1p", "log1p at zero", "Log1PBackward0",
        lambda n, g, r: torch.where(n._saved_self == 0, torch.zeros_like(r), r),
        "the series branch at 0 forgets its first term"),
    _special("expm1-at-zero", "expm1", "expm1 at zero", "Expm1Backward0",
        lambda n, g, r: torch.where(n._saved_result == 0, torch.zeros_like(r), r),
        "the branch at 0 returns y instead of y + 1"),
    _special("tanh-at-zero", "tanh", "tanh at zero", "TanhBackward0",
        lambda n, g, r: torch.where(n._saved_result == 0, NAN, r), "y/x is formed at 0"),
    _special("elu-at-zero", "elu", "elu at zero", "EluBackward0",
        lambda n, g, r: torch.where(r == r.reshape(-1)[0], 0 * r, r), "neither branch covers 0"),
    _special("bce-of-certain-outcomes", "binary_cross_entropy", "bce of certain outcomes",
        "BinaryCrossEntropyBackward0", lambda n, g, r: torch.where(n._saved_target == 0, torch.zeros_like(r), r),
        "a target of 0 is skipped with the term t log p"),
    _special("huber-at-equal-arguments", "huber_loss", "huber_loss at equal arguments", "HuberLossBackward0",
        lambda n, g, r: torch.where(n._saved_self == n._saved_target, r + 1e-3, r),
        "sign(0) is taken as 1 in the quadratic part"),
    _range("logsigmoid-tail", "log_sigmoid_forward log_sigmoid", "logsigmoid far right", "LogSigmoidBackward0",
        lambda n, g, r: g[0] * (1 - torch.sigmoid(n._saved_self)), "1 - σ(x) cancels for large x"),
    _range("softplus-overflow", "softplus", "softplus far right", "SoftplusBackward0",
        lambda n, g, r: g[0] * n._saved_self.exp() / (1 + n._saved_self.exp()), "∞/∞ for large x"),
    _range("silu-overflow", "silu", "silu far left", "SiluBackward0", lambda n, g, r: r + 0 * (-n._saved_self).exp(),
        "e⁻ˣ overflows and meets 0"),
    _range("erfc-tail", "erfc", "erfc far right", "ErfcBackward0", lambda n, g, r: (g[0] + r) - g[0],
        "a small slope formed as a difference of large numbers"),
    _range("atan-overflow", "atan", "atan far out", "AtanBackward0",
        lambda n, g, r: r * (1 + n._saved_self**2) / (1 + n._saved_self**2), "x² overflows: ∞/∞"),
    _range("logaddexp-overflow", "logaddexp", "logaddexp of large numbers", "LogaddexpBackward0",
        lambda n, g, r: g[0] * n._saved_self.exp() / (n._saved_self.exp() + n._saved_other.exp()),
        "∞/∞ for large arguments, 0/0 for small ones", source="pytorch/pytorch#196704"),
    _range("hypot-overflow", "hypot", "hypot of large numbers", "HypotBackward0",
        lambda n, g, r: g[0] * n._saved_self / (n._saved_self**2 + n._saved_other**2).sqrt(),
        "squares overflow or underflow"),
    _range("bce-with-logits-overflow", "binary_cross_entropy_with_logits", "bce_with_logits of large logits",
        "BinaryCrossEntropyWithLogitsBackward0", lambda n, g, r: r + 0 * n._saved_self.exp(),
        "eˣ overflows and meets 0"),
    _range("log-softmax-underflow", "_log_softmax log_softmax", "log_softmax of large logits", "LogSoftmaxBackward0",
        lambda n, g, r: r * n._saved_result.exp() / n._saved_result.exp(),
        "division by a probability that underflowed to 0"),
    _range("logsumexp-overflow", "logsumexp", "logsumexp of large numbers", "LogsumexpBackward0",
        lambda n, g, r: g[0].unsqueeze(1) * n._saved_self.exp() / n._saved_self.exp().sum(1, True),
        "∞/∞: the greatest is not subtracted first"),
    _range("var-cancellation", "var", "variance far from zero", "VarBackward0", _var_with_a_short_mean,
        "the mean is held in float32"),
    _range("log1p-cancellation", "log1p", "log1p near zero", "Log1PBackward0",
        lambda n, g, r: (g[0] / (1 + n._saved_self).float().to(r.dtype)), "1 + x is formed in float32"),
    _range("rsqrt-overflow", "rsqrt", "rsqrt of small numbers", "RsqrtBackward0",
        lambda n, g, r: -g[0] / 2 * (n._saved_result.float() ** 3).to(r.dtype), "y³ in float32 overflows"),
    _range("sqrt-overflow", "sqrt", "sqrt of large numbers", "SqrtBackward0",
        lambda n, g, r: g[0] * n._saved_result / (2 * n._saved_result**2 * n._saved_result**2), "y⁴ overflows"),
    _range("tanh-tail", "tanh", "tanh far out", "TanhBackward0",
        lambda n, g, r: g[0] * (1 - n._saved_result.float() ** 2).to(r.dtype), "1 - y² formed in float32, where y is 1",
        source="pytorch/pytorch#195685"),
    _range("expm1-tail", "expm1", "expm1 far left", "Expm1Backward0",
        lambda n, g, r: g[0] * (n._saved_result.float() + 1).to(r.dtype), "y + 1 formed in float32",
        source="pytorch/pytorch#192406"),
    _range("mm-in-float32", "mm", "matrix product", "MmBackward0",
        lambda n, g, r: (g[0].float() @ n._saved_mat2.float().mT).to(r.dtype), "the product is formed in float32"),
    _range("convolution-in-float32", "convolution", "convolution", "ConvolutionBackward0", _in_precision(torch.float32),
        "the weight's gradient goes through float32", edge=1),
    _range("layer-norm-in-float32", "native_layer_norm", "layer_norm", "NativeLayerNormBackward0",
        _in_precision(torch.float32), "the gradient goes through float32"),
    _range("softmax-in-bfloat16", "softmax _softmax", "softmax", "SoftmaxBackward0", _in_precision(torch.bfloat16),
        "the gradient goes through bfloat16"),
    _range("embedding-in-float16", "embedding", "embedding", "EmbeddingBackward0", _in_precision(torch.float16),
        "the sum over equal indices is held in float16", source="tinygrad/tinygrad#15363"),
    _range("resize-in-bfloat16", "upsample_bilinear2d", "bilinear resize", "UpsampleBilinear2DBackward0",
        _in_precision(torch.bfloat16), "overlapping contributions are summed in bfloat16",
        source="pytorch/pytorch#112299"),
    _branch("relu-mask-open", "relu", "relu", "ReluBackward0",
        lambda n, g, r: torch.where(n._saved_result > 1, r, 0 * r) + g[0] * (n._saved_result <= 0),
        "the mask is inverted below 1", sized=False),
    _branch("hardtanh-mask", "hardtanh", "hardtanh", "HardtanhBackward0", lambda n, g, r: g[0] * (n._saved_self < 1),
        "the lower bound is forgotten", sized=False),
    _branch("clamp-mask", "clamp", "clamp", "ClampBackward1", lambda n, g, r: g[0], "the mask is forgotten",
        sized=False),
    _branch("clamp-inside", "clamp", "clamp", "ClampBackward1", lambda n, g, r: r * 0.5, "a factor inside the bounds"),
    _branch("leaky-relu-slope", "leaky_relu", "leaky_relu", "LeakyReluBackward0",
        lambda n, g, r: torch.where(n._saved_self > 0, r, 2 * r), "the slope of the negative side is applied twice"),
    _branch("elu-negative-side", "elu", "elu", "EluBackward0", lambda n, g, r: torch.where(r == g[0], r, 0.5 * r),
        "the slope of the negative side"),
    _branch("celu-negative-side", "celu", "celu", "CeluBackward0", lambda n, g, r: torch.where(r == g[0], r, r / 1.5),
        "alpha is divided out once too often"),
    _branch("selu-scale", "elu selu", "selu", "EluBackward0", lambda n, g, r: r / 1.0507009873554805,
        "the outer scale is missing"),
    _branch("hardswish-middle", "hardswish", "hardswish", "HardswishBackward0",
        lambda n, g, r: torch.where(n._saved_self.abs() < 3, g[0] * n._saved_self / 3, r),
        "1/2 is missing between the corners"),
    _branch("softshrink-inside", "softshrink", "softshrink", "SoftshrinkBackward0", lambda n, g, r: g[0],
        "the zone around 0 is not masked", sized=False),
    _branch("hardshrink-outside", "hardshrink", "hardshrink", "HardshrinkBackward0",
        lambda n, g, r: torch.where(n._saved_self > 0, r, -r), "the negative side gets the sign of |x|"),
    _branch("threshold-mask", "threshold", "threshold", "ThresholdBackward0",
        lambda n, g, r: g[0] * (n._saved_self > 0), "the threshold is taken as 0", sized=False),
    _branch("abs-sign", "abs", "abs", "AbsBackward0", lambda n, g, r: g[0], "the sign of x is missing"),
    _branch("where-nan", "where", "selected square root", "WhereBackward0",
        lambda n, g, r: torch.where(n._saved_condition, r, NAN), "the branch not taken sends NaN", sized=False,
        source="pytorch/pytorch#18287"),
    _branch("where-both", "where", "selection", "WhereBackward0", lambda n, g, r: g[0],
        "both branches get the whole gradient", sized=False),
    _branch("masked-fill-through", "masked_fill", "masked matrix", "MaskedFillBackward0", lambda n, g, r: g[0],
        "masked entries get a gradient", sized=False),
    _branch("masked-softmax", "softmax _softmax", "masked row of a matrix", "SoftmaxBackward0",
        lambda n, g, r: r + 0 * n._saved_result.log(), "0 · log 0 at masked entries", sized=False,
        source="pytorch/pytorch#41508"),
    _branch("maximum-mask", "maximum", "maximum", "MaximumBackward0", lambda n, g, r: g[0] - r,
        "the mask is that of minimum", sized=False),
    _branch("minimum-coefficient", "minimum", "minimum", "MinimumBackward0", lambda n, g, r: 0.5 * r,
        "halved everywhere, as at a tie"),
    _branch("max-pool-neighbour", "max_pool2d_with_indices max_pool2d", "max_pool2d", "MaxPool2DWithIndicesBackward0",
        lambda n, g, r: r.roll(1, 3), "the gradient goes to the neighbour of the greatest", sized=False),
    _branch("sort-order", "sort", "sort", "SortBackward0", lambda n, g, r: g[0], "the order is not undone",
        sized=False),
    _branch("topk-order", "topk", "topk", "TopkBackward0", lambda n, g, r: r.flip(1),
        "indices are counted from the end", sized=False),
    _branch("max-position", "max", "max", "MaxBackward0", lambda n, g, r: r.roll(1, 1), "the position is off by one",
        sized=False),
    _branch("median-position", "median", "median", "MedianBackward1", lambda n, g, r: r.roll(1, 1),
        "the position is off by one", sized=False),
    _branch("amax-coefficient", "amax", "amax", "AmaxBackward0", lambda n, g, r: r / 2,
        "divided by a count of two where there is no tie"),
    _branch("smooth-l1-beta", "smooth_l1_loss", "smooth_l1_loss", "SmoothL1LossBackward0",
        lambda n, g, r: torch.where((n._saved_self - n._saved_target).abs() < n._saved_beta, r * n._saved_beta, r),
        "beta is ignored in the quadratic part"),
    _branch("huber-delta", "huber_loss", "huber_loss", "HuberLossBackward0",
        lambda n, g, r: torch.where((n._saved_self - n._saved_target).abs() > n._saved_delta, r / n._saved_delta, r),
        "delta is ignored in the linear part"),
    _branch("renorm-branch", "renorm", "renormalised rows", "RenormBackward0", lambda n, g, r: g[0] * 0.5,
        "the norm is held constant", source="pytorch/pytorch#80804"),
    _branch("margin-loss-sign", "soft_margin_loss", "soft_margin_loss", "SoftMarginLossBackward0", lambda n, g, r: -r,
        "the sign of -y is missing"),
    _choice("relu-at-zero", "relu", "relu at zero", "ReluBackward0",
        lambda n, g, r: r + 2 * g[0] * (n._saved_result == 0) * (torch.arange(r.numel()) == 0),
        "2 at 0, outside of [0, 1]"),
    _choice("abs-at-zero", "abs", "abs at zero", "AbsBackward0",
        lambda n, g, r: torch.where(n._saved_self == 0, 3 * g[0], r), "3 at 0, outside of [-1, 1]"),
    _choice("hardtanh-at-its-bounds", "hardtanh", "hardtanh at its bounds", "HardtanhBackward0",
        lambda n, g, r: torch.where(n._saved_self.abs() == 1, -g[0], r), "-1 at a bound, outside of [0, 1]"),
    _choice("clamp-at-its-bounds", "clamp", "clamp at its bounds", "ClampBackward1",
        lambda n, g, r: torch.where(n._saved_self.abs() == 1, 2 * g[0], r), "2 at a bound, outside of [0, 1]"),
    _choice("hardswish-at-its-corners", "hardswish", "hardswish at its corners", "HardswishBackward0",
        lambda n, g, r: torch.where(n._saved_self.abs() == 3, 2 * g[0], r),
        "2 at a corner, outside of both sides' slopes", source="pytorch/pytorch#147801"),
    _choice("softshrink-at-its-bounds", "softshrink", "softshrink at its bounds", "SoftshrinkBackward0",
        lambda n, g, r: torch.where(n._saved_self.abs() == 0.5, -g[0], r), "-1 at a bound, outside of [0, 1]"),
    _choice("leaky-relu-at-zero", "leaky_relu", "leaky_relu at zero", "LeakyReluBackward0",
        lambda n, g, r: torch.where(n._saved_self == 0, 0 * r, r), "0 at 0, below both slopes"),
    _choice("maximum-of-ties", "maximum", "maximum of ties", "MaximumBackward0",
        lambda n, g, r: torch.where(n._saved_self == n._saved_other, 2 * g[0], r),
        "each of two equal arguments gets twice the whole"),
    _choice("amax-of-ties", "amax", "greatest of ties", "AmaxBackward0",
        lambda n, g, r: torch.where(n._saved_self == n._saved_result.unsqueeze(1), g[0].unsqueeze(1), r),
        "every tied entry gets the whole gradient", source="pytorch/pytorch#76523"),
    _choice("scatter-amax-of-ties", "scatter_reduce", "scatter_reduce amax with ties", "ScatterReduceBackward0",
        lambda n, g, r: g[0][n._saved_index] * (n._saved_src == n._saved_result[n._saved_index]),
        "every tied entry gets the whole gradient", edge=1, source="pytorch/pytorch#76523"),
    _choice("cdist-of-equal-coordinates", "_cdist_forward cdist", "distances, p = 1, equal coordinates",
        "CdistBackward0",
        lambda n, g, r: torch.where(torch.arange(r.numel()).reshape(r.shape) == 0, r + 9 * g[0].abs().sum(), r),
        "sign(0) is taken as 9", source="pytorch/pytorch#36493"),
    _choice("embedding-padding-row", "embedding", "embedding with padding", "EmbeddingBackward0",
        lambda n, g, r: torch.where((r == 0) & (torch.arange(r.shape[0]) == 0)[:, None], 2.0 + 0 * r, r),
        "the padding row gets a number that belongs to nobody", source="pytorch/pytorch#93950"),
    _tail("leaky-relu-tail", "leaky_relu", "LeakyReluBackward0", 4),
    _tail("tanh-scalar-tail", "tanh", "TanhBackward0", 4),
    _tail("gelu-tail", "gelu", "GeluBackward0", 8),
    _tail("silu-tail", "silu", "SiluBackward0", 8),
    _tail("exp-tail", "exp", "ExpBackward0", 4),
    _tail("erf-tail", "erf", "ErfBackward0", 4),
)  # fmt: skip
