"""The tables a report shows, each computed from the frame alone, for HTML and Markdown alike."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .verdicts import RANK, SETTLED, VERDICT_TABLE, VERDICTS, Verdict

NO_NAME = "(no name)"
PLAIN_RUNNERS = ("", "autograd")
"""Runners that are not spelled out beside the mode: the usual way to ask PyTorch."""


@dataclass(frozen=True)
class VerdictCount:
    """How many comparisons ended in one verdict; `fraction` is its share of all, 0 to 1."""

    verdict: Verdict
    count: int
    fraction: float


@dataclass(frozen=True)
class Cell:
    """Worst verdict of one operation in one mode: how many comparisons had it, of how many, and the finding if any."""

    verdict: Verdict
    count: int
    total: int
    finding: str | None


@dataclass(frozen=True)
class HeatMap:
    """Operation by mode. `rows` are the operations with anything but agreement, worst first; `agreeing` the others."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell | None]]]
    agreeing: Sequence[tuple[str, int]]


def verdict_counts(frame: pd.DataFrame) -> list[VerdictCount]:
    """Count the comparisons by verdict, worst first, every verdict listed."""
    counts = frame["verdict"].value_counts()
    total = max(len(frame), 1)
    found = {verdict.name: int(counts.get(verdict.name, 0)) for verdict in VERDICT_TABLE}
    return [VerdictCount(verdict, found[verdict.name], found[verdict.name] / total) for verdict in VERDICT_TABLE]


def settled(frame: pd.DataFrame) -> int:
    """Number of comparisons that ended in agree, convention or inaccurate."""
    return int(frame["verdict"].isin(list(SETTLED)).sum())


def slack(frame: pd.DataFrame, threshold: float | None) -> dict[str, float]:
    """By dtype, the median of what is allowed over the error observed, `threshold` / z, of what agrees with an error.

    A judge with much slack lets faults pass. Where z is an upper bound the slack is a lower one. Empty without a
    threshold; a dtype without such comparisons is left out.
    """
    if threshold is None:
        return {}
    agreeing = frame[(frame["verdict"] == "agree") & (frame["z"] > 0)]
    medians = (threshold / agreeing["z"]).groupby(agreeing["dtype"]).median()
    return {str(dtype): float(median) for dtype, median in medians.items()}


def programs(frame: pd.DataFrame) -> int:
    """Number of distinct cases; each holds one program."""
    return int(frame["case"].nunique())


def modes(frame: pd.DataFrame) -> list[str]:
    """Mode strings that occur, short before long, R before F."""
    return sorted({str(mode) for mode in frame["mode"].dropna() if mode}, key=_mode_order)


def heat_map(frame: pd.DataFrame) -> HeatMap:
    """Group the frame by operation and mode; the runner is named beside the mode unless it is plain autograd."""
    table = pd.DataFrame(
        {
            "op": frame["op"].fillna(NO_NAME).replace("", NO_NAME),
            "column": _column_labels(frame),
            "rank": frame["verdict"].map(RANK).astype("int64"),
            "finding": frame["finding"],
        }
    )
    sizes = table.groupby(["op", "column", "rank"]).agg(n=("op", "size"), finding=("finding", "first")).reset_index()
    cells: dict[str, dict[str, Cell]] = {}
    totals: dict[tuple[str, str], int] = {}
    for op, column, n in zip(sizes["op"], sizes["column"], sizes["n"], strict=True):
        totals[op, column] = totals.get((op, column), 0) + int(n)
    # the frame comes sorted by rank within (op, column): the first row of each is the worst
    worst_first = sizes.drop_duplicates(["op", "column"])
    for op, column, rank, n, finding in worst_first.itertuples(index=False, name=None):
        name = finding if isinstance(finding, str) and finding else None
        cells.setdefault(op, {})[column] = Cell(VERDICT_TABLE[rank], int(n), totals[op, column], name)
    columns = sorted({column for row in cells.values() for column in row}, key=_label_order)
    rows, agreeing = [], []
    for op, row in cells.items():
        ranks = sorted(RANK[cell.verdict.name] for cell in row.values())
        if VERDICTS[ranks[0]] == "agree":
            agreeing.append((op, sum(cell.total for cell in row.values())))
        else:
            rows.append((ranks, op, [row.get(column) for column in columns]))
    rows.sort(key=lambda item: (item[0], item[1]))
    return HeatMap(columns, [(op, row) for _, op, row in rows], sorted(agreeing))


def inaccurate(frame: pd.DataFrame) -> pd.DataFrame:
    """Lost accuracy by op, mode and dtype: count `n` and the row with the greatest relative error, worst first."""
    return _worst_of_groups(frame[frame["verdict"] == "inaccurate"], ["op", "mode", "dtype"], "rel_error")


def conventions(frame: pd.DataFrame) -> pd.DataFrame:
    """Choices made at kinks by op, mode and message (which choice): count `n` and one example, most frequent first."""
    chosen = _worst_of_groups(frame[frame["verdict"] == "convention"], ["op", "mode", "message"], "abs_error")
    return chosen.sort_values(["n", "op"], ascending=[False, True], kind="stable")


