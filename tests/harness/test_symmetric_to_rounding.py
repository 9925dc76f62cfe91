"""Matrices whose two triangles differ by a rounding are symmetric to whoever asks; by more than that they are not."""

import numpy as np
import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.faults import planted
from gradwitness.harness.judgement.conventions import within
from gradwitness.harness.lowering.symmetry import is_symmetric, is_symmetric_but_for_rounding
from gradwitness.harness.lowering.table import CallSite
from gradwitness.reference_engine.rounding import UNIT_ROUNDOFF

SECOND = ("R", "F", "RR", "FR", "RF", "FF")
D = torch.float64
N = 6


def drawn(*shape, dtype=D, seed=0):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed)).to(dtype)


def eye(dtype=D):
    return torch.eye(N, dtype=dtype)


def scaled(d):
    """D W D with a fixed symmetric W: each entry is two products, which the other triangle forms in another order."""
    w = (eye() * 4 + 1.0 / (1.0 + torch.arange(N)[:, None] + torch.arange(N))).to(d.dtype)
    return d[:, None] * w * d


def laplacian(w):
    degree = (w + w.T).sum(1)
    return eye(w.dtype) - degree.rsqrt()[:, None] * (w + w.T) * degree.rsqrt()


def kernel(x):
    return (-0.5 * torch.cdist(x, x) ** 2).exp() + 0.1 * eye(x.dtype)


def normal(a):
    law = torch.distributions.MultivariateNormal(
        torch.zeros(N, dtype=a.dtype), covariance_matrix=a @ a.T + eye(a.dtype)
    )
    return law.log_prob(torch.ones(N, dtype=a.dtype))


def eigenvalues(matrix):
    return lambda x: torch.linalg.eigvalsh(matrix(x)).sin().sum()


def logdet(matrix):
    return lambda x: torch.linalg.cholesky(matrix(x)).diagonal().log().sum()


RIGHT = {
    "eigenvalues of a scaled matrix": (eigenvalues(scaled), lambda dtype: drawn(N, dtype=dtype).abs() + 0.5),
    "cholesky of a scaled matrix": (logdet(scaled), lambda dtype: drawn(N, dtype=dtype).abs() + 0.5),
    "whitening by a scaled matrix": (
        lambda d: torch.linalg.solve_triangular(torch.linalg.cholesky(scaled(d)), d[:, None], upper=False),
        lambda dtype: drawn(N, dtype=dtype).abs() + 0.5,
    ),
    "projections by eigenvectors": (
        lambda d: torch.linalg.eigh(scaled(d))[1][:, :2] @ torch.linalg.eigh(scaled(d))[1][:, :2].T,
        lambda dtype: torch.arange(1.0, N + 1).to(dtype),
    ),
    "laplacian": (eigenvalues(laplacian), lambda dtype: drawn(N, N, dtype=dtype).abs() + 0.1),
    "gram matrix": (eigenvalues(lambda a: a @ a.T), lambda dtype: drawn(N, N, dtype=dtype)),
    "covariance": (eigenvalues(torch.cov), lambda dtype: drawn(N, 11, dtype=dtype)),
    "kernel": (logdet(kernel), lambda dtype: drawn(N, 3, dtype=dtype)),
    "normal law": (normal, lambda dtype: drawn(N, N, dtype=dtype)),
}
# Two matters of their own: a distance of 0 has no second derivative, and RF of eigenvectors is a known issue.
MODES = {"kernel": ("R",), "projections by eigenvectors": ("R", "F", "RR", "FR", "FF")}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", RIGHT)
def test_a_matrix_that_is_symmetric_but_for_rounding_is_taken_as_symmetric(name, dtype):
    fn, make = RIGHT[name]
    result = check(fn, make(dtype), modes=MODES.get(name, SECOND))
    assert result.verdict == "convention", result.explain()


def test_the_scaled_matrix_of_these_tests_is_not_bitwise_symmetric():
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        s = scaled(RIGHT["eigenvalues of a scaled matrix"][1](dtype))
        assert not torch.equal(s, s.T)


