"""op_db samples run otherwise than on the plain tape: by another runner, per sample under vmap, or in place.

Each is held against the witness's reading of the eager run: the same derivative, whatever runs it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from ..evidence.cases import elements
from ..judgement.rows import Rows
from ..judgement.subject import Subject
from ..runners.expressible import PER_SAMPLE, RUNNERS
from ..tabling import IN_PLACE
from .coverage import Coverage
from .opinfo import Entry, samples_of, subject_of
from .work import Unit, UnitResult

PLAIN, IN_PLACE_VARIANT = "autograd", "in_place"
WAYS = (*RUNNERS, IN_PLACE_VARIANT)
LARGEST = 2000  # entries of a sample: what a way of running does wrong shows in small ones
SAMPLES = 2  # of an entry, unless asked otherwise


def ways(entry: Entry, way: str, seed: int) -> Iterator[tuple[int, Subject]]:
    """(number, subject) for the samples of an entry that can be run in this way: none in place where there is no such
    variant. For a runner per sample the first input becomes a batch of two draws of it.
    """
    others = samples_of(entry, seed + 1) if way in PER_SAMPLE else []
    for number, sample in enumerate(samples_of(entry, seed)):
        if way == IN_PLACE_VARIANT:
            in_place = entry.info.inplace_variant
            if in_place is None or sample.broadcasts_input or not isinstance(sample.input, torch.Tensor):
                continue
            subject = _of(entry, sample, seed + number, _on_a_copy(in_place))
        else:
            subject = _of(entry, sample, seed + number)
        if any(x.layout != torch.strided for x in subject.leaves) or not 0 < elements(subject) <= LARGEST:
            continue
        if way in PER_SAMPLE:
            other = _of(entry, others[number], seed + number).leaves if number < len(others) else []
            first = subject.leaves[0]
            second = other[0] if other and other[0].shape == first.shape else first
            batch = torch.stack([first.detach(), second.detach()]).requires_grad_()
            subject = Subject(subject.call, [batch, *subject.leaves[1:]], [], subject.names, None, subject.seed)
        yield number, subject


def _of(entry: Entry, sample: Any, seed: int, operation: Any = None) -> Subject:
    flat, tree = tree_flatten((sample.input, sample.args, dict(sample.kwargs)))
    return subject_of(entry, flat, tree, sample.output_process_fn_grad, seed, operation)


def _on_a_copy(in_place: Any) -> Any:
    return lambda x, *args, **kwargs: in_place(x.clone(memory_format=torch.preserve_format), *args, **kwargs)


def named(entry_name: str, way: str) -> tuple[str, str]:
    """The name of the operation in a report, and the runner, of an entry run in a way."""
    return (entry_name + IN_PLACE, PLAIN) if way == IN_PLACE_VARIANT else (entry_name, way)


def again(entry: Entry, number: int, way: str, seed: int) -> Subject | None:
    """The subject of a case once more; None where there is none."""
    return next((s for k, s in ways(entry, way, seed) if k == number), None)


def run_otherwise(entry: Entry, unit: Unit, declined: dict[str, str], result: UnitResult) -> dict[str, Any]:
    """Compare the first samples of one entry in every way of the unit but the plain one. Returns per way and mode how
    many were compared, and which were not and why.
    """
    from .units import compare_sample

    covered: dict[str, Any] = {}
    for way in unit.runners:
        if way == PLAIN:
            continue
        name, runner = named(entry.name, way)
        coverage = Coverage(name, unit.modes)
        traced: Counter[tuple[str, str]] = Counter()
        for number, subject in islice(ways(entry, way, unit.seed), unit.samples or SAMPLES):
            result.programs += 1
            rows = Rows(f"opinfo/{entry.name}/{number}/{way}", op=name, source="opinfo", seed=subject.seed)
            for mode in unit.modes:
                if mode in declined:
                    coverage.leave_out(number, mode, declined[mode])
                    continue
                before = len(rows.rows)
                case = {"kind": "opinfo", "sample": number, "way": way, "entry": entry.name}
                compare_sample(name, case, subject, mode, rows, traced, result, runner)
                coverage.count(number, mode, rows.rows[before:], empty=False)
            result.rows += rows.rows
        covered[way] = coverage.by_mode()
    return covered


def accepted_ways(names: Sequence[str]) -> tuple[str, ...]:
    """The names, once each. Raises UsageError for one that is not among WAYS."""
    from ..errors import UsageError

    for name in names:
        if name not in WAYS:
            raise UsageError(
                f"run: --runners {name!r}; accepted are {', '.join(WAYS)}, separated by commas. Correct the name."
            )
    return tuple(dict.fromkeys(names))
