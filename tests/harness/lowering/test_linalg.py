"""Lowerings of linear algebra: values against the equation they solve, gradients in closed form, recorded choices."""

import math

import numpy as np
import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.lowering.factorizations import row_order
from gradwitness.harness.recorder.recording import capture
from gradwitness.harness.recorder.witnessing import witness

ROUNDINGS = 1e-13  # results of size 1 to 100 after fewer than 100 roundings of 2^-53 each
A = np.array([[1.0, 2.0], [3.0, 4.0]])
DET = -2.0
INVERSE = np.array([[-2.0, 1.0], [1.5, -0.5]])
ONES = np.ones((2, 2))
PAIR = np.array([[2.0, 1.0], [1.0, 2.0]])  # eigenvalues 1 and 3
LOW = np.array([[2.0, 0.0], [1.0, 4.0]])

CASES = [
    ("det", torch.linalg.det, A, DET, [[4.0, -3.0], [-2.0, 1.0]]),
    ("det of rank 1", torch.linalg.det, [[1.0, 2.0], [2.0, 4.0]], 0.0, [[4.0, -2.0], [-2.0, 1.0]]),
    ("logabsdet", lambda a: torch.linalg.slogdet(a)[1], A, math.log(2.0), INVERSE.T),
    ("inv", torch.linalg.inv, A, INVERSE, -INVERSE.T @ ONES @ INVERSE.T),
    ("solve", lambda a: torch.linalg.solve(a, torch.eye(2).double()), A, INVERSE, -INVERSE.T @ ONES @ INVERSE.T),
    (
        "solve from the right",
        lambda a: torch.linalg.solve(a, torch.eye(2).double(), left=False),
        A,
        INVERSE,
        -INVERSE.T @ ONES @ INVERSE.T,
    ),
    ("eigenvalues", lambda a: torch.linalg.eigvalsh(a)[1], PAIR, 3.0, 0.5 * ONES),
    ("one triangle", lambda a: torch.linalg.eigvalsh(a)[1], [[2.0, 9.0], [1.0, 2.0]], 3.0, [[0.5, 0.0], [1.0, 0.5]]),
    ("nuclear norm", lambda a: torch.linalg.matrix_norm(a, "nuc"), np.diag([3.0, 2.0]), 5.0, np.eye(2)),
    ("cholesky", lambda a: torch.linalg.cholesky(a)[0, 0], [[4.0, 2.0], [2.0, 5.0]], 2.0, [[0.25, 0.0], [0.0, 0.0]]),
    ("matrix_exp", torch.linalg.matrix_exp, np.zeros((2, 2)), np.eye(2), ONES),
    ("pinv of a column", torch.linalg.pinv, [[3.0], [4.0]], [[0.12, 0.16]], [[-0.0272], [-0.0496]]),
    ("cholesky_inverse", torch.cholesky_inverse, [[2.0]], [[0.25]], [[-0.25]]),
]


@pytest.mark.parametrize(("fn", "point", "expected", "slope"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_function_of_a_matrix_has_its_known_value_and_gradient(read, fn, point, expected, slope):
    value, (gradient,) = read(fn, point)
    assert np.allclose(value, expected, rtol=ROUNDINGS, atol=ROUNDINGS)
    assert np.allclose(gradient, slope, rtol=ROUNDINGS, atol=ROUNDINGS)


B = np.array([[1.0, -1.0], [2.0, 0.5]])
SYSTEMS = [
    ("solve_triangular", lambda a, b: torch.linalg.solve_triangular(a, b, upper=False), LOW),
    ("from the right", lambda a, b: torch.linalg.solve_triangular(a, b, upper=False, left=False), LOW),
    ("transposed", lambda a, b: torch.triangular_solve(b, a, upper=False, transpose=True)[0], LOW),
    ("cholesky_solve", lambda a, b: torch.cholesky_solve(b, a), LOW),
    ("lu_solve", lambda a, b: torch.linalg.lu_solve(*torch.linalg.lu_factor(a), b), A),
    ("adjoint", lambda a, b: torch.linalg.lu_solve(*torch.linalg.lu_factor(a), b, adjoint=True), A),
    ("lstsq", lambda a, b: torch.linalg.lstsq(a, b)[0], A),
    ("ormqr", lambda a, b: torch.ormqr(a, b[0], b), LOW),
]


@pytest.mark.parametrize(("fn", "matrix"), [c[1:] for c in SYSTEMS], ids=[c[0] for c in SYSTEMS])
def test_a_system_has_the_value_of_pytorch_and_a_gradient_by_differences(read, fn, matrix):
    value, gradients = read(fn, matrix, B)
    tensors = [torch.tensor(x) for x in (matrix, B)]
    assert np.allclose(value, fn(*tensors).numpy(), rtol=ROUNDINGS, atol=ROUNDINGS)
    h = 2.0**-20
    for i, gradient in enumerate(gradients):
        for place in np.ndindex(2, 2):
            if i == 0 and place == (0, 1) and matrix is LOW:
                continue  # not read
            ends = []
            for step in (h, -h):
                moved = [t.clone() for t in tensors]
                moved[i][place] += step
                ends.append(fn(*moved).sum().item())
            # the difference is off by h² times a third derivative of size 100, and by 1e-16/h
            assert abs((ends[0] - ends[1]) / (2 * h) - gradient[place]) <= 1e-8


def test_row_exchanges_are_read_one_after_the_other():
    # first rows 0 and 2 change places, then rows 1 and 2
    assert row_order(np.array([3, 3, 3]), 3).tolist() == [2, 0, 1]


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 3)])
@pytest.mark.parametrize("name", ["lu", "lu_factor", "qr", "svd"])
def test_a_factorisation_agrees_with_the_witness_at_every_node(name, shape):
    torch.manual_seed(0)
    factor = {
        "lu": torch.linalg.lu,
        "lu_factor": torch.linalg.lu_factor,
        "qr": torch.linalg.qr,
        "svd": lambda a: torch.linalg.svd(a, full_matrices=False),
    }[name]
    assert check(factor, torch.randn(shape, dtype=torch.float64)).ok


