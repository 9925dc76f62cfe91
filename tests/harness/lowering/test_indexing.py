"""Lowerings of indexing, scatter and embedding at small cases worked by hand."""

import math

import numpy as np
import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.lowering import find

T = torch.tensor
INF = math.inf

# name, function, arguments, value, derivative of the sum of the value by each argument
READS = [
    ("index", lambda x: x[T([0, 0, 2])], ([1.0, 2, 3],), [1, 1, 3], ([2, 0, 1],)),
    ("index with a mask", lambda x: x[T([True, False, True])], ([1.0, 2, 3],), [1, 3], ([1, 0, 1],)),
    ("index_select", lambda x: x.index_select(0, T([1, 1])), ([1.0, 2],), [2, 2], ([0, 2],)),
    (
        "gather",
        lambda x: x.gather(1, T([[0, 0], [1, 0]])),
        ([[1.0, 2], [3, 4]],),
        [[1, 1], [4, 3]],
        ([[2, 0], [1, 1]],),
    ),
    ("take", lambda x: x.take(T([3, -1])), ([[1.0, 2], [3, 4]],), [4, 4], ([[0, 0], [0, 2]],)),
    ("masked_select", lambda x: x.masked_select(T([True, False])), ([[1.0, 2], [3, 4]],), [1, 3], ([[1, 0], [1, 0]],)),
]
WRITES = [
    ("index_put", lambda x, v: x.index_put((T([2, 0]),), v), ([1.0, 2, 3], [7.0, 8]), [8, 2, 7], ([0, 1, 0], [1, 1])),
    (
        "index_put that adds",
        lambda x, v: x.index_put((T([0, 0]),), v, accumulate=True),
        ([1.0, 2], [7.0, 8]),
        [16, 2],
        ([1, 1], [1, 1]),
    ),
    ("index_add", lambda x, v: x.index_add(0, T([1, 1]), v, alpha=2), ([1.0, 2], [7.0, 8]), [1, 32], ([1, 1], [2, 2])),
    ("index_copy", lambda x, v: x.index_copy(0, T([1]), v), ([1.0, 2], [7.0]), [1, 7], ([1, 0], [1])),
    ("index_fill", lambda x: x.index_fill(0, T([1]), 9.0), ([1.0, 2],), [1, 9], ([1, 0],)),
    ("put", lambda x, v: x.put(T([-1]), v), ([[1.0, 2]], [7.0]), [[1, 7]], ([[1, 0]], [1])),
    ("masked_fill", lambda x, v: x.masked_fill(T([True, False]), v), ([1.0, 2], 9.0), [9, 2], ([0, 1], 1)),
    (
        "masked_scatter",
        lambda x, v: x.masked_scatter(T([True, False, True]), v),
        ([1.0, 2, 3], [7.0, 8, 9]),
        [7, 2, 8],
        ([0, 1, 0], [1, 1, 0]),
    ),
    ("scatter", lambda x, v: x.scatter(0, T([1]), v), ([1.0, 2, 3], [7.0, 8]), [1, 7, 3], ([1, 0, 1], [1, 0])),
    ("scatter of a number", lambda x: x.scatter(0, T([1]), 5.0), ([1.0, 2],), [1, 5], ([1, 0],)),
    ("scatter_add", lambda x, v: x.scatter_add(0, T([1, 1]), v), ([1.0, 2], [7.0, 8]), [1, 17], ([1, 1], [1, 1])),
]
REDUCTIONS = [
    ("prod", True, [2.0, 5], [3.0, 4], [24, 5], ([12, 1], [8, 6])),
    ("prod", False, [2.0, 5], [3.0, 4], [12, 5], ([0, 1], [4, 3])),
    ("prod", True, [2.0, 5], [0.0, 4], [0, 5], ([0, 1], [8, 0])),
    ("mean", True, [2.0, 5], [3.0, 4], [3, 5], ([1 / 3, 1], [1 / 3, 1 / 3])),
    ("mean", False, [2.0, 5], [3.0, 4], [3.5, 5], ([0, 1], [0.5, 0.5])),
    ("amax", True, [2.0, 5], [3.0, 4], [4, 5], ([0, 1], [0, 1])),
    ("amax", False, [9.0, 5], [3.0, 4], [4, 5], ([0, 1], [0, 1])),
    ("amin", True, [2.0, 5], [3.0, 4], [2, 5], ([1, 1], [0, 0])),
    ("amin", True, [3.0, 5], [3.0, 4], [3, 5], ([0.5, 1], [0.5, 0])),
]


