"""Lowerings of loss functions, against values and gradients worked out by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gradwitness.harness import check

ROUNDINGS = 1e-14  # of numbers of size 1 that are computed in at most 20 steps of 2^-53 each
LN2 = math.log(2.0)


def near(found, expected):
    return np.allclose(found, expected, rtol=ROUNDINGS, atol=ROUNDINGS)


def test_squared_error_is_averaged_or_summed_or_left(read):
    target = torch.tensor([0.0, 3.0], dtype=torch.float64)
    cases = (("none", [1.0, 4.0], [2.0, -4.0]), ("sum", 5.0, [2.0, -4.0]), ("mean", 2.5, [1.0, -2.0]))
    for reduction, value, slope in cases:
        y, (to_x,) = read(lambda x, r=reduction: F.mse_loss(x, target, reduction=r), [1.0, 1.0])
        assert near(y, value) and near(to_x, slope)


@pytest.mark.parametrize(
    ("fn", "values", "slopes"),
    [
        (lambda x, t: F.smooth_l1_loss(x, t, beta=2.0, reduction="none"), [0.25, 3.0], [0.5, 1.0]),
        (lambda x, t: F.huber_loss(x, t, delta=2.0, reduction="none"), [0.5, 6.0], [1.0, 2.0]),
        (lambda x, t: F.smooth_l1_loss(x, t, beta=0.0, reduction="none"), [1.0, 4.0], [1.0, 1.0]),
    ],
)
def test_losses_that_turn_from_a_bowl_into_a_line(read, fn, values, slopes):
    value, (to_x, to_target) = read(fn, [1.0, 4.0], [0.0, 0.0])
    assert near(value, values) and near(to_x, slopes) and near(to_target, np.negative(slopes))


def test_cross_entropy_of_a_probability_keeps_its_slope_near_the_ends(read):
    """d/dx of -log x is -1/x, also where x (1 - x) is below 1e-12."""
    _, (to_x,) = read(lambda x: F.binary_cross_entropy(x, torch.ones_like(x), reduction="none"), [0.5, 1e-14, 1e-30])
    assert np.allclose(to_x, [-2.0, -1e14, -1e30], rtol=ROUNDINGS)
    _, (to_x,) = read(lambda x: F.binary_cross_entropy(x, torch.zeros_like(x), reduction="none"), [0.0])
    assert to_x.tolist() == [1.0]


def test_the_cut_off_logarithm_stands_still_at_zero(read):
    """-max(log x, -100) is the constant 100 on [0, exp(-100))."""
    value, (to_x,) = read(lambda x: F.binary_cross_entropy(x, torch.ones_like(x), reduction="none"), [0.0])
    assert value.tolist() == [100.0] and to_x.tolist() == [0.0]


def test_cross_entropy_with_logits_keeps_both_tails(read):
    target = torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64)
    value, (to_x,) = read(lambda x: F.binary_cross_entropy_with_logits(x, target, reduction="none"), [-50.0, 50.0, 0.0])
    assert np.allclose(value, [math.exp(-50.0), math.exp(-50.0), LN2], rtol=ROUNDINGS)
    assert np.allclose(to_x, [math.exp(-50.0), -math.exp(-50.0), 0.0], rtol=ROUNDINGS)


def test_the_weight_of_positives_scales_their_term_alone(read):
    pos = torch.tensor([3.0], dtype=torch.float64)
    _, (to_x,) = read(
        lambda x: F.binary_cross_entropy_with_logits(
            x, torch.tensor([1.0, 0.0], dtype=torch.float64), pos_weight=pos, reduction="sum"
        ),
        [0.0, 0.0],
    )
    assert near(to_x, [-1.5, 0.5])


def test_the_mean_of_nll_is_over_the_weights_that_are_not_ignored(read):
    weight = torch.tensor([1.0, 3.0], dtype=torch.float64)
    target = torch.tensor([0, 1, -100])
    value, (to_x,) = read(lambda x: F.nll_loss(x, target, weight=weight), [[-1.0, 0.0], [0.0, -2.0], [5.0, 5.0]])
    assert near(value, 7 / 4) and near(to_x, [[-0.25, 0.0], [0.0, -0.75], [0.0, 0.0]])


def test_nll_of_images_picks_along_the_second_axis(read):
    target = torch.tensor([[[1, 0]]])
    _, (to_x,) = read(lambda x: F.nll_loss(x, target, reduction="sum"), np.zeros((1, 2, 1, 2)).tolist())
    assert to_x.tolist() == [[[[0.0, -1.0]], [[-1.0, 0.0]]]]


def test_soft_margin_loss_is_finite_where_its_exponential_overflows(read):
    value, (to_x,) = read(lambda x: F.soft_margin_loss(x, torch.ones_like(x), reduction="sum"), [-800.0])
    assert value == 800.0 and to_x.tolist() == [-1.0]


def test_multi_margin_loss_by_hand(read):
    """margin 1, class 0: (1 - 0.5 + 0.25) and (1 - 0.5 - 1 < 0): one term of 0.75, over 3 classes."""
    x, target = [[0.5, 0.25, -1.0]], torch.tensor([0])
    value, (to_x,) = read(lambda x: F.multi_margin_loss(x, target), x)
    assert near(value, 0.25) and near(to_x, [[-1 / 3, 1 / 3, 0.0]])
    value, (to_x,) = read(lambda x: F.multi_margin_loss(x, target, p=2), x)
    assert near(value, 0.1875) and near(to_x, [[-0.5, 0.5, 0.0]])


def test_multilabel_margin_loss_reads_labels_up_to_the_first_minus_one(read):
    """Label 1 alone, though a 0 follows: 1 - x₁ + x₀ = 1.5 and 1 - x₁ + x₂ = 0.5, over 3 classes."""
    value, (to_x,) = read(lambda x: F.multilabel_margin_loss(x, torch.tensor([[1, -1, 0]])), [[0.5, 0.0, -0.5]])
    assert near(value, 2 / 3) and near(to_x, [[1 / 3, -2 / 3, 1 / 3]])


def test_a_variance_clamped_under_no_grad_keeps_its_derivative():
    def fn(x, variance):
        return F.gaussian_nll_loss(x, torch.zeros_like(x), variance)

    result = check(fn, (torch.ones(2, dtype=torch.float64), torch.tensor([0.5, 1e-9], dtype=torch.float64)))
    assert result.verdict == "agree"


@pytest.mark.parametrize("mode", ["RR", "FR", "RF", "FF"])
def test_second_derivatives_of_the_squared_error_agree_where_two_directions_cancel(mode):
    """2 (ȧ - ḃ) is formed as 2 ȧ - 2 ḃ by PyTorch; 1000 random directions include close ones."""
    x = torch.zeros(1000, dtype=torch.float64)
    assert check(F.mse_loss, (x, x + 1), modes=(mode,)).verdict == "agree"


def test_the_gradient_of_ctc_is_minus_the_posterior_where_pytorch_adds_the_probabilities():
    """One step, one label: -log p has slope -1 at that label; PyTorch's is exp(log p) - 1 and exp(log p) elsewhere."""
    log_probs = torch.log(torch.tensor([[[0.2, 0.5, 0.3]]], dtype=torch.float64))

    def fn(x):
        return F.ctc_loss(x, torch.tensor([[1]]), torch.tensor([1]), torch.tensor([1]), reduction="sum")

    result = check(fn, log_probs)
    assert result.verdict == "mismatch"
    behind_softmax = check(lambda x: fn(x.log_softmax(2)), log_probs).frame
    assert behind_softmax["verdict"].iloc[-1] == "agree"  # the last row is the end-to-end gradient


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_linear_cross_entropy_in_chunks_of_two_classes_is_softplus(read, reduction):
    # scores (x, 0), so that class 0 costs log(1 + e^-x) with slope -1/(1 + e^x); class 1 is ignored
    matrix = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=1)
    weight = torch.tensor([3.0, 1.0], dtype=torch.float64)
    target = torch.tensor([0, 1, 0])

    def loss(x):
        return F.linear_cross_entropy(
            x, matrix, target, weight=weight, reduction=reduction, ignore_index=1, options=options
        )

    value, (slope,) = read(loss, [[0.0], [2.0], [LN2]])
    losses, slopes = np.array([LN2, 0.0, math.log(1.5)]), np.array([-0.5, 0.0, -1 / 3])
    factor = {"none": 3.0, "sum": 3.0, "mean": 0.5}[reduction]
    assert near(value, losses * 3.0 if reduction == "none" else np.sum(losses) * factor)
    assert near(slope.ravel(), slopes * factor)
    assert check(loss, torch.tensor([[0.0], [2.0], [LN2]], dtype=torch.float64)).ok
