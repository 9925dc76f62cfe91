"""Counting: calls of a function, entries of a method, nodes and edges of a graph of Values."""

from __future__ import annotations

import sys

import pytest
from gradwitness.reference_engine import Value
from gradwitness.reference_engine.counting import Counted, GraphCost, calls_during, graph_cost


def test_a_counted_function_returns_what_it_returned_and_counts() -> None:
    double = Counted(lambda x: 2 * x)
    assert [double(k) for k in (1, 2, 3)] == [2, 4, 6]
    assert double.calls == 3


def test_entries_of_a_method_are_counted_and_the_profiler_set_back() -> None:
    def run() -> float:
        x = Value(3.0)
        for _ in range(4):
            (x * x).backward()
        return float(x.grad)

    before = sys.getprofile()
    assert calls_during(run, Value.backward) == (6.0, 4)
    assert calls_during(lambda: None, Value.backward) == (None, 0)
    assert sys.getprofile() is before


def test_the_profiler_is_set_back_after_an_error() -> None:
    before = sys.getprofile()
    with pytest.raises(ZeroDivisionError):
        calls_during(lambda: 1 // 0, Value.backward)
    assert sys.getprofile() is before


def test_a_shared_node_is_counted_once_and_each_of_its_edges() -> None:
    x = Value(2.0)
    square = x * x  # one node, two edges
    cost = graph_cost(square + square.sin())  # sin: one edge, sum: two
    assert cost == GraphCost(nodes=3, edges=5) and cost.operations == 13
    assert graph_cost(x) == GraphCost(0, 0)
