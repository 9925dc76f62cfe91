"""Forward against reverse mode: the same Jacobian by columns and by rows, what each costs, and where they cross."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from . import ops
from .errors import ParameterError, several
from .numerical import EPSILON
from .registry import Array
from .three_ways import plan_runs
from .transforms import jacobian

# From one input with 1,024 outputs to 1,024 inputs with one output: every Jacobian has as many entries.
SHAPES = tuple((2**k, 2 ** (10 - k)) for k in range(11))
HIDDEN = 16  # width of the layer between, so that a pass costs about the same at every shape
REPEATS = 5
SEED = 0
# Roundings of an entry beside its HIDDEN products and sums: two tanh, their slopes 1 - y², the products with them.
OTHER_ROUNDINGS = 16


@dataclass(frozen=True)
class JacobianCost:
    """One shape n -> m: passes (counted) and seconds (wall clock) of either mode: the least of the
    repeats, since whatever else runs on the machine only adds.

    difference: greatest absolute difference between both Jacobians; bound: what rounding explains of it.
    """

    inputs: int
    outputs: int
    forward_passes: int
    reverse_passes: int
    forward_seconds: float
    reverse_seconds: float
    difference: float
    bound: float

    @property
    def ratio(self) -> float:
        """Inputs per output."""
        return self.inputs / self.outputs


@dataclass(frozen=True)
class JacobianCosts:
    """All shapes by rising inputs per output, and the ratios n/m at which both modes cost the same.

    pass_crossings: by counted passes; time_crossings: by seconds. Each lies between two neighbouring shapes, on the
    straight line through them in log-log; empty where one mode is cheaper at all shapes, several where noise crosses
    more than once.
    """

    rows: tuple[JacobianCost, ...]
    pass_crossings: tuple[float, ...]
    time_crossings: tuple[float, ...]


def jacobian_costs(shapes: Iterable[Sequence[int]] = SHAPES, *, repeats: int = REPEATS) -> JacobianCosts:
    """Costs of the Jacobian of y = tanh(A tanh(B x)), x: (n,), y: (m,), for each (n, m) of shapes.

    Forward mode pushes one column an input, reverse mode pulls one row an output. Raises ParameterError for sizes that
    are not whole numbers from 1 up, or no shapes. Source: Griewank and Walther, Evaluating Derivatives, ch. 3.
    """
    pairs = [tuple(several("jacobian_costs", "shapes", shape)) for shape in several("jacobian_costs", "shapes", shapes)]
    if not pairs or any(len(p) != 2 or not all(type(k) is int and k >= 1 for k in p) for p in pairs) or repeats < 1:
        raise ParameterError(
            f"jacobian_costs: shapes={pairs}, repeats={repeats}; accepted are pairs (inputs, outputs) of whole numbers "
            "from 1 up, at least one, and repeats from 1 up. Pass for example [(1, 64), (8, 8), (64, 1)]."
        )
    rows = sorted((_cost(n, m, repeats) for n, m in pairs), key=lambda row: row.ratio)
    ratios = [row.ratio for row in rows]
    return JacobianCosts(
        tuple(rows),
        crossings(ratios, [row.forward_passes / row.reverse_passes for row in rows]),
        crossings(ratios, [row.forward_seconds / row.reverse_seconds for row in rows]),
    )


def crossings(positions: Sequence[float], quotients: Sequence[float]) -> tuple[float, ...]:
    """Where a positive quotient passes 1, on straight lines in log-log between neighbours; positions rise.

    A run of quotients that are exactly 1 is one crossing, in its middle, if the sides differ or it is all there is.
    """
    heights = [math.log(q) for q in quotients]
    found: list[float] = []
    i = 0
    while i < len(heights):
        if heights[i] == 0.0:
            last = i
            while last + 1 < len(heights) and heights[last + 1] == 0.0:
                last += 1
            if i == 0 or last == len(heights) - 1 or heights[i - 1] * heights[last + 1] < 0.0:
                found.append(math.sqrt(positions[i] * positions[last]))
            i = last
        elif i + 1 < len(heights) and heights[i] * heights[i + 1] < 0.0:
            part = heights[i] / (heights[i] - heights[i + 1])
            found.append(positions[i] ** (1 - part) * positions[i + 1] ** part)
        i += 1
    return tuple(found)


def _cost(n: int, m: int, repeats: int) -> JacobianCost:
    rng = np.random.default_rng(SEED)
    a, b = rng.standard_normal((m, HIDDEN)) / math.sqrt(HIDDEN), rng.standard_normal((HIDDEN, n)) / math.sqrt(n)
    x = rng.standard_normal(n)

    def layers(x: Any) -> Any:
        return ops.tanh(ops.matmul(a, ops.tanh(ops.matmul(b, x))))

    def by(mode: Literal["forward", "reverse"]) -> Callable[[], Array]:
        derive = jacobian(layers, mode=mode)
        return lambda: np.asarray(derive(x))

    forward, reverse = by("forward"), by("reverse")
    difference = float(np.max(np.abs(forward() - reverse())))  # this run also makes the plans
    # |slopes of tanh| ≤ 1, so Σₖ |aᵢₖ bₖⱼ| bounds the terms of each entry; each mode rounds HIDDEN + OTHER_ROUNDINGS
    # times by at most ε/2 of that, and there are two.
    bound = (HIDDEN + OTHER_ROUNDINGS) * EPSILON * float(np.max(np.abs(a) @ np.abs(b)))
    times: dict[str, list[float]] = {"forward": [], "reverse": []}
    for _ in range(repeats):  # in turns, so that a machine that slows down slows both
        for mode, run in (("forward", forward), ("reverse", reverse)):
            began = time.perf_counter()
            run()
            times[mode].append(time.perf_counter() - began)
    return JacobianCost(
        n,
        m,
        plan_runs(forward),
        plan_runs(reverse),
        min(times["forward"]),
        min(times["reverse"]),
        difference,
        bound,
    )
