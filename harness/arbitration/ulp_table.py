"""How many units in the last place each elementwise torch operation is off, at its worst point, in value and gradient.

A search screens 100,000 points and more against the witness; the worst of them are computed again with 50 digits, and
only what these say is reported. The table informs: it judges nothing and makes no finding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np
import torch

from ...reference_engine import trace
from ...reference_engine.evaluate import Plan, arguments_of
from ...reference_engine.registry import ELEMENTWISE, PRIMITIVES, Marker
from ...reference_engine.reverse import reverse
from ...reference_engine.rounding import UNIT_ROUNDOFF
from ...reference_engine.tracing import bind
from ..campaigns.generated import torch_function
from ..generation.emit import compiled, emit, spelled
from .exact_functions import EXACT, exactly, last_place, nearest
from .ulp_points import KINKS, Array, Points, points

DTYPES = ("float64", "float32")
# Points that are computed again with 50 digits. In float64 the witness errs too, so that its worst point may be right
# in torch; in float32 its error is far below half a unit, and one would do.
CONFIRMED = {"float64": 40, "float32": 6}
STRETCHES = 20  # half of them are the worst of so many stretches of the axis, so that not all lie in one place
PARAMETERS: dict[str, dict[str, Any]] = {
    "power_constant": {"exponent": 2.5},
    "polygamma": {"order": 1},
    "clip": {"low": -1.0, "high": 1.0},
    "nan_to_num": {"nan": 0.0, "posinf": 1.0, "neginf": -1.0},
}
# Spellings that stand for no single operation of torch, and what has no number for a result or no rounding at all.
LEFT_OUT = {
    "power_log": "a product of three operations",
    "tanh_slope": "a slope; torch has no operation for it",
    "cross_entropy_slope": "a slope; torch has no operation for it",
    "squared_difference": "two operations",
    "real_of_tanh": "a part of a complex number",
    "imaginary_of_tanh": "a part of a complex number",
    "where": "three arguments",
    "pieces": "three arguments",
    "lerp": "three arguments",
    "cross_entropy_with_logits": "three arguments",
    **dict.fromkeys("less less_equal greater greater_equal equal not_equal".split(), "the result is Boolean"),
    **dict.fromkeys("isnan isfinite logical_and logical_or logical_not".split(), "the result is Boolean"),
}


def measured() -> list[str]:
    """The primitives in the table, in the order of the registry."""
    return [n for n, p in PRIMITIVES.items() if p.kind == ELEMENTWISE and p.torch and n not in LEFT_OUT]


def measure(name: str, dtype: str, seed: int = 0, at: Points | None = None) -> list[dict[str, Any]]:
    """The rows of one primitive in one precision: its value, and its derivative by each argument that has one.

    A row holds the worst error in units in the last place of the right number rounded to `dtype`, where it happens,
    torch's number and the right one; the count of points where torch or the right number is not finite and the other is
    another, with an example; and how many points were confirmed with 50 digits. Keys: reports.accuracy.ULP_KEYS. at:
    points of your own in place of those drawn from `seed`.
    """
    at = at or points(name, PRIMITIVES[name].domain, dtype, seed)
    return [_row(name, at, asked) for asked in _asked(name, at)]


@dataclass
class Asked:
    """One quantity at all points: torch's numbers and the witness's, or why torch has none. wrt: None for the value."""

    wrt: int | None
    theirs: Array
    ours: Array
    message: str = ""


def _asked(name: str, at: Points) -> list[Asked]:
    """Value and derivatives by torch and by the witness; cotangents are 1."""
    rules = PRIMITIVES[name].rules
    assert not callable(rules)
    wrt = [i for i, rule in enumerate(rules) if not isinstance(rule, Marker)]
    program = trace(lambda *xs: bind(name, *xs, **PARAMETERS.get(name, {})), *at.arrays)
    with np.errstate(all="ignore"):
        values = [np.asarray(y) for y in Plan(program).run(arguments_of(program, at.arrays))]
        if wrt:
            backward = reverse(program, wrt)
            slopes = Plan(backward).run(arguments_of(backward, [*at.arrays, np.ones(at.count)]))
            values += [np.broadcast_to(np.asarray(g), at.count) for g in slopes]
    leaves = [torch.from_numpy(x).to(getattr(torch, at.dtype)).requires_grad_() for x in at.arrays]
    y = compiled(emit(program))(*leaves)
    asked = [Asked(None, _array(y), values[0])]
    for i, ours in zip(wrt, values[1:], strict=True):
        try:
            (g,) = torch.autograd.grad(y, leaves[i], torch.ones_like(y), retain_graph=True, allow_unused=True)
            asked.append(Asked(i, np.zeros(at.count) if g is None else _array(g), ours))
        except RuntimeError as error:  # torch has no derivative of this operation: the row says so
            text = " ".join(str(error).split())[:200]
            asked.append(Asked(i, np.full(at.count, np.nan), ours, f"PyTorch raised {type(error).__name__}: {text}"))
    return asked


def _array(y: torch.Tensor) -> Array:
    return y.detach().to(torch.float64).numpy()


def _row(name: str, at: Points, asked: Asked) -> dict[str, Any]:
    program = trace(lambda *xs: bind(name, *xs, **PARAMETERS.get(name, {})), *[x[:1] for x in at.arrays])
    equation = program.equations[-1]
    names = ["x", "y"][: len(at.arrays)]
    row: dict[str, Any] = {
        "op": torch_function(equation),
        "call": spelled(equation, names),
        "primitive": name,
        "dtype": at.dtype,
        "quantity": "value" if asked.wrt is None else "derivative",
        "wrt": "" if asked.wrt is None else names[asked.wrt],
        "points": at.count,
        "message": asked.message,
    }
    if asked.message:
        return row
    kinks = KINKS[name](*at.arrays) if asked.wrt is not None and name in KINKS else np.zeros(at.count, dtype=bool)
    with np.errstate(all="ignore"):
        right = asked.ours.astype(at.dtype)
        unit = np.spacing(np.abs(right)).astype(np.float64)
        finite = np.isfinite(asked.theirs) & np.isfinite(right) & ~kinks
        error = np.where(finite, np.abs(asked.theirs - asked.ours) / unit, 0.0)
        same = (asked.theirs == right) | (np.isnan(asked.theirs) & np.isnan(asked.ours))
    exact = _Exactly(name, at, asked)
    row |= {"kinks": int(kinks.sum()), **_worst(exact, error), **_not_finite(exact, ~finite & ~same & ~kinks)}
    row["confirmed"] = exact.count
    return row


@dataclass
class _Exactly:
    """The right number at single points, by 50 digits; `count` of them were computed."""

    name: str
    at: Points
    asked: Asked
    count: int = 0

    def __call__(self, place: int) -> dict[str, Any] | None:
        """What is to be said of one point: torch's number, the right one, and the error; None if there is no number."""
        given = [float(x[place]) for x in self.at.arrays]
        with exactly():
            try:
                y = self._function(*[mp.mpf(x) for x in given], **PARAMETERS.get(self.name, {}))
            except (ZeroDivisionError, ValueError):  # a pole, or outside the domain: there is no number
                return None
            if mp.isnan(y) or isinstance(y, mp.mpc):
                return None
            self.count += 1
            right, theirs = nearest(y, self.at.dtype), float(self.asked.theirs[place])
            found = {"input": given, "torch_value": theirs, "right_value": right, "digits": mp.nstr(y, 20)}
            if not (math.isfinite(theirs) and math.isfinite(right)):
                return {**found, "ulp": 0.0 if theirs == right else math.inf, "rel_error": math.nan}
            error = abs(mp.mpf(theirs) - y)
            found["ulp"] = float(error / last_place(right, self.at.dtype))
            return {**found, "rel_error": float(error / abs(y)) if y else (math.inf if error else 0.0)}

    @property
    def _function(self) -> Callable[..., Any]:
        exact = EXACT[self.name]
        if self.asked.wrt is None:
            return exact.value
        slope = exact.slopes[self.asked.wrt]
        assert slope is not None
        return slope


