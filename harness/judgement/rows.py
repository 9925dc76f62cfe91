"""Rows of the comparison frame, filled in one place so that every comparison ends in exactly one row."""

from __future__ import annotations

from typing import Any

from .judging import Judgement


def name_part(j: Judgement) -> None:
    """Say of a complex result in which part its worst entry lies, instead of by a last index."""
    if j.entry and not j.part:
        j.part, j.entry = (".real", ".imag")[j.entry[-1]], j.entry[:-1]


class Rows:
    """Collects rows of one case; what is the same for all of them is given once."""

    def __init__(self, case: str, *, op: str | None = None, **common: Any) -> None:
        self.common = {
            "case": case,
            "op": op or case,
            "runner": "autograd",
            "device": "cpu",
            "layout": "strided",
            **common,
        }
        self.op = op  # None: each row is filed under its own operation; a name: all rows are filed under it
        self.rows: list[dict[str, Any]] = []

    def add(self, **row: Any) -> None:
        """One row; `operation` is what was judged, "whole" for the callable as a whole."""
        operation = row.pop("operation", "whole")
        if operation != "whole" and self.op is None:
            row.setdefault("op", operation)
        self.rows.append({**self.common, "program": operation, **row})

    def one(self, **row: Any) -> dict[str, Any]:
        """The last row, after adding it."""
        self.add(**row)
        return self.rows[-1]

    def judged(self, j: Judgement, **row: Any) -> None:
        """A row for a judgement; a note of the judgement is the message unless one is given."""
        self.add(
            verdict=j.verdict,
            z=j.z,
            ulp=j.ulp,
            abs_error=j.abs_error,
            rel_error=j.rel_error,
            entry=str(list(j.entry)) + j.part,
            torch_value=j.torch_value,
            reference_value=j.reference,
            spread=j.spread,
            **{"message": j.note, **row},
        )
