"""Eigenvalues and vectors of complex matrices against mpmath at 200 digits to second order, and where they repeat."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from gradwitness.reference_engine import grad, ops
from gradwitness.reference_engine.errors import ShapeError

X = np.array([[2.0, -1.0, 0.5], [0.25, -3.0, -1.0], [1.0, 0.5, 0.5]])
ROTATION = np.array([[0.5, -2.0, 0.25], [1.0, 0.5, -1.0], [0.0, 0.25, 3.0]])  # two conjugate eigenvalues, one real
COMPLEX = np.stack([X, np.array([[0.5, 1.0, 0.0], [-1.0, 0.25, 0.5], [0.75, 0.0, -2.0]])])
DIRECTION = np.stack([np.array([[1.0, 0.5, 1.0], [2.0, 1.0, -1.0], [1.0, -1.0, 0.5]]), np.eye(3) - 0.25])


def near(a):
    w = np.linalg.eigvals(a[0] + 1j * a[1])
    return np.stack([w.real, w.imag])


def exact(x, order):
    """(w, V) of mpmath, in the order of `order`, scaled so that dᴴv = 1."""
    w, v = mp.eig(mp.matrix((x[0] + mp.mpc(0, 1) * x[1]).tolist()))
    w, v = np.array(w, dtype=object), np.array(v.tolist(), dtype=object)
    places = [min(range(len(w)), key=lambda j, i=i: abs(w[j] - mp.mpc(*order[:, i]))) for i in range(len(w))]
    w, v = w[places], v[:, places]
    d = np.vectorize(mp.mpc, otypes=[object])(DIRECTION[0], -DIRECTION[1])
    return w, v / np.sum(d * v, axis=0)


def parts(z):
    return np.stack([np.vectorize(mp.re, otypes=[object])(z), np.vectorize(mp.im, otypes=[object])(z)])


@pytest.mark.parametrize("a", [COMPLEX, np.stack([ROTATION, np.zeros((3, 3))])], ids=["complex", "real"])
@pytest.mark.parametrize("which", [0, 1], ids=["values", "vectors"])
def test_values_vectors_and_their_derivatives_are_those_of_200_digits(against_mpmath, a, which):
    order = near(a)
    # eigenvalues lie a distance of about 1 apart and second derivatives divide by its cube
    ours, right = lambda x: ops.eig(x, DIRECTION, order)[which], lambda x: parts(exact(x, order)[which])
    against_mpmath(ours, right, a, widest=1e5)


def test_the_matrix_is_put_together_again_from_its_vectors_and_values():
    batch = np.stack([COMPLEX, COMPLEX[::-1] + 0.5])
    order = np.stack([near(a) for a in batch])
    values, vectors = ops.eig(batch, DIRECTION, order)
    w, v = values[:, 0] + 1j * values[:, 1], vectors[:, 0] + 1j * vectors[:, 1]
    a = batch[:, 0] + 1j * batch[:, 1]
    np.testing.assert_allclose(a @ v, v * w[:, None, :], atol=1e-13)  # some 100 roundings of entries of size 10
    d = DIRECTION[0] + 1j * DIRECTION[1]
    np.testing.assert_allclose(np.sum(d.conj() * v, axis=-2), np.ones((2, 3)), atol=1e-13)


def test_the_order_is_that_of_the_numbers_given():
    order = near(COMPLEX)
    turned = order[:, ::-1]
    plain, other = ops.eig(COMPLEX, DIRECTION, order), ops.eig(COMPLEX, DIRECTION, turned)
    np.testing.assert_array_equal(plain[0][:, ::-1], other[0])


def test_where_values_repeat_their_sum_has_a_derivative_and_one_vector_has_none():
    one = np.stack([np.eye(2), np.zeros((2, 2))])
    frame = np.stack([np.eye(2), np.zeros((2, 2))])
    order = np.array([[1.0, 1.0], [0.0, 0.0]])
    trace = grad(lambda a: ops.sum(ops.eig(a, frame, order)[0][0]))(one)
    np.testing.assert_array_equal(trace[0], np.eye(2))
    weights = np.array([[0.0, 1.0], [0.0, 0.0]])
    assert not np.isfinite(grad(lambda a: ops.sum(ops.eig(a, frame, order)[1][0] * weights))(one)).all()


def test_a_matrix_that_is_no_number_has_no_eigenvalues_and_a_wrong_shape_is_refused():
    w, v = ops.eig(np.full((2, 2, 2), np.nan), DIRECTION[:, :2, :2], np.zeros((2, 2)))
    assert np.isnan(w).all() and np.isnan(v).all()
    with pytest.raises(ShapeError, match="eig: a.shape=\\(3, 3\\)"):
        ops.eig(X, DIRECTION, near(COMPLEX))
