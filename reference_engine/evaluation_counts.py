"""What a gradient of n parameters costs by differences, by forward mode and by reverse mode: counted calls, seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from . import ops
from .counting import Counted
from .errors import ParameterError, several
from .numerical import central, one_sided
from .registry import Array
from .three_ways import plan_runs
from .transforms import jacobian, value_and_grad

SIZES = tuple(10**k for k in range(7))
# Up to this n every coordinate is run: n calls of a cost that grows with n, about a second or two in all.
FULL_UP_TO = 10_000
SAMPLE = 8  # coordinates that are run beyond it
REPEATS = 3
WARM_BELOW = 1.0  # seconds; a shorter run is timed REPEATS times more, with its plan made and its memory touched
SEED = 0


@dataclass(frozen=True)
class Evaluation:
    """The gradient of one function of n parameters by one method.

    calls: of the function; passes: runs of derivative plans of the array engine; seconds: wall clock. measured: all n
    coordinates were run and counted; otherwise `coordinates` of them were, and calls, passes and seconds are scaled up
    to n. difference: the greatest absolute difference from reverse mode over the coordinates that were run.
    """

    method: str
    parameters: int
    coordinates: int
    calls: int
    passes: int
    seconds: float
    measured: bool
    difference: float


def evaluation_counts(sizes: Iterable[int] = SIZES, *, full_up_to: int = FULL_UP_TO) -> list[Evaluation]:
    """Costs of ∇ Σ tanh(wᵢ xᵢ) with respect to n weights w, by four methods, for each n.

    one_sided needs a call a coordinate and one more, central two a coordinate, forward a pass a coordinate, reverse one
    call and one pass: all counted. Raises ParameterError for sizes that are not whole numbers from 1 up, or none.
    Source: Griewank and Walther, Evaluating Derivatives, ch. 3 and 4.
    """
    sizes = several("evaluation_counts", "sizes", sizes)
    if not sizes or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in sizes):
        raise ParameterError(
            f"evaluation_counts: sizes={sizes}; accepted are whole numbers from 1 up, at least one. Pass for example "
            "[1, 10, 100]."
        )
    return [row for n in sizes for row in _of_size(n, full_up_to)]


def _of_size(n: int, full_up_to: int) -> list[Evaluation]:
    rng = np.random.default_rng(SEED)
    w, x = rng.standard_normal(n), rng.standard_normal(n)
    loss = Counted(lambda w: ops.sum(ops.tanh(w * x)))
    gradient, reverse = _reverse(loss, w)
    coordinates = n if n <= full_up_to else min(n, SAMPLE)

    def some(head: Any) -> Any:
        """The loss as a function of the first coordinates alone; the others stay as they are."""
        if coordinates == n:
            return loss(head)
        if isinstance(head, np.ndarray):
            return loss(np.concatenate([head, w[coordinates:]]))
        return loss(ops.concat([head, w[coordinates:]], axis=0))

    start = w[:coordinates]
    rows = []
    differences: tuple[tuple[str, Callable[..., Array], int], ...] = (
        ("one_sided", one_sided, 1),
        ("central", central, 0),
        ("forward", lambda f, p: np.asarray(jacobian(f, mode="forward")(p)), 1),
    )
    for method, derive, shared in differences:
        loss.calls = 0
        run = partial(derive, some, start)
        found, seconds = _timed(run)
        calls = loss.calls
        # Forward mode calls the function once for all coordinates; its passes are counted in a run of their own, which
        # also makes the plan.
        passes = plan_runs(run) if method == "forward" else 0
        measured = coordinates == n
        if seconds < WARM_BELOW:
            seconds = median(_timed(run)[1] for _ in range(REPEATS))
        difference = float(np.max(np.abs(found - gradient[:coordinates])))
        if not measured:
            calls = shared + (calls - shared) * n // coordinates
            passes = passes * n // coordinates
            seconds = seconds / coordinates * n
        rows.append(Evaluation(method, n, coordinates, calls, passes, seconds, measured, difference))
    return [*rows, reverse]


def _reverse(loss: Counted[[Any], Any], w: Array) -> tuple[Array, Evaluation]:
    """The gradient by one call and one pass; the median time of a few runs, after one that makes the plan."""
    both = value_and_grad(loss)
    _, gradient = both(w)
    times = [_timed(lambda: both(w))[1] for _ in range(REPEATS)]
    loss.calls = 0
    passes = plan_runs(lambda: both(w))
    return np.asarray(gradient), Evaluation("reverse", w.size, w.size, loss.calls, passes, median(times), True, 0.0)


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    result = run()
    return result, time.perf_counter() - began
