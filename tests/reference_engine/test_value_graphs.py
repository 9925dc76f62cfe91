"""The graph under `Value`: seeds, cycles, own operations, memory, and micrograd's network running on it unchanged."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import micrograd.engine
import pytest
import torch
from gradwitness.reference_engine import DerivativeError, DtypeError, Value
from micrograd import nn


def test_a_nan_seed_makes_every_gradient_nan() -> None:
    x, y = Value(1.0), Value(2.0)
    (x * y + 1).backward(math.nan)
    assert math.isnan(x.grad) and math.isnan(y.grad)


def test_a_seed_that_is_no_number_is_refused() -> None:
    with pytest.raises(DtypeError, match=r"backward: found 'one' of type str; accepted is one number"):
        (Value(1.0) * 2).backward("one")


def test_a_node_that_is_its_own_operand_is_refused() -> None:
    x = Value(1.0)
    x._prev = (x,)
    with pytest.raises(DerivativeError, match=r"made from itself, in a cycle"):
        x.backward()


def test_after_a_hand_tied_graph_without_a_cycle_gradients_are_right() -> None:
    a, b = Value(2.0), Value(3.0)
    y = Value(6.0)
    y._prev, y._slopes = (a, b), (3.0, 2.0)
    (y * 10).backward()
    assert (a.grad, b.grad) == (30.0, 20.0)


def test_an_operation_of_ones_own_takes_part() -> None:
    x = Value(2.0)
    cube = Value(x.data**3, (x,), "cube", (3 * x.data**2,))
    (cube + x).backward()
    assert (x.grad, cube._prev, cube._op) == (13.0, (x,), "cube")


def test_more_than_two_operands_are_refused() -> None:
    with pytest.raises(DtypeError, match=r"Value: found 3 operands; accepted are at most two"):
        Value(1.0, (Value(1.0),) * 3)


def test_inheritance_is_refused() -> None:
    with pytest.raises(DtypeError, match=r"Value: Mine inherits from it; accepted is Value itself"):
        type("Mine", (Value,), {})


def test_operands_and_slopes_are_told_in_order_and_a_plain_number_is_kept() -> None:
    x, y = Value(2.0), Value(5.0)
    product, shifted = x * y, x + 7
    assert product._prev == (x, y) and product._slopes == (5.0, 2.0)
    assert shifted._prev == (x,) and shifted._slopes == (1,) and shifted._db == 7
    assert Value(1.0)._prev == ()


def test_an_interrupted_backward_does_not_spoil_the_next() -> None:
    x = Value(2.0)
    bad = Value(1.0, (x,), "bad", (Decimal(1),))  # a number that floats do not mix with
    with pytest.raises(DtypeError):
        (bad * 1.5 + x).backward(1.0)
    (x * x).backward()
    assert x.grad == 4.0


def test_a_graph_shared_by_two_roots_starts_afresh_for_each() -> None:
    x = Value(3.0)
    shared = x * x
    (shared * 2).backward()
    (shared + x).backward()
    assert (x.grad, shared.grad) == (7.0, 1)


def test_a_million_nodes_of_all_shapes_are_freed_without_recursion() -> None:
    x = Value(1.0)
    y = x
    for k in range(1_000_000):
        y = y * 1.0 if k % 3 else y + x
    y.backward()
    assert x.grad == y.data + 0.0  # every addition of x counts once, and the chain itself once
    del y
    assert x._prev == ()


def network(value: Any, seed: int) -> tuple[Any, Any]:
    """micrograd's own MLP on the given class, its loss after forward, zero and backward, and its model."""
    nn.Value = value
    try:
        random.seed(seed)
        model = nn.MLP(3, [16, 16, 1])
        rows = [[random.uniform(-1, 1) for _ in range(3)] for _ in range(20)]
        targets = [random.choice([-1.0, 1.0]) for _ in range(20)]
        loss = sum((1 + -target * model(row)).relu() for row, target in zip(rows, targets, strict=True)) * (1 / 20)
        loss = loss + 1e-4 * sum(p * p for p in model.parameters())
        model.zero_grad()
        loss.backward()
        return loss, model
    finally:
        nn.Value = micrograd.engine.Value


@pytest.mark.parametrize("seed", range(5))
def test_the_network_of_micrograd_runs_unchanged_with_a_bitwise_equal_loss(seed: int) -> None:
    ours, mine = network(Value, seed)
    theirs, other = network(micrograd.engine.Value, seed)
    assert float(ours.data).hex() == float(theirs.data).hex()
    gradients = [(p.grad, q.grad) for p, q in zip(mine.parameters(), other.parameters(), strict=True)]
    scale = max(abs(g) for _, g in gradients)
    # Both add the same products in another order: at most a few hundred roundings of the greatest.
    assert all(abs(p - q) <= 1000 * 2.0**-53 * scale for p, q in gradients)


def test_fractions_stay_fractions_through_the_network_of_micrograd() -> None:
    nn.Value = Value
    try:
        random.seed(1)
        model = nn.MLP(2, [3, 1])
    finally:
        nn.Value = micrograd.engine.Value
    for p in model.parameters():
        p.data = Fraction(p.data).limit_denominator(100)
    model.zero_grad()
    loss = (model([Fraction(1, 3), Fraction(-2, 5)]) - 1) ** 2
    loss.backward()
    assert isinstance(loss.data, Fraction)
    assert all(isinstance(p.grad, int | Fraction) for p in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, (Value(1.0),), "f", ()), r"found 1 operands and 0 slopes; accepted is one slope for each"),
        ((1.0, (Value(1.0),), "f", (1.0, 2.0)), r"found 1 operands and 2 slopes"),
        ((1.0, (Value(1.0),), "f", ("a",)), r"Value: slope: found 'a' of type str"),
        ((1.0, (2.0,), "f", (1.0,)), r"Value: found operands \(2.0,\); accepted is a tuple of Values"),
        (
            (1.0, Value(1.0), "f", (1.0,)),
            r"Value: found operands Value\(data=1.0000, grad=0.0000\); accepted is a tuple",
        ),
    ],
)
def test_an_operation_of_ones_own_that_does_not_fit_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(DtypeError, match=message):
        Value(*arguments)


def test_a_value_is_compared_with_numbers_by_its_data_and_with_values_by_identity() -> None:
    x, y = Value(2.0), Value(2.0)
    assert x == 2 and x != 3 and x == x and x != y
    assert len({x, y, x}) == 2
    assert bool(x) and not Value(0.0)


def test_functions_of_math_would_cut_the_graph_and_say_what_to_write() -> None:
    with pytest.raises(DtypeError, match=r"Write x.exp\(\) for math.exp\(x\)"):
        math.exp(Value(1.0))


def test_a_tensor_with_a_graph_of_its_own_is_refused_and_a_plain_one_is_a_number() -> None:
    with pytest.raises(DtypeError, match=r"found a tensor that requires grad; accepted are plain numbers"):
        Value(torch.tensor(1.0, requires_grad=True))
    assert Value(torch.tensor(1.5)).data == 1.5


def test_formatting_and_unary_plus() -> None:
    x = Value(1.23456)
    assert f"{x:.2f}" == "1.23" and f"{x}" == repr(x) and +x is x
    assert repr(Value(1e-10)) == "Value(data=1.0000e-10, grad=0.0000)"
