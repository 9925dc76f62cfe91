"""Linear algebra against mpmath at 200 digits to second order, at ordinary, singular and repeated points."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from gradwitness.reference_engine import PRIMITIVES, forward, grad, hvp, ops, reverse, simplify, trace
from gradwitness.reference_engine.errors import ShapeError
from gradwitness.reference_engine.evaluate import Plan, arguments_of, evaluate
from gradwitness.reference_engine.primitives.determinant import SMALL, _second
from gradwitness.reference_engine.rounding import spread
from gradwitness.reference_engine.tracing import bind

ROUNDINGS = 1e-13  # results of size 1 to 100 after fewer than 100 roundings of 2^-53 each
A = np.array([[2.0, -1.0, 0.5], [0.25, 3.0, -1.0], [1.0, 0.5, -2.0]])
LOW = np.array([[2.0, 0.0, 0.0], [0.5, 1.5, 0.0], [-1.0, 0.25, 3.0]])
B = np.array([[1.0, -2.0], [0.5, 3.0], [-1.5, 0.75]])


def matrix(x):
    return mp.matrix(x.tolist())


def array(m):
    return np.array(m.tolist(), dtype=object)


def symmetric(x):
    return (x + x.T) / 2


EXACT = {
    "det": (ops.det, lambda x: np.array(mp.det(matrix(x)), dtype=object), A),
    "inv": (ops.inv, lambda x: array(matrix(x) ** -1), A),
    "solve for the matrix": (lambda x: ops.solve(x, B), lambda x: array(mp.inverse(matrix(x)) * matrix(B)), A),
    "solve for the right side": (lambda b: ops.solve(A, b), lambda b: array(mp.inverse(matrix(A)) * matrix(b)), B),
    "logabsdet": (ops.logabsdet, lambda x: np.array(mp.log(abs(mp.det(matrix(x)))), dtype=object), A),
    "solve_triangular": (
        lambda x: ops.solve_triangular(x, B, lower=True),
        lambda x: array(mp.inverse(matrix(np.tril(x.astype(object)))) * matrix(B)),
        LOW,
    ),
    "cholesky": (
        lambda x: ops.cholesky(x),
        lambda x: array(mp.cholesky(matrix(symmetric(x)))),
        LOW @ LOW.T,
    ),
    "matrix_exp": (ops.matrix_exp, lambda x: array(mp.expm(matrix(x), method="taylor")), A),
    "pinv of a tall matrix": (
        ops.pinv,
        lambda x: array(mp.inverse(matrix(x.T @ x)) * matrix(x.T)),
        np.concatenate([A, B.T @ A])[:, :2],
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_value_gradient_tangent_and_second_derivative_are_those_of_200_digits(against_mpmath, name):
    ours, exact, x = EXACT[name]
    against_mpmath(ours, exact, x, widest=1e4)


SINGULAR = {
    "rank 2 of 3": np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]]),
    "rank 1 of 3": np.outer([1.0, 2.0, -1.0], [1.0, 3.0, 2.0]),
    "zero": np.zeros((3, 3)),
    "rank 3 of 4": np.diag([1.0, 2.0, 3.0, 0.0]) + np.eye(4, k=1) * [[0], [1], [1], [0]],
}


def leibniz(x):
    """det by the sum over permutations, which is a polynomial whatever the rank."""
    n = len(x)
    if n == 1:
        return x[0, 0]
    return sum((-1) ** j * x[0, j] * leibniz(np.delete(np.delete(x, 0, 0), j, 1)) for j in range(n))


@pytest.mark.parametrize("name", SINGULAR)
def test_the_determinant_of_a_singular_matrix_has_exact_first_and_second_derivatives(against_mpmath, name):
    # the sum keeps the size of value and gradient away from 0, so that the width of the spread means something
    against_mpmath(
        lambda a: ops.det(a) + ops.sum(a),
        lambda x: np.array(leibniz(x) + np.sum(x), dtype=object),
        SINGULAR[name],
        widest=1e4,
    )


def test_the_third_derivative_of_a_determinant_is_that_of_the_polynomial():
    # d³ det [E11, E22, E33] = 1 for every matrix
    units = [np.diag(row) for row in np.eye(3)]
    program = trace(ops.det, A)
    for _ in units:
        program = simplify(forward(program, [0]))
    assert abs(float(evaluate(program, SINGULAR["rank 1 of 3"], *units)) - 1.0) <= ROUNDINGS


def test_second_cofactors_from_singular_values_are_those_from_minors():
    rng = np.random.default_rng(0)
    n = SMALL + 1
    a, g = rng.standard_normal((n, n)), rng.standard_normal((n, n))
    minors = np.array([[np.delete(np.delete(a, i, 0), j, 1) for j in range(n)] for i in range(n)])
    moved = np.array([[np.delete(np.delete(g, i, 0), j, 1) for j in range(n)] for i in range(n)])
    signs = (-1.0) ** np.add.outer(np.arange(n), np.arange(n))
    inverse = np.linalg.inv(minors)
    expected = signs * np.linalg.det(minors) * np.einsum("ijkl,ijlk->ij", inverse, moved)
    assert np.abs(_second(a, g) - expected).max() <= ROUNDINGS * np.abs(expected).max() * n**3


def test_an_empty_determinant_is_one_and_a_row_of_numbers_is_refused():
    assert float(ops.det(np.zeros((0, 0)))) == 1.0
    with pytest.raises(ShapeError, match=r"det: a.shape=\(2, 3\); accepted are square matrices"):
        ops.det(np.zeros((2, 3)))


def test_a_singular_matrix_has_a_nan_inverse_and_leaves_its_neighbours_alone():
    y = ops.inv(np.stack([np.ones((2, 2)), 2.0 * np.eye(2)]))
    assert np.isnan(y[0]).all()
    assert np.array_equal(y[1], 0.5 * np.eye(2))


def test_a_matrix_that_is_not_positive_definite_has_a_nan_factor():
    assert np.isnan(ops.cholesky(np.diag([1.0, -1.0]))).all()


def test_a_triangular_solve_does_not_read_the_other_triangle():
    full = LOW + np.triu(np.full((3, 3), np.nan), 1)
    y = ops.solve_triangular(full, B, lower=True)
    assert np.array_equal(y, ops.solve_triangular(LOW, B, lower=True))
    g = grad(lambda a: ops.sum(ops.solve_triangular(a, B, lower=True, unit=True)))(LOW)
    assert np.array_equal(np.triu(g), np.zeros((3, 3)))


def test_lu_gives_the_matrix_back_and_the_gradient_of_its_product_is_one():
    def product(a):
        y = ops.lu(a)
        return ops.matmul(ops.tril(y, -1) + np.eye(3), ops.triu(y))

    assert np.abs(product(A) - A).max() <= ROUNDINGS
    w = np.arange(9.0).reshape(3, 3) - 4.0
    assert np.abs(grad(lambda a: ops.sum(product(a) * w))(A) - w).max() <= ROUNDINGS


def test_qr_gives_the_matrix_back_with_a_positive_diagonal_and_the_gradient_of_its_product_is_one():
    tall = A[:, :2]
    q, r = ops.qr(tall)
    assert (np.diagonal(r) > 0).all()
    assert np.abs(q.T @ q - np.eye(2)).max() <= ROUNDINGS
    w = np.arange(6.0).reshape(3, 2) - 2.0
    gradient = grad(lambda a: ops.sum(ops.matmul(*ops.qr(a)) * w))(tall)
    assert np.abs(gradient - w).max() <= ROUNDINGS
    with pytest.raises(ShapeError, match="qr: a.shape=\\(2, 3\\)"):
        ops.qr(A[:2])


def angle(x):
    """[[cos φ, sin φ], [-sin φ, cos φ]] of a symmetric 2 × 2 matrix, its eigenvectors: tan 2φ = 2b/(a - d)."""
    a, b, d = x[0, 0], (x[0, 1] + x[1, 0]) / 2, x[1, 1]
    phi = mp.atan2(2 * b, a - d) / 2
    return phi, (a + d) / 2, mp.sqrt(((a - d) / 2) ** 2 + b * b)


def vectors(x):
    phi, _, _ = angle(x)
    return np.array([[-mp.sin(phi), mp.cos(phi)], [mp.cos(phi), mp.sin(phi)]], dtype=object)


def values(x):
    _, centre, radius = angle(x)
    return np.array([centre - radius, centre + radius], dtype=object)


PAIR = np.array([[1.0, 0.25], [0.25, 3.0]])


def test_eigenvalues_and_vectors_of_a_pair_are_those_of_the_rotation_that_diagonalises_it(against_mpmath):
    exponentials = np.vectorize(mp.exp, otypes=[object])
    against_mpmath(lambda a: ops.exp(ops.eigh(a)[0]), lambda x: exponentials(values(x)), PAIR, widest=1e4)
    towards = np.array([[-1.0, 1.0], [1.0, 1.0]])
    against_mpmath(lambda a: ops.eigh(a, towards)[1], vectors, PAIR, widest=1e4)


def test_singular_values_are_the_roots_of_the_eigenvalues(against_mpmath):
    against_mpmath(
        lambda a: ops.svd(a)[1],
        lambda x: np.array([mp.sqrt(v) for v in values(x.T @ x)[::-1]], dtype=object),
        A[:, :2],
        widest=1e4,
    )


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (3, 3)])
def test_a_matrix_is_the_product_of_its_singular_vectors_to_first_and_second_order(shape):
    a = A[: shape[0], : shape[1]]
    w = np.arange(float(a.size)).reshape(shape) - 2.0

    def product(x):
        u, s, v = ops.svd(x)
        return ops.sum(ops.matmul(u * s, ops.swap_last(v)) * w)

    assert np.abs(grad(product)(a) - w).max() <= ROUNDINGS
    assert np.abs(hvp(product, (a,), (w,))).max() <= 100 * ROUNDINGS


def test_the_exponential_of_a_nilpotent_matrix_ends_after_its_square():
    n = np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    assert np.abs(ops.matrix_exp(n) - (np.eye(3) + n + n @ n / 2)).max() <= ROUNDINGS


def test_reflections_with_unit_vectors_and_tau_two_over_their_length_are_orthogonal():
    v = np.array([[7.0, 7.0], [2.0, 7.0], [1.0, 3.0]])
    tau = np.array([2.0 / (1 + 4 + 1), 2.0 / (1 + 9)])
    q = ops.householder_product(v, tau)
    assert np.abs(q.T @ q - np.eye(2)).max() <= ROUNDINGS
    with pytest.raises(ShapeError, match="householder_product: v.shape=\\(2, 3\\)"):
        ops.householder_product(v.T, tau)


def test_the_rule_that_undoes_reflections_gives_the_same_gradient():
    v, tau = np.array([[0.0, 0.0], [0.5, 0.0], [-1.0, 0.75]]), np.array([0.7, 1.3])
    program = trace(ops.householder_product, v, tau)
    w = np.arange(6.0).reshape(3, 2)
    plain, undone = (evaluate(reverse(program, lossy=lossy), v, tau, w) for lossy in (False, True))
    assert all(np.abs(a - b).max() <= ROUNDINGS for a, b in zip(plain, undone, strict=True))


def test_the_determinant_rule_by_the_inverse_is_left_where_the_matrix_is_singular():
    for a in (A, SINGULAR["rank 2 of 3"]):
        program = trace(ops.det, a)
        plain, by_inverse = (evaluate(reverse(program, lossy=lossy), a, np.ones(())) for lossy in (False, True))
        assert np.abs(plain - by_inverse).max() <= ROUNDINGS
    assert PRIMITIVES["det"].lossy is not None


@pytest.mark.parametrize(("n", "m", "rank"), [(3, 3, 2), (50, 50, 2), (50, 5, 5), (5, 50, 5), (20, 20, 20)])
def test_the_spread_of_a_pseudo_inverse_holds_what_another_order_of_its_rows_and_columns_gives(n, m, rank):
    rng = np.random.default_rng(n * m + rank)
    left, right = (np.linalg.qr(rng.standard_normal((k, rank)))[0] for k in (n, m))
    a = left @ right.T  # singular values 1, and roundings of 0
    rows, columns = rng.permutation(n), rng.permutation(m)
    again = np.empty((m, n))
    again[np.ix_(columns, rows)] = np.linalg.pinv(a[rows][:, columns])
    program = trace(ops.pinv, a)
    (y,), (s,) = spread(Plan(program), arguments_of(program, [a]), "float64", samples=32)
    z = np.abs(again - y) / s
    assert 0.3 < np.sqrt(np.mean(z**2)) < 8 and z.max() < 64


@pytest.mark.parametrize("n", [3, 6])
def test_a_matrix_with_nan_has_a_nan_spread_and_leaves_the_others_of_its_stack_alone(n):
    rng = np.random.default_rng(n)
    a, g = rng.standard_normal((2, 3, n, n))
    a[1, 0, 1] = np.nan
    for name in ("cofactors", "second_cofactors"):
        program = trace(lambda *xs, name=name: bind(name, *xs), *((a, g) if name == "second_cofactors" else (a,)))
        given = arguments_of(program, [a, g][: len(program.inputs)])
        (exact,), (moved,) = spread(Plan(program), given, "float64", samples=4)
        alone = [x[[0, 2]] for x in given]
        (without,) = Plan(trace(lambda *xs, name=name: bind(name, *xs), *alone)).run(alone)
        assert np.isnan(exact[1]).any() and np.allclose(exact[[0, 2]], without, rtol=ROUNDINGS)
        assert np.isfinite(moved[[0, 2]]).all()
