"""What a campaign hands to its workers and gets back: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..evidence.findings import Candidate


@dataclass(frozen=True)
class Unit:
    """sources "opinfo" and "variations": `name` is an entry of op_db; source "generated": `number` is the block,
    `count` the programs in it; source "referee": `name` is a primitive whose accuracy is measured. runners: the ways in
    which samples of op_db are run, names of `otherwise.WAYS`.
    """

    source: str
    name: str
    modes: tuple[str, ...]
    seed: int
    number: int = 0
    count: int = 0
    samples: int | None = None
    runners: tuple[str, ...] = ("autograd",)


@dataclass
class UnitResult:
    """Rows of the frame, candidates for findings, coverage records, counts of what was filtered while drawing.

    ulp: rows of the accuracy table.
    """

    unit: Unit
    rows: list[dict[str, Any]] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    coverage: list[dict[str, Any]] = field(default_factory=list)
    filtered: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    programs: int = 0
    ulp: list[dict[str, Any]] = field(default_factory=list)
