"""Lowerings of convolution, pooling, padding, resizing and sampling, against sums written out by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gradwitness.harness import check
from gradwitness.harness.lowering.pooling import joined, max_pool2d, sliding
from gradwitness.harness.lowering.table import CallSite

ROUNDINGS = 1e-13  # of sums of at most 100 terms of size 1 to 10, each rounded to 2^-53
LINE = np.array([[[1.0, 5.0, 2.0, 4.0]]])


def by_hand(x, w, stride, padding, dilation):
    """A convolution of one plane, term by term."""
    x = np.pad(x, padding)
    rows = (x.shape[0] - dilation * (w.shape[0] - 1) - 1) // stride + 1
    columns = (x.shape[1] - dilation * (w.shape[1] - 1) - 1) // stride + 1
    y = np.zeros((rows, columns))
    for i, j, k, m in itertools.product(range(rows), range(columns), *map(range, w.shape)):
        y[i, j] += w[k, m] * x[i * stride + k * dilation, j * stride + m * dilation]
    return y


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 2, 2)])
def test_a_convolution_is_its_sum(read, stride, padding, dilation):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 1, 6, 7)), rng.standard_normal((1, 1, 2, 3))
    value, (slope, _, bias) = read(lambda x, w, b: F.conv2d(x, w, b, stride, padding, dilation), x, w, [0.5])
    wanted = by_hand(x[0, 0], w[0, 0], stride, padding, dilation) + 0.5
    assert np.allclose(value[0, 0], wanted, rtol=0.0, atol=ROUNDINGS)
    assert bias == wanted.size
    # the derivative of the sum at x[p] is the sum of the weights that meet x[p]: the change of the sum for a change
    # of 1
    raised = x.copy()
    raised[0, 0, 3, 3] += 1.0
    change = (by_hand(raised[0, 0], w[0, 0], stride, padding, dilation) + 0.5 - wanted).sum()
    assert abs(slope[0, 0, 3, 3] - change) < ROUNDINGS


def test_an_output_padding_of_the_stride_keeps_what_windows_reach():
    x, w = torch.randn(1, 2, 4, 4, dtype=torch.float64), torch.randn(2, 2, 5, 6, dtype=torch.float64)
    settings = {"stride": (2, 1), "padding": (2, 3), "output_padding": (3, 1), "groups": 2, "dilation": 4}
    assert check(lambda x, w: F.conv_transpose2d(x, w, **settings), (x, w)).verdict == "agree"


def test_fold_is_the_transpose_of_unfold():
    rng = np.random.default_rng(0)
    settings = {"kernel_size": (2, 3), "dilation": (1, 2), "padding": 1, "stride": 2}
    x = torch.tensor(rng.standard_normal((1, 2, 5, 6)))
    columns = F.unfold(x, **settings)
    y = torch.tensor(rng.standard_normal(columns.shape))
    assert check(lambda x: F.unfold(x, **settings), x).verdict == "agree"
    assert check(lambda y: F.fold(y, (5, 6), **settings), y).verdict == "agree"
    assert abs(float((columns * y).sum() - (x * F.fold(y, (5, 6), **settings)).sum())) < ROUNDINGS


POOLS = [
    ("max", lambda x: F.max_pool1d(x, 2), [5, 4], [0, 1, 0, 1]),
    ("max, padded", lambda x: F.max_pool1d(x, 3, 2, 1), [5, 5], [0, 2, 0, 0]),
    ("adaptive max", lambda x: F.adaptive_max_pool1d(x, 3), [5, 5, 4], [0, 2, 0, 1]),
    ("average", lambda x: F.avg_pool1d(x, 2), [3, 3], [0.5] * 4),
    (
        "average over what is there",
        lambda x: F.avg_pool1d(x, 3, 2, 1, False, False),
        [3, 11 / 3],
        [1 / 2, 5 / 6, 1 / 3, 1 / 3],
    ),
    ("adaptive average", lambda x: F.adaptive_avg_pool1d(x, 3), [3, 3.5, 3], [0.5, 1, 1, 0.5]),
]


@pytest.mark.parametrize(("fn", "value", "slope"), [c[1:] for c in POOLS], ids=[c[0] for c in POOLS])
def test_a_pool_has_its_known_value_and_derivative(read, fn, value, slope):
    found, (gradient,) = read(fn, LINE)
    assert np.allclose(found.ravel(), value, rtol=0.0, atol=ROUNDINGS)
    assert np.allclose(gradient.ravel(), slope, rtol=0.0, atol=ROUNDINGS)


def test_a_recorded_maximum_that_is_none_is_not_believed():
    x = np.array([[[1.0, 5.0], [2.0, 4.0]]])
    wrong = CallSite("aten::max_pool2d_with_indices", (np.array([[[4.0]]]), np.array([[[3]]])), "float64")
    right = CallSite("aten::max_pool2d_with_indices", (np.array([[[5.0]]]), np.array([[[1]]])), "float64")
    assert max_pool2d(wrong, x, [2, 2])[0] == 5.0  # our own maximum, so that the values differ
    assert max_pool2d(right, x, [2, 2])[0] == 5.0


def test_windows_of_a_plane_leave_out_the_padding():
    table = joined((2, 2), [sliding(2, 1, 2, 1, 1, 1), sliding(2, 2, 1, 1, 0, 1)])
    assert table.tolist() == [[-1, -1], [0, 1]]


def test_an_unpooled_entry_goes_back_to_its_place(read):
    indices = torch.tensor([[[1, 3]]])
    value, (slope,) = read(lambda x: F.max_unpool1d(x, indices, 2), [[[5.0, 4.0]]])
    assert np.array_equal(value, [[[0, 5, 0, 4]]]) and np.array_equal(slope, [[[1, 1]]])


PADS = [
    ("constant", {"mode": "constant", "value": 7.0}, [7, 1, 5, 2, 4, 7, 7], [1, 1, 1, 1]),
    ("reflect", {"mode": "reflect"}, [5, 1, 5, 2, 4, 2, 5], [1, 3, 2, 1]),
    ("replicate", {"mode": "replicate"}, [1, 1, 5, 2, 4, 4, 4], [2, 1, 1, 3]),
    ("circular", {"mode": "circular"}, [4, 1, 5, 2, 4, 1, 5], [2, 2, 1, 2]),
]


@pytest.mark.parametrize(("settings", "value", "slope"), [c[1:] for c in PADS], ids=[c[0] for c in PADS])
def test_padding_repeats_the_entries_it_names(read, settings, value, slope):
    found, (gradient,) = read(lambda x: F.pad(x, (1, 2), **settings), LINE)
    assert np.array_equal(found.ravel(), value) and np.array_equal(gradient.ravel(), slope)


@pytest.mark.parametrize("mode", ["linear", "bilinear", "bicubic", "trilinear"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_resizing_keeps_a_constant_and_agrees_with_pytorch(read, mode, align_corners):
    d = {"linear": 1, "trilinear": 3}.get(mode, 2)
    size, ones = (7,) * d, np.ones((1, 1, *(4,) * d))
    value, (slope,) = read(lambda x: F.interpolate(x, size=size, mode=mode, align_corners=align_corners), ones)
    assert np.allclose(value, 1.0, rtol=0.0, atol=ROUNDINGS)
    assert abs(slope.sum() - 7**d) < ROUNDINGS * 7**d
    x = torch.randn(ones.shape, dtype=torch.float64)
    assert check(lambda x: F.interpolate(x, scale_factor=1.7, mode=mode, align_corners=align_corners), x).ok


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(3, 2), (9, 11)])
def test_antialiased_resizing_keeps_a_constant_and_agrees_with_pytorch(read, mode, size):
    value, _ = read(lambda x: F.interpolate(x, size=size, mode=mode, antialias=True), np.ones((1, 1, 8, 7)))
    assert np.allclose(value, 1.0, rtol=0.0, atol=ROUNDINGS)
    x = torch.randn(1, 1, 8, 7, dtype=torch.float64)
    assert check(lambda x: F.interpolate(x, size=size, mode=mode, antialias=True), x).verdict == "agree"


def test_linear_interpolation_far_from_the_origin_is_judged_with_the_rounding_of_its_positions():
    x = torch.randn(1, 1, 3, 1000, dtype=torch.float32)
    assert check(lambda x: F.interpolate(x, size=(3, 1701), mode="bilinear"), x).verdict == "agree"


def test_a_linear_image_is_sampled_at_the_place_itself(read):
    image = np.add.outer(10.0 * np.arange(3), np.arange(4.0))[None, None]
    grid = [[[[0.25, -0.5]]]]
    value, (_, slope) = read(lambda x, g: F.grid_sample(x, g, align_corners=True), image, grid)
    assert abs(value.item() - (10 * 0.5 + 1.875)) < ROUNDINGS  # row (−0.5 + 1)/2 · 2, column (0.25 + 1)/2 · 3
    assert np.allclose(slope.ravel(), [1.5, 10.0], rtol=0.0, atol=ROUNDINGS)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_sampling_far_outside_an_image_agrees_with_pytorch(mode, padding_mode, align_corners):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 3, 4, generator=generator, dtype=torch.float64)
    grid = 3 * torch.randn(1, 5, 2, 2, generator=generator, dtype=torch.float64)
    settings = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
    assert check(lambda x, g: F.grid_sample(x, g, **settings), (x, grid)).verdict == "agree"


@pytest.mark.parametrize("padding_mode", ["border", "reflection"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, -0.25, 1.25])
def test_on_the_border_of_an_image_every_slope_between_those_of_its_two_sides_is_legitimate(
    padding_mode, dtype, width, share
):
    class Sampled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, grid):
            ctx.save_for_backward(x)
            return F.grid_sample(x, grid, padding_mode=padding_mode, align_corners=True)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            inside = (x[0, 0, 0, -1] - x[0, 0, 0, -2]) * (width - 1) / 2 if width > 1 else 1.0
            return None, torch.stack([share * g[..., 0] * inside, 0.0 * g[..., 0]], -1)

    x = torch.arange(5.0, 5.0 + width, dtype=dtype)[None, None, None]
    grid = torch.tensor([[[[1.0, 0.0]]]], dtype=dtype)
    verdict = check(lambda g: Sampled.apply(x, g), grid).verdict
    legitimate = share == 0.0 if width == 1 else abs(share) <= 1.0 if padding_mode == "reflection" else 0 <= share <= 1
    assert (verdict in ("agree", "convention")) == legitimate, verdict


@pytest.mark.parametrize("align_corners", [False, True])
def test_the_grid_of_the_identity_is_the_regular_grid(read, align_corners):
    identity = [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    value, (slope,) = read(lambda t: F.affine_grid(t, (1, 1, 1, 4), align_corners=align_corners), identity)
    end = 1.0 if align_corners else 0.75
    assert np.allclose(value[0, 0, :, 0], np.linspace(-end, end, 4), rtol=0.0, atol=ROUNDINGS)
    assert np.array_equal(value[0, 0, :, 1], np.zeros(4))
    assert np.allclose(slope[0], [[0, 0, 4], [0, 0, 4]], rtol=0.0, atol=ROUNDINGS)


def test_the_root_of_a_sum_over_a_window_is_a_known_number(read):
    value, (slope,) = read(lambda x: F.lp_pool1d(x, 2.0, 2), [[[3.0, 4.0]]])
    assert abs(value.item() - math.hypot(3, 4)) < ROUNDINGS
    assert np.allclose(slope.ravel(), [0.6, 0.8], rtol=0.0, atol=ROUNDINGS)
