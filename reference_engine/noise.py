"""Monte Carlo rounding: every computed value is moved by normal noise of the size of its rounding error.

Sources: Parker, Monte Carlo Arithmetic, 1997; Denis, de Oliveira Castro and Petit, Verificarlo, 2016.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from scipy.special import ndtri

from .drift import MAGNIFIED, NOISE, SMALLEST, UNIT_ROUNDOFF, Rounding, drift, drift_in_stages, nearest
from .program import Equation, Variable
from .registry import Array, Primitive


def _quantiles() -> Array:
    """The standard normal law in 2¹⁶ steps of equal probability, with mean 0 and variance 1; its ends are at ±4.2."""
    steps: Array = ndtri((np.arange(1 << 16) + 0.5) / (1 << 16))
    return np.asarray(steps / np.sqrt(np.mean(steps**2)), np.float32)


class NormalDraws:
    """Independent standard normal numbers, each looked up by 16 random bits: an eighth of the time of the usual way.

    What rounding needs of the law is its variance and that hardly any number is near 0; its tails do not matter.
    """

    QUANTILES = _quantiles()
    BLOCK = 1 << 14  # numbers that are drawn at once

    def __init__(self, seed: int) -> None:
        self._bits = np.random.SFC64(seed)
        self._block = np.empty(0, np.float32)
        self._used = 0

    def __call__(self, shape: tuple[int, ...]) -> Array:
        """An array of float32 numbers; it is only read."""
        n = math.prod(shape)
        if n >= self.BLOCK:
            return self._draw(n).reshape(shape)
        if self._used + n > self._block.size:
            self._block, self._used = self._draw(self.BLOCK), 0
        self._used += n
        return self._block[self._used - n : self._used].reshape(shape)

    def _draw(self, n: int) -> Array:
        bits = self._bits.random_raw(-(-n // 4)).view(np.uint16)[:n]
        return np.take(self.QUANTILES, bits, mode="clip")


class Noise:
    """Disturbs every result as rounding in `dtype` would, `magnified` times: an observer for `Plan.observe`, and for
    `Plan.run`, where it works in the plan's buffers.

    reordered: sums of two are disturbed by a rounding of their larger term, as where they are added in another order;
    those of `primal` are not, which have one order.
    roundings: of single variables, where kernels compute in one precision and store in another; the others are computed
    and stored in `dtype`. How large the rounding error of a sum is, is found in the first disturbed run and kept for
    the others: it differs between them by one roundoff.
    """

    def __init__(
        self,
        dtype: str,
        seed: int = 0,
        magnified: float | None = None,
        reordered: bool = False,
        roundings: Mapping[Variable, Rounding] | None = None,
        primal: Collection[Variable] = (),
    ) -> None:
        self.reordered = reordered
        self.primal = primal
        self.roundings = roundings or {}
        self.magnified = MAGNIFIED.get(dtype, 1.0) if magnified is None else magnified
        self.usual = Rounding(dtype)
        self.draw = NormalDraws(seed)
        self._of_sums: dict[Variable, Any] = {}

    def __call__(
        self, primitive: Primitive, equation: Equation, arguments: list[Any], result: Any, ours: bool = False
    ) -> Any:
        """The result moved; ours: it may be written into."""
        if primitive.ulps == 0.0:
            return result
        if isinstance(result, tuple):
            pairs = zip(result, equation.outputs, strict=True)
            return tuple(self._moved(r, *self.deviation(primitive, equation, arguments, r, v), False) for r, v in pairs)
        how = self.roundings.get(equation.outputs[0], self.usual)
        if how.jumps:
            return nearest(result, how.stored or how.computed)
        found = self.deviation(primitive, equation, arguments, result, equation.outputs[0])
        return self._moved(result, *found, ours)

    def deviation(
        self, primitive: Primitive, equation: Equation, arguments: list[Any], result: Any, variable: Variable
    ) -> tuple[Any, bool]:
        """Standard deviation of the noise of one result, entry by entry, and whether that array is kept here."""
        if primitive.ulps == 0.0 or result.dtype.kind not in "fc":
            return 0.0, True
        how = self.roundings.get(variable, self.usual)
        last = how.stored or how.computed
        s, kept = self._as_computed(primitive, equation, arguments, result, variable, how)
        v = UNIT_ROUNDOFF[last] * self.magnified
        if how.stored:
            s, kept = np.hypot(s, NOISE * v * np.abs(result)), False
        if self.reordered and primitive.name in ("add", "subtract") and variable not in self.primal:
            larger = np.maximum(np.abs(arguments[0]), np.abs(arguments[1]))
            s, kept = np.maximum(s, NOISE * v * larger), False
        # Below the normal range a result is rounded to a multiple of the smallest number, whatever its size. float64 is
        # not looked at: no number of ours lies between its multiples.
        normal = SMALLEST[last] / (2.0 * UNIT_ROUNDOFF[last])
        if last != "float64" and np.min(size := np.abs(result), initial=np.inf) < normal:
            below = (size < normal) & (size > 0.0)
            s, kept = np.where(below, np.maximum(s, NOISE * SMALLEST[last] * self.magnified), s), False
        return s, kept

    def _as_computed(
        self, primitive: Primitive, equation: Equation, arguments: list[Any], result: Any, v: Variable, how: Rounding
    ) -> tuple[Any, bool]:
        """`drift` of one result; of a sum it is kept."""
        u = UNIT_ROUNDOFF[how.computed] * self.magnified
        if primitive.accumulates is None:
            return drift(primitive, arguments, equation.params, result, u), False
        if v not in self._of_sums:
            of_sum = drift_in_stages if how.in_stages else drift
            self._of_sums[v] = of_sum(primitive, arguments, equation.params, result, u)
        return self._of_sums[v], True

    def _moved(self, result: Any, s: Any, kept: bool, ours: bool) -> Any:
        """`result` plus noise of standard deviation `s`, except where that is not finite."""
        if isinstance(s, float) and s == 0.0:
            return result
        s = np.asarray(s)
        noise = np.multiply(s, self.draw(np.shape(result)), out=None if kept or s.shape != result.shape else s)
        if not np.isfinite(noise).all():
            noise = np.where(np.isfinite(noise), noise, 0.0)
        return np.add(result, noise, out=result if ours else None)
