"""What `gradwitness faults` does: choose cases, run them with progress, print the scoreboard, write it as files."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..errors import UsageError
from .catalogue import chosen
from .scoreboard import CHECKS, Scoreboard, cases, missed, shares

BY_CLASS = ("fault_class", "size", "loss", "dtype")
BY_ELEMENTS = ("elements", "loss", "dtype")
HEADINGS = {
    "fault_class": "class of fault",
    "localised": "culprit",
    "gradcheck slow": "gc slow",
    "gradcheck fast": "gc fast",
    "assert_close": "precisions",
}
WIDTH = 150  # columns that the table takes; a narrower terminal wraps its lines rather than its words
LEGEND = (
    "gradwitness: found by check; local: an operation on its own is wrong; global: the gradient end to end is wrong; "
    "culprit: found, and the operation is named. gc: torch.autograd.gradcheck, or gradgradcheck. precisions: "
    "torch.testing.assert_close of the float32 gradient against the float64 one. A dash: not asked (too many forward "
    "passes, or it needs float64); 100 % of 4: only 4 were asked."
)


def run_faults(
    only: Sequence[str] = (),
    classes: Sequence[str] = (),
    sizes: Sequence[str] = (),
    elements: Sequence[str] = (),
    seed: int = 0,
    quick: bool = False,
    out: Path | None = None,
) -> int:
    """Run the scoreboard, print it, and write faults.csv, scoreboard.csv and scoreboard.md into `out`.

    Returns 0: a score is no verdict. Raises UsageError for names, sizes and counts that are not accepted, before
    anything is run.
    """
    faults = chosen(only, classes)
    todo = cases(faults, _numbers(sizes), _counts(elements), seed, quick)
    if not todo:
        raise UsageError(
            f"faults: --classes {', '.join(classes)} leaves none of --only {', '.join(only)}; accepted are faults of "
            "these classes. Leave one of the two out."
        )
    if out is not None:
        _made(out)
    frame = _shown(todo)
    table = by_class(frame)
    console = Console()
    console.width = max(console.width, WIDTH)
    console.print(_printed(table))
    console.print(_printed(shares(frame, BY_ELEMENTS)))
    for line in (LEGEND, *closing(frame)):
        console.print(line, highlight=False)
    if out is not None:
        frame.to_csv(out / "faults.csv", index=False)
        table.to_csv(out / "scoreboard.csv", index=False)
        (out / "scoreboard.md").write_text(page(frame), encoding="utf-8")
        console.print(f"written: {out / 'faults.csv'}, scoreboard.csv, scoreboard.md", highlight=False)
    return 0


def _numbers(sizes: Sequence[str]) -> list[float] | None:
    found = []
    for text in sizes:
        try:
            size = float(text)
        except ValueError:
            size = math.nan
        if not 0 < size < math.inf:
            raise UsageError(f"faults: --sizes {text!r}; accepted are numbers above 0, such as 1e-3,1e-6. Correct it.")
        found.append(size)
    return found or None


def _counts(elements: Sequence[str]) -> list[int] | None:
    found = []
    for text in elements:
        try:
            count = float(text)
        except ValueError:
            count = math.nan
        if not (4 <= count < math.inf and count == int(count)):
            raise UsageError(
                f"faults: --elements {text!r}; accepted are whole numbers from 4, such as 10,1000,1e6. Correct it."
            )
        found.append(int(count))
    return found or None


def _made(out: Path) -> None:
    """Make the folder before any work is done. Raises UsageError where that cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(dir=out).cleanup()
    except OSError as error:
        raise UsageError(
            f"faults: --out {out} cannot be written ({error}); accepted is a folder. Choose another."
        ) from error


def _shown(todo: Sequence[object]) -> pd.DataFrame:
    """Run the cases with a progress bar on stderr."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("planting", total=len(todo))

        def show(done: int, total: int, name: str) -> None:
            progress.update(task, completed=done, total=total, description=name[:34])

        return Scoreboard().run(todo, show)  # type: ignore[arg-type]


def by_class(frame: pd.DataFrame) -> pd.DataFrame:
    """The scoreboard: shares by class, size, loss and dtype, the whole fault first and the sizes downwards."""
    table = shares(frame, BY_CLASS)
    order = {c: i for i, c in enumerate(dict.fromkeys(table["fault_class"]))}
    table["_size"] = [-math.inf if s == "whole" else -float(s) for s in table["size"]]
    table["_class"] = table["fault_class"].map(order)
    table = table.sort_values(["dtype", "_class", "_size", "loss"], ascending=[False, True, True, False])
    return table.drop(columns=["_size", "_class"]).reset_index(drop=True)


def cell(row: pd.Series, check: str) -> str:
    """A share in words: "100 %"; "50 % of 4" where fewer were asked than there are cases; a dash where none was."""
    asked = int(row[f"{check} of"])
    if not asked:
        return "–"
    share = 100 * row[check]
    text = f"{share:.0f} %" if share in (0, 100) or 1 <= share <= 99 else f"{share:.2f} %"
    return text if asked == row["cases"] or check == "local" else f"{text} of {asked}"


def _texts(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    keys = [c for c in table.columns if c != "cases" and c not in CHECKS and not c.endswith(" of")]
    checks = [c for c in CHECKS if c in table]
    heads = [HEADINGS.get(k, k) for k in [*keys, "cases", *checks]]
    rows = [
        [*(f"{row[k]}" for k in keys), str(row["cases"]), *(cell(row, c) for c in checks)]
        for _, row in table.iterrows()
    ]
    return heads, rows


def _printed(table: pd.DataFrame) -> Table:
    heads, rows = _texts(table)
    shown = Table(*heads)
    for row in rows:
        shown.add_row(*row)
    return shown


def markdown(table: pd.DataFrame) -> str:
    """A table of shares in Markdown."""
    heads, rows = _texts(table)
    return "\n".join("| " + " | ".join(r) + " |" for r in (heads, ["---"] * len(heads), *rows))


def closing(frame: pd.DataFrame) -> list[str]:
    """What is to be said after the table: how many cases, which had no effect, which gradwitness missed."""
    without = frame[frame["effect"] == 0]
    lost = missed(frame)
    lines = [f"{len(frame)} cases of {frame['fault'].nunique()} faults in {frame['seconds'].sum():.0f} s"]
    if len(without):
        lines.append(
            f"{len(without)} of them changed nothing and are not counted: {', '.join(without['fault'].unique())}"
        )
    for name, group in lost.groupby("fault", sort=False):
        lines.append(
            f"not detected by gradwitness: {name} ({len(group)} cases, {', '.join(group['gradwitness'].unique())})"
        )
    return lines


def page(frame: pd.DataFrame) -> str:
    """The scoreboard of one run as a Markdown page."""
    parts = ["# Scoreboard of planted faults", time.strftime("%Y-%m-%d")]
    parts += ["## By class and size", markdown(by_class(frame))]
    parts += ["## By number of entries", markdown(shares(frame, BY_ELEMENTS))]
    parts += ["## In words", "\n".join(f"- {line}" for line in closing(frame))]
    return "\n\n".join(parts) + "\n"
