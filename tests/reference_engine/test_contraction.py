"""matmul, einsum, tensordot and their kin: NumPy's values, exact derivatives on whole numbers, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradwitness.reference_engine import ParameterError, ShapeError, grad, hessian, jvp, ops, vjp
from gradwitness.reference_engine.tracing import trace

RNG = np.random.default_rng(5)


def whole(*shape: int) -> Any:
    """Small whole numbers: every product and sum here is exact in float64, so nothing needs a tolerance."""
    return RNG.integers(-4, 5, shape).astype(np.float64)


def einsum_case(subscripts: str, *shapes: tuple[int, ...]) -> Any:
    return (
        lambda *xs: ops.einsum(subscripts, *xs),
        lambda *xs: np.einsum(subscripts, *xs),
        [whole(*shape) for shape in shapes],
    )


CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], list[Any]]] = {
    "matmul": (ops.matmul, np.matmul, [whole(2, 3), whole(3, 4)]),
    "matmul, batch broadcast both ways": (ops.matmul, np.matmul, [whole(2, 1, 2, 3), whole(4, 3, 2)]),
    "matmul, row times matrix": (ops.matmul, np.matmul, [whole(3), whole(2, 3, 4)]),
    "matmul, matrix times column": (ops.matmul, np.matmul, [whole(2, 3, 4), whole(4)]),
    "matmul of nothing": (ops.matmul, np.matmul, [whole(2, 0), whole(0, 3)]),
    "tensordot": (ops.tensordot, np.tensordot, [whole(2, 3, 4), whole(3, 4, 2)]),
    "tensordot of paired axes": (
        lambda a, b: ops.tensordot(a, b, ((0, 2), (1, -1))),
        lambda a, b: np.tensordot(a, b, ((0, 2), (1, -1))),
        [whole(2, 3, 4), whole(5, 2, 4)],
    ),
    "tensordot of no axes": (
        lambda a, b: ops.tensordot(a, b, 0),
        lambda a, b: np.tensordot(a, b, 0),
        [whole(2), whole(3)],
    ),
    "vecdot": (ops.vecdot, lambda a, b: np.sum(a * b, -1), [whole(2, 3), whole(4, 1, 3)]),
    "vecdot along another axis": (
        lambda a, b: ops.vecdot(a, b, 0),
        lambda a, b: np.sum(a * b, 0),
        [whole(3, 2), whole(3, 2)],
    ),
    "outer": (ops.outer, np.outer, [whole(3), whole(2, 2)]),
    "kron": (ops.kron, np.kron, [whole(2, 3), whole(3, 1)]),
    "kron of other ranks": (ops.kron, np.kron, [whole(2), whole(3, 2)]),
    "trace": (lambda x: ops.trace(x, 1), lambda x: np.trace(x, 1), [whole(3, 4)]),
    "einsum, matrix product": einsum_case("ij,jk->ik", (2, 3), (3, 4)),
    "einsum, implicit result": einsum_case("kj,ik", (3, 4), (2, 3)),
    "einsum, batch": einsum_case("bij,bkj->bik", (2, 3, 4), (2, 2, 4)),
    "einsum, result transposed": einsum_case("bij,bjk->kib", (2, 3, 4), (2, 4, 3)),
    "einsum, three operands": einsum_case("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    "einsum, label in all operands": einsum_case("ij,ij,ij->i", (2, 3), (2, 3), (2, 3)),
    "einsum, diagonal": einsum_case("iij->ij", (3, 3, 2)),
    "einsum, trace": einsum_case("ii->", (3, 3)),
    "einsum, label three times": einsum_case("iii->i", (2, 2, 2)),
    "einsum, diagonal times": einsum_case("ii,ij->j", (3, 3), (3, 2)),
    "einsum, label of one operand alone": einsum_case("ij,k->i", (2, 3), (4,)),
    "einsum, outer": einsum_case("i,j->ji", (2,), (3,)),
    "einsum, ellipsis": einsum_case("...ij,jk->...ik", (2, 3, 4), (4, 2)),
    "einsum, ellipses broadcast": einsum_case("...i,...i->...", (2, 1, 3), (4, 3)),
    "einsum, implicit ellipsis": einsum_case("...ij,...jk", (2, 3, 4), (4, 2)),
    "einsum, length 1 stands for more": einsum_case("ij,ij->ij", (1, 3), (2, 3)),
    "einsum, scalars": einsum_case(",i->i", (), (3,)),
    "einsum, nothing": einsum_case("ij,jk->ik", (2, 0), (0, 3)),
    "einsum, one operand transposed": einsum_case("ijk->kij", (2, 3, 4)),
    "einsum, one operand": einsum_case("ijk->j", (2, 3, 4)),
}


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_numpy(name: str) -> None:
    ours, theirs, xs = CASES[name]
    np.testing.assert_array_equal(ours(*xs), theirs(*xs))
    assert trace(ours, *xs).outputs[0].shape == np.shape(theirs(*xs))


@pytest.mark.parametrize("name", CASES)
def test_every_derivative_of_a_multilinear_map_is_the_map_itself_with_one_operand_exchanged(name: str) -> None:
    """f is linear in each operand: the tangent is Σ f(…, t, …), and <g, f(…, t, …)> = <x̄, t> for unit vectors t."""
    ours, theirs, xs = CASES[name]
    ts = [whole(*x.shape) for x in xs]
    _, tangent = jvp(ours, xs, ts)
    exchanged = [theirs(*xs[:i], ts[i], *xs[i + 1 :]) for i in range(len(xs))]
    np.testing.assert_array_equal(tangent, sum(exchanged))
    y, pull = vjp(ours, *xs)
    g = whole(*np.shape(y))
    for i, x_bar in enumerate(pull(g)):
        for place in np.ndindex(xs[i].shape):
            unit = np.zeros(xs[i].shape)
            unit[place] = 1.0
            assert x_bar[place] == np.sum(g * theirs(*xs[:i], unit, *xs[i + 1 :]))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if len(case[2]) == 2])
def test_mixed_second_derivatives_of_a_product_are_the_map_on_unit_vectors(name: str) -> None:
    ours, theirs, (a, b) = CASES[name]
    u, v = whole(*a.shape), whole(*b.shape)
    g = whole(*np.shape(theirs(a, b)))

    def gradient_along_u(b: Any) -> Any:
        return ops.sum(grad(lambda a: ops.sum(g * ours(a, b)))(a) * u)

    assert np.sum(grad(gradient_along_u)(b) * v) == np.sum(g * theirs(u, v))


def test_a_quadratic_form_has_its_symmetrised_matrix_as_hessian() -> None:
    m = whole(3, 3)
    form = lambda x: ops.einsum("i,ij,j->", x, m, x)
    np.testing.assert_array_equal(hessian(form)(whole(3)), m + m.T)


@pytest.mark.parametrize(
    ("subscripts", "shapes", "error", "message"),
    [
        ("ij,jk", [(2, 3), (4, 5)], ShapeError, "label 'j' has lengths 3 and 4"),
        ("ij", [(2,)], ShapeError, "'ij' does not fit its operand"),
        ("ij->k", [(2, 3)], ShapeError, "result 'k' repeats a label or names one"),
        ("ij->ii", [(2, 3)], ShapeError, "result 'ii' repeats a label"),
        ("ii->i", [(1, 3)], ShapeError, "label 'i' repeats within 'ii' with unequal lengths"),
        ("i,j", [(2,)], ParameterError, "name 2 operands and 1 were given"),
        ("i!j", [(2, 3)], ParameterError, "accepted are letters"),
    ],
)
def test_subscripts_that_do_not_fit_are_refused(subscripts: str, shapes: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        ops.einsum(subscripts, *[np.zeros(s) for s in shapes])


def test_products_of_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="matmul: a.shape=\\(2, 3\\) has 3 columns but b.shape=\\(4, 5\\) has 4 rows"):
        ops.matmul(np.zeros((2, 3)), np.zeros((4, 5)))
    with pytest.raises(ShapeError, match="matmul: .* at least one axis"):
        ops.matmul(np.float64(2.0), np.zeros(2))
    with pytest.raises(ShapeError, match="tensordot: .* lengths \\[3\\] and \\[4\\]"):
        ops.tensordot(np.zeros((2, 3)), np.zeros((4, 2)), 1)
    with pytest.raises(ParameterError, match="tensordot: axes=3"):
        ops.tensordot(np.zeros((2, 3)), np.zeros((4, 2)), 3)
    with pytest.raises(ShapeError, match="vecdot: argument 0 has shape"):
        ops.vecdot(np.zeros(2), np.zeros(3))
