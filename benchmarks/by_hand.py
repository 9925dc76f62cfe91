"""The gradients of the three networks written by hand in NumPy: what differentiation would cost without an engine."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from networks import EPSILON, Arrays, Network
from numpy.lib.stride_tricks import sliding_window_view

Gradient = Callable[[], Arrays]


def mlp(network: Network) -> Gradient:
    x, target, p = network.data["x"], network.data["target"], network.parameters

    def gradient() -> Arrays:
        hs = [x]
        for w, b in zip(p[::2], p[1::2], strict=True):
            h = hs[-1] @ w
            h += b
            hs.append(np.tanh(h, out=h))
        g = hs[-1] - target
        g *= 2.0 / g.size
        result: Arrays = []
        for i in reversed(range(len(hs) - 1)):
            g *= 1.0 - hs[i + 1] * hs[i + 1]
            result[:0] = [hs[i].T @ g, g.sum(axis=0)]
            if i:
                g = g @ p[2 * i].T
        return result

    return gradient


def cnn(network: Network) -> Gradient:
    x, target = network.data["x"], network.data["target"]
    w1, b1, w2, b2, w3, b3 = network.parameters
    batch = len(x)

    def patches(h: np.ndarray) -> np.ndarray:
        windows = sliding_window_view(h, (5, 5), axis=(2, 3)).transpose(0, 1, 4, 5, 2, 3)
        return windows.reshape(batch, h.shape[1] * 25, -1)

    def pooled(h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Maximum of relu(h) over 2 × 2, and where it is taken: its share at ties, 0 where relu cuts off."""
        n, c, a, b = h.shape
        blocks = h.reshape(n, c, a // 2, 2, b // 2, 2)
        y = np.maximum(np.maximum(blocks[:, :, :, 0, :, 0], blocks[:, :, :, 0, :, 1]), blocks[:, :, :, 1, :, 0])
        y = np.maximum(np.maximum(y, blocks[:, :, :, 1, :, 1]), 0.0)
        return y, (blocks == y[:, :, :, None, :, None]) & (blocks > 0.0)

    def gradient() -> Arrays:
        k1 = patches(x)
        y1, at1 = pooled((w1.reshape(8, -1) @ k1).reshape(batch, 8, 24, 24) + b1[:, None, None])
        k2 = patches(y1)
        y2, at2 = pooled((w2.reshape(16, -1) @ k2).reshape(batch, 16, 8, 8) + b2[:, None, None])
        flat = y2.reshape(batch, -1)
        g = (flat @ w3 + b3 - target) * (2.0 / target.size)
        last = [flat.T @ g, g.sum(axis=0)]
        g = (at2 * (g @ w3.T).reshape(batch, 16, 4, 1, 4, 1)).reshape(batch, 16, 64)
        second = [np.matmul(g, k2.swapaxes(1, 2)).sum(axis=0).reshape(w2.shape), g.sum(axis=(0, 2))]
        k = (w2.reshape(16, -1).T @ g).reshape(batch, 8, 5, 5, 8, 8)
        h = np.zeros((batch, 8, 12, 12))
        for i in range(5):
            for j in range(5):
                h[:, :, i : i + 8, j : j + 8] += k[:, :, i, j]
        g = (at1 * h[:, :, :, None, :, None]).reshape(batch, 8, 576)
        first = [np.matmul(g, k1.swapaxes(1, 2)).sum(axis=0).reshape(w1.shape), g.sum(axis=(0, 2))]
        return [*first, *second, *last]

    return gradient


def transformer(network: Network) -> Gradient:
    x, target, heads = network.data["x"], network.data["target"], network.data["heads"]
    wq, wk, wv, wo, w1, b1, w2, b2, s1, t1, s2, t2 = network.parameters
    batch, length, width = x.shape
    part = width // heads

    def split(h: np.ndarray) -> np.ndarray:
        return h.reshape(batch, length, heads, part).transpose(0, 2, 1, 3)

    def join(h: np.ndarray) -> np.ndarray:
        return h.transpose(0, 2, 1, 3).reshape(batch, length, width)

    def rows(h: np.ndarray) -> np.ndarray:
        return h.reshape(-1, h.shape[-1])

    def norm(h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Normalised rows, and 1 / √(variance + ε)."""
        centred = h - h.mean(axis=-1, keepdims=True)
        scale = 1.0 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + EPSILON)
        return centred * scale, scale

    def norm_back(g: np.ndarray, n: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return scale * (g - g.mean(axis=-1, keepdims=True) - n * (g * n).mean(axis=-1, keepdims=True))

    def gradient() -> Arrays:
        n1, _ = norm(x)
        h = n1 * s1 + t1
        q, k, v = split(h @ wq), split(h @ wk), split(h @ wv)
        a = q @ k.swapaxes(2, 3) * (1.0 / math.sqrt(part))
        a = np.exp(a - a.max(axis=-1, keepdims=True))
        a /= a.sum(axis=-1, keepdims=True)
        mixed = join(a @ v)
        r = x + mixed @ wo
        n2, scale = norm(r)
        m = n2 * s2 + t2
        u = np.tanh(m @ w1 + b1)
        g = (r + u @ w2 + b2 - target) * (2.0 / x.size)
        gu = (g @ w2.T) * (1.0 - u * u)
        gm = gu @ w1.T
        gr = g + norm_back(gm * s2, n2, scale)
        gmix = split(gr @ wo.T)
        ga = gmix @ v.swapaxes(2, 3)
        gs = a * (ga - (ga * a).sum(axis=-1, keepdims=True)) * (1.0 / math.sqrt(part))
        gq, gk, gv = join(gs @ k), join(gs.swapaxes(2, 3) @ q), join(a.swapaxes(2, 3) @ gmix)
        gh = gq @ wq.T + gk @ wk.T + gv @ wv.T
        return [
            *(rows(h).T @ rows(part_g) for part_g in (gq, gk, gv)),
            rows(mixed).T @ rows(gr),
            rows(m).T @ rows(gu),
            rows(gu).sum(axis=0),
            rows(u).T @ rows(g),
            rows(g).sum(axis=0),
            rows(gh * n1).sum(axis=0),
            rows(gh).sum(axis=0),
            rows(gm * n2).sum(axis=0),
            rows(gm).sum(axis=0),
        ]

    return gradient
