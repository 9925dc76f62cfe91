"""Writes one section of a record that several scripts share, and leaves the others as they are."""

from __future__ import annotations

from pathlib import Path


def write_section(section: str, path: Path) -> None:
    """Put `section` into the Markdown file in place of the one with the same first line, else at its end.

    A section begins with a heading of first or second order and reaches to the next of second order.
    """
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    parts = [part for part in _split(there) if part]
    heading = section.splitlines()[0]
    places = [i for i, part in enumerate(parts) if part.splitlines()[0] == heading]
    if places:
        parts[places[0]] = section.strip("\n")
    else:
        parts.append(section.strip("\n"))
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _split(text: str) -> list[str]:
    first, *following = text.split("\n## ")
    return [first.strip("\n"), *(f"## {part}".strip("\n") for part in following)]
