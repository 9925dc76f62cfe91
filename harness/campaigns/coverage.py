"""Coverage of an op_db entry: which of its samples were compared in each mode, and why the others were not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..judgement.judging import worst

COMPARED = frozenset(("agree", "convention", "inaccurate", "indeterminate", "mismatch"))


class Coverage:
    """Counts the samples of one entry, mode by mode; `record` is what the report keeps of them."""

    def __init__(self, name: str, modes: Sequence[str]) -> None:
        self.name = name
        self.samples = 0
        self.compared: dict[str, int] = dict.fromkeys(modes, 0)
        self.empty: dict[str, int] = dict.fromkeys(modes, 0)
        self.left_out: dict[str, dict[str, list[int]]] = {m: {} for m in modes}

    def leave_out(self, number: int, mode: str, reason: str) -> None:
        """Sample `number` is not compared in `mode`."""
        self.left_out[mode].setdefault(reason, []).append(number)

    def count(self, number: int, mode: str, rows: Sequence[dict[str, Any]], *, empty: bool) -> None:
        """The rows of one sample in one mode: compared where each of them is a comparison, and one of a derivative.

        empty: no input of the sample has an entry, so that shapes alone were compared.
        """
        not_compared = [r for r in rows if r["verdict"] not in COMPARED]
        if not_compared:
            row = not_compared[0]
            self.leave_out(number, mode, f"{row['verdict']}: {row.get('message') or 'no reason was recorded'}")
        elif not any(r.get("quantity") == "derivative" for r in rows):
            self.leave_out(number, mode, "no derivative of this sample was asked for")
        else:
            self.compared[mode] += 1
            self.empty[mode] += empty

    def record(self, rows: Sequence[dict[str, Any]], reasons: Iterable[str]) -> dict[str, Any]:
        """What the report keeps. `status` says whether every sample was compared in mode R, or was without a gradient
        to compare.
        """
        reverse = [r for r in rows if r.get("mode") == "R"]
        covered = bool(reverse) and all(r["verdict"] in COMPARED for r in reverse)
        return {
            "name": self.name,
            "source": "opinfo",
            "status": "compared" if covered else "not covered",
            "comparisons": len(rows),
            "verdict": worst([r["verdict"] for r in reverse]) if reverse else "unsupported",
            "reason": "; ".join(sorted(r for r in reasons if r))[:400],
            "samples": self.samples,
            "modes": self.by_mode(),
        }

    def by_mode(self) -> dict[str, Any]:
        """Per mode how many samples were compared, and which were not and why."""
        return {
            m: {
                "compared": self.compared[m],
                "empty": self.empty[m],
                "left_out": [
                    {"reason": why, "samples": len(which), "numbers": ranges(which)}
                    for why, which in self.left_out[m].items()
                ],
            }
            for m in self.compared
        }


def ranges(numbers: Sequence[int]) -> str:
    """Rising whole numbers as text: 0, 1, 2, 5 is "0-2, 5"."""
    parts: list[list[int]] = []
    for n in numbers:
        if parts and n == parts[-1][1] + 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def uncounted(name: str, verdict: str, message: str) -> dict[str, Any]:
    """The record of an entry whose unit crashed or ran out of time: how many samples it has is not known."""
    return {
        "name": name,
        "source": "opinfo",
        "status": "not covered",
        "comparisons": 1,
        "verdict": verdict,
        "reason": message,
        "samples": None,
        "modes": {},
    }
