"""Planted faults as public reports give them: the historical wrong rule itself, on the operation or on its next of kin.

Where PyTorch still has the fault (its own rule is the wrong one), the rule is planted into an operation that is right.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from .fault import fault

SPECIAL = "special-value branch"
RANGE = "overflow, underflow, cancellation"


def _sinc(n: Any, g: Any, r: torch.Tensor) -> torch.Tensor:
    x = n._saved_self
    turn = math.pi * x
    return g[0] * (turn * turn.cos() - turn.sin()) / (turn * x)


def _inverse_tangent(y: torch.Tensor, p: Any, t: torch.Tensor) -> torch.Tensor:
    factor, slope = p[1]
    half = -y @ slope @ y @ factor.mT
    return half + half.mT


def _half_count(n: Any, g: Any, r: torch.Tensor) -> torch.Tensor:
    tied = n._saved_self == n._saved_result.unsqueeze(1)
    one_by_one = tied.sum(1, True).clamp(max=2048)  # 2048 + 1 is 2048 in float16
    return g[0].unsqueeze(1) * tied / one_by_one.to(r.dtype)


def _determinant(n: Any, g: Any, r: torch.Tensor) -> torch.Tensor:
    inverse = torch.linalg.inv_ex(n._saved_A).inverse
    return (g[0] * n._saved_result)[..., None, None] * inverse.mT


def _cdist(n: Any, g: Any, r: torch.Tensor) -> torch.Tensor:
    apart = n._saved_x1[:, None] - n._saved_x2[None]
    slopes = apart.sign() * apart.abs() ** (n._saved_p - 1) / n._saved_result[..., None] ** (n._saved_p - 1)
    return (g[0][..., None] * slopes).sum(1)


def _border(n: Any, g: Any, r: torch.Tensor) -> torch.Tensor:
    """Beyond the last pixel the image is taken as 0, so that the slope there is minus the last pixel."""
    outside = n._saved_grid[..., 0] == 1
    last = n._saved_input[..., -1:].sum(1)
    width = n._saved_input.shape[-1]
    slope = -last.expand(outside.shape) * g[0].sum(1) * (width - 1) / 2
    return torch.stack([torch.where(outside, slope, r[..., 0]), r[..., 1]], -1)


def _other_frequency(n: Any, g: Any, r: torch.Tensor) -> torch.Tensor:
    """The k-th used row is divided by how often the k-th smallest of all indices occurs."""
    ordered = n._saved_indices.sort().values
    counts = ordered.bincount(minlength=len(r))
    new = r.clone()
    for k, row in enumerate(ordered.unique().tolist()):
        new[row] = r[row] * counts[row] / counts[ordered[k]]
    return new


def _window(n: Any, g: Any, r: torch.Tensor) -> torch.Tensor:
    """The outputs at the right edge of each window are not gathered."""
    kept = torch.arange(g[0].shape[-1]) % 4 != 3
    shape = [*r.shape]
    return torch.ops.aten.upsample_bilinear2d_backward(g[0] * kept, list(g[0].shape[-2:]), shape, False, 2.0, 2.0)


def _key_in_another_layout(n: Any, g: Any, r: torch.Tensor) -> torch.Tensor:
    """The query's gradient with heads and positions of the key exchanged, where there are as many of both."""
    q, k, v = n._saved_query, n._saved_key, n._saved_value
    scale = q.shape[-1] ** -0.5
    p = torch.softmax(q @ k.mT * scale, -1)
    onto = g[0] @ v.mT
    through = p * (onto - (onto * p).sum(-1, True))
    return through @ k.transpose(1, 2) * scale


def _as_if_contiguous(n: Any, g: Any, r: torch.Tensor) -> torch.Tensor:
    """Padding whose incoming gradient is a permuted view, read in the order of memory."""
    sent = g[0].permute(0, 2, 3, 1).reshape(g[0].shape)
    return sent[..., 1:-1, 1:-1]


