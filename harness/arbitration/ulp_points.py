"""The points at which elementwise operations are measured: far tails, both signs, around 0 and ±1, where they saturate.

Every draw depends on its seed alone. All points are numbers of the precision that is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Rng = np.random.Generator

FEWEST = 100_000  # points of each operation
# Powers of ten of the smallest subnormal, the smallest normal and the largest number, and half the digits of 1.
RANGE = {"float64": (-323.3, -307.6, 308.2, -16.0), "float32": (-44.8, -37.9, 38.5, -7.4)}
WHOLE = np.concatenate([np.arange(-40.0, 41.0) / 2.0, np.array([64.0, 128.0, 700.0, 1024.0, 1e8, 1e16])])

# Where mpmath, or the witness, cannot go as far as the numbers do; what is left out is infinite or a plain limit there.
LIMITS: dict[str, tuple[tuple[float, float], ...]] = {
    "i0": ((-720.0, 720.0),),  # beyond 714 the value is above the largest float64
    "i1": ((-720.0, 720.0),),
    "gammainc": ((1e-3, 1e3), (1e-3, 1e3)),
    "gammaincc": ((1e-3, 1e3), (1e-3, 1e3)),
    "binary_cross_entropy": ((1e-43, 1.0), (0.0, 1.0)),  # documented: the logarithm is cut off at -100 = log 3.7e-44
}
# Domains that differ from the tag of the declaration, which is where a generator draws.
DOMAINS = {
    "log1p": ("above_minus_one",),
    "xlog1py": ("real", "above_minus_one"),
    "logit": ("share",),
    "ndtri": ("share",),
    "power_constant": ("positive",),
    "binary_cross_entropy": ("share", "share"),
}
INSIDE: dict[str, Callable[[Array], Array]] = {
    "real": np.isfinite,
    "positive": lambda x: x > 0.0,
    "nonnegative": lambda x: x >= 0.0,
    "unit": lambda x: np.abs(x) < 1.0,
    "share": lambda x: (x > 0.0) & (x < 1.0),
    "above_one": lambda x: x > 1.0,
    "above_minus_one": lambda x: x > -1.0,
}

# Where there is no derivative, or one of our making: the value is measured there, the derivative is not.
KINKS: dict[str, Callable[..., Array]] = {
    "abs": lambda x: x == 0.0,
    "relu": lambda x: x == 0.0,
    "clip": lambda x: np.abs(x) == 1.0,
    "i0e": lambda x: x == 0.0,
    "sqrt": lambda x: x == 0.0,
    "entr": lambda x: x == 0.0,
    "copysign": lambda a, b: (a == 0.0) | (b == 0.0),
    "hypot": lambda a, b: (a == 0.0) & (b == 0.0),
    "atan2": lambda a, b: (a == 0.0) & (b == 0.0),
    "fmod": lambda a, b: np.fmod(a, b) == 0.0,
    "remainder": lambda a, b: np.fmod(a, b) == 0.0,
    **{name: lambda a, b: a == b for name in ("maximum", "minimum", "fmax", "fmin")},
}


@dataclass(frozen=True)
class Points:
    """One float64 array for each argument, all of one length, that holds numbers of the named precision."""

    arrays: tuple[Array, ...]
    dtype: str

    @property
    def count(self) -> int:
        return len(self.arrays[0])


def points(name: str, domain: tuple[str, ...], dtype: str, seed: int) -> Points:
    """At least FEWEST points of a primitive with one argument a tag of `domain`."""
    rng = np.random.default_rng([seed, *name.encode()])
    tags = DOMAINS.get(name, domain)
    limits = LIMITS.get(name, ((-np.inf, np.inf),) * len(tags))
    if len(tags) == 1:
        return Points((np.unique(_many(rng, tags[0], dtype, limits[0])),), dtype)
    return Points(_pairs(rng, tags, dtype, limits), dtype)


def _many(rng: Rng, tag: str, dtype: str, limits: tuple[float, float]) -> Array:
    """At least FEWEST distinct numbers of a domain within the limits."""
    kept = np.empty(0)
    while np.unique(kept).size < FEWEST:
        x = _spread(rng, tag, dtype)
        if limits[0] > 0.0:
            x = np.concatenate([x, 10.0 ** rng.uniform(*np.log10(limits), FEWEST // 2)])
        x = x.astype(dtype).astype(np.float64)
        keep = np.isfinite(x) & INSIDE[tag](x) & (x >= limits[0]) & (x <= limits[1])
        kept = np.concatenate([kept, x[keep]])
    return kept


def _spread(rng: Rng, tag: str, dtype: str) -> Array:
    """Numbers of every size, with emphasis on where functions change."""
    smallest, normal, largest, digits = RANGE[dtype]
    n = FEWEST // 10

    def sizes(low: float, high: float, count: int) -> Array:
        return 10.0 ** rng.uniform(low, high, count) * rng.choice([-1.0, 1.0], count)

    with np.errstate(over="ignore"):
        parts = [
            WHOLE,
            sizes(smallest, normal, n // 5),  # the subnormal numbers
            sizes(normal, largest, 3 * n),
            sizes(-3.0, 3.0, n),
            rng.uniform(-1.0, 1.0, n),
            rng.uniform(-3.0, 3.0, n),
            rng.uniform(-40.0, 40.0, 2 * n),  # where tanh, sigmoid and erfc saturate
            rng.uniform(-120.0, 120.0, n),
            rng.uniform(-750.0, 750.0, n),  # to where exp leaves the range of float64
            1.0 + sizes(digits, -1.0, n),
            -1.0 + sizes(digits, -1.0, n),
        ]
        if tag in ("unit", "share"):
            parts += [0.5 * (1.0 + rng.uniform(-1.0, 1.0, n)), 0.5 + sizes(digits, -1.0, n), sizes(normal, 0.0, 5 * n)]
        if tag in ("above_one", "above_minus_one"):
            edge = 1.0 if tag == "above_one" else -1.0
            parts += [edge + np.abs(sizes(digits, 2.0, 5 * n))]
    return np.concatenate(parts)


def _pairs(rng: Rng, tags: tuple[str, ...], dtype: str, limits: tuple[tuple[float, float], ...]) -> tuple[Array, ...]:
    """Two numbers drawn alone, of like size, nearly equal, opposite, and equal."""
    a, b = (rng.permutation(_many(rng, tag, dtype, lim)) for tag, lim in zip(tags, limits, strict=True))
    n = FEWEST // 10
    moderate = [
        np.clip(10.0 ** rng.uniform(-3.0, 3.0, 4 * n), lim[0], lim[1])
        * (rng.choice([-1.0, 1.0], 4 * n) if signed else 1)
        for lim, signed in zip(limits, [t == "real" for t in tags], strict=True)
    ]
    near = rng.choice(moderate[0], 2 * n)
    moved = near * (1.0 + 10.0 ** rng.uniform(RANGE[dtype][3], -1.0, 2 * n))
    first = np.concatenate([a[: 6 * n], moderate[0], near, near[:n], rng.choice(WHOLE, n)])
    second = np.concatenate([b[: 6 * n], moderate[1], moved, -near[:n], rng.choice(WHOLE, n)])
    with np.errstate(over="ignore"):
        pairs = [x.astype(dtype).astype(np.float64) for x in (first, second)]
    keep = np.ones(len(first), dtype=bool)
    for x, tag, lim in zip(pairs, tags, limits, strict=True):
        keep &= np.isfinite(x) & INSIDE[tag](x) & (x >= lim[0]) & (x <= lim[1])
    short = max(0, FEWEST - int(keep.sum()))  # in a narrow domain more numbers are drawn alone
    return tuple(np.concatenate([x[keep], rng.choice(y, short)]) for x, y in zip(pairs, (a, b), strict=True))