def test_the_factors_of_an_empty_matrix_are_constants(read):
    value, (gradient,) = read(lambda a: torch.linalg.qr(a)[1], np.zeros((0, 2)))
    assert value.shape == (0, 2)
    assert gradient.shape == (0, 2)


def test_a_tolerance_that_cuts_off_singular_values_is_followed(read):
    value, (gradient,) = read(lambda a: torch.linalg.pinv(a, atol=1.5), np.diag([2.0, 1.0]))
    assert np.allclose(value, np.diag([0.5, 0.0]), atol=ROUNDINGS)
    # diag(2, 1) + t E12: to first order u = (1, t/3), v = (1, 2t/3), s = 2, so v uᵀ/2 grows by 1/6 + 1/3
    assert np.allclose(gradient, [[-0.25, 0.5], [0.5, 0.0]], rtol=ROUNDINGS, atol=ROUNDINGS)


def test_completing_columns_are_not_covered():
    tensor = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    recording = capture(lambda a: torch.linalg.qr(a, mode="complete"), tensor)
    seen = witness(recording, recording.inputs)
    assert "not a function of A" in str(seen.unsupported)


def test_the_unread_triangle_of_a_cholesky_factor_is_a_convention():
    report = check(torch.cholesky_inverse, torch.tensor(LOW))
    assert report.ok


def test_eigenvalues_and_lengths_of_eigenvectors_of_a_triangular_pair(read):
    # [[1, b], [0, 3]] has the values 1 and 3, the vectors (1, 0) and (b, 2)/√(4 + b²): ∂|v₁|/∂b = 4/(4 + b²)^1.5
    a = [[1.0, 2.0], [0.0, 3.0]]
    value, (slope,) = read(lambda x: torch.linalg.eig(x)[1].abs()[0, 1], a)
    assert abs(value - math.sqrt(0.5)) < 1e-14  # some ten roundings of 2^-53
    assert abs(slope[0, 1] - 4 / 8**1.5) < 1e-14
    value, (slope,) = read(lambda x: torch.linalg.eigvals(x).real.sum(), a)
    assert abs(value - 4.0) < 1e-14 and np.abs(slope - np.eye(2)).max() < 1e-14


@pytest.mark.parametrize("a", [[[1.0, -2.0], [0.5, 1.0]], [[1.0, 0.5, 0.25], [0.5, -1.0, 2.0], [0.25, -2.0, 1.0]]])
def test_eigenvalues_agree_with_torch_in_every_mode_of_orders_one_and_two(a):
    def values_and_projectors(x):
        w, v = torch.linalg.eig(x)
        # v vᴴ / vᴴv is free of the phase of v
        return w.real, w.imag, (v[:, None, :] * v.conj()[None, :, :]).real

    x = torch.tensor(a, dtype=torch.float64)
    for mode in ("R", "F", "RR", "FR", "FF"):
        assert check(values_and_projectors, x, modes=mode).ok, mode
    both = torch.complex(x, x.mT * 0.5)
    assert check(lambda z: (lambda w, v: (w.abs(), v.abs()))(*torch.linalg.eig(z)), both).ok


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("fn", [torch.pinverse, lambda a: torch.linalg.pinv(a, rtol=1e-3), torch.linalg.pinv])
def test_a_pseudo_inverse_is_read_in_every_precision_that_has_one(fn, dtype):
    """Its tolerances are float64 tensors without axes, also where the matrix is float32."""
    a = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert check(fn, a, dtypes=dtype).verdict == "agree"
