"""The scoreboard in words: its tables, for the terminal and as a Markdown page."""

from __future__ import annotations

import math
import platform
import time
from importlib.metadata import version

import pandas as pd
from rich.table import Table

from .catalogue import catalogue
from .scoreboard import CHECKS, HALF, MANY, SHARP, missed, shares

BY_CLASS = ("fault_class", "size", "loss", "dtype")
BY_ELEMENTS = ("elements", "loss", "dtype")
HEADINGS = {
    "fault_class": "class of fault",
    "localised": "culprit",
    "gradcheck slow": "gc slow",
    "gradcheck fast": "gc fast",
    "assert_close": "precisions",
}
LEGEND = (
    "gradwitness: found by check; local: an operation on its own is wrong; global: the gradient end to end is wrong; "
    "culprit: found, and the operation is named. gc: torch.autograd.gradcheck, or gradgradcheck. precisions: "
    "torch.testing.assert_close of the float32 gradient against the float64 one. A dash: not asked (too many forward "
    "passes, or it needs float64); 100 % of 4: only 4 were asked."
)


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


def printed(table: pd.DataFrame) -> Table:
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
        where = "; ".join(
            f"{'the whole rule' if r['size'] == 'whole' else r['size'] + ' in ' + r['extent']}, "
            f"{r['elements']:,} entries, {r['dtype']}, {r['gradwitness']}"
            for _, r in group.iterrows()
        )
        known = catalogue().get(str(name))
        why = f": {known.accepted}" if known is not None and known.accepted else ""
        lines.append(f"not detected by gradwitness: {name} ({where}){why}")
    return lines


def sharp(frame: pd.DataFrame) -> pd.DataFrame:
    """Shares of the cases with one entry wrong by a millionth in float64, by number of entries and loss."""
    chosen = frame[(frame["size"] == f"{SHARP:.0e}") & (frame["extent"] == "one") & (frame["dtype"] == "float64")]
    table = shares(chosen[chosen["mode"] == "R"], ("size", "elements", "loss"))
    return table.sort_values(["elements", "loss"]) if len(table) else table


def halved(frame: pd.DataFrame) -> pd.DataFrame:
    """Shares of the cases with every one of 100,000 entries wrong by a half, under a mean and under a sum."""
    return shares(frame[(frame["size"] == f"{HALF:.0e}") & (frame["elements"] == MANY)], ("size", "elements", "loss"))


def _share(cases: pd.DataFrame, check: str) -> str:
    found = cases[cases["effect"] > 0][check] == "detected"
    share = 100 * found.mean()
    return f"{share:.0f} %" if share in (0, 100) else f"{share:.2f} %"


def targets(frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(question, what was found, what is wanted) of the two sizes for which a share is promised."""
    single = frame[(frame["extent"] == "one") & (frame["mode"] == "R") & (frame["effect"] > 0)]
    long = single[(single["dtype"] == "float64") & (single["size"] == "1e-06")]
    short = single[(single["dtype"] == "float32") & (single["size"] == "1e-03")]
    found = []
    if len(long):
        name = f"float64, one entry wrong by 1e-6, up to {long['elements'].max():,} entries ({len(long)} cases)"
        found.append((name, _share(long, "gradwitness"), "99.9 %"))
    if len(short):
        name = f"float32, one entry wrong by 1e-3 ({len(short)} cases)"
        found.append((f"{name}, each operation on its own", _share(short, "local"), "99 %"))
        found.append((f"{name}, end to end", _share(short, "global"), "no promise"))
    return found


def page(frame: pd.DataFrame, command: str = "gradwitness faults --out DIR") -> str:
    """The scoreboard of one run as a Markdown page."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy"))
    made = f"Python {platform.python_version()}, {versions}, {platform.system()} {platform.machine()}"
    seconds = frame["seconds"].sum()
    parts = ["# Scoreboard of planted faults"]
    parts += [f"`{command}`, {time.strftime('%Y-%m-%d')}, {seconds:.0f} s on one core; {made}."]
    parts += [
        "Wrong rules are planted into PyTorch while it runs, and each check is asked whether the gradient is right. "
        "gradcheck is given what it asks for: float64, its default tolerances, the options for the mode. A check that "
        "rejects the program without the fault too has detected nothing."
    ]
    rows = [("question", "found", "wanted"), ("---", "---", "---"), *targets(frame)]
    parts += ["## What was asked and what came out", "\n".join(f"| {' | '.join(row)} |" for row in rows)]
    if len(sharp(frame)):
        parts += ["## One entry wrong by a millionth, float64", markdown(sharp(frame))]
    if len(halved(frame)):
        text = "gradcheck's atol is absolute, and a mean over 100,000 entries makes every gradient small."
        parts += ["## Every entry wrong by a half", text, markdown(halved(frame))]
    parts += ["## By class and size", LEGEND, markdown(by_class(frame))]
    parts += ["## By number of entries", markdown(shares(frame, BY_ELEMENTS).sort_values(list(BY_ELEMENTS)))]
    parts += ["## In words", "\n".join(f"- {line}" for line in closing(frame))]
    return "\n\n".join(parts) + "\n"
