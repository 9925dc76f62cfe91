"""Writes matrix.md: publicly reported cases and six modules, each run by `check` here and now. Takes some minutes.

python docs/write_matrix.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from gradwitness.harness import check
from gradwitness.harness.evidence.matrix_modules import MADE, made
from gradwitness.harness.evidence.public_cases import CASES, EAGER, PublicCase
from gradwitness.harness.judgement.modes import UNASKED as MODES
from gradwitness.harness.runners import RUNNERS

PAGE = Path(__file__).resolve().parent / "matrix.md"
ALONE = "runs outside the matrix"
HEAD = """# What the matrix finds

<!-- Written by `python docs/write_matrix.py`. -->

## Reported wrong gradients that depend on how PyTorch runs

Each is a public report about compiled or checkpointed code, transforms, memory layouts or precisions, rewritten as a
small callable ([public_cases.py](../harness/evidence/public_cases.py)) and run by `check` in its own cell. `wrong`:
wrong in torch 2.13.0; `right`: repaired by then; `convention`: documented behaviour. What is wrong must be found, as a
`mismatch` or, where a right formula loses all its digits, as `inaccurate`; what is right or a convention must not be a
`mismatch`. `eager` is the verdict of the same derivative by `torch.autograd`. This page: torch {version}.

| case | report | is | runner | mode | layout | dtype | verdict | culprit | eager |
|---|---|---|---|---|---|---|---|---|---|
"""
SECOND = """
## Six modules by every runner in every mode

In train mode, float64. `mismatch*` is a known issue of PyTorch ([findings](findings.md)); what is `unsupported` is one
row of the frame, with the reason.
"""


def link(source: str) -> str:
    """owner/name#number as a link."""
    place, _, number = source.partition("#")
    return f"[{source}](https://github.com/{place}/issues/{number})"


def line(case: PublicCase) -> str:
    """The row of one case."""
    shown = [case.name, link(case.source), case.status, f"`{case.runner}`", case.mode]
    if case.shows is not None:
        verdict = "mismatch" if case.shows() else "agree"
        return cells(*shown, "as given", "float32", verdict, f"`{case.runner}` ({ALONE})", "raises")
    result = case.checked(beside=(EAGER,))
    frame = result.frame
    own, plain = (frame[frame["runner"] == runner] for runner in (case.runner, EAGER))
    verdict, eager = result.table()[case.mode].xs(case.runner, level="runner").iloc[0], "the same"
    if case.runner != EAGER:
        eager = result.table()[case.mode].xs(EAGER, level="runner").iloc[0]
    assert len(plain)
    culprits = own["culprit"].dropna()
    culprit = f"`{culprits.iloc[0]}`" if len(culprits) else ""
    return cells(*shown, case.layout or "as given", str(own["dtype"].iloc[-1]), verdict, culprit, eager)


def cells(*words: str) -> str:
    """One line of a table."""
    return f"| {' | '.join(words)} |"


def of_module(name: str) -> Iterator[str]:
    """The section of one module: its table, and the reasons why cells are not compared."""
    module, x = made(name)
    result = check(module, x, modes=MODES, runners=RUNNERS)
    frame = result.frame
    known = frame[frame["known"].notna() & (frame["verdict"] == "mismatch")]
    marked = set(zip(known["runner"], known["mode"], strict=True))
    yield from ("", f"### {name}", "", cells("runner", *MODES), "|---" * (len(MODES) + 1) + "|")
    table = result.table().droplevel(["op", "dtype", "layout", "device"])
    for runner, row in table.iterrows():
        yield cells(f"`{runner}`", *(f"{v}*" if (runner, m) in marked else v for m, v in row.items()))
    reasons: dict[str, list[str]] = {}
    for r in frame[frame["verdict"] == "unsupported"].itertuples():
        text = str(r.message).partition(". ")[0].partition(" (raised at")[0]
        reasons.setdefault(text, []).append(f"`{r.runner}` {r.mode}")
    yield ""
    for reason, where in reasons.items():
        yield f"- {', '.join(where)}: {reason}"


def page() -> str:
    """The text of matrix.md."""
    torch.set_num_threads(1)
    rows = [line(case) for case in CASES]
    return HEAD.format(version=torch.__version__.partition("+")[0]) + "\n".join(
        [*rows, SECOND.rstrip("\n"), *(text for name in MADE for text in of_module(name)), ""]
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.name)