@pytest.mark.parametrize("hermitian", [False, True])
def test_a_pseudoinverse_of_a_matrix_that_is_symmetric_but_for_rounding_is_judged(hermitian):
    d = drawn(N).abs() + 0.5
    result = check(lambda d: torch.linalg.pinv(scaled(d), hermitian=hermitian), d, modes=("R", "F"))
    assert result.verdict == "agree", result.explain()


@pytest.mark.parametrize("leaf", [torch.bfloat16, torch.float16], ids=str)
def test_a_matrix_made_in_half_precision_is_symmetric_to_the_rounding_of_that(leaf):
    d = drawn(N, dtype=leaf).abs() + 0.5
    assert not torch.equal(scaled(d), scaled(d).T)
    for fn in (eigenvalues(lambda d: scaled(d).float()), logdet(lambda d: scaled(d).double())):
        result = check(fn, d)
        assert result.verdict == "convention", result.explain()


def test_a_product_under_autocast_is_symmetric_to_the_rounding_of_that():
    weight = drawn(N, N, dtype=torch.float32, seed=1)
    fn = eigenvalues(lambda a: (a @ (weight + weight.T) @ a.T).float())
    result = check(fn, drawn(N, N, dtype=torch.float32), dtypes=("autocast",))
    assert result.verdict == "convention", result.explain()


LARGE = 1e4 * drawn(N, N, seed=2)


def cancelling(w):
    """A symmetric matrix from which numbers 10,000 times as large were taken off again: it is known to 12 digits."""
    return (w + w.T + LARGE) - LARGE


def test_what_cancels_is_symmetric_to_the_rounding_of_what_was_cancelled():
    w = drawn(N, N)
    made = cancelling(w)
    assert not is_symmetric_but_for_rounding(made.numpy(), "float64")
    for modes in (("R",), ("F", "RR")):
        result = check(eigenvalues(cancelling), w, modes=modes)
        assert result.verdict == "convention", result.explain()
    # the same numbers as a leaf were made of nothing, and one triangle of them is read
    assert check(eigenvalues(lambda a: a), made).verdict == "mismatch"