def _worst(exact: _Exactly, error: Array) -> dict[str, Any]:
    """The greatest confirmed error among the points that the witness finds worst."""
    found = [f for place in _places(error, CONFIRMED[exact.at.dtype]) if (f := exact(int(place))) is not None]
    found = [f for f in found if math.isfinite(f["ulp"])]
    if not found:
        return {"ulp": 0.0, "rel_error": 0.0, "halved": False}
    worst = max(found, key=lambda f: f["ulp"])
    return {**worst, "halved": bool(worst["rel_error"] > math.sqrt(UNIT_ROUNDOFF[exact.at.dtype]))}


def _places(error: Array, count: int) -> Sequence[int]:
    """The points with the greatest errors: half of them anywhere, half in stretches of the points as they come."""
    first = np.argsort(-error, kind="stable")[: count // 2]
    edges = np.linspace(0, len(error), min(STRETCHES, count - len(first)) + 1).astype(int)
    stretches = [a + int(np.argmax(error[a:b])) for a, b in zip(edges[:-1], edges[1:], strict=True) if b > a]
    return list(dict.fromkeys([*first.tolist(), *stretches]))


EXAMPLES = 20  # points that are tried for an example of a number that is not finite


def _not_finite(exact: _Exactly, apart: Array) -> dict[str, Any]:
    """How often torch or the right number is infinite or NaN and the other is not the same, with one confirmed example.

    Where none of the tried points is confirmed, the witness's own number was at fault, and the count is 0.
    """
    places = np.flatnonzero(apart)
    tried = places[np.unique(np.linspace(0, len(places) - 1, EXAMPLES).astype(int))] if len(places) else []
    found = [f for place in tried if (f := exact(int(place))) is not None and f["ulp"] == math.inf]
    if not found:
        return {"not_finite": 0}
    example = found[len(found) // 2]
    return {
        "not_finite": len(places),
        "not_finite_input": example["input"],
        "not_finite_torch": example["torch_value"],
        "not_finite_right": example["right_value"],
    }
