"""Which planted faults each check detects: the cases, their outcomes, and the shares by class, size and loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from .asking import LOSSES, answer, ask, effect
from .checkers import (
    COUNTED,
    DETECTED,
    NO_MODE,
    NOT_ASKED,
    by_gradcheck,
    by_gradwitness,
    by_precision,
    in_both_precisions,
    outcome,
)
from .fault import EXTENTS, Fault
from .planting import planted

SIZES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_STEPS = (10, 100, 10, 100, 10, 1000, 10, 100)
LADDER = _STEPS * 5  # how many entries the cases of a run have in turn
# One entry wrong by a millionth, at these counts of entries; large ones for a few faults alone, since a check of a
# million entries takes seconds.
SHARP = 1e-6
SHARP_ELEMENTS = (10, 100, 1000)
LARGE = {
    10_000: ("sin-formula", "sigmoid-formula", "div-formula", "mm-formula", "convolution-formula", "sum-ignores-g"),
    100_000: ("tanh-formula", "exp-formula", "mm-formula", "softmax-formula", "mse-normaliser", "var-biased"),
    1_000_000: (
        "tanh-formula", "sin-formula", "exp-formula", "sigmoid-formula", "div-formula", "mm-formula",
        "softmax-formula", "mse-normaliser", "sum-ignores-g", "var-biased",
    ),
}  # fmt: skip
# Every entry wrong by a half: an error whose gradient a mean over so many entries puts below gradcheck's atol.
HALF, MANY = 0.5, 100_000
HALVED = ("tanh-formula", "exp-formula", "mm-formula", "sin-formula")
# Above this many entries the program without the fault is not run as well: only a culprit with the right name counts.
CLEAN_UP_TO = 10_000
NO_EFFECT = "no effect"
CHECKS = ("gradwitness", "local", "global", "localised", "gradcheck slow", "gradcheck fast", "assert_close")


@dataclass(frozen=True)
class Case:
    """One question: this fault of this size in this many entries, in this program, asked in this mode."""

    fault: Fault
    mode: str
    loss: str
    size: float | None
    extent: str
    elements: int
    dtype: str = "float64"
    position: float = 0.5
    seed: int = 0


def cases(
    faults: Sequence[Fault],
    sizes: Sequence[float] | None = None,
    elements: Sequence[int] | None = None,
    seed: int = 0,
    quick: bool = False,
) -> list[Case]:
    """The cases of a run. Sizes and elements that are named are all combined; by default each fault gets a part.

    The default: the whole fault and two of the six sizes, the next faults the others; one entry, 1 % and all entries
    in turn; elements along LADDER; both losses; float64, and size 1e-3 in one entry in float32 too, with one loss. Then
    what `_sharp` adds.
    quick: for every fault one size (or the whole), 10 elements, one loss; no float32.
    """
    found = []
    for i, fault in enumerate(faults):
        own: list[float | None] = [None]
        if fault.sized:
            own = list(sizes) if sizes is not None else [None, *SIZES[i % 3 :: 3]]
        if quick:
            own = own[i % len(own) :][:1]
        for j, size in enumerate(own):
            for k, loss in enumerate(LOSSES[i % 2 :][:1] if quick or fault.runner == "compile" else LOSSES):
                step = 5 * i + 3 * j + k
                extent = EXTENTS[(i + j) % len(EXTENTS)] if size is not None else "all"
                position = (step * 0.618034) % 1.0  # the golden section spreads positions evenly
                for mode in fault.modes:
                    few = quick or fault.runner == "compile"  # a compiled program takes a second for each question
                    for n in elements or ((10,) if few else (LADDER[step % len(LADDER)],)):
                        found.append(Case(fault, mode, loss, size, extent, n, "float64", position, seed))
        if fault.sized and fault.modes == ("R",) and not quick and (sizes is None or 1e-3 in sizes):
            position = (i * 0.618034) % 1.0
            for n in elements or (LADDER[i % len(LADDER)],):
                found.append(Case(fault, "R", LOSSES[i % 2], 1e-3, "one", n, "float32", position, seed))
    if not quick and sizes is None and elements is None:
        found += _sharp(faults, seed)
    return found


def _sharp(faults: Sequence[Fault], seed: int) -> list[Case]:
    """Every sized fault of mode R with one entry wrong by a millionth, few of them in many entries; and the halves."""
    found = []
    sized = [f for f in faults if f.sized and f.modes == ("R",)]
    for i, fault in enumerate(sized):
        large = [n for n, names in LARGE.items() if fault.name in names]
        for k, n in enumerate((*SHARP_ELEMENTS, *large)):
            position = ((3 * i + k) * 0.618034) % 1.0
            found.append(Case(fault, "R", LOSSES[(i + k) % 2], SHARP, "one", n, "float64", position, seed))
    halves = [f for f in sized if f.name in HALVED]
    return found + [Case(f, "R", loss, HALF, "all", MANY, seed=seed) for f in halves for loss in LOSSES]


class Scoreboard:
    """Runs cases and keeps what each check says of the programs without a fault."""

    def __init__(self, checks: Iterable[str] = CHECKS) -> None:
        self.checks = tuple(checks)
        self._clean: dict[Any, Any] = {}

    def run(self, todo: Sequence[Case], show: Callable[[int, int, str], None] | None = None) -> pd.DataFrame:
        """One row per case, in order, with the outcome of each check."""
        rows = []
        for done, case in enumerate(todo):
            rows.append(self.one(case))
            if show is not None:
                show(done + 1, len(todo), case.fault.name)
        return pd.DataFrame(rows)

    def one(self, case: Case) -> dict[str, Any]:
        """The outcomes of one case: detected, missed, false alarm, or why the check was not asked."""
        start = time.perf_counter()
        fault, mode = case.fault, case.mode
        where = (fault.program, case.elements, case.loss)
        asked = ask(*where, getattr(torch, case.dtype), case.seed, fault.runner)
        row: dict[str, Any] = {
            "fault": fault.name,
            "fault_class": fault.fault_class,
            "operation": fault.operation[0],
            "mechanism": fault.mechanism,
            "mode": mode,
            "size": "whole" if case.size is None else f"{case.size:.0e}",
            "extent": case.extent if case.size is not None else "whole",
            "elements": case.elements,
            "loss": case.loss,
            "dtype": case.dtype,
        }
        right = answer(asked, mode)
        with planted(fault, case.size, case.extent, case.position):
            row["effect"] = effect(right, answer(asked, mode))
        if row["effect"] == 0:
            return row | dict.fromkeys(self.checks, NO_EFFECT) | {"seconds": time.perf_counter() - start}
        if "gradwitness" in self.checks:
            row |= self._witnessed(case, asked)
        for name, fast in (("gradcheck slow", False), ("gradcheck fast", True)):
            if name in self.checks:
                row[name] = self._compared(
                    case, (name, *where, case.dtype), lambda fast=fast: by_gradcheck(asked, mode, fast, case.seed)
                )
        if "assert_close" in self.checks:
            pair = in_both_precisions(*where, case.seed, fault.runner)
            row["assert_close"] = self._compared(
                case, ("assert_close", *where), lambda: by_precision(fault, *pair, mode)
            )
        row["seconds"] = time.perf_counter() - start
        return row

    def _witnessed(self, case: Case, asked: Any) -> dict[str, Any]:
        with planted(case.fault, case.size, case.extent, case.position):
            seen = by_gradwitness(asked, case.mode, case.seed)
        localised = seen.flagged and seen.named in case.fault.operation
        if case.elements > CLEAN_UP_TO:
            alarm = seen.flagged and not localised
        else:
            key = ("gradwitness", case.fault.program, case.elements, case.loss, case.dtype, case.mode, case.seed)
            if key not in self._clean:
                self._clean[key] = by_gradwitness(asked, case.mode, case.seed).flagged
            alarm = self._clean[key]

        def said(flag: bool) -> str:
            return outcome("rejected" if flag else "accepted", "rejected" if alarm else "accepted")

        return {
            "gradwitness": said(seen.flagged),
            "local": said(seen.local) if case.mode == "R" and asked.runner == "autograd" else NO_MODE,
            "global": said(seen.whole),
            "localised": said(localised),
            "named": seen.named,
        }

    def _compared(self, case: Case, key: tuple[Any, ...], say: Callable[[], str]) -> str:
        key = (*key, case.mode, case.seed)
        if key not in self._clean:
            self._clean[key] = say()
        clean = self._clean[key]
        if clean != "accepted":
            return outcome(clean, clean)
        with planted(case.fault, case.size, case.extent, case.position):
            return outcome(say(), clean)


def shares(frame: pd.DataFrame, by: Sequence[str], checks: Sequence[str] = CHECKS) -> pd.DataFrame:
    """Per group: the number of cases, and for each check the share detected, with what it is a share of.

    A false alarm and a mode that a check does not have count as not detected. What a check was not asked (not
    affordable, needs float64) counts neither way; a group without any answer has an empty share. Cases without an
    effect are left out.
    """
    frame = frame[frame["effect"] > 0]
    rows = []
    for values, group in frame.groupby(list(by), sort=False, dropna=False):
        row: dict[str, Any] = dict(zip(by, values, strict=True))
        row["cases"] = len(group)
        for name in (c for c in checks if c in frame):
            answers = group[name]
            if name == "local":
                answers = answers[answers != NO_MODE]
            counted = answers[answers.isin(COUNTED)]
            row[name] = float((counted == DETECTED).mean()) if len(counted) else float("nan")
            row[f"{name} of"] = len(counted)
        rows.append(row)
    return pd.DataFrame(rows)


def missed(frame: pd.DataFrame, check: str = "gradwitness") -> pd.DataFrame:
    """The cases that a check did not detect, although PyTorch's answer changed."""
    return frame[(frame["effect"] > 0) & ~frame[check].isin((DETECTED, NOT_ASKED))]


__all__ = ["CHECKS", "SIZES", "Case", "Scoreboard", "cases", "missed", "shares"]