@pytest.mark.parametrize("fn", [eigenvalues(lambda a: a), logdet(lambda a: a)], ids=["eigvalsh", "cholesky"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_leaf_that_is_less_symmetric_than_rounding_leaves_it_is_read_by_one_triangle(fn, dtype):
    s = scaled(drawn(N, dtype=dtype).abs() + 0.5)
    assert not torch.equal(s, s.T) and check(fn, s).verdict == "convention"
    s[0, 1] += 1e4 * UNIT_ROUNDOFF[str(dtype).removeprefix("torch.")] * s.abs().max()
    result = check(fn, s)
    assert result.verdict == "mismatch" and result.culprit is not None


ASYMMETRIC = {
    "a part of 1e-10": lambda a: a @ a.T + 1e-10 * a,
    "one triangle": lambda a: (a @ a.T).tril(),
    "another matrix of the batch": lambda a: torch.stack([a @ a.T, a + 9 * eye()]),
}


@pytest.mark.parametrize("name", ASYMMETRIC)
def test_a_matrix_that_a_run_made_less_symmetric_than_it_rounds_is_read_by_one_triangle(name):
    result = check(eigenvalues(ASYMMETRIC[name]), drawn(N, N))
    assert result.verdict == "mismatch" and result.culprit.operation.startswith("aten::_linalg_eigh"), result.explain()


def test_a_drift_without_a_number_excuses_no_difference():
    x = np.array([[1.0, 0.5], [0.25, 2.0]])
    for drift, symmetric in ((1.0, True), (np.inf, False), (np.nan, False)):
        site = CallSite(
            "aten::_linalg_eigh.default", (x,), "float64", drifts=lambda a, held, d=drift: np.full((2, 2), d)
        )
        assert is_symmetric(site, x) == symmetric


PLANTED = {
    "cholesky-factor-two": logdet(scaled),
    "eigenvalues-not-conjugated": eigenvalues(scaled),
    "eigenvectors-differences": lambda d: torch.linalg.eigh(scaled(d)).eigenvectors.square(),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_wrong_rule_is_found_where_the_matrix_is_symmetric_but_for_rounding(name):
    d = torch.arange(1.0, N + 1, dtype=D) ** 0.5
    assert check(PLANTED[name], d).verdict == "convention"
    with planted(name):
        result = check(PLANTED[name], d)
    assert result.verdict == "mismatch", result.explain()
    assert result.culprit.operation.startswith(("aten::linalg_cholesky_ex", "aten::_linalg_eigh"))


def gram_with(rule):
    """The eigenvalues of a symmetric matrix by a custom Function with a rule of its own."""

    class Eigenvalues(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            w, v = torch.linalg.eigh(a)
            ctx.save_for_backward(v)
            return w

        @staticmethod
        def backward(ctx, g):
            (v,) = ctx.saved_tensors
            return rule(v, g)

    return lambda d: Eigenvalues.apply(scaled(d)).sin().sum()


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        (lambda v, g: v * g @ v.T, "convention"),
        (lambda v, g: v.T * g @ v, "mismatch"),
        (lambda v, g: 1.0001 * (v * g @ v.T), "mismatch"),
    ],
    ids=["right", "transposed", "a ten thousandth more"],
)
def test_a_rule_of_the_user_is_held_against_the_symmetric_gradient(rule, verdict):
    result = check(gram_with(rule), drawn(N).abs() + 0.5)
    assert result.verdict == verdict, result.explain()


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64, torch.float64, torch.float32], ids=str)
def test_directions_stay_hermitian_where_a_leaf_is_so_but_for_rounding(dtype):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, N, dtype=dtype, generator=generator)
    x, direction = x + x.mH, torch.randn(N, N, dtype=dtype, generator=generator)
    held = direction + direction.mH
    u = torch.finfo(dtype).eps / 2
    for step in (0.0, 4 * u, 1j * 4 * u if dtype.is_complex else -4 * u):
        moved = x.clone()
        moved[0, 1] += step * x.abs().max()
        assert torch.equal(2 * within(direction, moved, ["symmetric-input"]), held)
        assert torch.equal(within(direction, moved, []), direction)
    for place in ((0, 1), (2, 2) if dtype.is_complex else (3, 1)):
        moved = x.clone()
        moved[place] += (1j if dtype.is_complex else 1.0) * 1e4 * u * x.abs().max()
        assert torch.equal(within(direction, moved, ["symmetric-input"]), direction)


@pytest.mark.parametrize("held", ["float64", "float32", "bfloat16", "float16"])
def test_the_bound_is_that_of_each_matrix_of_a_batch_and_of_the_dtype(held):
    x = np.stack([np.eye(3), 1e6 * np.eye(3)])
    summed = UNIT_ROUNDOFF["float32" if held.endswith("16") else held]
    bound = 3 * 64 * summed + (8 * UNIT_ROUNDOFF[held] if held.endswith("16") else 0.0)
    for batch, size in ((0, 1.0), (1, 1e6)):
        for share, symmetric in ((0.5, True), (2.0, False)):
            y = x.copy()
            y[batch, 2, 0] = share * bound * size
            assert is_symmetric_but_for_rounding(y, held) == symmetric


def test_infinities_and_nan_are_as_their_mirror_images():
    x = np.array([[1.0, np.inf, np.nan], [np.inf, 2.0, 1.0], [np.nan, 1.0 + 1e-15, 3.0]])
    assert is_symmetric_but_for_rounding(x, "float64")
    for place in ((0, 1), (0, 2), (1, 2)):
        y = x.copy()
        y[place] = -1.0
        assert not is_symmetric_but_for_rounding(y, "float64")


@pytest.mark.parametrize("upper", [True, False])
def test_the_witness_has_the_numbers_of_the_triangle_that_is_read(upper):
    # the triangles are a rounding of bfloat16 apart, and what is read is worked on in float64
    d = drawn(N, dtype=torch.bfloat16).abs() + 0.5
    result = check(lambda d: torch.linalg.cholesky(scaled(d).double(), upper=upper), d)
    assert result.verdict == "convention", result.explain()
