"""Connectionist temporal classification against the sum over all paths, written out."""

import itertools
import math

import numpy as np
import pytest
from gradwitness.reference_engine import DerivativeError, grad, hessian, ops

TIMES, LENGTHS = np.array([4, 3]), np.array([2, 1])
TARGETS = [[1, 1], [2]]
LABELS = np.array([[0, 1, 0, 1, 0], [0, 2, 0, 0, 0]])
ROUNDINGS = 1e-13  # of numbers of size 1 that go through some 50 steps of 2^-53 each


def probabilities():
    return np.log(np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 2)))


def paths(n):
    """Every sequence of classes that reads as the targets once repeats are merged and blanks dropped."""
    for path in itertools.product(range(3), repeat=int(TIMES[n])):
        if [c for c, _ in itertools.groupby(path) if c] == TARGETS[n]:
            yield path


def weight(log_probs, n, path):
    return math.exp(sum(log_probs[t, n, c] for t, c in enumerate(path)))


def test_the_recursion_sums_every_path_that_reads_as_the_targets():
    x = probabilities()
    expected = [-math.log(sum(weight(x, n, p) for p in paths(n))) for n in range(2)]
    assert np.allclose(ops.ctc(x, LABELS, TIMES, LENGTHS), expected, rtol=ROUNDINGS)


def test_the_gradient_is_minus_the_share_of_paths_through_each_class():
    x = probabilities()
    expected = np.zeros(x.shape)
    for n in range(2):
        total = sum(weight(x, n, p) for p in paths(n))
        for p in paths(n):
            for t, c in enumerate(p):
                expected[t, n, c] -= weight(x, n, p) / total
    found = grad(lambda v: ops.sum(ops.ctc(v, LABELS, TIMES, LENGTHS)))(x)
    assert np.allclose(found, expected, rtol=ROUNDINGS, atol=ROUNDINGS)


def test_a_sequence_that_no_time_suffices_for_costs_infinity_and_has_derivative_zero():
    times = np.array([2, 3])  # "1 1" needs a blank between: three steps
    x = probabilities()
    assert ops.ctc(x, LABELS, times, LENGTHS)[0] == math.inf
    found = grad(lambda v: ops.sum(ops.getitem(ops.ctc(v, LABELS, times, LENGTHS), slice(0, 1))))(x)
    assert (found == 0).all()


def test_no_label_at_all_leaves_the_path_of_blanks():
    x = probabilities()
    value = ops.ctc(x, LABELS, TIMES, np.array([0, 0]))
    assert np.allclose(value, [-x[:4, 0, 0].sum(), -x[:3, 1, 0].sum()], rtol=ROUNDINGS)


def test_the_second_derivative_is_said_to_be_unwritten():
    with pytest.raises(DerivativeError, match="ctc_posterior"):
        hessian(lambda v: ops.sum(ops.ctc(v, LABELS, TIMES, LENGTHS)))(probabilities())
