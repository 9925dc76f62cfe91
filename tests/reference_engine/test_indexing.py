"""Indexing, ordering and writes: repeats, negative and unused indices, ties, masks, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradwitness.reference_engine import DtypeError, ParameterError, ShapeError, grad, ops, trace, vjp
from gradwitness.reference_engine.registry import PRIMITIVES

X = np.arange(12.0).reshape(3, 4)


def test_a_repeated_index_collects_every_cotangent_and_an_unused_one_gets_zero() -> None:
    gradient = grad(lambda x: ops.sum(ops.take(x, [3, 3, 3, -4], 1) * np.array([1.0, 2.0, 4.0, 8.0])))(X)
    assert gradient.tolist() == [[8, 0, 0, 7]] * 3


@pytest.mark.parametrize("name", ["index_sum", "scatter_sum"])
def test_sums_at_indices_count_negative_ones_from_the_end(name: str) -> None:
    values, indices = np.array([1.0, 2.0, 4.0]), np.array([-1, 2, 0])
    assert PRIMITIVES[name].forward(values, indices, axis=0, length=3).tolist() == [4, 0, 3]


def test_sums_at_indices_keep_complex_values() -> None:
    values, indices = np.array([1.0 + 2j, 3.0 - 1j]), np.array([1, 1])
    for name in ("index_sum", "scatter_sum"):
        assert PRIMITIVES[name].forward(values, indices, axis=0, length=2).tolist() == [0, 4 + 1j]
    assert PRIMITIVES["scatter_flat"].forward(values, indices, shape=(2,)).tolist() == [0, 4 + 1j]


@pytest.mark.parametrize(
    ("name", "params"), [("index_sum", {"axis": 0, "length": 3}), ("scatter_flat", {"shape": (3,)})]
)
def test_a_sum_at_indices_declares_as_many_terms_as_the_most_repeated_index(name: str, params: dict[str, Any]) -> None:
    accumulation = PRIMITIVES[name].accumulates
    values, indices = np.array([1.0, 2.0, -3.0, 5.0]), np.array([2, 0, 2, 2])
    assert accumulation is not None
    assert accumulation.terms(values, indices, **params) == 3
    assert accumulation.squares(values, indices, **params).tolist() == [4, 0, 35]
    assert accumulation.chain >= 10**9  # added one after the other


def test_scatter_sum_counts_repeats_within_one_line_only() -> None:
    accumulation = PRIMITIVES["scatter_sum"].accumulates
    indices = np.array([[0, 1], [1, 1]])
    assert accumulation is not None
    assert accumulation.terms(np.ones((2, 2)), indices, axis=1, length=2) == 2
    assert accumulation.terms(np.ones((2, 2)), indices, axis=0, length=2) == 2
    assert accumulation.terms(np.ones((2, 2)), np.array([[0, 1], [1, 0]]), axis=1, length=2) == 1


def test_sort_orders_nan_last_and_gives_each_entry_its_own_cotangent() -> None:
    x = np.array([2.0, np.nan, -1.0, 2.0])
    y, pull = vjp(lambda x: ops.sort(x), x)
    assert np.array_equal(y, [-1, 2, 2, np.nan], equal_nan=True)
    assert pull(np.array([1.0, 2.0, 3.0, 4.0]))[0].tolist() == [2, 4, 1, 3]  # equal entries keep their order


def test_sorting_downwards_is_stable_too() -> None:
    x = np.array([[2.0, 1.0, 2.0, np.nan]])
    assert ops.argsort(x, descending=True).tolist() == [[3, 0, 2, 1]]
    assert ops.argsort(x).dtype == np.int64


def test_topk_takes_the_greatest_or_the_least_in_order() -> None:
    x = np.array([[3.0, 9.0, 5.0], [8.0, 2.0, 4.0]])
    assert ops.topk(x, 2).tolist() == [[9, 5], [8, 4]]
    assert ops.topk(x, 1, axis=0, largest=False).tolist() == [[3, 2, 4]]
    assert grad(lambda x: ops.sum(ops.topk(x, 2) ** 2))(x).tolist() == [[0, 18, 10], [16, 0, 8]]


def test_a_write_that_is_overwritten_has_derivative_zero_even_where_its_slope_is_infinite() -> None:
    index = np.array([1, 1])
    gx, gv = grad(lambda x, v: ops.sum(ops.scatter(ops.sqrt(x), index, ops.sqrt(v))), (0, 1))(
        np.array([1.0, 0.0]), np.array([0.0, 4.0])
    )
    assert gx.tolist() == [0.5, 0]
    assert gv.tolist() == [0, 0.25]


def test_an_infinite_value_is_written_as_it_is() -> None:
    assert ops.scatter(np.zeros(2), np.array([1, 1]), np.array([np.nan, np.inf])).tolist() == [0, np.inf]


def test_put_is_assignment_that_leaves_its_argument_alone() -> None:
    before = X.copy()
    y = ops.put(X, (slice(None), [0, 2]), -1.0)
    assert np.array_equal(X, before)
    assert y[:, [0, 2]].tolist() == [[-1, -1]] * 3 and np.array_equal(y[:, [1, 3]], X[:, [1, 3]])


def test_a_mask_computed_from_traced_numbers_selects() -> None:
    assert grad(lambda x: ops.sum(x[x > 9.0] ** 2))(X).tolist() == [[0] * 4, [0] * 4, [0, 0, 20, 22]]


def test_a_mask_without_numbers_is_refused_with_the_way_out() -> None:
    with pytest.raises(DtypeError, match="trace with grad"):
        trace(lambda x: x[x > 0.0], X)


def test_an_index_may_be_a_traced_argsort_of_shapes_alone() -> None:
    program = trace(lambda x: ops.sort(x, 0), X)
    assert [e.primitive for e in program.equations] == ["argsort", "gather"]


MISUSES = [
    (lambda: ops.take(X, [4], 1), ParameterError, "index 4 for an axis of length 4; accepted are -4 to 3"),
    (lambda: ops.take(X, [0.5], 1), ParameterError, "dtype float64"),
    (lambda: ops.take(X, [0], 2), ParameterError, "axis=2"),
    (lambda: X[0] + ops.getitem(X, 3), ParameterError, "index 3 for axis 0"),
    (lambda: ops.getitem(X, (0, 0, 0)), ParameterError, "at most 2"),
    (lambda: ops.getitem(X, (..., ...)), ParameterError, "one ..."),
    (lambda: ops.getitem(X, "a"), ParameterError, "index of type str"),
    (lambda: ops.getitem(X, ([0, 1], [0, 1, 2])), ParameterError, "cannot be indexed"),
    (lambda: ops.getitem(X, np.ones((2, 2), bool)), ParameterError, "cannot be indexed"),
    (lambda: ops.take_along_axis(X, np.zeros((4, 4), int), 1), ShapeError, "none but this one longer"),
    (lambda: ops.scatter_add(X, np.zeros((3, 1), int), np.ones((3, 2))), ShapeError, "accepted are equal shapes"),
    (lambda: ops.index_add(X, [0, 1], np.ones((3, 2)), 0), ShapeError, "x.shape with k along the axis"),
    (lambda: ops.topk(X, 5), ParameterError, "k=5"),
    (lambda: ops.masked_select(X, X), DtypeError, "mask > 0"),
    (lambda: ops.masked_select(X, np.ones(3, bool)), ShapeError, "accepted are shapes that broadcast"),
    (lambda: ops.put(X, 0, np.ones(3)), ShapeError, "values.shape=(3,)"),
]


@pytest.mark.parametrize(("misuse", "error", "words"), MISUSES)
def test_misuse_is_named_in_one_sentence(misuse: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        misuse()
    assert words in str(caught.value)
