"""The three networks of the benchmark: shapes, numbers, and each loss written once for our engine and once for HIPS.

A loss takes the parameters and closes over plain ndarrays. Where HIPS has several spellings of a convolution, all are
here, and the benchmark times HIPS by the fastest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.scipy.signal import convolve
from gradwitness.reference_engine import ops

Arrays = list[np.ndarray]
Loss = Callable[..., Any]


@dataclass
class Network:
    """One network: its parameters, its data, and its loss in both engines. `hips`: name of a spelling -> loss."""

    name: str
    parameters: Arrays
    data: dict[str, Any]
    ours: Loss
    hips: dict[str, Loss] = field(default_factory=dict)


def mlp(batch: int = 128, width: int = 512, depth: int = 4) -> Network:
    """`depth` layers h = tanh(h W + b), mean squared distance to a target."""
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((2, batch, width))
    parameters: Arrays = []
    for _ in range(depth):
        parameters += [rng.standard_normal((width, width)) / np.sqrt(width), 0.1 * rng.standard_normal(width)]

    def written_with(lib: Any) -> Loss:
        def loss(*p: Any) -> Any:
            h = x
            for i in range(depth):
                h = lib.tanh(lib.matmul(h, p[2 * i]) + p[2 * i + 1])
            return lib.mean((h - target) ** 2)

        return loss

    data = {"x": x, "target": target}
    return Network(
        f"MLP, batch {batch}, width {width}, depth {depth}",
        parameters,
        data,
        written_with(ops),
        {"numpy": written_with(anp)},
    )


def cnn(batch: int = 32) -> Network:
    """Two convolutions 5 × 5 with bias, relu and 2 × 2 maxima, then one linear layer; mean squared distance."""
    rng = np.random.default_rng(1)
    x, target = rng.standard_normal((batch, 1, 28, 28)), rng.standard_normal((batch, 10))
    shapes: list[tuple[int, ...]] = [(8, 1, 5, 5), (8,), (16, 8, 5, 5), (16,), (256, 10), (10,)]
    parameters = [rng.standard_normal(s) / np.sqrt(max(1, np.prod(s[1:]))) for s in shapes]

    def ours(w1: Any, b1: Any, w2: Any, b2: Any, w3: Any, b3: Any) -> Any:
        h = ops.max_pool(ops.relu(ops.conv(x, w1, b1)), 2)
        h = ops.max_pool(ops.relu(ops.conv(h, w2, b2)), 2)
        return ops.mean((ops.matmul(ops.reshape(h, (batch, -1)), w3) + b3 - target) ** 2)

    def by_hips(conv: Callable[[Any, Any], Any]) -> Loss:
        def pool(h: Any) -> Any:
            n, c, a, b = h.shape
            return anp.max(anp.reshape(h, (n, c, a // 2, 2, b // 2, 2)), axis=(3, 5))

        def loss(w1: Any, b1: Any, w2: Any, b2: Any, w3: Any, b3: Any) -> Any:
            h = pool(anp.maximum(conv(x, w1) + anp.reshape(b1, (-1, 1, 1)), 0.0))
            h = pool(anp.maximum(conv(h, w2) + anp.reshape(b2, (-1, 1, 1)), 0.0))
            return anp.mean((anp.matmul(anp.reshape(h, (batch, -1)), w3) + b3 - target) ** 2)

        return loss

    hips = {
        "scipy.signal.convolve": by_hips(by_convolve),
        "im2col by index arrays": by_hips(by_index_arrays),
        "im2col by slices": by_hips(by_slices),
        "sum of shifted products": by_hips(by_shifts),
    }
    return Network(f"CNN, batch {batch}, 28 × 28", parameters, {"x": x, "target": target}, ours, hips)


def by_convolve(x: Any, w: Any) -> Any:
    """A convolution flips its kernel; flipped once more it is the correlation that networks mean."""
    return convolve(x, w[:, :, ::-1, ::-1], axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid")


def _product(w: Any, columns: Any, out: tuple[int, int]) -> Any:
    """w (o, c, k, l) times columns (n, c k l, positions) -> (n, o, *out)."""
    y = anp.matmul(anp.reshape(w, (w.shape[0], -1)), columns)
    return anp.reshape(y, (columns.shape[0], w.shape[0], *out))


def by_index_arrays(x: Any, w: Any) -> Any:
    (n, c, a, b), (k, l) = x.shape, w.shape[2:]
    rows = np.arange(k)[:, None, None, None] + np.arange(a - k + 1)[:, None]
    columns = np.arange(l)[:, None, None] + np.arange(b - l + 1)
    patches = x[:, :, rows, columns]
    return _product(w, anp.reshape(patches, (n, c * k * l, -1)), (a - k + 1, b - l + 1))


def by_slices(x: Any, w: Any) -> Any:
    (n, c, a, b), (k, l) = x.shape, w.shape[2:]
    parts = [x[:, :, i : a - k + 1 + i, j : b - l + 1 + j] for i in range(k) for j in range(l)]
    return _product(w, anp.reshape(anp.stack(parts, axis=2), (n, c * k * l, -1)), (a - k + 1, b - l + 1))


def by_shifts(x: Any, w: Any) -> Any:
    (n, c, a, b), (k, l) = x.shape, w.shape[2:]
    y = 0.0
    for i in range(k):
        for j in range(l):
            part = anp.reshape(x[:, :, i : a - k + 1 + i, j : b - l + 1 + j], (n, c, -1))
            y = y + anp.matmul(w[:, :, i, j], part)
    return anp.reshape(y, (n, w.shape[0], a - k + 1, b - l + 1))


def transformer(batch: int = 8, length: int = 32, width: int = 64, heads: int = 4) -> Network:
    """One block: attention of normalised rows added to x, then a layer of four times the width; mean square."""
    rng = np.random.default_rng(2)
    x, target = rng.standard_normal((2, batch, length, width))
    hidden, part = 4 * width, width // heads
    parameters = [rng.standard_normal((width, width)) / np.sqrt(width) for _ in range(4)]
    parameters += [rng.standard_normal((width, hidden)) / np.sqrt(width), 0.1 * rng.standard_normal(hidden)]
    parameters += [rng.standard_normal((hidden, width)) / np.sqrt(hidden), 0.1 * rng.standard_normal(width)]
    for _ in range(2):
        parameters += [1.0 + 0.1 * rng.standard_normal(width), 0.1 * rng.standard_normal(width)]

    def written_with(lib: Any, softmax: Callable[[Any], Any], norm: Callable[[Any, Any, Any], Any]) -> Loss:
        def split(h: Any) -> Any:
            return lib.transpose(lib.reshape(h, (batch, length, heads, part)), (0, 2, 1, 3))

        def loss(
            wq: Any, wk: Any, wv: Any, wo: Any, w1: Any, b1: Any, w2: Any, b2: Any, s1: Any, t1: Any, s2: Any, t2: Any
        ) -> Any:
            h = norm(x, s1, t1)
            q, k, v = (split(lib.matmul(h, w)) for w in (wq, wk, wv))
            scores = lib.matmul(q, lib.transpose(k, (0, 1, 3, 2))) * (1.0 / np.sqrt(part))
            mixed = lib.transpose(lib.matmul(softmax(scores), v), (0, 2, 1, 3))
            h = x + lib.matmul(lib.reshape(mixed, (batch, length, width)), wo)
            y = h + lib.matmul(lib.tanh(lib.matmul(norm(h, s2, t2), w1) + b1), w2) + b2
            return lib.mean((y - target) ** 2)

        return loss

    def softmax_by_hips(h: Any) -> Any:
        e = anp.exp(h - anp.max(h, axis=-1, keepdims=True))
        return e / anp.sum(e, axis=-1, keepdims=True)

    def norm_by_hips(h: Any, scale: Any, shift: Any) -> Any:
        centred = h - anp.mean(h, axis=-1, keepdims=True)
        return centred / anp.sqrt(anp.mean(centred**2, axis=-1, keepdims=True) + EPSILON) * scale + shift

    ours = written_with(
        ops, lambda h: ops.softmax(h, axis=-1), lambda h, s, t: ops.layer_norm(h, -1, weight=s, bias=t, eps=EPSILON)
    )
    hips = {"numpy": written_with(anp, softmax_by_hips, norm_by_hips)}
    data = {"x": x, "target": target, "heads": heads}
    return Network(f"Transformer block, {batch} × {length} × {width}", parameters, data, ours, hips)


EPSILON = 1e-5  # added to the variance by layer normalisation; PyTorch's default
