"""Calibration of the judge on generated programs: how far right answers lie, and whether planted faults are seen.

A block draws its programs from its own seed, so that the counts do not depend on the number of workers.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch

from ...reference_engine.rounding import NOISE, UNIT_ROUNDOFF
from ..evidence.known import KnownIssue, load, match
from ..generation.drawn import Case
from ..judgement.by_limits import NAN_MADE
from ..judgement.comparing import Found, TheirsRaised, compare_reverse, cotangents
from ..judgement.explaining import explanations
from ..judgement.judging import THRESHOLD, Judgement, measured
from ..judgement.local import LocalVerdict, condition, judge_node
from ..judgement.one_sided import WRONG_SUM
from ..judgement.precisions import AUTOCAST, HALF
from ..judgement.rows import Rows
from ..recorder.nodes import Node, nodes_of, run_backward
from ..recorder.recorded_run import Recording
from ..recorder.recording import to_numpy
from ..strategies import expressions, networks, programs
from .generated import draw_cases, in_precision, subject_of

BLOCK = 50  # programs
EVERY = 10  # every tenth program is run again with a fault
# Relative, in one entry. The half precisions: 128 unit roundoffs. Under autocast: by what the node holds.
FAULT = {"float64": 1e-6, "float32": 1e-3, "bfloat16": 128 * 2.0**-8, "float16": 128 * 2.0**-11}
# An entry is well conditioned where one rounding of each operand moves it by less than the threshold lets pass: by at
# most FAULT / (THRESHOLD · 0.4) unit roundoffs, 5 in the half precisions. In others a fault of that size cannot be told
# from the rounding of numbers that PyTorch was given.
CONDITION = {d: size / (THRESHOLD * NOISE * UNIT_ROUNDOFF[d]) for d, size in FAULT.items()}
BINS = np.concatenate([[0.0], 2.0 ** np.arange(-6, 7, 0.25), [np.inf]])  # edges of the histogram of z
# What a block draws, by its number: seven blocks of ten hold any primitives, one of them with long axes.
KINDS = (
    "programs", "long", "programs", "expressions", "programs",
    "networks", "programs", "expressions", "programs", "programs",
)  # fmt: skip
ILL = ", ill-conditioned"
ZERO_TIMES_INFINITY = "zero-times-infinite-slope"  # the known issue of that name, whatever the operation
# What PyTorch says of an operation that it has no kernel for in a half precision: nothing to compare.
REFUSED = re.compile(r"not implemented for '(BFloat16|Half)'|[Ll]ow precision dtypes not supported|\((BFloat16|Half)\{")
GOOD = ("agree", "convention", "inaccurate")


@dataclass
class Tally:
    """Counts of one or more blocks; `add` merges.

    comparisons: by (dtype, what, verdict), what is value, node or whole. entries: gradient entries judged, by dtype.
    z: histogram by dtype over BINS, of the worst entry of each array that agrees. alarms: mismatches that no known
    issue covers, and `cases` their programs. others: by (operation, verdict, reason), known mismatches included.
    legitimate: places, by operation, where a changed entry is one more choice at a kink, so that another was drawn.
    refused: programs that PyTorch does not run in their precision, by what it says. well: as planted, of well
    conditioned entries alone. slack: what is allowed over the error observed, of the worst entry of each array that
    agrees and is not exactly right, by dtype; only where every spread is measured.
    """

    programs: Counter[str] = field(default_factory=Counter)
    operations: Counter[int] = field(default_factory=Counter)
    primitives: Counter[str] = field(default_factory=Counter)
    comparisons: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    entries: Counter[str] = field(default_factory=Counter)
    z: dict[str, Any] = field(default_factory=dict)
    greatest: dict[str, tuple[float, str]] = field(default_factory=dict)
    others: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    alarms: list[str] = field(default_factory=list)
    cases: list[dict[str, Any]] = field(default_factory=list)
    planted: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: Counter[tuple[str, str]] = field(default_factory=Counter)
    legitimate: Counter[tuple[str, str]] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    well: Counter[tuple[str, str]] = field(default_factory=Counter)
    slack: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        """Merge the counts of `other` into this tally."""
        for f in fields(self):
            mine, theirs = getattr(self, f.name), getattr(other, f.name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            elif isinstance(mine, list):
                mine += theirs
            elif f.name == "slack":
                for d, found in theirs.items():
                    mine.setdefault(d, []).extend(found)
            elif f.name == "z":
                self.z = {d: self.z.get(d, 0) + theirs.get(d, 0) for d in {*mine, *theirs}}
            elif f.name == "greatest":
                self.greatest = {d: max(mine.get(d, (0.0, "")), theirs.get(d, (0.0, ""))) for d in {*mine, *theirs}}
            else:
                self.seconds += other.seconds

    @property
    def good(self) -> float:
        """Share of comparisons that end in agree, convention or inaccurate."""
        total = sum(self.comparisons.values())
        return sum(n for (_, _, v), n in self.comparisons.items() if v in GOOD) / max(total, 1)

    def caught(self, dtype: str, well: bool = False) -> float:
        """Share of planted faults that the local judge calls a mismatch; well: of those in well conditioned entries."""
        planted = self.well if well else self.planted
        return planted[dtype, "mismatch"] / max(sum(n for (d, _), n in planted.items() if d == dtype), 1)


class Judged(Rows):
    """Rows that keep the judgements, with their number of entries."""

    def __init__(self, case: str) -> None:
        super().__init__(case)
        self.judgements: list[tuple[Judgement, dict[str, Any]]] = []

    def judged(self, j: Judgement, **row: Any) -> None:
        super().judged(j, **row)
        self.judgements.append((j, self.rows[-1]))


def calibrate_block(
    number: int,
    seed: int,
    count: int = BLOCK,
    dtypes: Sequence[str] = ("float64", "float32"),
    slack: bool = False,
    every: int = EVERY,
) -> Tally:
    """The tally of one block of `count` programs, which take the precisions in turn. slack: measure every spread.
    every: how many programs there are to one that is run again with a fault.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    kind = KINDS[number % len(KINDS)]
    strategy = {
        "programs": programs, "long": lambda: programs(long=True), "expressions": expressions, "networks": networks
    }[kind]()  # fmt: skip
    issues = load()
    tally = Tally()
    for k, case in enumerate(draw_cases(strategy, count, seed * 1_000_003 + number)):
        dtype = dtypes[(number + k) % len(dtypes)]
        tally.programs[kind] += 1
        tally.operations[case.operations] += 1
        tally.primitives.update(case.primitives)
        tally.left_out.update(case.left_out)
        with measured() if slack else nullcontext():
            name = f"{kind} {seed}/{number}/{k}"
            _compare(in_precision(case, dtype), name, dtype, number * count + k, issues, tally, slack, every)
    return tally


