"""Fourier transforms of pairs, against the sum that defines them, and their transposes."""

import numpy as np
import pytest
from gradwitness.reference_engine import jacobian, ops
from gradwitness.reference_engine.errors import ParameterError, ShapeError

EXACT = 1e-14  # relative to the length of the input: a few roundings of 1.1e-16 for at most 35 terms


def matrix(n, sign):
    """exp(± 2πi jk/n), with jk reduced modulo n so that the angle is exact to one rounding."""
    return np.exp(sign * 2j * np.pi * (np.outer(np.arange(n), np.arange(n)) % n) / n)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("n", [1, 2, 5, 8, 35])
def test_a_transform_is_the_sum_that_defines_it(n, sign):
    rng = np.random.default_rng(n)
    z = rng.standard_normal((3, n, 2))
    y = ops.fourier(z, (1,), sign)
    expected = (z[..., 0] + 1j * z[..., 1]) @ matrix(n, sign)
    assert np.abs(y[..., 0] + 1j * y[..., 1] - expected).max() <= EXACT * np.linalg.norm(z)


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_jacobian_is_the_matrix_of_the_transform(sign):
    """With y = Fz the four blocks of the real Jacobian are Re F, -Im F, Im F and Re F."""
    f = matrix(5, sign)
    j = jacobian(lambda z: ops.fourier(z, (0,), sign))(np.random.default_rng(0).standard_normal((5, 2)))
    for (a, b), block in {(0, 0): f.real, (0, 1): -f.imag, (1, 0): f.imag, (1, 1): f.real}.items():
        assert np.abs(j[:, a, :, b] - block).max() <= EXACT * 5


def test_several_axes_are_transformed_one_after_the_other():
    z = np.random.default_rng(1).standard_normal((3, 4, 2))
    one = ops.fourier(ops.fourier(z, (0,), -1), (-1,), -1)
    assert np.abs(ops.fourier(z, (0, 1), -1) - one).max() <= EXACT * np.linalg.norm(z)


def test_what_is_no_pair_and_an_axis_that_is_not_there_are_refused():
    with pytest.raises(ShapeError, match="last axis of 2"):
        ops.fourier(np.zeros((4, 3)), (0,))
    with pytest.raises(ParameterError, match="fourier: axis=2"):
        ops.fourier(np.zeros((4, 2)), (2,))
