"""Driver programs of operations on whole arrays: reductions, movement of data, indexing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from .programs import PROGRAMS, Built, Draw, program, square


def _matrix(name: str, fn: Callable[[torch.Tensor], Any], low: float = -2.0, high: float = 2.0) -> None:
    """A program of one dense matrix of about n entries."""
    PROGRAMS[name] = lambda d, n: (fn, (d.uniform(low, high, *square(n)),))


for _name, _fn in (
    ("sum", lambda x: x.sum(1)),
    ("mean", lambda x: x.mean(1)),
    ("var", lambda x: x.var(1)),
    ("std", lambda x: x.std(1)),
    ("norm", lambda x: torch.linalg.vector_norm(x, dim=1)),
    ("norm of order 3", lambda x: torch.linalg.vector_norm(x, 3, dim=1)),
    ("logsumexp", lambda x: torch.logsumexp(x, 1)),
    ("amax", lambda x: x.amax(1)),
    ("max", lambda x: x.max(1).values),
    ("median", lambda x: x.median(1).values),
    ("cumsum", lambda x: x.cumsum(1)),
    ("logcumsumexp", lambda x: x.logcumsumexp(1)),
    ("softmax", lambda x: torch.softmax(x, 1)),
    ("log_softmax", lambda x: torch.log_softmax(x, 1)),
    ("sort", lambda x: x.sort(1).values),
    ("topk", lambda x: x.topk(min(2, x.shape[1]), 1).values),
    ("transpose", lambda x: x.t()),
    ("permute", lambda x: x.reshape(1, *x.shape).permute(2, 0, 1)),
    ("flip", lambda x: x.flip(1)),
    ("roll", lambda x: x.roll(1, 1)),
    ("tril", lambda x: x.tril()),
    ("diagonal", lambda x: x.diagonal()),
    ("select", lambda x: x.select(1, 1)),
    ("slice", lambda x: x[:, 1:]),
    ("repeat", lambda x: x.repeat(2, 1)),
    ("cat", lambda x: torch.cat([x, 2 * x], 0)),
    ("stack", lambda x: torch.stack([x, 2 * x], 0)),
    ("split", lambda x: x.split(1, 0)[0] * x.split(1, 0)[1]),
    ("unfold", lambda x: x.unfold(1, 2, 1)),
    ("constant pad", lambda x: F.pad(x, (1, 2))),
    ("layer_norm", lambda x: F.layer_norm(x, (x.shape[1],))),
    ("renormalised rows", lambda x: torch.renorm(x, 2, 0, 1.0)),
    ("glu", lambda x: F.glu(torch.cat([x, 2 * x], 1), 1)),
):
    _matrix(_name, _fn)
_matrix("prod", lambda x: x.reshape(-1, 2).prod(1) if x.numel() % 2 == 0 else x[:, :2].prod(1), 0.5, 1.5)
_matrix("cumprod", lambda x: x[:, :6].cumprod(1), 0.5, 1.5)
_matrix("softmax of large logits", lambda x: torch.softmax(x * 500, 1))
_matrix("log_softmax of large logits", lambda x: torch.log_softmax(x * 500, 1))
_matrix("logsumexp of large numbers", lambda x: torch.logsumexp(x * 500, 1))
_matrix("variance far from zero", lambda x: x.var(1), 1e6 - 1, 1e6 + 1)
_matrix("norm of large numbers", lambda x: torch.linalg.vector_norm(x, dim=1), 1e170, 1e171)
_matrix("long sum", lambda x: torch.tanh(x.sum() / x.numel()))


@program("rows with zeros")
def _(d: Draw, n: int) -> Built:
    x = d.uniform(0.5, 1.5, max(2, n // 5), 5)
    x[0, 1] = 0.0
    x[1, 2] = x[1, 4] = 0.0
    return (lambda x: x.prod(1)), (x,)


@program("running products with zeros")
def _(d: Draw, n: int) -> Built:
    x = d.uniform(0.5, 1.5, max(2, n // 5), 5)
    x[0, 1] = 0.0
    return (lambda x: x.cumprod(1)), (x,)


@program("norm of a row of zeros")
def _(d: Draw, n: int) -> Built:
    x = d.normal(*square(n))
    x[0] = 0.0
    return (lambda x: torch.linalg.vector_norm(x, dim=1)), (x,)


@program("std of equal entries")
def _(d: Draw, n: int) -> Built:
    x = d.normal(*square(n))
    x[0] = 2.0
    return (lambda x: x.std(1)), (x,)


@program("greatest of ties")
def _(d: Draw, n: int) -> Built:
    x = d.uniform(-1.0, 1.0, *square(n))
    x[0, :2] = 5.0
    return (lambda x: x.amax(1)), (x,)


@program("greatest of thousands of ties")
def _(d: Draw, n: int) -> Built:
    x = d.uniform(-1.0, 1.0, max(2, n // 2500), 2500)
    x[0, 100:2401] = 5.0
    return (lambda x: x.amax(1)), (x,)


@program("leaky_relu of NaN")
def _(d: Draw, n: int) -> Built:
    x = d.uniform(-3.0, 3.0, n)
    x[0] = x[-1] = float("nan")
    return (lambda x: F.leaky_relu(x).sum(0, True)), (x,)


@program("distances of order 3/2, equal coordinates")
def _(d: Draw, n: int) -> Built:
    a, b = d.normal(max(2, n // 4), 4), d.normal(3, 4)
    a[0] = b[0]
    return (lambda a, b: torch.cdist(a, b, p=1.5)), (a, b)


@program("equal points")
def _(d: Draw, n: int) -> Built:
    a = d.normal(max(2, n // 4), 4)
    return torch.dist, (a, a.clone())


@program("distances")
def _(d: Draw, n: int) -> Built:
    fn = lambda a, b: torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return fn, (d.normal(max(2, n // 4), 4), d.normal(3, 4))


@program("distances, p = 1, equal coordinates")
def _(d: Draw, n: int) -> Built:
    a, b = d.normal(max(2, n // 4), 4), d.normal(3, 4)
    a[0, 0] = b[0, 0]
    return (lambda a, b: torch.cdist(a, b, p=1.0)), (a, b)


# indices: duplicates and unused ones on purpose


def _duplicates(d: Draw, rows: int, count: int) -> torch.Tensor:
    """`count` indices below `rows`; the first two are equal, the last row is never met."""
    i = d.integers(max(1, rows - 1), count)
    i[:2] = 0
    return i


def _indexed(name: str, fn: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
    """A program of a matrix and as many indices as it has rows."""

    def build(d: Draw, n: int) -> Built:
        rows, columns = square(n)
        index = _duplicates(d, rows, rows)
        return (lambda x: fn(x, index)), (d.normal(rows, columns),)

    PROGRAMS[name] = build


for _name, _pick in (
    ("index_select", lambda x, i: x.index_select(0, i)),
    ("advanced index", lambda x, i: x[i]),
    ("gather", lambda x, i: x.gather(0, i[:, None].expand(-1, x.shape[1]))),
    ("take", lambda x, i: x.take(i)),
    ("embedding", lambda x, i: F.embedding(i, x)),
    ("embedding with padding", lambda x, i: F.embedding(i, x, padding_idx=0)),
    ("embedding by frequency", lambda x, i: F.embedding(i, x, scale_grad_by_freq=True)),
    ("embedding_bag", lambda x, i: F.embedding_bag(i.reshape(1, -1), x, mode="sum")),
    ("embedding_bag mean", lambda x, i: F.embedding_bag(i.reshape(1, -1), x, mode="mean")),
    ("scatter_add", lambda x, i: torch.zeros_like(x).scatter_add(0, i[:, None].expand(-1, x.shape[1]), x)),
    ("index_add", lambda x, i: torch.zeros_like(x).index_add(0, i, x, alpha=0.5)),
    ("repeat_interleave", lambda x, i: x.repeat_interleave(2, 0)),
    ("index_put", lambda x, i: torch.zeros_like(x).index_put((i,), x, accumulate=True)),
    ("slice_scatter", lambda x, i: torch.slice_scatter(x, torch.ones_like(x[:1]), 0, 0, 1)),
    ("select_scatter", lambda x, i: torch.select_scatter(x, torch.ones_like(x[0]), 0, 0)),
    ("masked_select", lambda x, i: x.masked_select(i[:, None] == 0)),
):
    _indexed(_name, _pick)


def _scattered(name: str, reduce: str, entries: tuple[float, ...]) -> None:
    def build(d: Draw, n: int) -> Built:
        count = max(2, n // 3)
        index = torch.arange(count).repeat_interleave(3)
        x = d.with_some(d.uniform(0.5, 1.5, 3 * count), *entries)
        return (lambda x: x.new_ones(count).scatter_reduce(0, index, x, reduce, include_self=False)), (x,)

    PROGRAMS[name] = build


_scattered("scatter_reduce prod with a zero", "prod", (2.0, 0.0, 5.0))
_scattered("scatter_reduce amax with ties", "amax", (3.0, 3.0, 1.0))
_scattered("scatter_reduce mean", "mean", ())
