"""Text in columns: each as wide as its longest cell, up to a bound, so that one long line does not push all others."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], bounds: Sequence[int], between: Sequence[str]) -> str:
    """The rows as lines. bounds: the greatest width of each column; between: what stands after each but the last.

    A longer cell is not cut; the cells after it move on.
    """
    widths = [
        min(bound, max((len(row[k]) for row in rows if len(row[k]) <= bound), default=0))
        for k, bound in enumerate(bounds)
    ]
    lines = []
    for row in rows:
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)]
        lines.append("".join(a + b for a, b in zip(cells, (*between, ""), strict=True)).rstrip())
    return "\n".join(lines)
