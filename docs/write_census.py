"""Writes census.md: publicly reported wrong gradients of eager code, each asked by `check` and looked for by a run.

python docs/write_census.py   (some minutes: the samples of thirty operations, as they are and varied)
"""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from gradwitness.harness.campaigns.units import run_unit
from gradwitness.harness.campaigns.work import Unit
from gradwitness.harness.evidence.public_cases import CONVENTION, RIGHT, WRONG, PublicCase
from gradwitness.harness.evidence.reported_cases import ALLOWED, EAGER_CASES, ENTRIES
from gradwitness.harness.judgement.modes import MODES
from gradwitness.harness.recorder.recording import capture

PAGE = Path(__file__).resolve().parent / "census.md"
SOURCES = ("opinfo", "variations")
LOST = 0.5  # an `inaccurate` row that is off by more than this share fails a run
HEAD = """# Census of reported wrong gradients

<!-- Written by `python docs/write_census.py`. -->

Each case is a public report about eager code, rewritten as a small callable
([reported_cases.py](../harness/evidence/reported_cases.py)); those of compilers, layouts, checkpoints and precisions
are on [the page of the matrix](matrix.md). `wrong`: wrong in torch 2.13.0; `right`: repaired by then; `convention`:
documented behaviour. `check` is given the callable and the mode alone. What is wrong must be a `mismatch`, or
`inaccurate` where a right formula loses all its digits; the others must be neither. Size: calls × entries that are
differentiated. The last column is what `gradwitness run` meets the fault at without being told: a stock sample of
`op_db` (`--source opinfo`), or a [variation](../harness/generation/variations.py) of one (`--source variations`); a
dash where the fault lies in how operations are composed. This page: torch {version}.

"""
COLUMNS = ("case", "report", "is", "mode", "verdict", "found", "culprit", "size", "met by a run at")


def base(case: PublicCase) -> str:
    """The name without the mode."""
    return case.name.partition("-in-")[0] if case.name.endswith(f"-in-{case.mode}") else case.name


def size_of(case: PublicCase) -> str:
    """Calls of PyTorch times entries that are differentiated."""
    assert case.made is not None
    fn, inputs = case.made()
    tensors = [x.detach().requires_grad_() for x in (inputs if isinstance(inputs, tuple) else (inputs,))]
    calls = sum(c.func is not None for c in capture(fn, *tensors).calls)
    return f"{calls} × {sum(x.numel() for x in tensors)}"


@functools.cache
def rows_of(source: str, entry: str) -> tuple[dict[str, Any], ...]:
    """What a run says of one entry of op_db."""
    return tuple(run_unit(Unit(source, entry, MODES, 0)).rows)


def met_at(case: PublicCase, culprit: str) -> str:
    """The first sample or variation at which a run meets the same operation in the same mode; "" if at none."""
    entry = ENTRIES.get(base(case))
    for source in SOURCES if entry else ():
        for row in rows_of(source, str(entry)):
            lost = row["verdict"] == "inaccurate" and not row.get("rel_error", 0.0) <= LOST
            same = not culprit or row["program"].rpartition(".")[0] in ("", culprit.rpartition(".")[0])
            if row["mode"] == case.mode and same and (lost or row["verdict"] == "mismatch"):
                number, _, variation = row["case"].removeprefix(f"{source}/{entry}/").partition("/")
                return f"`{entry}`, sample {number}" + (f", {variation}" if variation else "")
    return ""


def line(case: PublicCase) -> tuple[str, bool]:
    """The row of one case, and whether its verdict is the wanted one."""
    result = case.checked()
    right = result.verdict in ALLOWED[case.status]
    culprit = result.culprit.operation if result.culprit is not None else ""
    found = "no fault" if case.status != WRONG else "yes" if right else "no"
    place, _, number = case.source.partition("#")
    report = f"[{case.source}](https://github.com/{place}/issues/{number})"
    if case.status != WRONG:
        met = ""
    else:
        met = met_at(case, culprit if culprit != "end to end" else "") or "–"
    words = (case.name, report, case.status, case.mode, result.verdict, found if right else "**no**")
    return f"| {' | '.join((*words, f'`{culprit}`' if culprit else '', size_of(case), met))} |", right


def page() -> str:
    """The whole page."""
    lines, counts = [], Counter[tuple[str, bool]]()
    for case in EAGER_CASES:
        text, right = line(case)
        lines.append(text)
        counts[case.status, right] += 1
    told = "; ".join(
        f"{counts[status, True]} of {counts[status, True] + counts[status, False]} {words}"
        for status, words in ((WRONG, "wrong ones found"), (RIGHT, "right ones let pass"), (CONVENTION, "conventions"))
    )
    table = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *lines]
    return HEAD.format(version=torch.__version__) + told + ".\n\n" + "\n".join(table) + "\n"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
