"""The form of a pitfall: an essay in a docstring, and three functions that run it."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import EssayError

if TYPE_CHECKING:
    import torch

__all__ = ["HEADINGS", "Numbers", "Outcome", "Scenario", "plain", "raises"]

HEADINGS = ("Symptom", "Cause", "Fix", "Shapes", "Source", "Seen on")
"""The headings of every essay, in the order in which they stand."""

Numbers = dict[str, list[float] | None]
"""A name, as a reader would say it, and its numbers; None is the absence of a gradient, which is not zero."""

Outcome = Numbers | str
"""What a run ends in: numbers, or the text of the exception that stopped it."""


@dataclass(frozen=True)
class Scenario:
    """One pitfall of automatic differentiation, runnable.

    `faulty` and `fixed` use PyTorch; `truth` is by hand or by the reference engine, never by PyTorch's autograd.
    Each takes nothing and returns an `Outcome`, with the same names in all three. `same` names the rows, mostly
    losses, in which faulty and fixed agree: the reason why nobody noticed.
    """

    id: str
    title: str
    family: str
    faulty: Callable[[], Outcome]
    fixed: Callable[[], Numbers]
    truth: Callable[[], Numbers]
    same: tuple[str, ...]
    symptom: str
    cause: str
    fix: str
    shapes: str
    source: str
    seen_on: str

    @classmethod
    def from_essay(
        cls,
        essay: str | None,
        faulty: Callable[[], Outcome],
        fixed: Callable[[], Numbers],
        truth: Callable[[], Numbers],
        *,
        same: tuple[str, ...] = (),
    ) -> Scenario:
        """The scenario of a module: `essay` is its docstring; file and folder give id and family.

        The docstring's first line is the title; then each of `HEADINGS` starts a paragraph, as in `Symptom: …`.
        Raises EssayError where a heading is missing, empty, repeated or out of order.
        """
        where = faulty.__module__
        family, name = where.split(".")[-2:]
        title, parts = _parse(essay or "", where)
        fields = {heading.lower().replace(" ", "_"): text for heading, text in parts.items()}
        return cls(name.replace("_", "-"), title, family, faulty, fixed, truth, same, **fields)

    @property
    def witness(self) -> str:
        """Who says what is right: "the reference engine", or "by hand" where the closed form is the better lesson."""
        code = inspect.getsource(inspect.unwrap(self.truth))
        asked = re.search(r"\b(value_and_grad|grad|vjp|jvp|jacobian|evaluate)\(", code)
        return "the reference engine" if asked else "by hand"


def _parse(essay: str, where: str) -> tuple[str, dict[str, str]]:
    """Title and paragraphs of an essay, each joined to one line; EssayError where it is not of the form."""
    pieces = re.split(rf"^({'|'.join(HEADINGS)}):", inspect.cleandoc(essay), flags=re.MULTILINE)
    title, found, texts = " ".join(pieces[0].split()), pieces[1::2], [" ".join(p.split()) for p in pieces[2::2]]
    if not title or tuple(found) != HEADINGS or not all(texts):
        empty = [heading for heading, text in zip(found, texts, strict=True) if not text]
        raise EssayError(
            f"Scenario.from_essay: {where} has title={title!r}, headings={found}, empty={empty}; accepted is a title "
            f"line, then one paragraph for each of {list(HEADINGS)} in this order. Complete the module's docstring."
        )
    return title, dict(zip(found, texts, strict=True))


def raises(fragment: str) -> Callable[[Callable[[], Numbers]], Callable[[], Outcome]]:
    """Decorate a `faulty` that PyTorch stops: its outcome is then the text of the RuntimeError.

    Only an error whose text holds `fragment` is the pitfall; any other passes through.
    """

    def decorate(faulty: Callable[[], Numbers]) -> Callable[[], Outcome]:
        @functools.wraps(faulty)
        def stopped() -> Outcome:
            try:
                return faulty()
            except RuntimeError as error:
                if fragment not in str(error):
                    raise
                return f"{type(error).__name__}: {' '.join(str(error).split())}"

        return stopped

    return decorate


def plain(value: torch.Tensor | np.ndarray[Any, Any] | float | None) -> list[float] | None:
    """A copy of a tensor, array or number as a flat list of floats, in row-major order; None stays None.

    Shapes: (…) -> (number of elements,)
    """
    if value is None:
        return None
    array = value.detach().numpy() if hasattr(value, "detach") else np.asarray(value)
    return [float(entry) for entry in array.ravel()]
