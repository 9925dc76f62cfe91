"""Lowerings of fused kernels: attention, an LSTM layer, grouped products, weight norm; by closed forms and loops."""

import math

import numpy as np
import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.recorder.recording import capture
from gradwitness.harness.recorder.witnessing import program_of
from gradwitness.reference_engine import evaluate, reverse

ROUNDINGS = 1e-14  # of numbers of size 1 that are computed in at most 20 steps of 2^-53 each
SINGLE = torch.float32


def read_single(fn, *numbers):
    """As the fixture `read`, for kernels that have no float64: the recorded run is float32, the reading is not."""
    tensors = [torch.tensor(x, dtype=SINGLE, requires_grad=True) for x in numbers]
    program = program_of(capture(fn, *tensors))
    arrays = [np.asarray(x, dtype=np.float64) for x in numbers]
    value = np.asarray(evaluate(program, *arrays))
    gradients = evaluate(reverse(program), *arrays, np.ones(value.shape))
    return value, gradients if isinstance(gradients, tuple) else (gradients,)


def attention(q, k, v, **more):
    """The fused attention of the CPU over one head of one sample."""
    q, k, v = (x.view(1, 1, *x.shape) for x in (q, k, v))
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, **more)[0][0, 0]


def test_attention_to_two_keys_has_the_gradient_of_a_logistic_function(read):
    q, k, v = [[2.0]], [[0.5], [-1.0]], [[3.0], [1.0]]
    value, (dq, dk, dv) = read(lambda *x: attention(*x, scale=0.5), q, k, v)
    p = 1 / (1 + math.exp(-0.5 * 2.0 * 1.5))  # the share of the first key: its score is ½ · 2 · 1.5 above the other's
    slope = p * (1 - p) * (3.0 - 1.0)
    assert np.allclose(value, 1.0 + 2.0 * p, rtol=ROUNDINGS)
    assert np.allclose(dq, slope * 0.5 * 1.5, rtol=ROUNDINGS)
    assert np.allclose(dk, [[slope * 0.5 * 2.0], [-slope * 0.5 * 2.0]], rtol=ROUNDINGS)
    assert np.allclose(dv, [[p], [1 - p]], rtol=ROUNDINGS)


def test_causal_attention_of_the_first_row_copies_its_value_and_does_not_depend_on_the_scores(read):
    q, k, v = [[1.0, 2.0], [0.0, 0.0]], [[3.0, -1.0], [0.5, 0.5]], [[5.0, 7.0], [1.0, 1.0]]
    value, (dq, _, dv) = read(lambda *x: attention(*x, is_causal=True), q, k, v)
    assert np.allclose(value, [[5.0, 7.0], [3.0, 4.0]], rtol=ROUNDINGS)  # equal scores: the second row is the mean
    assert np.allclose(dq[0], 0.0, atol=12 * ROUNDINGS)
    assert np.allclose(dv, [[1.5, 1.5], [0.5, 0.5]], rtol=ROUNDINGS)


@pytest.mark.parametrize("fill", [-math.inf, torch.finfo(torch.float64).min])
def test_what_an_additive_mask_hides_gets_no_gradient(read, fill):
    hidden = torch.tensor([[[[0.0, fill]]]], dtype=torch.float64)
    value, (_, dk, dv) = read(lambda *x: attention(*x, attn_mask=hidden), [[1.0]], [[2.0], [3.0]], [[4.0], [9.0]])
    assert np.allclose(value, 4.0, rtol=ROUNDINGS)
    assert np.allclose(dk, 0.0, atol=8 * ROUNDINGS) and np.allclose(dv, [[1.0], [0.0]], rtol=ROUNDINGS)


def test_a_row_that_is_masked_altogether_is_zero(read):
    nothing = torch.tensor([[[[0.0, 0.0], [-math.inf, -math.inf]]]], dtype=torch.float64)
    ones = [[1.0], [1.0]]
    value, gradients = read(lambda *x: attention(*x, attn_mask=nothing), ones, ones, ones)
    assert value.tolist() == [[1.0], [0.0]]
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("length", [1, 3])
def test_fused_attention_agrees_where_its_gradient_cancels_to_nothing(length):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, length, 8, dtype=torch.float64) for _ in "qkv")
    fn = torch.nn.functional.scaled_dot_product_attention
    assert check(fn, (q, k, v), {"is_causal": True}).verdict == "agree"


def lstm(width, **more):
    """An LSTM whose weights are the last four arguments of the function returned."""
    layer = torch.nn.LSTM(1, width, **more)
    names = [name for name, _ in layer.named_parameters()]

    def run(x, *weights):
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), x.view(-1, 1, 1))[0]

    return run


def test_one_step_of_an_lstm_without_weights_is_half_of_half(read):
    zeros = [[[0.0]] * 4, [[0.0]] * 4, [0.0] * 4, [0.0] * 4]
    value, gradients = read_single(lstm(1), [2.0], *zeros)
    # gates ½, candidate 0: h = ½ tanh(½ u), so only the candidate's sum moves it, by ½ · ½; the input is 2
    assert value.item() == 0.0
    assert np.allclose(gradients[3], [0.0, 0.0, 0.25, 0.0], atol=ROUNDINGS)
    assert np.allclose(gradients[1], [[0.0], [0.0], [0.5], [0.0]], atol=ROUNDINGS)


