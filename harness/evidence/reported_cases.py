"""Publicly reported wrong gradients of eager code: special values, ranges, kinks, masks, indices, and nested modes.

Each case is a small callable of ours for the reported fault, asked in the mode in which it shows or showed. Those of
compilers, layouts, checkpoints and precisions are in public_cases.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from .public_cases import CONVENTION, RIGHT, WRONG, PublicCase, numbers

INF, NAN = math.inf, math.nan
FORWARD_TWICE = "FF RF"  # the modes in which a tangent's rule is differentiated


def double(*values: Any) -> torch.Tensor:
    """Numbers in float64; one number has no shape."""
    return torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float64)


def cases(
    name: str, source: str, status: str, fn: Callable[..., Any], inputs: Any, modes: str = "R", **options: Any
) -> list[PublicCase]:
    """One case in each of its modes, which are separated by blanks."""
    first, *others = modes.split()
    case = PublicCase(name, "eager", source, status, lambda: (fn, inputs), mode=first, **options)
    return [case, *[replace(case, name=f"{name}-in-{m}", mode=m) for m in others]]


def issue(number: int) -> str:
    """An issue of PyTorch's own repository."""
    return f"pytorch/pytorch#{number}"


def of_two(s: torch.Tensor) -> torch.Tensor:
    """A regular matrix that moves with a number."""
    return torch.stack((torch.stack((s, s * s)), torch.stack((s - 3.0, 2.0 * s))))


def reflected(s: torch.Tensor) -> torch.Tensor:
    """An entry of the orthogonal matrix of one reflector."""
    v = torch.stack((torch.ones_like(s), 2.0 * s))[:, None]
    return torch.linalg.householder_product(v, (2.0 / (1.0 + 4.0 * s * s))[None])[1, 0]


def nothing_but_masked(x: torch.Tensor) -> torch.Tensor:
    """A softmax that has nothing to choose from in its second row."""
    mask = double([[0.0, 0.0], [-INF, -INF]])
    return torch.ops.aten._safe_softmax(x + mask, -1)


def frequencies(w: torch.Tensor) -> torch.Tensor:
    """One bag with the first row three times and the last one once."""
    rows, bags = torch.tensor([1, 1, 1, 3]), torch.tensor([0])
    return F.embedding_bag(rows, w, bags, mode="sum", scale_grad_by_freq=True)


def aligned(lp: torch.Tensor) -> torch.Tensor:
    """The loss of one label in two steps."""
    return F.ctc_loss(lp, torch.tensor([[2]]), (2,), (1,), reduction="sum")


def attention_that_sees_nothing(w: torch.Tensor) -> torch.Tensor:
    """One of two positions may look at nothing; no weights are asked for."""
    torch.manual_seed(1)
    m = torch.nn.MultiheadAttention(4, 2, batch_first=True).to(w.dtype)
    x, mask = numbers(1, 2, 4), torch.tensor([[False, True], [True, True]])
    weights = {k: p.detach() for k, p in m.named_parameters()} | {"in_proj_weight": w}
    y = torch.func.functional_call(m, weights, (x, x, x), {"attn_mask": mask, "need_weights": False})[0]
    return y[:, 0].sum()


def under_no_grad(x: torch.Tensor) -> torch.Tensor:
    """x³, of which autograd sees one factor."""
    with torch.no_grad():
        square = x * x
    return square * x


def bell(z: torch.Tensor) -> torch.Tensor:
    """A kernel of the distance between two points."""
    return torch.exp(-(torch.linalg.norm(z[0] - z[1]) ** 2))


def reduced_by(s: torch.Tensor, how: str) -> torch.Tensor:
    """All entries meet in one place."""
    return torch.ones(1, dtype=s.dtype).scatter_reduce(0, torch.zeros(len(s), dtype=torch.long), s, how)


def picked(x: torch.Tensor) -> torch.Tensor:
    """One entry twice, one once, one never."""
    return x.gather(0, torch.tensor([2, 0, 2])) * double(0.5, 2.0, 0.25)


def at_border(grid: torch.Tensor) -> torch.Tensor:
    """An image that rises towards its border, sampled there."""
    image = double([[[[1.0, 2.0, 4.0, 8.0]]]])
    return F.grid_sample(image, grid, padding_mode="border", align_corners=True)


