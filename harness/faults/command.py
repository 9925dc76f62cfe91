"""What `gradwitness faults` does: choose cases, run them with progress, print the scoreboard, write it as files."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..errors import UsageError
from .catalogue import chosen
from .page import LEGEND, by_class, closing, halved, page, printed, sharp, targets
from .scoreboard import Scoreboard, cases

WIDTH = 150  # columns that the table takes; a narrower terminal wraps its lines rather than its words


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
    console.print(printed(table))
    for one in (sharp(frame), halved(frame)):
        if len(one):
            console.print(printed(one))
    for name, found, wanted in targets(frame):
        console.print(f"{name}: {found}, wanted {wanted}", highlight=False)
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