@pytest.mark.parametrize("reverse", [False, True])
def test_an_lstm_layer_is_its_recurrence_in_either_direction(reverse):
    rng = np.random.default_rng(1)
    x, enter, stay, bias = rng.standard_normal((4, 1)), *rng.standard_normal((2, 8, 2)), rng.standard_normal(8)
    x, enter = x.astype(np.float32), enter[:, :1]

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    h = c = np.zeros(2)
    expected = np.zeros((4, 2))
    for k in (3, 2, 1, 0) if reverse else (0, 1, 2, 3):
        i, f, u, o = (enter @ x[k] + stay @ h + bias).reshape(4, 2)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
        h = expected[k] = sigmoid(o) * np.tanh(c)
    zero = torch.zeros(1, 2)

    def layer(x, enter, stay, bias):
        after = [], 2, 2, 1, True, False, False, True
        call = torch.ops.aten.mkldnn_rnn_layer
        return call(x.view(4, 1, 1), enter, stay, bias, 0 * bias, zero, zero, reverse, *after)[0]

    value, _ = read_single(layer, x, enter, stay, bias)
    assert np.allclose(value[:, 0], expected, rtol=ROUNDINGS, atol=ROUNDINGS)


@pytest.mark.parametrize("more", [{}, {"num_layers": 2}, {"bidirectional": True}, {"bias": False}])
def test_the_fused_lstm_in_single_precision_agrees_with_its_reading(more):
    torch.manual_seed(0)
    layer = torch.nn.LSTM(3, 5, **more)
    result = check(layer, torch.randn(6, 2, 3))
    assert (result.frame["op"] == "aten::mkldnn_rnn_layer.default").any()
    assert result.verdict == "agree", result.explain()


def test_a_fused_lstm_with_a_wrong_weight_gradient_is_found():
    torch.manual_seed(0)
    layer = torch.nn.LSTM(3, 5)

    def wrong_by_a_thousandth(g):
        g = g.clone()
        g[7, 1] *= 1.001
        return g

    handle = layer.weight_ih_l0.register_hook(wrong_by_a_thousandth)
    found = check(layer, torch.randn(6, 2, 3)).verdict
    handle.remove()
    assert found == "mismatch"


def test_weight_norm_is_a_length_along_a_direction(read):
    def first(v, g):
        return torch._weight_norm(v, g, 0)[0, 0]

    value, (dv, dg) = read(first, [[3.0, 4.0], [1.0, 0.0]], [[10.0], [1.0]])
    # w = g v / ‖v‖ with ‖v‖ = 5: ∂w₀/∂v = g (e₀/5 - 3 v/125)
    assert np.allclose(value, 6.0, rtol=ROUNDINGS)
    assert np.allclose(dv, [[10 * (1 / 5 - 9 / 125), -10 * 12 / 125], [0.0, 0.0]], rtol=ROUNDINGS)
    assert np.allclose(dg, [[0.6], [0.0]], rtol=ROUNDINGS)


@pytest.mark.parametrize("dim", [0, 2])
def test_weight_norm_along_either_end_agrees(dim):
    torch.manual_seed(0)
    v, g = torch.randn(3, 4, 5, dtype=torch.float64), torch.rand(3, 1, 1, dtype=torch.float64) + 0.5
    g = g if dim == 0 else torch.rand(1, 1, 5, dtype=torch.float64) + 0.5
    assert check(lambda v, g: torch._weight_norm(v, g, dim), (v, g)).verdict == "agree"


RNG = np.random.default_rng(2)
OFFSETS = [4, 12]
GROUPED = {  # axes of both operands -> (a, b, product group by group)
    "rows of a": ((12, 8), (2, 8, 4), lambda a, b: np.concatenate([a[:4] @ b[0], a[4:] @ b[1]])),
    "columns of b": ((2, 4, 8), (8, 12), lambda a, b: np.concatenate([a[0] @ b[:, :4], a[1] @ b[:, 4:]], 1)),
    "shared axis": ((4, 12), (12, 8), lambda a, b: np.stack([a[:, :4] @ b[:4], a[:, 4:] @ b[4:]])),
    "batch": ((2, 4, 8), (2, 8, 4), np.matmul),
}


@pytest.mark.parametrize("cut", GROUPED)
def test_a_grouped_product_is_one_product_a_group(cut):
    shape_a, shape_b, product = GROUPED[cut]
    a, b = RNG.standard_normal(shape_a), RNG.standard_normal(shape_b)
    ends = None if cut == "batch" else torch.tensor(OFFSETS, dtype=torch.int32)

    def grouped(a, b):
        return torch._grouped_mm(a, b, offs=ends)

    value, (da, _) = read_single(grouped, a, b)
    expected = product(a, b)
    # cotangent 1: a moves each result by the sums of b over its last axis, here by a difference that is exact
    step = np.zeros(shape_a)
    step[(0,) * (len(shape_a) - 1) + (1,)] = 1.0
    moved = (product(step, b)).sum()
    assert np.allclose(value, expected, rtol=ROUNDINGS, atol=8 * ROUNDINGS)
    assert np.isclose(da[(0,) * (len(shape_a) - 1) + (1,)], moved, rtol=8 * ROUNDINGS)


def test_a_grouped_product_in_single_precision_agrees():
    torch.manual_seed(0)
    a, b = torch.randn(12, 8), torch.randn(2, 8, 4)
    result = check(lambda a, b: torch._grouped_mm(a, b, offs=torch.tensor(OFFSETS, dtype=torch.int32)), (a, b))
    assert result.verdict == "agree", result.explain()