def agrees(read, fn, arguments, value, slopes):
    found, gradients = read(fn, *arguments)
    assert np.allclose(found, value, rtol=1e-15, atol=0.0)  # one rounding of 2^-53 at most
    for gradient, slope in zip(gradients, slopes, strict=True):
        assert np.allclose(gradient, slope, rtol=1e-15, atol=0.0)


@pytest.mark.parametrize("case", READS + WRITES, ids=[c[0] for c in READS + WRITES])
def test_an_index_reads_and_writes_where_it_points(read, case):
    agrees(read, *case[1:])


@pytest.mark.parametrize("case", REDUCTIONS, ids=[f"{c[0]} {'with' if c[1] else 'without'} self" for c in REDUCTIONS])
@pytest.mark.parametrize("operation", ["scatter_reduce", "index_reduce"])
def test_a_reduction_over_what_points_to_an_entry_has_its_known_derivative(read, operation, case):
    reduce, include, x, v, value, slopes = case
    agrees(
        read, lambda x, v: getattr(x, operation)(0, T([0, 0]), v, reduce, include_self=include), (x, v), value, slopes
    )


@pytest.mark.parametrize(
    ("reduce", "initial", "value"),
    [
        ("sum", None, [3, 0, 3]),
        ("prod", 2.0, [4, 2, 6]),
        ("max", None, [2, -INF, 3]),
        ("min", 0.5, [0.5, 0.5, 0.5]),
        ("mean", 3.0, [3, 3, 6]),
    ],
)
def test_a_segment_is_reduced_from_its_initial_value(read, reduce, initial, value):
    lengths = T([2, 0, 1])
    found, _ = read(lambda x: torch.segment_reduce(x, reduce, lengths=lengths, initial=initial), [1.0, 2.0, 3.0])
    assert np.array_equal(found, value)


@pytest.mark.parametrize("operation", ["index_put", "scatter", "index_copy", "put"])
def test_of_two_writes_to_one_entry_the_one_that_pytorch_kept_has_the_derivative(operation):
    index = T([0, 0, 1])

    def write(x, v):
        if operation == "index_put":
            return x.index_put((index,), v)
        return x.put(index, v) if operation == "put" else getattr(x, operation)(0, index, v)

    x, v = torch.randn(3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    frame = check(write, (x, v)).frame
    assert set(frame[frame.quantity == "value"].verdict) == {"agree"}  # the lost write is known
    assert set(frame.verdict) == {"agree", "convention"}  # PyTorch gives its cotangent to both writes, as documented


def test_rows_of_an_embedding_add_up_and_the_padding_row_keeps_its_derivative(read):
    _, (slope,) = read(lambda w: torch.nn.functional.embedding(T([0, 1, 1]), w, padding_idx=0), np.ones((3, 2)))
    assert np.array_equal(slope, [[1, 1], [2, 2], [0, 0]])


def test_scale_grad_by_freq_divides_by_how_often_a_row_is_used(read):
    def bag(w):
        indices, offsets = T([2, 2, 2, 4]), T([0])
        return torch.nn.functional.embedding_bag(indices, w, offsets, mode="sum", scale_grad_by_freq=True)

    _, (slope,) = read(bag, np.ones((5, 1)))
    assert np.array_equal(slope.ravel(), [0, 0, 1, 0, 1])
    assert check(bag, torch.ones(5, 1, dtype=torch.float64)).verdict == "mismatch"  # row 4 is divided by 3, for row 2


@pytest.mark.parametrize(
    ("mode", "value", "slope"),
    [("sum", [[4], [0]], [0, 1, 0, 1]), ("mean", [[2], [0]], [0, 0.5, 0, 0.5]), ("max", [[3], [0]], [0, 0, 0, 1])],
)
def test_a_bag_leaves_out_its_padding_and_is_0_where_nothing_is_left(read, mode, value, slope):
    indices = T([[1, 0, 3], [0, 0, 0]])
    found, (gradient,) = read(
        lambda w: torch.nn.functional.embedding_bag(indices, w, mode=mode, padding_idx=0), [[9.0], [1.0], [2.0], [3.0]]
    )
    assert np.array_equal(found, value) and np.array_equal(gradient.ravel(), slope)


def test_weights_of_a_bag_have_the_rows_as_their_derivative(read):
    def bag(w, p):
        return torch.nn.functional.embedding_bag(T([[1, 0]]), w, mode="sum", per_sample_weights=p)

    value, (w, p) = read(bag, [[2.0], [5.0]], [[3.0, 4.0]])
    assert value == 23 and np.array_equal(w, [[4], [3]]) and np.array_equal(p, [[5, 2]])


def test_operations_that_only_index_integers_have_no_rule():
    assert find("aten::bucketize", "Tensor") is None