def _compare(
    case: Case,
    name: str,
    dtype: str,
    index: int,
    issues: Sequence[KnownIssue],
    tally: Tally,
    slack: bool,
    every: int,
) -> None:
    rows = Judged(name)
    try:
        found = compare_reverse(subject_of(case, dtype, index), rows)
    except TheirsRaised as error:
        if REFUSED.search(str(error)):
            tally.refused[dtype, str(error)[:80]] += 1
            return
        tally.comparisons[dtype, "whole", "raised"] += 1
        tally.others["whole", "raised", str(error)[:80]] += 1
        return
    alarms = len(tally.alarms)
    reasons: list[str] = []
    histogram = tally.z.setdefault(dtype, np.zeros(len(BINS) - 1, dtype=np.int64))
    for j, row in rows.judgements:
        what = "whole" if row["program"] == "whole" else "value" if row["quantity"] == "value" else "node"
        tally.comparisons[dtype, what, j.verdict] += 1
        if what != "value":
            tally.entries[dtype] += j.entries
        if j.verdict == "agree" and not j.note and np.isfinite(j.z):
            histogram[np.searchsorted(BINS, j.z, side="right") - 1] += 1
            if slack and j.z > 0.0:
                tally.slack.setdefault(dtype, []).append(THRESHOLD / j.z)
            tally.greatest[dtype] = max(tally.greatest.get(dtype, (0.0, "")), (j.z, row["program"]))
        if j.verdict == "mismatch":
            reason = _known(row["program"], dtype, issues)
            if what == "whole" and not reason:
                reason = "; ".join(dict.fromkeys(reasons)) or _explained(case, dtype, index, j, row, issues)
            if reason:
                reasons.append(reason)
                tally.others[row["program"], "mismatch", reason] += 1
            else:
                said = f"{dtype} {what} {row['program']}: torch {j.torch_value!r}, witness {j.reference!r}, z {j.z:.3g}"
                tally.alarms.append(f"{name} {said}, entry {list(j.entry)}, operations {', '.join(case.primitives)}")
        elif j.verdict not in GOOD:
            tally.others[row["program"], j.verdict, j.note[:80]] += 1
    for row in rows.rows[len(rows.judgements) :]:
        tally.comparisons[dtype, "whole", row["verdict"]] += 1
        tally.others[row["program"], row["verdict"], str(row.get("message"))[:80]] += 1
    if len(tally.alarms) > alarms:
        tally.cases.append({**case.to_json(), "name": name, "dtype": dtype, "seed": index})
    if index % every == 0:
        _plant(found, subject_seed=index, dtype=dtype, tally=tally)