def unsettled(frame: pd.DataFrame) -> pd.DataFrame:
    """Everything that is neither settled nor a mismatch, by verdict, op, mode and message, with count `n`."""
    rest = frame[~frame["verdict"].isin([*SETTLED, "mismatch"])]
    groups = _worst_of_groups(rest, ["verdict", "op", "mode", "message"], "seconds")
    return groups.sort_values(["verdict", "n", "op"], key=_verdict_first, ascending=[True, False, True], kind="stable")


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as dictionaries with None for every null."""
    return [
        {str(key): None if cell is pd.NA or cell != cell else cell for key, cell in row.items()}
        for row in table.to_dict("records")
    ]


def not_covered(coverage: Sequence[Any]) -> list[tuple[str, list[str]]]:
    """Group the entries that were not covered by reason: (reason, sorted names), the most frequent reason first."""
    by_reason: dict[str, list[str]] = {}
    for entry in coverage:
        if entry["status"] == "not covered":
            by_reason.setdefault(str(entry["reason"] or "no reason was recorded"), []).append(str(entry["name"]))
    groups = [(reason, sorted(names)) for reason, names in by_reason.items()]
    return sorted(groups, key=lambda group: (-len(group[1]), group[0]))


def coverage_counts(coverage: Sequence[Any]) -> dict[str, dict[str, int]]:
    """Count the entries by source and status."""
    counts: dict[str, dict[str, int]] = {}
    for entry in coverage:
        source = counts.setdefault(str(entry["source"] or "other"), {"compared": 0, "not covered": 0})
        source[entry["status"]] += 1
    return counts


@dataclass(frozen=True)
class SampleCount:
    """Samples of one source in one mode. compared: of `samples`; empty: compared ones without an entry, whose shapes
    alone were compared. left_out: (reason, how many samples, {entry: which of its samples}), the most frequent reason
    first. uncounted: entries of which it is not known how many samples they have.
    """

    source: str
    mode: str
    samples: int
    compared: int
    empty: int
    left_out: Sequence[tuple[str, int, dict[str, str]]]
    uncounted: Sequence[str]


def sample_counts(coverage: Sequence[Any]) -> list[SampleCount]:
    """Coverage by sample, for every source and mode that has it; each runner beside autograd is a source of its own."""
    found = []
    coverage = [*coverage, *(part for entry in coverage for part in _by_runner(entry))]
    counted = [e for e in coverage if e["samples"] is not None]
    pairs = {(str(e["source"] or "other"), mode) for e in counted for mode in e["modes"] or {}}
    for source, mode in sorted(pairs, key=lambda pair: (pair[0], _mode_order(pair[1]))):
        own = [e for e in coverage if str(e["source"] or "other") == source]
        entries = [e for e in own if mode in (e["modes"] or {})]
        reasons: dict[str, dict[str, str]] = {}
        times: Counter[str] = Counter()
        for entry in entries:
            for left in entry["modes"][mode]["left_out"]:
                reasons.setdefault(left["reason"], {})[str(entry["name"])] = str(left["numbers"])
                times[left["reason"]] += left["samples"]
        left_out = [(reason, times[reason], which) for reason, which in reasons.items()]
        found.append(
            SampleCount(
                source,
                mode,
                sum(e["samples"] for e in entries),
                sum(e["modes"][mode]["compared"] for e in entries),
                sum(e["modes"][mode]["empty"] for e in entries),
                sorted(left_out, key=lambda item: (-item[1], item[0])),
                sorted(str(e["name"]) for e in own if e["samples"] is None),
            )
        )
    return found


def _by_runner(entry: Any) -> list[dict[str, Any]]:
    """The coverage of one entry by each runner beside autograd, as records of their own."""
    found = []
    for runner, modes in (entry.get("runners") or {}).items():
        counts = [m["compared"] + sum(left["samples"] for left in m["left_out"]) for m in modes.values()]
        source = f"{entry['source'] or 'other'} by {runner}"
        found.append({"name": entry["name"], "source": source, "samples": max(counts, default=0), "modes": modes})
    return found


def _worst_of_groups(frame: pd.DataFrame, keys: list[str], by: str) -> pd.DataFrame:
    ordered = frame.sort_values(by, ascending=False, kind="stable", na_position="last")
    sizes = ordered.groupby(keys, dropna=False)["case"].transform("size")
    return ordered.assign(n=sizes.astype("int64")).drop_duplicates(keys)


def _verdict_first(column: pd.Series) -> pd.Series:
    return column.map(RANK) if column.name == "verdict" else column


def _column_labels(frame: pd.DataFrame) -> pd.Series:
    mode = frame["mode"].fillna("").astype("object")
    quantity = frame["quantity"].fillna("").astype("object")
    runner = frame["runner"].fillna("").astype("object")
    plain = mode.where(mode != "", quantity.where(quantity != "", NO_NAME))
    return plain.where(runner.isin(list(PLAIN_RUNNERS)), plain + " · " + runner)


def _mode_order(mode: str) -> tuple[int, str]:
    return len(mode), mode.replace("R", "0").replace("F", "1")


def _label_order(label: str) -> tuple[bool, str, bool, tuple[int, str]]:
    plain, _, runner = label.partition(" · ")
    is_mode = set(plain) <= {"R", "F"}
    return runner != "", runner, is_mode, _mode_order(plain)
