"""Counting what a computation costs: calls of a function, runs of a method, operations of a graph of Values.

Counts are taken while the computation runs, never derived from what it should need.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

from .scalar import Value

P = ParamSpec("P")
T = TypeVar("T")


class Counted(Generic[P, T]):
    """The function `fn` with a counter: `calls` is how often it was called."""

    def __init__(self, fn: Callable[P, T]) -> None:
        self.fn = fn
        self.calls = 0
        self.__name__ = getattr(fn, "__name__", "fn")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        self.calls += 1
        return self.fn(*args, **kwargs)


def calls_during(run: Callable[[], T], watched: Callable[..., Any]) -> tuple[T, int]:
    """(what `run()` returned, how often the Python function `watched` was entered meanwhile on this thread).

    It listens as a profiler does, so that nothing is replaced; a profiler that was set before is set again after, and
    hears nothing in between. It slows `run` down: take times in a run of its own.
    """
    assert isinstance(watched, FunctionType)
    code, count = watched.__code__, 0

    def listen(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        if event == "call" and frame.f_code is code:
            count += 1

    before = sys.getprofile()
    sys.setprofile(listen)
    try:
        result = run()
    finally:
        sys.setprofile(before)
    return result, count


class GraphCost(NamedTuple):
    """What the gradient of one result costs by `Value`: operations forward, and edges that `backward` walks."""

    nodes: int
    edges: int

    @property
    def operations(self) -> int:
        """One forward operation a node; one multiplication and one addition an edge."""
        return self.nodes + 2 * self.edges


def graph_cost(root: Value) -> GraphCost:
    """The nodes that `root` was made in, each once, and the edges between them and their operands."""
    seen, waiting, nodes, edges = {root}, [root], 0, 0
    while waiting:
        operands = waiting.pop()._prev
        nodes += 1 if operands else 0
        edges += len(operands)
        for operand in operands:
            if operand not in seen:
                seen.add(operand)
                waiting.append(operand)
    return GraphCost(nodes, edges)