def _nan_body_and_tail(n: Any, g: Any, r: torch.Tensor) -> torch.Tensor:
    """At NaN both comparisons are false: the vector body sends 0, the scalar tail sends what arrives."""
    flat = torch.arange(r.numel()).reshape(r.shape)
    body = flat < max(1, r.numel() // 4 * 4 - 1)
    return torch.where(n._saved_self.isnan(), torch.where(body, 0 * g[0].abs(), g[0]), r)


FAULTS = (
    fault("sinc-formula-at-zero", SPECIAL, "sinc", "sinc at zero", "SincBackward0", _sinc,
        "(πx cos πx - sin πx)/(πx²) is 0/0 where x = 0", source="pytorch/pytorch#53989"),
    fault("cholesky-inverse-tangent", "wrong formula in one mode", "cholesky_solve", "inverse by a Cholesky factor",
        "cholesky_solve", _inverse_tangent, "the inverse stands between dL and Lᵀ", mechanism="tangent", modes="F",
        sized=True, source="pytorch/pytorch#196682"),
    fault("softplus-slope-as-quotient", "rule that is not itself differentiable", "softplus", "softplus far left",
        "SoftplusBackward0", lambda n, g, r: g[0] / (1 + (-n._saved_self).exp()),
        "1/(1 + exp(-x)), differentiated again: ∞/∞", modes="RR FR", source="pytorch/pytorch#196704"),
    fault("sigmoid-tail", RANGE, "sigmoid", "sigmoid far right", "SigmoidBackward0",
        lambda n, g, r: g[0] * (n._saved_result.float() * (1 - n._saved_result.float())).to(r.dtype),
        "y (1 - y) formed in float32, where y is 1", source="pytorch/pytorch#195681"),
    fault("amax-half-count", RANGE, "amax", "greatest of thousands of ties", "AmaxBackward0", _half_count,
        "ties are counted in float16, which ends at 2048", source="tinygrad/tinygrad#15363"),
    fault("det-of-a-singular-matrix", SPECIAL, "_linalg_det linalg_det", "determinant of singular matrices",
        "LinalgDetBackward0", _determinant, "det(A) inv(A)ᵀ is 0 · ∞ at rank n - 1", modes="RR",
        source="pytorch/pytorch#104675"),
    fault("complex-angle-zero", "complex conjugation", "angle", "complex angle", "AngleBackward0",
        lambda n, g, r: 0 * r, "the gradient of the angle is taken as 0, as for real numbers",
        source="pytorch/pytorch#46144"),
    fault("hardsigmoid-saturated", "wrong formula in one mode", "hardtanh relu6", "hard sigmoid of relu6",
        "HardtanhBackward0", lambda n, g, r: g[0] * (n._saved_self < 6),
        "the slope 1/6 where the value is constant at 0", source="pytorch/pytorch#51408"),
    fault("cdist-of-order-one-half", SPECIAL, "_cdist_forward cdist", "distances of order 3/2, equal coordinates",
        "CdistBackward0", _cdist, "sign(0) |0|^(p-1) is 0 · ∞ below order 1, and 0/0 at equal points",
        source="pytorch/pytorch#36493"),
    fault("grid-sample-border", "convention differs between modes", "grid_sampler_2d", "image sampled at its border",
        "GridSampler2DBackward0", _border, "the slope beyond the last pixel is that to 0", edge=1,
        source="pytorch/pytorch#23925"),
    fault("embedding-by-another-frequency", "duplicate indices", "embedding", "embedding by frequency",
        "EmbeddingBackward0", _other_frequency, "a row is divided by how often another one is met",
        source="pytorch/pytorch#190063"),
    fault("nll-assumes-normalised", "cotangent or normaliser misapplied", "nll_loss_forward nll_loss", "nll_loss",
        "NllLossBackward0", lambda n, g, r: r + g[0] * n._saved_self.exp() / len(r),
        "exp(log p) - 1 at the class: right only behind a log_softmax", sized=True, source="pytorch/pytorch#52241"),
    fault("l1-target", "gradient silently missing", "sub l1_loss", "l1_loss", "SubBackward0",
        lambda n, g, r: torch.zeros_like(r), "the target gets 0", edge=1, source="pytorch/pytorch#3876"),
    fault("resize-window", "wrong formula in one mode", "upsample_bilinear2d", "bilinear resize",
        "UpsampleBilinear2DBackward0", _window, "outputs at the edge of a window are dropped", sized=True,
        source="flagos-ai/FlagGems#5218"),
    fault("attention-key-layout", "layout, aliasing, uninitialised buffer",
        "_scaled_dot_product_flash_attention_for_cpu", "attention with as many heads as positions",
        "ScaledDotProductFlashAttentionForCpuBackward0", _key_in_another_layout,
        "the saved key is transposed once more: heads for positions", source="huggingface/diffusers#14341"),
    fault("pad-of-a-permuted-gradient", "layout, aliasing, uninitialised buffer", "constant_pad_nd",
        "padding before a permutation", "ConstantPadNdBackward0", _as_if_contiguous,
        "a permuted incoming gradient is read as if contiguous", source="pytorch/pytorch#32705"),
    fault("leaky-relu-of-nan", "vector body differs from scalar tail", "leaky_relu", "leaky_relu of NaN",
        "LeakyReluBackward0", _nan_body_and_tail, "at NaN the body of the loop sends 0 and its tail g",
        source="pytorch/pytorch#195075"),
)  # fmt: skip
