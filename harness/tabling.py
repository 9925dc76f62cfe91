"""The table of a check: one verdict for every runner, precision, layout and device in every mode; as frame and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace

import pandas as pd

from .judgement.judging import ORDER

KNOWN_MARK = "*"
LINES = 40  # of a table in a text; the frame has all
IN_PLACE = ", in place"  # follows the name of a function whose in-place variant was asked for
GIVEN = "as given"  # the precision where none was asked for and none could be read off


@dataclass(frozen=True)
class Cell:
    """What one row of the frame was asked for. mode, runner: None where the row is about all that were asked."""

    op: str
    runner: str | None
    dtype: str
    layout: str
    device: str
    mode: str | None


AXES = tuple(f.name for f in fields(Cell))
DOWN = AXES[:-1]  # the modes go across


def tabled(frame: pd.DataFrame, cells: Sequence[Cell]) -> pd.DataFrame:
    """The worst verdict of each cell: the axes of DOWN as index, modes as columns, both in the order asked."""
    return _pivot(frame, cells, frame["verdict"])


def written(frame: pd.DataFrame, cells: Sequence[Cell]) -> list[str]:
    """The table as lines of text, without the axes that have one value alone; empty where there is one cell.

    Verdicts that known issues cover bear a mark, which a last line explains.
    """
    known = frame["known"].notna()
    marked = frame["verdict"].where(~known, frame["verdict"] + KNOWN_MARK)
    table = _pivot(frame, cells, marked)
    if table.size < 2:
        return []
    lost = len(table) - LINES
    if lost > 0:
        ranks = [min(_rank(v) for v in row if v) for _, row in _lines(table)]
        table = table.iloc[sorted(sorted(range(len(table)), key=ranks.__getitem__)[:LINES])]
    kept = [level for level in DOWN if table.index.get_level_values(level).nunique() > 1] or ["runner"]
    head = [*kept, *table.columns]
    body = [[str(dict(zip(DOWN, index, strict=True))[k]) for k in kept] + list(row) for index, row in _lines(table)]
    width = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    lines = ["  ".join(word.ljust(n) for word, n in zip(line, width, strict=True)).rstrip() for line in [head, *body]]
    if any(word.endswith(KNOWN_MARK) for line in body for word in line):
        lines.append(f"{KNOWN_MARK} a known issue, named in the column `known` of the frame")
    if lost > 0:
        lines.append(f"and {lost} lines more, none of them worse: result.table() has them")
    return lines


def _lines(table: pd.DataFrame) -> list[tuple[tuple[str, ...], list[str]]]:
    return [(index, [str(v) for v in row]) for index, row in zip(table.index, table.to_numpy(), strict=True)]


def _pivot(frame: pd.DataFrame, cells: Sequence[Cell], verdicts: pd.Series[str]) -> pd.DataFrame:
    """A row about all runners or modes counts for each of them that was asked beside it."""
    known = {c.dtype for c in cells} - {GIVEN}
    if len(known) == 1:
        cells = [replace(c, dtype=next(iter(known))) for c in cells]
    runners = list(dict.fromkeys(c.runner for c in cells if c.runner is not None)) or ["autograd"]
    modes = list(dict.fromkeys(c.mode for c in cells if c.mode is not None)) or [""]
    worst: dict[tuple[str, ...], dict[str, str]] = {}
    for cell, verdict in zip(cells, verdicts, strict=True):
        for runner in runners if cell.runner is None else [cell.runner]:
            for mode in modes if cell.mode is None else [cell.mode]:
                index = (cell.op, runner, *astuple(cell)[2:-1])
                at = worst.setdefault(index, {})
                if mode not in at or _rank(verdict) < _rank(at[mode]):
                    at[mode] = verdict
    names = pd.MultiIndex.from_tuples(list(worst), names=list(DOWN))
    return pd.DataFrame([[at.get(m, "") for m in modes] for at in worst.values()], index=names, columns=modes)


def _rank(verdict: str) -> tuple[int, bool]:
    """Worse verdicts first; one that no known issue covers before one that is covered."""
    return ORDER.index(verdict.removesuffix(KNOWN_MARK)), verdict.endswith(KNOWN_MARK)
