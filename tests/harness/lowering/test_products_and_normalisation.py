"""Lowerings of softmax, attention, contractions and normalisations, against closed forms and NumPy's own words."""

import math

import numpy as np
import pytest
import torch
from gradwitness.harness import check
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

ROUNDINGS = 1e-14  # of numbers of size 1 that are computed in at most 20 steps of 2^-53 each
INF = math.inf
THIRDS = [0.0, math.log(2.0)]  # softmax 1/3, 2/3

CASES = [
    ("softmax", lambda x: torch.softmax(x, 0)[0], THIRDS, 1 / 3, [2 / 9, -2 / 9]),
    ("softmax of a scalar", lambda x: torch.softmax(x, 0), 2.0, 1.0, 0.0),
    ("log_softmax", lambda x: torch.log_softmax(x, 0)[0], THIRDS, -math.log(3.0), [2 / 3, -2 / 3]),
    ("safe softmax of -inf", lambda x: torch.ops.aten._safe_softmax(x, 0), [-INF, -INF], [0.0, 0.0], [0.0, 0.0]),
    ("trace", torch.trace, [[1.0, 2.0], [3.0, 4.0]], 5.0, [[1.0, 0.0], [0.0, 1.0]]),
    (
        "batch norm of two",
        lambda x: F.batch_norm(x, None, None, training=True, eps=0.25)[0, 0],
        [[1.0], [-1.0]],
        1 / math.sqrt(1.25),
        [[0.125 / 1.25**1.5], [-0.125 / 1.25**1.5]],
    ),
    (
        "layer norm of two",
        lambda x: F.layer_norm(x, (2,), eps=0.25)[0],
        [1.0, -1.0],
        1 / math.sqrt(1.25),
        [0.125 / 1.25**1.5, -0.125 / 1.25**1.5],
    ),
    (
        "group norm of two",
        lambda x: F.group_norm(x, 1, eps=0.25)[0, 0, 0],
        [[[1.0, -1.0]]],
        1 / math.sqrt(1.25),
        [[[0.125 / 1.25**1.5, -0.125 / 1.25**1.5]]],
    ),
]


@pytest.mark.parametrize(("fn", "point", "expected", "slope"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_function_has_its_known_value_and_gradient(read, fn, point, expected, slope):
    value, (gradient,) = read(fn, point)
    assert np.allclose(value, expected, rtol=ROUNDINGS, atol=ROUNDINGS)
    assert np.allclose(gradient, slope, rtol=ROUNDINGS, atol=ROUNDINGS)


RNG = np.random.default_rng(0)
V, W, M, N = RNG.standard_normal(3), RNG.standard_normal(3), RNG.standard_normal((3, 3)), RNG.standard_normal((3, 3))
BATCHES = RNG.standard_normal((2, 3, 3)), RNG.standard_normal((2, 3, 3))

PRODUCTS = [
    ("addr", lambda c, a, b: torch.addr(c, a, b, beta=2, alpha=3), (M, V, W), 2 * M + 3 * np.outer(V, W)),
    ("addr without c", lambda c, a, b: torch.addr(c, a, b, beta=0), (M * np.nan, V, W), np.outer(V, W)),
    ("addbmm", torch.addbmm, (M, *BATCHES), M + np.matmul(*BATCHES).sum(0)),
    ("vdot", torch.vdot, (V, W), V @ W),
    ("cross", torch.linalg.cross, (V, W), np.cross(V, W)),
    ("einsum", lambda a, b: torch.einsum("ij,kj->ik", a, b), (M, N), M @ N.T),
    ("kron", torch.kron, (M, N), np.kron(M, N)),
    ("bilinear", F.bilinear, (M, N, BATCHES[0]), np.einsum("ni,oij,nj->no", M, BATCHES[0], N)),
]


@pytest.mark.parametrize(("fn", "numbers", "expected"), [c[1:] for c in PRODUCTS], ids=[c[0] for c in PRODUCTS])
def test_a_product_has_the_value_of_numpy(read, fn, numbers, expected):
    value, gradients = read(fn, *numbers)
    assert np.allclose(value, expected, rtol=ROUNDINGS, atol=ROUNDINGS)
    assert all(np.shape(g) == np.shape(x) for g, x in zip(gradients, numbers, strict=True))


def test_causal_attention_ignores_what_comes_later(read):
    q, k, v = RNG.standard_normal((3, 1, 1, 4, 2))
    value, (_, gk, gv) = read(lambda *a: F.scaled_dot_product_attention(*a, is_causal=True)[..., :1, :], q, k, v)
    assert np.allclose(value, v[..., :1, :], rtol=ROUNDINGS)
    assert np.array_equal(gv[..., 1:, :], np.zeros((1, 1, 3, 2)))
    assert np.array_equal(gk[..., 1:, :], np.zeros((1, 1, 3, 2)))


def test_statistics_that_a_norm_returns_are_constants(read):
    value, (gradient,) = read(lambda x: torch.native_layer_norm(x, [2], None, None, 0.25)[1], [1.0, 3.0])
    assert value.item() == 2.0
    assert np.array_equal(gradient, [0.0, 0.0])


NETWORKS = {
    "LSTM": lambda: torch.nn.LSTM(3, 4, batch_first=True),
    "GRU": lambda: torch.nn.GRU(3, 4),
    "MultiheadAttention": lambda: torch.nn.TransformerEncoderLayer(3, 1, 4, dropout=0.0, batch_first=True),
    "BatchNorm": lambda: torch.nn.BatchNorm1d(4),
    "InstanceNorm": lambda: torch.nn.InstanceNorm1d(4, affine=True),
    "GroupNorm": lambda: torch.nn.GroupNorm(2, 4),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_agrees_with_the_witness_at_every_node(name):
    torch.manual_seed(0)
    layer = NETWORKS[name]().double()
    assert check(layer, torch.randn(2, 4, 3, dtype=torch.float64)).ok
