"""What a check gives back: a verdict, the frame of all comparisons, and the culprit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from .judgement.judging import ORDER

NOTHING_DEPENDS = (
    "no output depends on what is differentiated (detach, .data, no_grad, a constant): every gradient is 0, and "
    "nothing was tested"
)


@dataclass(frozen=True)
class Culprit:
    """The operation whose derivative differs.

    file, line: where it was called; for a custom Function, where its `backward` is written. entry: index of the worst
    entry. torch_value, reference_value: the two numbers there.
    """

    operation: str
    file: str
    line: int
    entry: tuple[int, ...]
    torch_value: float
    reference_value: float
    mode: str = "R"
    called: str = ""

    def __str__(self) -> str:
        at = f" at {self.file}:{self.line}" if self.file else ""
        at += f" in mode {self.mode}" if self.mode != "R" else ""
        numbers = f"PyTorch {self.torch_value:.17g}, witness {self.reference_value:.17g}"
        return f"{self.operation}{at}, entry {list(self.entry)}: {numbers}"


@dataclass
class CheckResult:
    """The outcome of `check`.

    verdict: the worst verdict of all rows, in the order mismatch > crashed > timeout > raised > accepted >
    indeterminate > unsupported > inaccurate > convention > agree. ok: True for agree, convention, and inaccurate with
    a relative error of at most 0.5 in float64. frame: one row per comparison (columns in gradwitness.reports.schema).
    culprit: None, or the operation that is wrong.
    """

    verdict: str
    frame: pd.DataFrame
    culprit: Culprit | None = None
    unsupported: dict[str, str] = field(default_factory=dict)
    known: bool = False
    exception: BaseException | None = None

    @property
    def ok(self) -> bool:
        if self.known:
            return True
        if self.verdict == "inaccurate":
            return not self.fails
        return self.verdict in ("agree", "convention")

    @property
    def fails(self) -> bool:
        """Whether an inaccurate row is so far off that it fails a run: relative error above 0.5 in float64."""
        f = self.frame
        return bool(((f["verdict"] == "inaccurate") & (f["dtype"] == "float64") & (f["rel_error"] > 0.5)).any())

    def explain(self) -> str:
        """The verdict in words: what was compared, how far off the worst row is and where, and what to do next."""
        f = self.frame
        counts = f["verdict"].value_counts()
        said = ", ".join(f"{counts[v]} {v}" for v in ORDER if v in counts)
        lines = [f"{self.verdict}: {len(f)} comparisons ({said})"]
        if len(f):
            worst = f.loc[f["verdict"] == self.verdict]
            row = worst.loc[worst["z"].fillna(-1.0).idxmax()]
            if self.verdict in ("agree", "convention", "inaccurate", "mismatch"):
                where = "the whole callable" if row["program"] == "whole" else row["op"]
                torch_value, right = _apart(row["torch_value"], row["reference_value"])
                mode = "" if row["mode"] == "R" else f" in mode {row['mode']}"
                asked = f"with respect to {row['wrt']}".replace("with respect to , ", "")
                lines.append(
                    f"  greatest error of these{mode}: {_text(row['z'])} times what rounding explains, relative "
                    f"{_text(row['rel_error'])}, in {where} {asked}, entry {row['entry']} "
                    f"(PyTorch {torch_value}, witness {right})"
                )
            if self.verdict == "indeterminate":
                lines.append(f"  in {row['program']} with respect to {row['wrt']}, entry {row['entry']}")
            if isinstance(row["message"], str) and row["message"]:
                mode = "" if row["mode"] in row["message"] else f"mode {row['mode']}: "
                lines.append(f"  {mode if self.verdict == 'raised' else ''}{row['message']}")
            if isinstance(row["known"], str) and row["known"]:
                lines.append(f"  a known issue of PyTorch: {row['known']}")
            if self.verdict == "mismatch" and len(ends := f[f["program"] == "whole"]):
                if not (ends["verdict"] == "mismatch").any():
                    lines.append("  the end-to-end gradients agree: the error does not reach them at these inputs")
            if row["message"] != NOTHING_DEPENDS and (f["message"] == NOTHING_DEPENDS).any():
                lines.append(f"  {NOTHING_DEPENDS}")
        if self.culprit is not None:
            lines.append(f"  culprit: {self.culprit}")
            if self.culprit.called:
                lines.append(f"  called at {self.culprit.called}")
        if self.unsupported:
            lines.append("  not compared: " + ", ".join(sorted(self.unsupported)))
            lines.append("  what is not affected by them was judged; see the rows of the result's frame")
        return "\n".join(lines)


def _apart(a: Any, b: Any) -> tuple[str, str]:
    """Both numbers, with as many digits as it takes to tell them apart."""
    for digits in range(6, 18):
        shown = f"{float(a):.{digits}g}", f"{float(b):.{digits}g}"
        if shown[0] != shown[1]:
            return shown
    return _text(a), _text(b)


def _text(x: Any) -> str:
    return f"{float(x):.6g}"
