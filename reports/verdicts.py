"""The vocabulary of verdicts: order, symbol, colour group and plain meaning, in one table for every writer."""

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import ReportDataError


@dataclass(frozen=True)
class Verdict:
    """One way a comparison can end.

    `symbol` stands beside the colour everywhere, so that no reader depends on colour; `tone` names the colour group
    (wrong, broke, open, soft, choice, good); `meaning` is one sentence for a stranger.
    """

    name: str
    symbol: str
    tone: str
    meaning: str


VERDICT_TABLE: tuple[Verdict, ...] = (
    Verdict(
        "mismatch", "✗", "wrong", "PyTorch's number lies outside what rounding can explain: the gradient is wrong."
    ),
    Verdict("crashed", "‼", "broke", "The process died while PyTorch computed this derivative."),
    Verdict("timeout", "◷", "broke", "PyTorch did not answer within the time limit."),
    Verdict("raised", "↑", "broke", "PyTorch, or the code that it ran, raised an exception instead of an answer."),
    Verdict("accepted", "↓", "broke", "PyTorch answered; the witness says there is no answer."),
    Verdict("indeterminate", "?", "open", "No number to call right, or two runs that differ, or nothing tested."),
    Verdict("unsupported", "○", "open", "No rule in the witness, or no such derivative or kernel in PyTorch."),
    Verdict("inaccurate", "≈", "soft", "A correct formula that lost more than half of its digits to rounding."),
    Verdict("convention", "◇", "choice", "A legitimate choice where no single derivative exists, or a documented one."),
    Verdict("agree", "✓", "good", "Equal to the witness within the measured spread of rounding."),
)
"""Every verdict, worst first."""

VERDICTS: tuple[str, ...] = tuple(verdict.name for verdict in VERDICT_TABLE)
"""Names of the verdicts, worst first."""

VERDICT_OF: dict[str, Verdict] = {verdict.name: verdict for verdict in VERDICT_TABLE}
RANK: dict[str, int] = {name: rank for rank, name in enumerate(VERDICTS)}

SETTLED: frozenset[str] = frozenset({"agree", "convention", "inaccurate"})
"""Verdicts after which nothing is left to look at: the formula is right."""


def worst(verdicts: Iterable[str]) -> str:
    """Return the worst of `verdicts`, in the order of `VERDICTS`.

    Raises ReportDataError for a name that is not a verdict, and for no names at all: nothing compared is not `agree`.
    """
    names = list(verdicts)
    unknown = sorted({str(name) for name in names} - set(VERDICTS))
    if unknown:
        raise ReportDataError(
            f"worst: found verdicts {', '.join(map(repr, unknown))}; accepted are {', '.join(VERDICTS)}. "
            "Correct the spelling where the row is made."
        )
    if not names:
        raise ReportDataError("worst: found no verdict at all, at least one is needed. Judge something before asking.")
    return min(names, key=RANK.__getitem__)
