"""How far each result can drift in a given precision, measured by Monte Carlo arithmetic instead of chosen.

The program runs m more times with every computed value multiplied by 1 + 0.4 u ξ, ξ standard normal, u the unit
roundoff; sums drift by their running sums. Sources: Parker, Monte Carlo Arithmetic, 1997; Denis, de Oliveira Castro
and Petit, Verificarlo, 2016; Higham, Accuracy and Stability of Numerical Algorithms, sec. 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .drift import NOISE, SMALLEST, UNIT_ROUNDOFF, Rounding, drift
from .evaluate import Plan
from .noise import Noise
from .program import Equation
from .registry import Array, Primitive

DISTURBED = 2.0**-26  # √u of float64: a disturbance and its effect both keep half of the digits

Observer = Callable[[Primitive, Equation, list[Any], Any], Any]


class RootOfSquares:
    """√Σd² over the arrays d that are added, shaped as `like`, entry by entry, also where a square leaves the range of
    float64.
    """

    LEAST, MOST = 2.0**-480, 2.0**480
    _BITS = int(np.float64(LEAST).view(np.uint64))

    def __init__(self, like: Array) -> None:
        self._total = np.zeros_like(like, np.float64)  # of the squares, or its root once a square has left the range
        self._is_root = False

    def add(self, d: Array) -> None:
        """One more array of that shape, which is overwritten."""
        np.abs(d, out=d)
        if not self._is_root and not self._squares_fit(d):
            np.sqrt(self._total, out=self._total)
            self._is_root = True
        if self._is_root:
            np.hypot(self._total, d, out=self._total)
        else:
            np.square(d, out=d)
            np.add(self._total, d, out=self._total)

    def root(self) -> Array:
        """A fresh array; NaN where one was added."""
        return self._total.copy() if self._is_root else np.sqrt(self._total)

    def _squares_fit(self, d: Array) -> bool:
        # positive numbers are in the order of their bits; of 0 all bits are 0, and 0 - 1 is the greatest
        bits = d.ravel(order="K").view(np.uint64)
        return d.size == 0 or bool(d.max() < self.MOST and (bits - np.uint64(1)).min() >= self._BITS)


class Disturbed:
    """Disturbed runs of a plan, as many as are asked for, and how far they moved its outputs.

    plan, given: as for Plan.run. exact: the outputs, where they are known. under: an observer for `Plan.observe` that
    changes results before they are disturbed (another choice at a kink). magnified: how much larger the noise is made,
    and the spread smaller; 1 where a decision may turn with the rounding, which is not linear in it. reordered: as for
    Noise.
    """

    def __init__(
        self,
        plan: Plan,
        given: Sequence[Any],
        dtype: str,
        *,
        seed: int = 0,
        under: Observer | None = None,
        magnified: float | None = None,
        reordered: bool = False,
        exact: Sequence[Array] | None = None,
    ) -> None:
        self.plan, self.given, self.under, self.samples = plan, given, under, 0
        if exact is None:
            exact = plan.run(given) if under is None else plan.observe(given, under)
        self.exact = [np.asarray(y) for y in exact]
        self._noise = Noise(dtype, seed, magnified, reordered, plan.roundings, plan.primal)
        self._in_buffers = under is None and not reordered
        self._moved = [RootOfSquares(y) for y in self.exact]
        self._infinite = [None if np.isfinite(y).all() else ~np.isfinite(y) for y in self.exact]

    def spread(self, samples: int) -> list[Array]:
        """The root mean square of at least `samples` runs' distances, in arrays of the shapes of the outputs. It is inf
        where a disturbed run is not finite and the exact one is.
        """
        with np.errstate(all="ignore"):
            while self.samples < samples:
                self._add(self._run())
            self.plan.release()
            found = []
            for q in self._moved:
                s = q.root()
                s /= np.sqrt(self.samples) * self._noise.magnified
                if np.isnan(s).any():
                    s[np.isnan(s)] = np.inf
                found.append(s)
        return found

    def _add(self, results: Sequence[Any]) -> None:
        """Count one disturbed run. Its results are not held longer: the plan writes the next ones into their memory."""
        for total, y, infinite, r in zip(self._moved, self.exact, self._infinite, results, strict=True):
            if y.dtype.kind in "fc" and y.size:
                d = np.asarray(np.subtract(r, y))
                d = np.abs(d) if d.dtype.kind == "c" else d
                if infinite is not None:
                    d[infinite] = 0.0
                total.add(d)
        self.samples += 1

    def _run(self) -> list[Any]:
        noise, under = self._noise, self.under
        if self._in_buffers:
            return self.plan.run(self.given, noise)
        if under is None:
            return self.plan.observe(self.given, noise)
        return self.plan.observe(self.given, lambda p, e, xs, r: noise(p, e, xs, under(p, e, xs, r)))


def spread(
    plan: Plan,
    given: Sequence[Any],
    dtype: str,
    *,
    samples: int = 16,
    seed: int = 0,
    under: Observer | None = None,
    magnified: float | None = None,
    reordered: bool = False,
) -> tuple[list[Array], list[Array]]:
    """Exact outputs, and the root mean square by which rounding in `dtype` moves them: two lists of arrays.

    samples: m, number of disturbed runs; the rest as for Disturbed. The unit is that of the outputs.
    """
    runs = Disturbed(plan, given, dtype, seed=seed, under=under, magnified=magnified, reordered=reordered)
    return runs.exact, runs.spread(samples)


def made_of(plan: Plan, given: Sequence[Any], *, samples: int = 4, seed: int = 0) -> list[Array]:
    """The size of what each output is made of: how far it moves when every number of the program does, over how far
    these move relative to themselves.

    At least about |y| for a number that is computed; Σ|terms| and the like where terms cancel, also those that data
    movement alone has made (copies of one cotangent). Numbers without a shape that are given stay as they are: 1 in
    1 - x is no number that is known to some digits only. Shapes and unit are those of the outputs.
    """
    exact = [np.asarray(y) for y in plan.run(given)]
    squares = [np.zeros(y.shape) for y in exact]
    rng = np.random.default_rng(seed)

    def moved(x: Any) -> Any:
        if isinstance(x, tuple):
            return tuple(moved(part) for part in x)
        if np.asarray(x).dtype.kind not in "fc":
            return x
        return x * (1.0 + DISTURBED * rng.standard_normal(np.shape(x)))

    with np.errstate(all="ignore"):
        for _ in range(samples):
            start = [moved(x) if np.ndim(x) else x for x in given]
            for total, y, r in zip(squares, exact, plan.observe(start, lambda p, e, xs, r: moved(r)), strict=True):
                if y.dtype.kind in "fc":
                    step = np.abs(np.asarray(r) - y) / DISTURBED
                    total[...] = np.hypot(total, np.where(np.isfinite(step), step, 0.0))
    return [total / np.sqrt(samples) for total in squares]


__all__ = [
    "NOISE",
    "SMALLEST",
    "UNIT_ROUNDOFF",
    "Disturbed",
    "Noise",
    "Observer",
    "Rounding",
    "drift",
    "made_of",
    "spread",
]
