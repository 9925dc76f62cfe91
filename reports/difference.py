"""What changed between two runs: findings that are new, repaired or changed, and coverage that was lost or gained."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .reader import read_report
from .verdicts import RANK

COMPARED = frozenset(("agree", "convention", "inaccurate", "indeterminate", "mismatch"))
"""Verdicts of a comparison that came about; all others say why it did not."""
CELL = ["source", "op", "mode", "runner", "dtype", "layout"]
TOLD = ("verdict", "culprit", "known")
SETTINGS = ("torch", "numpy", "gradwitness", "seed", "command")
NO_FINDING, NO_COVERAGE = "—", "not compared"

Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Difference:
    """Two runs held against each other.

    new, repaired, changed, lost_findings: one row a finding, which is an operation in a mode, a runner and a dtype.
    lost_findings: of the old run, where the new one did not compare. coverage_lost, coverage_gained: one row a cell,
    with its verdict in the new run.
    settings: what the two runs were made with, where that differs, as name: (old, new).
    """

    new: pd.DataFrame
    repaired: pd.DataFrame
    changed: pd.DataFrame
    lost_findings: pd.DataFrame
    coverage_lost: pd.DataFrame
    coverage_gained: pd.DataFrame
    settings: Mapping[str, tuple[Any, Any]]

    @property
    def fails(self) -> bool:
        """Whether the new run has something that the old one had not to fear: a finding that is new, or that changed
        to a worse verdict or is no longer a known issue, or coverage that is gone."""
        worse = self.changed[self.changed["worse"]] if len(self.changed) else self.changed
        return bool(len(self.new) or len(worse) or len(self.coverage_lost))


def compare_runs(old: str | os.PathLike[str], new: str | os.PathLike[str]) -> Difference:
    """Compare the reports in two folders that a campaign wrote. Errors as in `read_report`."""
    return compare_pieces(read_report(old), read_report(new))


def compare_pieces(old: Mapping[str, Any], new: Mapping[str, Any]) -> Difference:
    """Compare two runs as `read_report` returns them."""
    before, after = _by_key(old["findings"]), _by_key(new["findings"])
    was, now = _coverage(old["frame"]), _coverage(new["frame"])
    compared = now[now["compared"]].reset_index()
    reached = set(compared[["op", "mode", "runner", "dtype"]].itertuples(index=False, name=None))
    gone = [k for k in before if k not in after]
    changed = [k for k in before if k in after and any(before[k].get(t) != after[k].get(t) for t in TOLD)]
    return Difference(
        _findings((None, after[k]) for k in after if k not in before),
        _findings((before[k], None) for k in gone if k in reached),
        _findings((before[k], after[k]) for k in changed),
        _findings((before[k], None) for k in gone if k not in reached),
        _cells(was, now, now),
        _cells(now, was, now),
        _settings(old["metadata"], new["metadata"]),
    )


def _by_key(findings: Iterable[Mapping[str, Any]]) -> dict[Key, Mapping[str, Any]]:
    """One finding an operation, mode, runner and dtype: the worst where a run has several."""
    found: dict[Key, Mapping[str, Any]] = {}
    for f in findings:
        key = (f["op"], f["mode"], f["runner"], f["dtype"])
        if key not in found or RANK[f["verdict"]] < RANK[found[key]["verdict"]]:
            found[key] = f
    return found


def _findings(pairs: Iterable[tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]]) -> pd.DataFrame:
    rows = []
    for a, b in pairs:
        named = b or a or {}
        row = {name: named[name] for name in ("op", "mode", "runner", "dtype")}
        for told in TOLD:
            row[told] = _arrow(None if a is None else a.get(told), None if b is None else b.get(told), a, b)
        forgotten = a is not None and b is not None and bool(a.get("known")) and not b.get("known")
        worse = a is not None and b is not None and RANK[b["verdict"]] < RANK[a["verdict"]]
        rows.append({**row, "worse": forgotten or worse, "id": named.get("id")})
    columns = ["op", "mode", "runner", "dtype", *TOLD, "worse", "id"]
    return pd.DataFrame(rows, columns=columns).sort_values(columns[:4], ignore_index=True)


def _arrow(old: Any, new: Any, a: Any, b: Any) -> str:
    """A value that both have, or how it changed."""
    shown = [NO_FINDING if x is None else str(x) for x in (old, new)]
    if a is None or b is None:
        return shown[1] if a is None else shown[0]
    return shown[0] if shown[0] == shown[1] else f"{shown[0]} → {shown[1]}"


def _coverage(frame: pd.DataFrame) -> pd.DataFrame:
    """Per cell: whether anything in it was compared, its worst verdict, and the first message of what was not."""
    cells = frame[CELL].fillna("")
    ok = frame["verdict"].isin(list(COMPARED))
    told = pd.DataFrame({"compared": ok, "rank": frame["verdict"].map(RANK), "message": frame["message"].where(~ok)})
    groups = told.groupby([cells[c] for c in CELL], sort=True)
    found = groups.agg(compared=("compared", "any"), rank=("rank", "min"), message=("message", "first"))
    names = {rank: name for name, rank in RANK.items()}
    return found.assign(verdict=found["rank"].map(names)).drop(columns="rank")


def _cells(one: pd.DataFrame, other: pd.DataFrame, told: pd.DataFrame) -> pd.DataFrame:
    """The cells that `one` compared and `other` did not, with the verdict and the message that they have in `told`."""
    had = one[one["compared"]]
    lacking = ~other["compared"].reindex(had.index).fillna(False).astype(bool)
    cells = told.reindex(had.index[lacking])
    shown = cells.assign(verdict=cells["verdict"].fillna(NO_COVERAGE), message=cells["message"].fillna(""))
    return shown.drop(columns="compared").reset_index()


def _settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    def value(metadata: Mapping[str, Any], name: str) -> Any:
        versions = metadata.get("versions")
        inner = versions.get(name) if isinstance(versions, Mapping) else None
        return metadata.get(name, inner)

    pairs = {name: (value(old, name), value(new, name)) for name in SETTINGS}
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b}


def tables(d: Difference) -> dict[str, pd.DataFrame]:
    """The parts of a difference by their headings, in the order in which they are told."""
    return {
        "New findings": d.new,
        "Changed findings": d.changed,
        "Repaired findings": d.repaired,
        "Findings that were not compared again": d.lost_findings,
        "Coverage lost": d.coverage_lost,
        "Coverage gained": d.coverage_gained,
    }


def to_markdown(d: Difference) -> str:
    """A difference as Markdown: what the runs were made with, and a table for each part that is not empty."""
    lines = ["# What changed between two runs", ""]
    lines += [f"- {name}: {a} → {b}" for name, (a, b) in d.settings.items()] or ["- made alike"]
    for heading, frame in tables(d).items():
        lines += ["", f"## {heading}: {len(frame)}", ""]
        if len(frame):
            shown = frame.drop(columns=[c for c in ("worse", "id") if c in frame])
            cells = [list(shown.columns), ["---"] * shown.shape[1], *shown.astype(str).values.tolist()]
            lines += ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells]
    return "\n".join(lines).rstrip() + "\n"
