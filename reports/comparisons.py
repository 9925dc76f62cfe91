"""Findings that stand for one comparison each: what differs in a frame and belongs to no finding yet."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from .formatting import clean

FAILING = ("mismatch", "crashed", "timeout", "raised", "accepted")
"""Verdicts that a report never leaves without a finding."""
OF_A_FINDING = ("op", "mode", "runner", "verdict")
"""What the comparisons that one finding of a campaign stands for have in common."""
MAX_NAME = 100
"""Characters of an identifier before its number."""


def with_every_failure(
    frame: pd.DataFrame, findings: Sequence[Mapping[str, Any]], source: str | None = None
) -> tuple[pd.DataFrame, list[Mapping[str, Any]]]:
    """The frame and its findings, and one finding more for every row that fails, names none, and is of another
    operation, mode, runner or verdict than all of them: what nobody has recorded is new, unless the row names a known
    issue. source: of the rows that are looked at; None for all.
    """
    open_rows = frame["verdict"].isin(list(FAILING)) & frame["finding"].isna()
    open_rows &= True if source is None else frame["source"] == source
    recorded = {tuple(None if f.get(key) is None else clean(str(f[key])) for key in OF_A_FINDING) for f in findings}
    cells = frame.loc[open_rows, list(OF_A_FINDING)].itertuples(name=None)
    told: dict[int, Mapping[str, Any]] = {
        k: {} for k, *row in cells if tuple(None if x is pd.NA else x for x in row) not in recorded
    }
    if not told:
        return frame, list(findings)
    frame, made = each_comparison(frame, told, [str(f.get("id")) for f in findings])
    return frame, [*findings, *made]


def each_comparison(
    frame: pd.DataFrame, told: Mapping[int, Mapping[str, Any]], taken: Iterable[str] = ()
) -> tuple[pd.DataFrame, list[Mapping[str, Any]]]:
    """One finding for each row that `told` names by its position; and the frame, where those rows name theirs.

    told: what is known of a row beside its own columns (`fails`, `culprit`, `line`, ...); it comes before them.
    `taken`: identifiers that are in use.
    """
    names, used = frame["finding"].astype(object), {name.casefold() for name in taken}
    made: list[Mapping[str, Any]] = []
    for k, more in told.items():
        row = {str(name): None if x is pd.NA else x for name, x in frame.iloc[k].to_dict().items()}
        identifier = _free(_name(row), used)
        used.add(identifier.casefold())
        names.iloc[k] = identifier
        made.append({**_of_row(row), "id": identifier, **more})
    return frame.assign(finding=names.astype("string")), made


def _of_row(row: Mapping[str, Any]) -> dict[str, Any]:
    same = ("op", "culprit", "mode", "runner", "dtype", "verdict", "known", "wrt", "entry")
    numbers = row["torch_value"], row["reference_value"]
    unknown = all(x != x for x in numbers)  # NaN in both is how a frame says that there are none
    return {
        **{key: row[key] for key in same},
        "op": row["op"] or row["case"],
        "program": row["case"],
        "z": None if row["z"] != row["z"] else row["z"],
        "torch_value": None if unknown else numbers[0],
        "right_value": None if unknown else numbers[1],
        "note": row["message"] or None,
        "fails": row["known"] is None,
    }


def _name(row: Mapping[str, Any]) -> str:
    runner = "" if row["runner"] == "autograd" else row["runner"]
    parts = (row["culprit"] or row["op"], row["mode"], runner, row["verdict"])
    text = re.sub(r"[^A-Za-z0-9.+=-]+", "-", "-".join(str(part) for part in parts if part))
    return text.strip("-.+=")[:MAX_NAME].rstrip("-.") or "comparison"


def _free(name: str, used: Iterable[str]) -> str:
    number, found = 2, name
    while found.casefold() in used:
        found, number = f"{name}-{number}", number + 1
    return found
