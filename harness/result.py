"""What a check gives back: a verdict, the frame of all comparisons, and the culprit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..reports.verdicts import SETTLED
from .judgement.judging import ORDER, THRESHOLD
from .tabling import Cell, tabled, written

NOTHING_DEPENDS = (
    "no output depends on what is differentiated (detach, .data, no_grad, a constant): every gradient is 0, and "
    "nothing was tested. Return what the gradient is taken of"
)
ALL_NAN = (
    "every output is NaN here, and so is every derivative: nothing was tested. Check it where it has a value, such as "
    "at other inputs"
)

FLAT = (
    "as it ran, the forward of this Function has the derivative 0 there (it rounds, decides, or does not use what it "
    "got), and its backward is held against that. If another derivative is meant (straight through, implicit), list it "
    "as a known issue of yours"
)
AS_WRITTEN = "held constant, as written"
WROTE = "written in place:"
ATEN, CUSTOM, HOOK, CUT = "ATen rule", "custom Function", "hook", "cut graph"
NESTED, TANGENTS, OPERATOR = "nested forward mode", "forward mode within", "custom operator"
OVERWRITTEN, EDITED, UNMARKED = "overwritten", "changed out of sight", "unmarked write"
MASKED, RANDOM = "0 · inf", "random backward"
NONDETERMINISM, COMPILER, CHECKPOINT, END_TO_END = "nondeterminism", "compiler", "checkpoint", "end to end"
# What is at fault, in words. A custom Function needs none: its own line says where it was called.
KINDS = {
    ATEN: "PyTorch's own rule of this operation is wrong at these numbers",
    CUSTOM: "",
    NESTED: "the jvp of this custom Function is right, and PyTorch holds what it returns constant in a second forward "
    "derivative",
    TANGENTS: "the callable takes forward derivatives inside, and PyTorch's rule of this operation holds constant "
    "there what it saved: the tangent is right, and its derivative is not",
    OPERATOR: "the derivative registered for this operator is wrong, or none is in this mode (torch.library takes no "
    "forward derivative, and PyTorch drops the tangent of such an operator without a word; in torch.func also the "
    "gradient of one without register_autograd; and everywhere that of what it writes into an argument), or what "
    "register_lowering was told of it is not what it computes",
    OVERWRITTEN: "numbers that the backward pass needs were changed where autograd could not see it, at this line or "
    "after it: a write through .data or into shared memory, or hooks on saved tensors that lose digits. Write without "
    ".data, or into a clone",
    UNMARKED: "autograd takes the argument of this custom Function for unchanged. Call ctx.mark_dirty on it and return "
    "it, or write into a clone",
    EDITED: "autograd knows operators alone. Change this value by operations of torch, or change a detached copy",
    MASKED: "no rule is wrong alone: an adjoint of 0 that stands for `not chosen` meets an infinite slope",
    HOOK: "this hook changed a gradient on its way. If that is meant, check without the hook",
    CUT: "here the graph is cut: the result depends on that tensor, and no gradient passes. Remove the cut, or, if it "
    "is meant, set requires_grad_(False) on the tensor",
    NONDETERMINISM: "two runs with equal inputs and equal random state differ, so no rule is accused",
    RANDOM: "two backward passes through one graph differ unless their random state is equal: this backward draws "
    "random numbers of its own. Draw them in the forward and save them",
    COMPILER: "the same run without torch.compile agrees with the witness: the compiled code is wrong",
    CHECKPOINT: "the same run without it agrees with the witness: what is recomputed, or held by its hooks, differs",
    END_TO_END: "every operation that could be judged alone agrees; the error lies between them",
}


@dataclass(frozen=True)
class Culprit:
    """What makes the derivative differ.

    file, line: where the operation was called; for a custom Function, where its `backward` is written; for a hook,
    where the function is written. entry: index of the worst entry. torch_value, reference_value: the two numbers there;
    for nondeterminism and a random backward, those of two runs. called: where a custom Function was applied, so that it
    is told from other calls of the same Function. kind: one of KINDS. part: ".real" or ".imag" of a complex entry.
    """

    operation: str
    file: str
    line: int
    entry: tuple[int, ...]
    torch_value: float
    reference_value: float
    mode: str = "R"
    called: str = ""
    kind: str = ATEN
    part: str = ""

    def __str__(self) -> str:
        at = f" at {self.file}:{self.line}" if self.file else ""
        at += f" in mode {self.mode}" if self.mode != "R" else ""
        if self.torch_value != self.torch_value and self.reference_value != self.reference_value:  # no numbers to show
            return f"{self.operation}{at}"
        names = ("second run", "first run") if self.kind in (NONDETERMINISM, RANDOM) else ("PyTorch", "witness")
        numbers = f"{names[0]} {self.torch_value:.17g}, {names[1]} {self.reference_value:.17g}"
        return f"{self.operation}{at}, entry {list(self.entry)}{self.part}: {numbers}"


@dataclass
class CheckResult:
    """The outcome of `check`.

    verdict: the worst verdict of all rows, in the order mismatch > crashed > timeout > raised > accepted >
    indeterminate > unsupported > inaccurate > convention > agree. ok: True for agree, convention, and inaccurate with
    a relative error of at most 0.5 in float64 and a number where there is one. frame: one row per comparison (columns
    in gradwitness.reports.schema). culprit: None, or the operation that is wrong. known: whether the user's own known
    issues cover all that is not ok, which makes it ok. notes: said at the end of `explain`, such as known issues that
    have expired. culprits: for each row of the frame what is at fault in it, None where nothing is.
    """

    verdict: str
    frame: pd.DataFrame
    culprit: Culprit | None = None
    unsupported: dict[str, str] = field(default_factory=dict)
    known: bool = False
    exception: BaseException | None = None
    notes: tuple[str, ...] = ()
    cells: tuple[Cell, ...] = ()
    culprits: tuple[Culprit | None, ...] = ()

    @property
    def ok(self) -> bool:
        if self.known:
            return True
        if self.verdict == "inaccurate":
            return not self.fails
        return self.verdict in ("agree", "convention")

    @property
    def fails(self) -> bool:
        """Whether an inaccurate row is so far off that it fails a run: a relative error above 0.5 in float64, or no
        number where there is one, in any dtype."""
        f = self.frame[self.frame["verdict"] == "inaccurate"]
        torch_value, right = (pd.to_numeric(f[name], errors="coerce") for name in ("torch_value", "reference_value"))
        gone = np.isfinite(right.astype(float)) & ~np.isfinite(torch_value.astype(float))
        return bool((gone | ((f["dtype"] == "float64") & (f["rel_error"] > 0.5))).any())

    def explain(self) -> str:
        """The verdict in words: what was compared, how far off the worst row is and where, and what to do next."""
        f = self.frame
        counts = f["verdict"].value_counts()
        said = ", ".join(f"{counts[v]} {v}" for v in ORDER if v in counts)
        lines = [f"{self.verdict}: {len(f)} comparison{'s' if len(f) != 1 else ''} ({said})"]
        if len(f):
            worst = f.loc[f["verdict"] == self.verdict]
            row = worst.loc[worst["z"].fillna(-1.0).idxmax()]
            measured = pd.notna(row["torch_value"]) or pd.notna(row["reference_value"])
            if measured and self.verdict in ("agree", "convention", "inaccurate", "mismatch"):
                torch_value, right = _apart(row["torch_value"], row["reference_value"])
                mode = "" if row["mode"] == "R" else f" in mode {row['mode']}"
                lines.append(
                    f"  greatest error of these{mode}: {_text(row['z'])} spreads of rounding (a mismatch begins at "
                    f"{THRESHOLD:g}), {_size(row)}, in {_place(row)}, entry {row['entry']} "
                    f"(PyTorch {torch_value}, witness {right})"
                )
            if self.verdict == "indeterminate" and row["program"] != "two runs":
                entry = f", entry {row['entry']}" if isinstance(row["entry"], str) else ""
                lines.append(f"  in {_place(row)}{entry}")
            if isinstance(row["message"], str) and row["message"]:
                lines.append(f"  {_asked(row)}{row['message']}")
            if isinstance(row["known"], str) and row["known"]:
                whose = "" if row["known"].startswith("yours: ") else " of PyTorch"
                lines.append(f"  a known issue{whose}: {row['known']}")
            beyond = self.culprit is not None and self.culprit.kind in (HOOK, EDITED)  # past what these gradients show
            if self.verdict == "mismatch" and not beyond and len(ends := f[f["program"] == "whole"]):
                if ends["verdict"].isin(("agree", "convention")).all():
                    lines.append(
                        "  the end-to-end gradients agree: the error does not reach them at these inputs, or is less "
                        "there than what rounding explains"
                    )
            if row["message"] != NOTHING_DEPENDS and (f["message"] == NOTHING_DEPENDS).any():
                lines.append(f"  {NOTHING_DEPENDS}")
            said = dict.fromkeys((r, m) for r, m in zip(f["wrt"], f["message"], strict=True) if isinstance(m, str))
            lines += [f"  {name}: {m}" for name, m in said if m.startswith((AS_WRITTEN, WROTE)) and m != row["message"]]
        if self.culprit is not None:
            lines.append(f"  culprit: {self.culprit}")
            if self.culprit.called:
                lines.append(f"  called at {self.culprit.called}")
            if self.culprit.kind == CUSTOM and self.culprit.reference_value == 0.0 != self.culprit.torch_value:
                lines.append(f"  {FLAT}")
            if KINDS[self.culprit.kind]:
                lines.append(f"  {self.culprit.kind}: {KINDS[self.culprit.kind]}")
        if self.unsupported:
            lines.append("  not compared: " + ", ".join(sorted(self.unsupported)))
            if f["verdict"].isin([*SETTLED, "mismatch"]).any():
                lines.append("  what is not affected by them was judged; see the rows of the result's frame")
        lines += [f"  {line}" for line in written(f, self.cells)] if len(self.cells) == len(f) else []
        return "\n".join(lines + [f"  {note}" for note in self.notes])

    def __str__(self) -> str:
        """What `explain` says."""
        return self.explain()

    def table(self) -> pd.DataFrame:
        """The worst verdict of every cell that was asked: op, runner, dtype, layout and device down, modes across.

        dtype: as it was asked, so "autocast" for that, here and in the frame.
        """
        return tabled(self.frame, self.cells)


def _asked(row: Any) -> str:
    """The runner and the mode that a row without a comparison is about, where they are not the plain ones."""
    if row["verdict"] not in ("raised", "unsupported") or not isinstance(row["mode"], str):
        return ""
    runner = "" if row["runner"] == "autograd" else f"runner {row['runner']}"
    named = [part for part in (runner, f"mode {row['mode']}" if runner or row["mode"] != "R" else "") if part]
    return f"{', '.join(named)}: " if named else ""


def _place(row: Any) -> str:
    """What was compared, in words: a gradient or output of the whole callable, or an operation with its line."""
    if row["program"] == "whole":
        wrt = row["wrt"] if isinstance(row["wrt"], str) else ""
        return f"the whole callable, {wrt}" if wrt else "the whole callable"
    name = row["op"] if row["source"] != "user" else row["program"]
    if not isinstance(row["wrt"], str) or not row["wrt"]:
        return str(name)
    lineless = row["wrt"].startswith(("argument ", "output "))
    return f"{name}{', ' if lineless else ' at '}{row['wrt']}"


def _size(row: Any) -> str:
    """How large the error is: relative to the right number, or as it is where that is 0."""
    if row["reference_value"] == 0.0 and row["torch_value"] != 0.0:
        return f"absolute {_text(row['abs_error'])}"
    if pd.isna(row["rel_error"]):
        return "one of the two is not a number"
    return f"relative {_text(row['rel_error'])}"


def _apart(a: Any, b: Any) -> tuple[str, str]:
    """Both numbers, with as many digits as it takes to tell them apart."""
    for digits in range(6, 18):
        shown = f"{float(a):.{digits}g}", f"{float(b):.{digits}g}"
        if shown[0] != shown[1]:
            return shown
    return _text(a), _text(b)


def _text(x: Any) -> str:
    return f"{float(x):.6g}"
