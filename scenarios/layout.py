"""The layout of a plain-text page of 100 columns: prose, code, tables and notes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .sources import place_of

__all__ = ["CODE", "INDENT", "WIDTH", "block", "note", "prose", "table", "wrap"]

WIDTH = 100
"""Columns of every page."""

INDENT = "   "
CODE = "      "


def prose(text: str) -> list[str]:
    return wrap(text, INDENT)


def wrap(text: str, indent: str, first: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def note(label: str, text: str) -> list[str]:
    return wrap(text, " " * 12, first=f"{label + ':':<12}")


def block(lines: Sequence[str], function: object = None) -> list[str]:
    """Code, set off by its indent; with the file and line it stands at, where it is a function's."""
    code = [f"{CODE}{line}".rstrip() for line in lines]
    place = [f"{CODE}# {place_of(function)}"] if callable(function) else []
    return ["", *place, *code] if code else []


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns under their heads, names to the left; row by row where a line would be too long."""
    table = [tuple(head), *map(tuple, rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    lines = [
        (CODE + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in table
    ]
    if max(map(len, lines)) <= WIDTH:
        return lines
    tall = []
    for row in rows:
        tall.append(f"{CODE}{row[0]}")
        for label, cell in zip(head[1:], row[1:], strict=True):
            tall.append(f"{CODE}  {label + ':' if label else '':<14}{cell}")
    return tall