def smoothed(x: torch.Tensor) -> torch.Tensor:
    """Cross entropy with weights, smoothing and a target that is ignored."""
    weight = double(0.5, 1.5)
    return F.cross_entropy(x, torch.tensor([1, -100, 0]), weight=weight, label_smoothing=0.2)


TAILS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "hardtanh": F.hardtanh,
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "elu": F.elu,
    "celu": F.celu,
    "hardswish": F.hardswish,
    "logit": lambda x: torch.logit(x, 0.25),
}

STILL_WRONG: list[list[PublicCase]] = [
    cases("inverse-by-a-cholesky-factor", issue(196682), WRONG, lambda x: torch.cholesky_inverse(x.tril()),
        double([1.5, 0.0], [0.5, 2.0]), "F"),
    cases("determinant-twice-forward", issue(192540), WRONG, lambda s: torch.linalg.det(of_two(s)), double(0.6),
        FORWARD_TWICE),
    cases("system-twice-forward", issue(196695), WRONG,
        lambda s: torch.linalg.solve(of_two(s), double(1.0, -1.0)), double(0.6), FORWARD_TWICE),
    cases("reflectors-twice-forward", issue(196698), WRONG, reflected, double(0.6), FORWARD_TWICE),
    cases("batch-norm-twice-forward", issue(196699), WRONG,
        lambda x: F.batch_norm(x, None, None, training=True, eps=0.1), numbers(3, 2), FORWARD_TWICE),
    cases("instance-norm-twice-forward", issue(196699), WRONG, lambda x: F.instance_norm(x, eps=0.1),
        numbers(1, 2, 3), FORWARD_TWICE),
    cases("layer-norm-twice-forward", issue(196700), WRONG, lambda x: F.layer_norm(x, (3,), eps=0.1), numbers(3),
        FORWARD_TWICE),
    cases("running-product-with-a-zero", issue(196701), WRONG,
        lambda s: torch.cumprod(torch.stack((s + 1.0, s, s - 2.0)), 0)[2], double(0.0), FORWARD_TWICE),
    cases("log-of-a-sum-far-apart", issue(196704), WRONG, lambda x: torch.logaddexp(x, double(5.0)), double(-750.0),
        "RR FR RF FF"),
    cases("power-of-zero-in-its-exponent", issue(95180), WRONG, lambda b: double(0.0) ** b, double(3.0), "RR RF"),
    cases("kernel-of-equal-points", issue(92075), WRONG, bell, torch.ones(2, 3, dtype=torch.float64), "FR RR RF FF"),
    cases("expm1-far-left", issue(192406), WRONG, torch.expm1, double(-50.0), "R F"),
    cases("sigmoid-far-out", issue(195681), WRONG, torch.sigmoid, double(45.0, 38.0), "R F"),
    cases("tanh-far-out", issue(195685), WRONG, torch.tanh, double(20.0), "R F"),
    cases("exp2-at-its-range", issue(192407), WRONG, torch.exp2, double(1024.25), "R F"),
    cases("determinant-of-rank-n-1", issue(104675), WRONG, torch.linalg.det, double([2.0, 1.0], [4.0, 2.0]), "R F"),
    cases("root-where-it-is-not-chosen", issue(18287), WRONG,
        lambda x: torch.where(x > 1.0, torch.sqrt(x - 1.0), 2.0 * x), double(0.5, 2.0)),
    cases("root-of-a-square", issue(6394), WRONG, lambda x: torch.sqrt(x * x), double(0.0), "R F"),
    cases("log-of-a-sum-of-nothing", issue(31829), WRONG, lambda x: torch.logsumexp(x, 1).exp(),
        double([-INF, -INF], [1.0, -INF]), "R F"),
    cases("log-of-two-nothings", issue(49724), WRONG, lambda x: torch.logaddexp(x, double(-INF)).exp(), double(-INF),
        "R F"),
    cases("rows-renormed-to-nothing", issue(80804), WRONG, lambda x: torch.renorm(x, 2.0, 0, 0.0),
        double([0.0, 0.0], [3.0, 4.0]), "R F"),
    cases("bag-by-frequency", issue(190063), WRONG, frequencies, numbers(4, 2)),
    cases("ctc-of-probabilities", issue(52241), WRONG, aligned,
        double([[0.5, 0.25, 0.25]], [[0.25, 0.5, 0.25]]).log()),
    cases("sinc-twice-at-zero", issue(53989), WRONG, torch.sinc, double(0.0, 0.5), "RR RF"),
    cases("rest-of-a-strided-write", issue(77128), WRONG,
        lambda x: torch.as_strided_scatter(x * x, double(7.0, 8.0), (2,), (2,)), numbers(5), "R FR"),
    cases("row-without-a-choice", issue(41508), WRONG, nothing_but_masked, numbers(2, 2), "RF"),
    *[
        cases(f"NaN-in-the-tail-of-{name}", issue(195075), WRONG, f, torch.full((67,), NAN, dtype=torch.float64))
        for name, f in TAILS.items()
    ],
]  # fmt: skip

