"""PyTorch's documented definitions, by name, each with its documentation: one table, harness/conventions.toml.

A lowering says which of them a call relies on (`call.follows("padding-idx")`); an answer that agrees with such a
definition gets the verdict `convention` and the documentation as its note.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import torch

from ..lowering.symmetry import is_symmetric_but_for_rounding
from .judging import Judgement


@dataclass(frozen=True)
class Convention:
    """operations: the ATen operations whose lowering refers to it (none: the reading of a whole run does). definition:
    in our words. where, quote: the documented object of PyTorch, and its words.
    """

    name: str
    operations: tuple[str, ...]
    definition: str
    where: str
    quote: str


@cache
def conventions() -> dict[str, Convention]:
    """The table, by name."""
    data = tomllib.loads(files("gradwitness.harness").joinpath("conventions.toml").read_text(encoding="utf-8"))
    return {c["name"]: Convention(**{**c, "operations": tuple(c["operations"])}) for c in data["convention"]}


def follow(judgement: Judgement, names: Iterable[str]) -> Judgement:
    """The judgement of an answer that relies on the named definitions: `convention` where it agrees with them."""
    known = [conventions()[n] for n in dict.fromkeys(names)]
    if known and judgement.verdict in ("agree", "convention"):
        judgement.verdict = "convention"
        judgement.note = "; ".join(f'{c.definition} ({c.where}: "{c.quote}")' for c in known)
    return judgement


def within(direction: torch.Tensor, x: torch.Tensor, names: Iterable[str]) -> torch.Tensor:
    """A direction that stays where the named definitions say that x lies: symmetric (Hermitian) for such a matrix, of
    the same triangle for a triangular one; elsewhere the direction as it is."""
    if x.dim() < 2 or x.shape[-1] != x.shape[-2]:
        return direction
    if "symmetric-input" in names and _is_symmetric(x):
        return (direction + direction.mH) / 2
    if "triangular-input" in names and torch.equal(x, x.tril()):
        return direction.tril()
    if "triangular-input" in names and torch.equal(x, x.triu()):
        return direction.triu()
    return direction


def _is_symmetric(x: torch.Tensor) -> bool:
    """Whether a leaf is symmetric (Hermitian), but for rounding in its own dtype."""
    held = str(x.dtype.to_real()).removeprefix("torch.")
    wide = torch.complex128 if x.is_complex() else torch.float64
    return is_symmetric_but_for_rounding(x.detach().to("cpu", wide).resolve_conj().resolve_neg().numpy(), held)
