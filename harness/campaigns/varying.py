"""op_db samples under the named variations of `generation.variations`, as subjects and as a unit of a campaign."""

from __future__ import annotations

import functools
import inspect
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from ..evidence.cases import elements
from ..generation.variations import SHORTER, VARIATIONS, applies, in_float32, is_leaf, modes_of
from ..judgement.rows import Rows
from ..judgement.subject import Subject
from ..recorder.nested import tensors_in
from . import otherwise
from .opinfo import Entry, entries, samples_of, subject_of, subjects
from .work import Unit, UnitResult

NO_MATTER = ("inplace", "sparse")  # flags that change how a result is stored, not what it is
ENOUGH = 4  # entries of every leaf of a sample that is varied, where there is one
LARGEST = 400  # entries of a sample that is varied
SOURCE = "variations"
REFUSED = "variations of op_db samples that PyTorch refuses"


@dataclass(frozen=True)
class Varied:
    """One varied sample. number: of the sample; variation: a key of VARIATIONS, or a flag that is set; dtype: float64
    or float32.
    """

    number: int
    variation: str
    dtype: str
    subject: Subject

    @property
    def name(self) -> str:
        return f"{self.number}/{self.variation}" + ("" if self.dtype == "float64" else f"/{self.dtype}")


def varied(entry: Entry, seed: int, refused: Counter[str] | None = None) -> Iterator[Varied]:
    """Every variation of the first and the last small sample of an entry, and of that with most flags, which the
    operation accepts; `refused` counts the others. Then these with each flag that no argument gives.
    """
    samples = samples_of(entry, seed)
    small = [(k, s) for k, s in enumerate(samples) if 2 <= _size(s) <= LARGEST]
    small = [(k, s) for k, s in small if _least(s) >= ENOUGH] or small
    flagged = sorted(small, key=lambda pair: -_flags(pair[1]))[:1]  # the first with most flags
    for number, sample in dict(small[:1] + small[-1:] + flagged).items():
        flat, tree = tree_flatten((sample.input, sample.args, dict(sample.kwargs)))
        for name, vary in VARIATIONS.items():
            arguments = vary(flat) if applies(name, entry.name, flat) else None
            if arguments is None:
                continue
            forms = [("float64", arguments), *([("float32", in_float32(arguments))] if name in SHORTER else [])]
            for dtype, form in forms:
                subject = subject_of(entry, form, tree, sample.output_process_fn_grad, seed + number)
                if _accepts(subject):
                    yield Varied(number, name, dtype, subject)
                elif refused is not None:
                    refused[REFUSED] += 1
    for number, sample in small[:1] + small[-1:]:
        for name, value in _other_flags(entry, sample).items():
            flat, tree = tree_flatten((sample.input, sample.args, {**sample.kwargs, name: value}))
            for more, arguments in (("", flat), (", duplicate indices", VARIATIONS["duplicate indices"](flat))):
                if arguments is not None and applies("flag", entry.name, flat):
                    subject = subject_of(entry, arguments, tree, sample.output_process_fn_grad, seed + number)
                    if _accepts(subject):
                        yield Varied(number, f"{name}={value}{more}", "float64", subject)
                    elif refused is not None:
                        refused[REFUSED] += 1


def _other_flags(entry: Entry, sample: Any) -> dict[str, bool]:
    """Each flag of the operation's own signature that a sample does not give, the other way round than its default."""
    try:
        function = functools.reduce(getattr, entry.info.name.split("."), torch)
        parameters = inspect.signature(function).parameters.values()
    except (AttributeError, TypeError, ValueError):  # by another name, or written in C
        return {}
    flags = {p.name: p.default for p in parameters if isinstance(p.default, bool) and p.name not in NO_MATTER}
    return {name: not default for name, default in flags.items() if name not in sample.kwargs}


def _least(sample: Any) -> int:
    """How many entries the smallest leaf has."""
    flat, _ = tree_flatten((sample.input, sample.args, dict(sample.kwargs)))
    return min((a.numel() for a in flat if is_leaf(a)), default=0)


def _flags(sample: Any) -> int:
    """How many of the arguments are Booleans."""
    flat, _ = tree_flatten((sample.input, sample.args, dict(sample.kwargs)))
    return sum(isinstance(a, bool) for a in flat)


def _size(sample: Any) -> int:
    """How many entries are differentiated; 0 where some are not in a plain tensor."""
    flat, _ = tree_flatten((sample.input, sample.args, dict(sample.kwargs)))
    leaves = [a for a in flat if isinstance(a, torch.Tensor) and a.requires_grad]
    return sum(a.numel() for a in leaves) if all(map(is_leaf, leaves)) else 0


def _accepts(subject: Subject) -> bool:
    """Whether the operation takes these arguments, and has values there: NaN comes from NaN alone."""
    try:
        with torch.no_grad():
            found = tensors_in(subject.call(*[x.detach() for x in subject.leaves]))
    except Exception:  # PyTorch refuses in many ways
        return False
    return any(x.isnan().any() for x in subject.leaves) or not any(y.isnan().any() for y in found)


def of_case(data: Mapping[str, Any]) -> Subject | None:
    """The sample that a case of kind "opinfo" or "variations" names, once more, in the way that it was run; None where
    this torch has none.
    """
    entry = next((e for e in entries() if e.name == data.get("entry")), None)
    number = int(data["sample"])
    seed = int(data["seed"]) - number
    if entry is None:
        return None
    if "way" in data:
        return otherwise.again(entry, number, data["way"], seed)
    if data["kind"] != SOURCE:
        return next((s for k, s in subjects(entry, seed) if k == number), None)
    wanted = number, data.get("variation"), data.get("dtype")
    return next((v.subject for v in varied(entry, seed) if (v.number, v.variation, v.dtype) == wanted), None)


def run_varied(unit: Unit, result: UnitResult) -> None:
    """Compare the variations of one entry: all in the modes of order 1, some in those of order 2."""
    from .units import compare_sample

    entry = next(e for e in entries() if e.name == unit.name)
    declined = {m for m in unit.modes if entry.supports(m)}
    # a finding at one variation says nothing of the others
    traced: dict[tuple[str, str], Counter[tuple[str, str]]] = defaultdict(Counter)
    refused: Counter[str] = Counter()
    first: int | None = None
    for v in varied(entry, unit.seed, refused):
        first = v.number if first is None else first
        result.programs += 1
        rows = Rows(f"{SOURCE}/{entry.name}/{v.name}", op=entry.name, source=SOURCE, seed=v.subject.seed)
        for mode in modes_of(v.variation, unit.modes, len(v.subject.leaves)):
            only_first = len(mode) > 1 and v.number != first
            if mode in declined or only_first or (v.dtype != "float64" and mode != "R"):
                continue
            case = {"kind": SOURCE, "sample": v.number, "variation": v.variation, "dtype": v.dtype}
            if elements(v.subject):
                compare_sample(entry.name, case, v.subject, mode, rows, traced[v.variation, v.dtype], result)
        result.rows += rows.rows
    result.filtered.update(refused)
