"""Runs a scenario and says whether its symptom still shows, with the numbers of this very run."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from .scenario import Numbers, Outcome, Scenario

__all__ = ["ROUNDING", "Observation", "differing", "format_numbers", "is_same", "observe", "record"]

# Every number of a scenario is float64 and comes from at most 64 rounded operations on values that do not cancel;
# each rounding is a relative error of at most u = 2^-53, so two right answers differ by no more than 64 u.
ROUNDING = 64 * 2.0**-53


@dataclass(frozen=True)
class Observation:
    """One run of a scenario: what PyTorch gave, what is right, what the repaired form gives, and PyTorch's warnings."""

    scenario: Scenario
    torch: Outcome
    right: Numbers
    fixed: Numbers
    warnings: tuple[str, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """The names of the rows in which PyTorch's answer is not the right one; all of them where it raised."""
        return differing(self.torch, self.right)

    @property
    def shown(self) -> bool:
        """True while the pitfall is as told: faulty is wrong (but not in `same`), and fixed is right."""
        same = self.scenario.same
        # Where PyTorch raised there is no value that could have looked right.
        kept = not same if isinstance(self.torch, str) else not set(same) & set(differing(self.torch, self.fixed))
        return bool(self.wrong) and kept and not differing(self.fixed, self.right)


def observe(scenario: Scenario) -> Observation:
    """Run the three functions of a scenario once. Warnings are kept, not printed: they are part of the story.

    PyTorch gives some warnings once a process; here they come with every run, so that every page is the same.
    """
    import torch

    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            given = scenario.faulty()
    finally:
        torch.set_warn_always(before)
    # PyTorch adds the place in its own C++ sources, which helps no reader.
    texts = [re.sub(r"\s*\(Triggered internally at .*\)", "", " ".join(str(w.message).split())) for w in caught]
    return Observation(scenario, given, scenario.truth(), scenario.fixed(), tuple(dict.fromkeys(texts)))


def is_same(a: list[float] | None, b: list[float] | None) -> bool:
    """True where both are absent, or both have one length and agree entry by entry up to `ROUNDING`."""
    if a is None or b is None:
        return a is b
    close = (math.isclose(p, q, rel_tol=ROUNDING) for p, q in zip(a, b, strict=False))
    return len(a) == len(b) and all(close)


def differing(outcome: Outcome, right: Numbers) -> tuple[str, ...]:
    """The names in which an outcome is not right, in the order of `right`; a missing or further name differs too."""
    if isinstance(outcome, str):
        return tuple(right)
    return tuple(
        name
        for name in dict.fromkeys([*right, *outcome])
        if name not in outcome or name not in right or not is_same(outcome[name], right[name])
    )


def format_numbers(values: list[float] | None) -> str:
    """Numbers for a reader: six significant digits; one number without brackets; None where there is no gradient."""
    if values is None:
        return "None"
    texts = [f"{value:.6g}" for value in values]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def record(scenario: Scenario) -> dict[str, str | bool]:
    """One row of the report's table of pitfalls, from a fresh run; only what differs is written out.

    `torch`, `right` and `fixed` are one line each, as in `w.grad: 6`; `shown` is False where this version of
    PyTorch no longer behaves as told, or where the repaired form is no longer right.
    """
    seen = observe(scenario)
    names = seen.wrong or tuple(seen.right)
    return {
        "id": scenario.id,
        "title": scenario.title,
        "family": scenario.family,
        "symptom": scenario.symptom,
        "torch": seen.torch if isinstance(seen.torch, str) else _line(seen.torch, names),
        "right": _line(seen.right, names),
        "fixed": _line(seen.fixed, names),
        "shown": seen.shown,
    }


def _line(numbers: Numbers, names: Iterable[str]) -> str:
    return "; ".join(f"{name}: {format_numbers(numbers[name])}" for name in names if name in numbers)
