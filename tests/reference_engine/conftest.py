"""The arbiter of the engine's tests: value, gradient, tangent and second derivative against mpmath at 200 digits.

A function is stated twice, once with ops and once in mpmath's own words on arrays of mpf; the derivatives of the second
are central differences, so that no rule under test is typed twice. The permitted error is the engine's own measured
rounding in float64, not a chosen number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from gradwitness.reference_engine import evaluate, forward, reverse, simplify, trace
from gradwitness.reference_engine.evaluate import Plan, arguments_of
from gradwitness.reference_engine.program import Program
from gradwitness.reference_engine.rounding import spread

DIGITS = 200
# Step of the central differences: their error is h² f'''/6, below 1e-16 of any derivative here while the third one
# stays below 1e80 times it, and the digits that cancel in two differences (1e-200 / h²) leave 100.
STEP = mp.mpf(10) ** -50
# A kernel errs by at most its declared roundings, 2.5 standard deviations of the noise that stands for one; the spread
# of 64 noisy runs falls short of its true value by a factor of 1.5 less than once in 1e8 entries. What several kernels
# of one program add up to stays within that.
IN_SPREADS = 6.0
SAMPLES = 64
FLOOR = 1e-90  # what the central differences leave of an exact 0


def exact_array(x: Any) -> Any:
    """Entries of x as mpf, without rounding."""
    return (
        np.vectorize(mp.mpf, otypes=[object])(np.asarray(x, dtype=np.float64))
        if np.size(x)
        else np.zeros(np.shape(x), object)
    )


def weights(shape: tuple[int, ...], seed: int) -> Any:
    """Fixed numbers of mixed sign, exact in float64, none 0."""
    rng = np.random.default_rng(seed)
    return rng.choice([-1.5, -1.0, -0.5, 0.25, 0.75, 1.0, 2.0], size=shape)


def drift_of(program: Program, inputs: list[Any]) -> list[Any]:
    return spread(Plan(program), arguments_of(program, inputs), "float64", samples=SAMPLES)[1]


def assert_within(what: str, found: Any, right: Any, drift: Any, widest: float) -> None:
    found, right = np.asarray(found, dtype=np.float64), np.asarray(right)
    assert found.shape == right.shape, f"{what}: shape {found.shape}, right {right.shape}"
    rounded = right.astype(np.float64) if right.size else found
    error = np.vectorize(lambda f, r: float(abs(mp.mpf(f) - r)), otypes=[float])(found, right) if right.size else found
    allowed = IN_SPREADS * np.asarray(drift) + FLOOR
    worst = np.argmax(error / allowed) if error.size else 0
    assert (error <= allowed).all(), (
        f"{what}: entry {worst} is {found.flat[worst]!r}, right {rounded.flat[worst]!r}, "
        f"error {error.flat[worst]:.3g}, spread {np.asarray(drift).flat[worst]:.3g}"
    )
    scale = np.max(np.abs(rounded), initial=0.0)
    assert np.max(drift, initial=0.0) <= widest * 2.0**-53 * scale + FLOOR, (
        f"{what}: spread {np.max(drift):.3g} is wider than {widest} roundings of the largest entry {scale:.3g}"
    )


def check(
    ours: Callable[[Any], Any], exact: Callable[[Any], Any], x: Any, *, order: int = 2, widest: float = 1e3
) -> None:
    """Compare `ours` with `exact` at x: value, gT J, J t, and (order 2) the derivative of gT J t.

    widest: how many roundings of the largest entry the measured spread may amount to; a wide one would prove nothing.
    """
    x = np.asarray(x, dtype=np.float64)
    with mp.workdps(DIGITS):
        program = trace(ours, x)
        y = exact(exact_array(x))
        g, t = weights(program.outputs[0].shape, 1), weights(x.shape, 2)

        def along(at: Any) -> Any:
            return np.sum(exact_array(g) * (exact(at + STEP * t) - exact(at - STEP * t))) / (2 * STEP)

        def differences(scalar: Callable[[Any], Any]) -> Any:
            result = np.zeros(x.shape, object)
            for place in np.ndindex(x.shape):
                unit = np.zeros(x.shape, object)
                unit[place] = STEP
                result[place] = (scalar(exact_array(x) + unit) - scalar(exact_array(x) - unit)) / (2 * STEP)
            return result

        pulled, pushed = simplify(reverse(program)), forward(program)
        assert_within("value", evaluate(program, x), np.asarray(y, object), drift_of(program, [x])[0], widest)
        right = differences(lambda at: np.sum(exact_array(g) * exact(at)))
        assert_within("gradient", evaluate(pulled, x, g), right, drift_of(pulled, [x, g])[0], widest)
        tangent = (exact(exact_array(x) + STEP * t) - exact(exact_array(x) - STEP * t)) / (2 * STEP)
        assert_within(
            "tangent", evaluate(pushed, x, t), np.asarray(tangent, object), drift_of(pushed, [x, t])[0], widest
        )
        if order > 1:
            twice = simplify(reverse(pulled, [0]))
            assert_within("second", evaluate(twice, x, g, t), differences(along), drift_of(twice, [x, g, t])[0], widest)


@pytest.fixture(scope="session")
def against_mpmath() -> Callable[..., None]:
    return check