NOW_RIGHT: list[list[PublicCase]] = [
    cases("complex-modulus", issue(80928), RIGHT, torch.abs, torch.complex(numbers(3), numbers(3, seed=1)), "FR"),
    cases("grouped-convolution", issue(75219), RIGHT, lambda x, w: F.conv2d(x, w, groups=2) ** 2,
        (numbers(1, 2, 3, 3), numbers(2, 1, 2, 2, seed=1)), "FR"),
    cases("sinc-at-zero", issue(53989), RIGHT, torch.sinc, double(0.0, 0.5)),
    cases("divergence-in-its-target", issue(65466), RIGHT, lambda x, t: F.kl_div(x, t, reduction="sum"),
        (numbers(3), double(0.25, 0.5, 0.25)), "RR"),
    cases("elu-twice", "tensorflow/tensorflow#11091", RIGHT, lambda x: F.elu(x, 2.0), double(-0.5, 0.75), "RR FF"),
    cases("norm-at-zero", issue(2421), RIGHT, torch.linalg.vector_norm, torch.zeros(3, dtype=torch.float64)),
    cases("deviation-of-equal-numbers", issue(4320), RIGHT, torch.std, double(2.0, 2.0, 2.0)),
    cases("product-with-a-zero", issue(773), RIGHT, torch.prod, double(3.0, 0.0, 4.0), "R RR"),
    cases("running-product-in-reverse", "tensorflow/tensorflow#3862", RIGHT, lambda x: torch.cumprod(x, 0),
        double(2.0, 0.0, 3.0)),
    cases("scattered-product-with-a-zero", issue(77382), RIGHT, lambda s: reduced_by(s, "prod"), double(3.0, 0.0, 4.0)),
    cases("scattered-maximum-of-ties", issue(76523), RIGHT, lambda s: reduced_by(s, "amax"), double(4.0, 4.0, 2.0)),
    cases("power-with-zero-base", issue(27134), RIGHT, lambda b: double(0.0, 3.0) ** b, double(1.5, 2.5)),
    cases("square-by-an-exponent-at-zero", issue(95180), RIGHT, lambda x: x ** double(2.0), double(0.0), "RR"),
    cases("complex-angle", issue(46144), RIGHT, torch.angle, torch.tensor([1.0 - 2.0j], dtype=torch.complex128)),
    cases("hardswish-at-its-corners", issue(147801), RIGHT, F.hardswish, double(-3.0, 3.0)),
    cases("hardsigmoid-beyond-its-corners", issue(51408), RIGHT, F.hardsigmoid, double(-4.5, 3.25)),
    cases("distance-of-order-one-half", issue(36493), RIGHT,
        lambda a: torch.cdist(a, double([1.0, 5.0], [2.0, 0.0]), p=0.5), double([1.0, 2.0], [3.0, 0.5])),
    cases("pooled-norm-of-zeros", issue(6765), RIGHT, lambda x: F.lp_pool1d(x, 2, 2),
        torch.zeros(1, 1, 4, dtype=torch.float64)),
    cases("image-at-its-border", issue(23925), RIGHT, at_border, double([[[[1.0, 0.0]]]])),
    cases("entries-picked-twice", issue(1631), RIGHT, picked, numbers(3)),
    cases("attention-that-sees-nothing", issue(41508), RIGHT, attention_that_sees_nothing, numbers(12, 4, seed=2)),
    cases("ctc-without-a-label", issue(18215), RIGHT,
        lambda z: F.ctc_loss(z.log_softmax(2), torch.zeros(1, 0, dtype=torch.long), (2,), (0,), reduction="sum"),
        numbers(2, 1, 3)),
    cases("target-of-a-square-loss", issue(3876), RIGHT, lambda y: F.mse_loss(double(1.0, 2.0), y), double(0.5, 3.0)),
    cases("target-of-a-cross-entropy", issue(56683), RIGHT, lambda t: F.binary_cross_entropy(double(0.2, 0.7), t),
        double(0.3, 0.9)),
    cases("smoothing-and-an-ignored-target", issue(73205), RIGHT, smoothed, numbers(3, 2)),
    cases("operand-that-was-broadcast", issue(1787), RIGHT, lambda a, b: a * b, (numbers(1, 1), numbers(3, 4))),
    cases("distance-of-equal-points", "PaddlePaddle/Paddle#32448", RIGHT, torch.dist,
        (double(1.0, 2.0), double(1.0, 2.0))),
    cases("power-in-both-arguments", "ml-explore/mlx#3634", RIGHT, torch.pow, (double(2.0, 0.5), double(1.5, -2.0)),
        "F"),
    cases("selection-in-both-modes", "jax-ml/jax#10993", RIGHT, lambda x: torch.where(x > 0.0, x * x, x.sin()),
        numbers(4), "R F"),
    cases("resized-line", "flagos-ai/FlagGems#5218", RIGHT,
        lambda x: F.interpolate(x, size=7, mode="linear", align_corners=True), numbers(1, 1, 3)),
]  # fmt: skip

