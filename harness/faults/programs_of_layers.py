"""Driver programs of layers, losses over classes, decompositions of small matrices, and networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from .programs import PROGRAMS, Built, Draw, program, square


@program("linear")
def _(d: Draw, n: int) -> Built:
    rows, columns = square(n)
    return F.linear, (d.normal(rows, columns), d.normal(4, columns), d.normal(4))


@program("matrix product")
def _(d: Draw, n: int) -> Built:
    rows, columns = square(n)
    return torch.mm, (d.normal(rows, columns), d.normal(columns, 3))


@program("matrix product with zeros")
def _(d: Draw, n: int) -> Built:
    rows, columns = square(n)
    a = d.normal(rows, columns)
    a[a < 0] = 0.0
    a[0, 0] = 0.0
    return torch.mm, (a, d.normal(columns, 3))


@program("batched product")
def _(d: Draw, n: int) -> Built:
    batch = max(2, n // 9)
    return torch.bmm, (d.normal(batch, 3, 3), d.normal(batch, 3, 3))


@program("batch of matrices times one")
def _(d: Draw, n: int) -> Built:
    return torch.matmul, (d.normal(max(2, n // 9), 3, 3), d.normal(3, 3))


@program("matrix times vector")
def _(d: Draw, n: int) -> Built:
    rows, columns = square(n)
    return torch.mv, (d.normal(rows, columns), d.normal(columns))


@program("layer_norm with weights")
def _(d: Draw, n: int) -> Built:
    rows, columns = square(n, 3)
    fn = lambda x, w, b: F.layer_norm(x, (columns,), w, b)
    return fn, (d.normal(rows, columns), d.normal(columns), d.normal(columns))


@program("batch_norm")
def _(d: Draw, n: int) -> Built:
    fn = lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True)
    return fn, (d.normal(max(3, n // 3), 3), d.normal(3), d.normal(3))


@program("group_norm")
def _(d: Draw, n: int) -> Built:
    fn = lambda x, w, b: F.group_norm(x, 2, w, b)
    return fn, (d.normal(2, 4, max(2, n // 8)), d.normal(4), d.normal(4))


def _image(d: Draw, n: int, channels: int = 2, least: int = 4) -> torch.Tensor:
    """A batch of two images of about n entries in all."""
    height, width = square(max(1, n // (2 * channels)), least)
    return d.normal(2, channels, height, width)


def _images(name: str, fn: Callable[[torch.Tensor], Any]) -> None:
    PROGRAMS[name] = lambda d, n: (fn, (_image(d, n),))


for _name, _fn in (
    ("max_pool2d", lambda x: F.max_pool2d(x, 2, 1)),
    ("avg_pool2d with padding", lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)),
    ("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, 3)),
    ("bilinear resize", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)),
    ("nearest resize", lambda x: F.interpolate(x, scale_factor=2, mode="nearest")),
    ("reflection pad", lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect")),
    ("replication pad", lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate")),
    ("windows of images", lambda x: F.unfold(x, 2)),
):
    _images(_name, _fn)


@program("sampled image")
def _(d: Draw, n: int) -> Built:
    image = _image(d, n)
    grid = d.uniform(-0.9, 0.9, 2, *image.shape[2:], 2)
    return (lambda x, g: F.grid_sample(x, g, align_corners=False)), (image, grid)


@program("convolution")
def _(d: Draw, n: int) -> Built:
    return (lambda x, w, b: F.conv2d(x, w, b, padding=1)), (_image(d, n), d.normal(3, 2, 3, 3), d.normal(3))


@program("convolution of channels_last")
def _(d: Draw, n: int) -> Built:
    x = _image(d, n).contiguous(memory_format=torch.channels_last)
    return (lambda x, w: F.conv2d(x, w)), (x, d.normal(3, 2, 2, 2))


@program("grouped convolution")
def _(d: Draw, n: int) -> Built:
    return (lambda x, w: F.conv2d(x, w, groups=2)), (_image(d, n), d.normal(4, 1, 2, 2))


@program("transposed convolution")
def _(d: Draw, n: int) -> Built:
    return (lambda x, w: F.conv_transpose2d(x, w, stride=2)), (_image(d, n), d.normal(2, 3, 2, 2))


@program("attention")
def _(d: Draw, n: int) -> Built:
    heads = max(1, n // 12)
    shape = (1, heads, 3, 4)
    return F.scaled_dot_product_attention, (d.normal(*shape), d.normal(*shape), d.normal(*shape))


@program("attention with as many heads as positions")
def _(d: Draw, n: int) -> Built:
    shape = (max(1, n // 36), 3, 3, 4)
    return F.scaled_dot_product_attention, (d.normal(*shape), d.normal(*shape), d.normal(*shape))


@program("image sampled at its border")
def _(d: Draw, n: int) -> Built:
    image = _image(d, n).abs()
    image = image + torch.arange(image.shape[-1], dtype=torch.float64)  # it rises towards the border
    grid = d.uniform(-0.9, 0.9, 2, *image.shape[2:], 2)
    grid[0, 0, 0] = torch.tensor([1.0, 0.05])
    return (lambda x, g: F.grid_sample(x, g, padding_mode="border", align_corners=True)), (image, grid)


@program("padding before a permutation")
def _(d: Draw, n: int) -> Built:
    return (lambda x: F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)), (_image(d, n),)


@program("dropout")
def _(d: Draw, n: int) -> Built:
    def fn(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(5)
        return F.dropout(x, 0.4)

    return fn, (d.normal(n),)


@program("randomised leaky slope")
def _(d: Draw, n: int) -> Built:
    def fn(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(5)
        return F.rrelu(x, training=True)

    return fn, (d.normal(n),)


@program("checkpointed dropout")
def _(d: Draw, n: int) -> Built:
    from torch.utils.checkpoint import checkpoint

    def part(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(F.dropout(x, 0.4))

    def fn(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(5)
        return checkpoint(part, x, use_reentrant=False)

    return fn, (d.normal(n),)


# losses over classes


def _classified(name: str, fn: Callable[[torch.Tensor, torch.Tensor], Any], ignored: bool = False) -> None:
    def build(d: Draw, n: int) -> Built:
        rows = max(3, n // 4)
        target = d.integers(4, rows)
        if ignored:
            target[0] = -100
        return (lambda x: fn(x, target)), (d.normal(rows, 4),)

    PROGRAMS[name] = build


_classified("cross_entropy", F.cross_entropy)
_classified("cross_entropy with ignored rows", F.cross_entropy, ignored=True)
_classified("smoothed cross_entropy", lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), ignored=True)
_classified("nll_loss", F.nll_loss)
_classified("multi_margin_loss", F.multi_margin_loss)


# decompositions: batches of dense, well-conditioned small matrices


def _matrices(d: Draw, n: int, side: int = 3) -> torch.Tensor:
    return d.normal(max(1, n // side**2), side, side) + 3 * torch.eye(side, dtype=torch.float64)


def _decomposed(name: str, fn: Callable[[torch.Tensor], Any], symmetric: bool = False) -> None:
    def build(d: Draw, n: int) -> Built:
        a = _matrices(d, n)
        if symmetric:
            a = a @ a.mT + torch.eye(3, dtype=torch.float64)
        return fn, (a,)

    PROGRAMS[name] = build


_decomposed("inverse", torch.linalg.inv)
_decomposed("determinant", torch.linalg.det)
_decomposed("slogdet", lambda a: torch.linalg.slogdet(a).logabsdet)
_decomposed("cholesky", torch.linalg.cholesky, symmetric=True)
_decomposed("eigenvalues", torch.linalg.eigvalsh, symmetric=True)
_decomposed("eigenvectors", lambda a: torch.linalg.eigh(a).eigenvectors.square(), symmetric=True)
_decomposed("singular values", torch.linalg.svdvals)
_decomposed("singular vectors", lambda a: torch.linalg.svd(a).U.square())
_decomposed("qr", lambda a: torch.linalg.qr(a).R.square())
_decomposed("matrix exponential", lambda a: torch.linalg.matrix_exp(a / 4))


@program("determinant of singular matrices")
def _(d: Draw, n: int) -> Built:
    a = _matrices(d, n + 9)
    a[0] = torch.tensor([[1.0, 2.0, 0.0], [3.0, 6.0, 0.0], [0.0, 0.0, 2.0]])
    return torch.linalg.det, (a,)


@program("inverse by a Cholesky factor")
def _(d: Draw, n: int) -> Built:
    factor = _matrices(d, n).tril()

    def fn(factor: torch.Tensor) -> torch.Tensor:
        one = torch.eye(3, dtype=factor.dtype).expand_as(factor)
        return torch.cholesky_solve(one, factor.tril())

    return fn, (factor,)


@program("solve")
def _(d: Draw, n: int) -> Built:
    a = _matrices(d, n)
    return torch.linalg.solve, (a, d.normal(len(a), 3, 3))


@program("triangular solve")
def _(d: Draw, n: int) -> Built:
    a = _matrices(d, n).tril()
    return (lambda a, b: torch.linalg.solve_triangular(a, b, upper=False)), (a, d.normal(len(a), 3, 2))


# networks: the operation lies inside


@program("perceptron")
def _(d: Draw, n: int) -> Built:
    rows, columns = square(n, 3)

    def fn(x: torch.Tensor, w: torch.Tensor, v: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        return torch.tanh(torch.tanh(torch.tanh(x @ w) @ v) @ u)

    return fn, (d.normal(rows, columns), d.normal(columns, 5) / columns**0.5, d.normal(5, 5) / 2, d.normal(5, 3) / 2)


@program("block of a transformer")
def _(d: Draw, n: int) -> Built:
    rows = 3 * max(1, n // 12)
    width = 4

    def fn(x: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        y = F.layer_norm(x, (width,)).reshape(-1, 3, width)
        a = torch.softmax((y @ q) @ (y @ k).mT / 2, -1) @ (y @ v)
        z = x + a.reshape(rows, width)
        return z + F.gelu(F.layer_norm(z, (width,)) @ w)

    return fn, (d.normal(rows, width), *(d.normal(width, width) / 2 for _ in range(4)))


@program("convolutional network")
def _(d: Draw, n: int) -> Built:
    def fn(x: torch.Tensor, w: torch.Tensor, g: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        y = F.silu(F.batch_norm(F.conv2d(x, w, padding=1), None, None, g, training=True))
        return F.conv2d(F.max_pool2d(y, 2), v).mean((2, 3))

    return fn, (_image(d, n), d.normal(3, 2, 3, 3) / 4, d.normal(3), d.normal(2, 3, 1, 1))
