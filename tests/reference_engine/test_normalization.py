"""Layer, batch, group, instance and RMS normalisation against mpmath, with constant, shifted and scaled data."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
import pytest
from gradwitness.reference_engine import ParameterError, Plan, ShapeError, grad, ops, reverse, simplify, trace, vjp
from gradwitness.reference_engine.rounding import spread

GRID = np.array([[1.5, -2.0, 0.25, 3.0], [0.7, 0.1, -1.3, 2.2]])
IMAGES = np.cos(np.arange(24.0)).reshape(2, 4, 3)
WEIGHT, BIAS = np.array([1.0, -0.5, 2.0, 0.25]), np.array([0.5, 0.0, -1.0, 3.0])


def exact_standardize(x: Any, axes: Any, eps: float, centred: bool = True) -> Any:
    n = np.prod([x.shape[i] for i in axes])
    c = x - (np.sum(x, axis=axes, keepdims=True) / n if centred else 0)
    return c / np.vectorize(mp.sqrt, otypes=[object])(np.sum(c * c, axis=axes, keepdims=True) / n + mp.mpf(eps))


def affine(y: Any) -> Any:
    shape = (1, -1) + (1,) * (y.ndim - 2)
    return y * WEIGHT.reshape(shape) + BIAS.reshape(shape)


def exact_groups(x: Any) -> Any:
    return affine(exact_standardize(x.reshape(2, 2, 2, 3), (2, 3), 1e-5).reshape(x.shape))


CASES = {
    "standardize": (lambda x: ops.standardize(x, 1, 0.1), lambda x: exact_standardize(x, (1,), 0.1), GRID),
    "standardize over all": (lambda x: ops.standardize(x, None), lambda x: exact_standardize(x, (0, 1), 1e-5), GRID),
    "standardize without eps": (lambda x: ops.standardize(x, eps=0.0), lambda x: exact_standardize(x, (1,), 0.0), GRID),
    "layer_norm": (
        lambda x: ops.layer_norm(x, (-1,), WEIGHT, BIAS),
        lambda x: exact_standardize(x, (1,), 1e-5) * WEIGHT + BIAS,
        GRID,
    ),
    "rms_norm": (
        lambda x: ops.rms_norm(x, -1, WEIGHT),
        lambda x: exact_standardize(x, (1,), 1e-5, False) * WEIGHT,
        GRID,
    ),
    "batch_norm": (
        lambda x: ops.batch_norm(x, WEIGHT, BIAS),
        lambda x: affine(exact_standardize(x, (0, 2), 1e-5)),
        IMAGES,
    ),
    "batch_norm of a matrix": (
        lambda x: ops.batch_norm(x, WEIGHT, BIAS, eps=0.1),
        lambda x: affine(exact_standardize(x, (0,), 0.1)),
        GRID,
    ),
    "group_norm": (lambda x: ops.group_norm(x, 2, WEIGHT, BIAS), exact_groups, IMAGES),
    "instance_norm": (
        lambda x: ops.instance_norm(x, WEIGHT, BIAS),
        lambda x: affine(exact_standardize(x, (2,), 1e-5)),
        IMAGES,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_normalisation_agrees_with_mpmath_to_second_order(name: str, against_mpmath: Any) -> None:
    ours, exact, x = CASES[name]
    against_mpmath(ours, exact, x)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
def test_data_of_any_scale_keep_their_digits(scale: float, against_mpmath: Any) -> None:
    against_mpmath(ops.standardize, lambda x: exact_standardize(x, (1,), 1e-5), GRID * scale, widest=1e4)


def test_shifted_data_lose_no_more_than_the_rounding_of_their_mean(against_mpmath: Any) -> None:
    against_mpmath(ops.standardize, lambda x: exact_standardize(x, (1,), 1e-5), GRID + 1024.0, widest=1e4)


def test_constant_data_are_zero_with_a_finite_gradient() -> None:
    y, pull = vjp(ops.standardize, np.full((1, 4), 0.1))
    np.testing.assert_array_equal(y, np.zeros((1, 4)))
    g = np.array([[1.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(pull(g)[0], (g - 0.25) / np.sqrt(1e-5), rtol=1e-15)


def test_given_moments_are_data_and_have_gradients_of_their_own() -> None:
    mean, variance = np.array([0.5, 0.0, 1.0, -1.0]), np.array([1.0, 4.0, 0.25, 2.0])

    def total(x: Any, m: Any, v: Any) -> Any:
        return ops.sum(ops.batch_norm(x, WEIGHT, BIAS, 0.0, moments=(m, v)) * GRID)

    x_bar, m_bar, v_bar = grad(total, (0, 1, 2))(GRID, mean, variance)
    np.testing.assert_allclose(x_bar, GRID * WEIGHT / np.sqrt(variance), rtol=1e-15)
    np.testing.assert_allclose(m_bar, -np.sum(x_bar, 0), rtol=1e-14)
    np.testing.assert_allclose(v_bar, np.sum(-0.5 * x_bar * (GRID - mean) / variance, 0), rtol=1e-14)


def test_channels_may_lie_along_any_axis() -> None:
    moved = np.moveaxis(IMAGES, 1, -1)
    np.testing.assert_allclose(
        np.moveaxis(ops.batch_norm(moved, WEIGHT, BIAS, axis=-1), -1, 1),
        ops.batch_norm(IMAGES, WEIGHT, BIAS),
        rtol=1e-14,
    )


def test_empty_batches_keep_their_shape() -> None:
    assert ops.layer_norm(np.zeros((0, 3))).shape == (0, 3)
    assert grad(lambda x: ops.sum(ops.layer_norm(x)))(np.zeros((0, 3))).shape == (0, 3)


def test_parameters_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="batch_norm: .* has 4 channels"):
        ops.batch_norm(IMAGES, np.ones(3))
    with pytest.raises(ParameterError, match="group_norm: groups=3"):
        ops.group_norm(IMAGES, 3)
    with pytest.raises(ShapeError, match="instance_norm: x.shape=\\(2, 4\\)"):
        ops.instance_norm(GRID)


def test_the_lossy_rule_is_the_same_derivative_within_both_spreads() -> None:
    for shift, norm in ((0.0, ops.standardize), (1024.0, ops.standardize), (0.0, ops.rms_norm)):
        x, g = GRID + shift, np.sin(np.arange(8.0)).reshape(2, 4)
        program = trace(lambda x, norm=norm: norm(x, -1), x)
        found = []
        for lossy in (False, True):
            plan = Plan(simplify(reverse(program, lossy=lossy)))
            (value,), (drift,) = spread(plan, [x, g, *plan.program.constants.values()], "float64", samples=64)
            found.append((value, drift))
        (accurate, sharp), (lossy_value, wide) = found
        assert (np.abs(lossy_value - accurate) <= 6.0 * np.hypot(wide, sharp)).all()  # 6 as in conftest.py