def _known(operation: str, dtype: str, issues: Sequence[KnownIssue]) -> str:
    """The known issue of torch that covers a mismatch of this operation, or "". Under autocast the operation ran in
    float32 or in bfloat16."""
    for held in ("float32", "bfloat16") if dtype == AUTOCAST else (dtype,):
        issue = match(issues, (operation,), "R", "autograd", held, "mismatch")
        if issue is not None:
            return issue.id
    return ""


def _explained(
    case: Case, dtype: str, index: int, j: Judgement, row: dict[str, Any], issues: Sequence[KnownIssue]
) -> str:
    """The known issues that explain a mismatch of a whole program, or "" if any part of it is not known."""
    if j.note == WRONG_SUM:
        return _known(WRONG_SUM, dtype, issues)
    if NAN_MADE in str(row.get("message")):
        return ZERO_TIMES_INFINITY
    plain = "float32" if dtype == AUTOCAST else dtype
    found = explanations(case, "R", plain, index, not np.isfinite(j.torch_value))
    known = [
        ZERO_TIMES_INFINITY if e.asked == "0" else _known(e.culprit, dtype, issues) or _known(e.op, dtype, issues)
        for e in found
    ]
    return "; ".join(dict.fromkeys(known)) if known and all(known) else ""


def _plant(found: Found, subject_seed: int, dtype: str, tally: Tally) -> None:
    """Run the backward pass again, multiply one entry of what one node sent by 1 + FAULT, and ask the local judge.

    Where the changed entry is one more legitimate choice at a kink nothing is wrong, and another place is drawn.
    """
    recording, seen = found.recording, found.seen
    assert recording is not None and seen is not None
    rng = np.random.default_rng(subject_seed)
    nodes = nodes_of(recording)
    c = cotangents(recording.torch_outputs, subject_seed)
    run_backward(recording, nodes, [*recording.leaves.values()], c)
    places = [
        (n, e, held)
        for n in nodes
        if n.ran
        for e, v in n.inputs
        if v in seen.tracers and _entries(n, e, held := recording.variables[v].dtype).size
    ]
    for k in rng.permutation(len(places)):  # none where every adjoint of the program is zero
        node, edge, held = places[k]
        entry = int(rng.choice(_entries(node, edge, held)))
        right = node.sent[edge]
        held_by = _held(recording, node, dtype)
        node.sent[edge] = _off(right, entry, held, FAULT[held_by])
        verdicts = list(judge_node(seen, node, subject_seed))
        node.sent[edge] = right
        seen_by_us = any(v.judgement.verdict == "mismatch" for v in verdicts)
        if seen_by_us or not any(_is_a_choice(v, edge, entry, node) for v in verdicts):
            outcome = "mismatch" if seen_by_us else "missed"
            well = condition(seen, node, edge, entry, subject_seed) <= CONDITION[held_by] if verdicts else True
            tally.planted[dtype, outcome] += 1
            tally.well[dtype, outcome] += well
            if not seen_by_us:
                tally.missed[verdicts[0].operation if verdicts else node.name, f"{dtype}{'' if well else ILL}"] += 1
            return
        tally.legitimate[verdicts[0].operation, dtype] += 1


def _held(recording: Recording, node: Node, dtype: str) -> str:
    """The shortest dtype that the node reads or writes, as the judge has it; it gives the size of the fault."""
    if dtype != AUTOCAST:
        return dtype
    held = {str(recording.variables[v].dtype) for _, v in (*node.inputs, *node.outputs)}
    return "bfloat16" if "torch.bfloat16" in held else "float32"


def _off(sent: Any, entry: int, held: torch.dtype, size: float) -> Any:
    """The adjoint with one entry multiplied by 1 + size, in the dtype that it is held in."""
    changed = torch.from_numpy(np.array(sent, order="C")).to(held)
    changed.view(-1)[entry] *= 1.0 + size
    return to_numpy(changed)


def _is_a_choice(v: LocalVerdict, edge: int, entry: int, node: Node) -> bool:
    """Whether the entry that was changed, and no other, is what makes this judgement a convention."""
    at = np.unravel_index(entry, np.shape(node.sent[edge]))
    variables = dict(node.inputs)  # several edges may lead to one tensor
    return (
        v.judgement.verdict == "convention"
        and variables[v.argument] == variables[edge]
        and tuple(v.judgement.entry) == at
    )


def _entries(node: Node, edge: int, held: torch.dtype) -> np.ndarray[Any, Any]:
    """Flat indices of the entries of an adjoint that are finite and not zero; in a half precision, large enough that
    a fault changes them by as much as it says."""
    g = node.sent[edge] if edge < len(node.sent) else None
    if g is None or np.asarray(g).dtype.kind != "f":
        return np.zeros(0, dtype=np.int64)
    flat = np.asarray(g).reshape(-1)
    least = torch.finfo(held).tiny if str(held).removeprefix("torch.") in HALF else 0.0
    return np.flatnonzero(np.isfinite(flat) & (flat != 0.0) & (np.abs(flat) >= least))