BY_CONVENTION: list[list[PublicCase]] = [
    cases("tangents-through-no-grad", issue(128600), CONVENTION, under_no_grad, double(2.0), "F"),
    cases("complex-square", issue(60180), CONVENTION, lambda z: (z * z).real,
        torch.tensor(2.0 - 1.0j, dtype=torch.complex128)),
    cases("clamp-at-its-bounds", issue(184574), CONVENTION, lambda x: torch.stack((x.clamp(-2.0, 2.0), F.hardtanh(x,
        -2.0, 2.0))), double(-2.0, 2.0)),
    cases("factor-of-a-symmetric-matrix", issue(18825), CONVENTION, torch.linalg.cholesky,
        double([4.0, 1.0], [1.0, 2.0])),
    cases("row-for-padding", issue(93950), CONVENTION, lambda w: F.embedding(torch.tensor([2, 0]), w, padding_idx=2),
        numbers(3, 2)),
    cases("every-target-ignored", issue(116349), CONVENTION, lambda x: F.cross_entropy(x, torch.tensor([-100, -100])),
        numbers(2, 3)),
]  # fmt: skip

# The entry of op_db whose samples, as they are or varied, meet the fault without being told; compositions have none.
ENTRIES: dict[str, str] = {
    "inverse-by-a-cholesky-factor": "cholesky_inverse",
    "determinant-twice-forward": "linalg.det",
    "system-twice-forward": "linalg.solve",
    "reflectors-twice-forward": "linalg.householder_product",
    "batch-norm-twice-forward": "nn.functional.batch_norm",
    "instance-norm-twice-forward": "nn.functional.instance_norm",
    "layer-norm-twice-forward": "nn.functional.layer_norm",
    "running-product-with-a-zero": "cumprod",
    "log-of-a-sum-far-apart": "logaddexp",
    "power-of-zero-in-its-exponent": "pow",
    "expm1-far-left": "expm1",
    "sigmoid-far-out": "sigmoid",
    "tanh-far-out": "tanh",
    "exp2-at-its-range": "exp2",
    "determinant-of-rank-n-1": "linalg.det",
    "log-of-a-sum-of-nothing": "logsumexp",
    "log-of-two-nothings": "logaddexp",
    "rows-renormed-to-nothing": "renorm",
    "bag-by-frequency": "nn.functional.embedding_bag",
    "ctc-of-probabilities": "nn.functional.ctc_loss",
    "sinc-twice-at-zero": "sinc",
    "rest-of-a-strided-write": "as_strided_scatter",
    "row-without-a-choice": "nn.functional.scaled_dot_product_attention",
    **{f"NaN-in-the-tail-of-{name}": name if name == "logit" else f"nn.functional.{name}" for name in TAILS},
}

# The verdicts that each status allows; where the value itself is NaN, as documented, nothing is tested.
ALLOWED = {
    WRONG: ("mismatch", "inaccurate"),
    RIGHT: ("agree", "convention"),
    CONVENTION: ("agree", "convention", "indeterminate"),
}

EAGER_CASES: tuple[PublicCase, ...] = tuple(
    c for group in (STILL_WRONG, NOW_RIGHT, BY_CONVENTION) for several in group for c in several
)
