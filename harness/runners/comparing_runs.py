"""One runner, one mode: what it gives for the subject against the witness's reading of the eager run, as rows."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...reference_engine.errors import EngineError
from ...reference_engine.reverse import reverse
from ..errors import TheirsRaised
from ..judgement.at_nan import is_nan_everywhere
from ..judgement.by_limits import hold_against_limits
from ..judgement.comparing import (
    Found,
    Subject,
    _not_compared,
    _same_numbers,
    compare_forward_modes,
    compare_reverse,
    cotangents,
    record,
)
from ..judgement.conventions import follow, within
from ..judgement.edited import with_edits
from ..judgement.judging import REAL_PART, Judgement, Question, judge, worst
from ..judgement.modes import DIRECTIONS, direction, per_output, reference
from ..judgement.one_sided import hold_against_one_sided
from ..judgement.plans import started
from ..judgement.precisions import kept
from ..judgement.rows import Rows, name_part
from ..judgement.second_run import parting_of, row_of
from ..judgement.worked_in import coarsest, works_in
from ..recorder.draws import Draws, replaying
from ..recorder.preserving import BACKWARD, random_state, random_states, set_random_states, untouched
from ..recorder.reachable import Reached
from ..recorder.recorded_run import Recording
from ..recorder.recording import to_numpy
from ..recorder.witnessing import Witnessed
from ..result import END_TO_END, NOTHING_DEPENDS, Culprit
from .asking import PLAIN, ask
from .blaming import eager_culprit, has_custom_functions, name_culprit, name_known, tell_refusals
from .compiling import draws_as_eager, missing_compiler
from .derivatives import Answers, Tensors
from .expressible import COMPILED, EAGER, NO_SAMPLE, PER_SAMPLE, reason_against, refusal
from .per_sample import ask_per_sample, samples_of
from .quotients import follows_its_path, held_against_quotients
from .recomputing import DOCUMENTED, watched_checkpoints

OTHER_DRAWS = "under torch.func PyTorch drew other random numbers than the recorded eager run"
OWN_DRAWS = "inductor draws random numbers of its own; torch._inductor.config.fallback_random = True makes them eager's"
NO_GRADIENT = "PyTorch has no gradient here (None)"
OTHER_RULE = (
    "a custom Function's own rule gives {0:.6g} in the eager run, and this runner gives {1:.6g}: it drops that rule"
)
CLOSED_OVER = (
    "it compiles the derivative, and a leaf tensor that the callable reaches without taking it as an argument, or "
    "registering it as a parameter, cannot be given to compiled code: pass it as an argument"
)


def _holds_leaves(subject: Subject) -> bool:
    return isinstance(subject.module, Reached) and bool(subject.module.places or subject.module.aliases)


@dataclass
class _Read:
    """The eager run of the subject, or of one sample of it, as the witness reads it, and what is asked of it."""

    subject: Subject
    recording: Recording
    seen: Witnessed
    wrt: list[int]
    c: Tensors
    directions: tuple[Tensors, ...]

    @property
    def outputs(self) -> list[int]:
        """The recorded variables of the floating outputs."""
        recording = self.recording
        pairs = zip(recording.outputs, recording.torch_outputs, strict=True)
        return [v for v, y in pairs if y.is_floating_point() or y.is_complex()]

    @property
    def used(self) -> list[int]:
        """Positions of the leaves that the run used, each recorded variable once."""
        return [i for i, v in enumerate(self.wrt) if v >= 0 and v not in self.wrt[:i]]


def compare_with(runner: str, subject: Subject, rows: Rows, mode: str) -> Found:
    """Compare the derivative of `subject` in `mode`, run by `runner`, with the witness; one or more rows are added.

    A mode that the runner cannot express is one `unsupported` row. Where the runner alone is wrong, it is the culprit.
    Raises TheirsRaised where the eager run itself raises.
    """
    begin, start = random_states(), len(rows.rows)
    with watched_checkpoints(keep=False) as told:
        found = with_edits(functools.partial(_compare, runner, mode), subject, rows, mode)
    if told and any(r["verdict"] == "mismatch" for r in rows.rows[start:]):
        again = Rows("again")
        set_random_states(begin)
        with watched_checkpoints(keep=True):
            kept_state = _compare(runner, mode, subject, again)
        wrong = {_which(r) for r in again.rows if r["verdict"] == "mismatch"}
        for r in rows.rows[start:]:
            if r["verdict"] == "mismatch" and _which(r) not in wrong:
                r.update(verdict="convention", message=DOCUMENTED, culprit=None)
        found.culprit = kept_state.culprit
        found.verdict = worst([r["verdict"] for r in rows.rows[start:]])
    if runner == "autograd":
        tell_refusals(rows.rows[start:], mode, found)
    if found.recording is not None:
        name_known(rows.rows[start:], found.recording)
    return found


def _which(row: dict[str, Any]) -> tuple[Any, ...]:
    """What a row compares."""
    return tuple(row.get(name) for name in ("program", "quantity", "wrt"))


def _compare(runner: str, mode: str, subject: Subject, rows: Rows) -> Found:
    """One runner, one mode, as it is."""
    if runner == "autograd":
        return compare_reverse(subject, rows) if mode == "R" else compare_forward_modes(subject, rows, mode)
    common = {"mode": mode, "runner": runner, "quantity": "derivative", "order": len(mode), "dtype": subject.dtype}
    start, found, written = time.perf_counter(), Found(), len(rows.rows)

    def unsupported(text: str, **missing: str) -> Found:
        found.unsupported.update(missing or {f"{runner} in mode {mode}": text})
        rows.add(**common, verdict="unsupported", message=text, seconds=time.perf_counter() - start)
        found.verdict = "unsupported"
        return found

    reason = reason_against(runner, mode) or (missing_compiler() if runner in COMPILED else None)
    if reason is None and runner in COMPILED and (runner, mode) != ("compile", "R") and _holds_leaves(subject):
        reason = CLOSED_OVER
    if reason is not None:
        return unsupported(reason)
    parts: list[Subject] | str = samples_of(subject) if runner in PER_SAMPLE else [subject]
    if isinstance(parts, str):
        return unsupported(parts)
    try:
        reads = [_read(part, mode, i) for i, part in enumerate(parts)]
    except TheirsRaised as error:
        if runner not in PER_SAMPLE:
            raise
        record(subject)  # raises where the callable does not run on the whole batch either
        return unsupported(NO_SAMPLE.format(tuple(parts[0].leaves[0].shape), error.text))
    found.recording, found.seen = reads[0].recording, reads[0].seen
    for read in reads:
        refused = _refused(read, mode)
        if refused is not None:
            return unsupported(refused[1], **dict([refused]))
    draws = any(read.recording.draws for read in reads)
    if draws and runner in COMPILED and not draws_as_eager():
        followed = all(follows_its_path(read.recording, read.seen) for read in reads)
        if runner == "compile" and mode == "R" and followed:
            return held_against_quotients(subject, reads[0].c, rows, found, common, OWN_DRAWS)
        return unsupported(OWN_DRAWS)
    begin = random_states()
    outputs: list[Tensors] | None = None
    try:
        drawn = reads[0].recording.drawn if runner == "func" else Draws()
        with random_state(), untouched(subject.module), replaying(drawn):
            set_random_states(begin)
            if runner in PER_SAMPLE:
                along = list(zip(*(read.directions for read in reads), strict=True))
                answers, outputs = ask_per_sample(runner, subject, [read.c for read in reads], along, mode)
            else:
                read = reads[0]
                whole, made = ask(runner, subject, read.c, read.directions, mode, _backward_draws_anew(subject.seed))
                answers, outputs = [whole], None if made is None else [made]
    except Exception as error:
        told = refusal(error)
        if told is not None:
            return unsupported(told)
        if not any(v in read.seen.tracers for read in reads for v in read.outputs):
            found.verdict = "indeterminate"  # such as the reentrant checkpoint, which wants a gradient
            rows.add(**common, verdict="indeterminate", message=NOTHING_DEPENDS, seconds=time.perf_counter() - start)
            return found
        found.verdict, text = "raised", TheirsRaised(error).text
        rows.add(**common, verdict="raised", message=text, seconds=time.perf_counter() - start)
        return found
    floating = [y for y in reads[0].recording.torch_outputs if y.is_floating_point() or y.is_complex()]
    if draws and runner == "func" and (outputs is None or not _same_numbers(outputs[0], floating)):
        return unsupported(OTHER_DRAWS)
    try:
        if outputs is not None and mode == "R":
            of_outputs = [_judge_values(read, y) for read, y in zip(reads, outputs, strict=True)]
            _write(reads, of_outputs, rows, found, {**common, "quantity": "value", "order": 0}, runner in PER_SAMPLE)
        judged = [_judge_one(read, given, mode) for read, given in zip(reads, answers, strict=True)]
        dropped = False
        if runner not in EAGER:
            pairs = zip(reads, judged, strict=True)
            dropped = any([_drops_a_rule(read, of_sample, mode, begin) for read, of_sample in pairs])
        _write(reads, judged, rows, found, common, runner in PER_SAMPLE)
        rows.rows[-1]["seconds"] = time.perf_counter() - start
    except EngineError as error:
        return unsupported(str(error))
    read = reads[found.call or 0]
    parting = parting_of(read.subject, read.recording) if found.culprit is not None and subject.thorough else None
    if parting is not None:  # a callable that gives other numbers each time is not the runner's fault
        del rows.rows[written:]
        row_of(parting, subject, rows, mode)
        rows.rows[-1]["runner"] = runner
        found.culprit, found.verdict = parting.culprit, "indeterminate"
        return found
    if found.culprit is not None:
        eager = None if dropped else eager_culprit(parts[found.call or 0], mode, begin)
        name_culprit(runner, eager, rows.rows[written:], found)
    found.verdict = worst([r["verdict"] for r in rows.rows[written:]])
    return found


def _read(subject: Subject, mode: str, number: int) -> _Read:
    """Record the subject eagerly and draw what it is asked with; `number` tells samples apart."""
    recording, seen, wrt = record(subject, mode)
    c = tuple(g for g in cotangents(recording.torch_outputs, subject.seed + number) if g is not None)
    relied = [name for followed in seen.followed.values() for name in followed]
    generator = torch.Generator().manual_seed(subject.seed + 1 + number)

    along = [tuple(within(direction(x, generator), x.detach(), relied) for x in subject.leaves) for _ in DIRECTIONS]
    return _Read(subject, recording, seen, wrt, c, tuple(along))


def _refused(read: _Read, mode: str) -> tuple[str, str] | None:
    """What keeps the witness from an answer, by name, and why; None if nothing does."""
    missing = read.seen.missing
    if missing:
        return next(iter(missing)), "; ".join(sorted(set(missing.values())))
    if mode == "R":
        return None
    places = [i for i, y in enumerate(read.recording.torch_outputs) if y.is_floating_point() or y.is_complex()]
    return _not_compared(read.subject, read.recording, read.seen, mode, places)


def _backward_draws_anew(seed: int) -> Callable[[], None]:
    """What a backward pass draws is not what the forward pass drew, unless whoever recomputes it takes care of that."""

    def reseed() -> None:
        torch.manual_seed(seed ^ BACKWARD)
        np.random.seed((seed ^ BACKWARD) % 2**32)
        random.seed(seed ^ BACKWARD)

    return reseed


def _dtype(read: _Read) -> str:
    held = coarsest(read.subject, read.recording, read.seen)
    return REAL_PART.get(held, held)


def _numbers(read: _Read, tensors: Sequence[torch.Tensor]) -> list[Any]:
    return [to_numpy(tensors[i]) for i in read.used]


def _question(read: _Read, mode: str) -> tuple[Any, Question]:
    """The witness's program of the run, and its side of the question; unlike the local judge it starts from the inputs
    alone, since a runner computes the values in between anew.
    """
    program = read.seen.program([read.wrt[i] for i in read.used], read.outputs)
    x, *directions = (_numbers(read, tensors) for tensors in (read.subject.leaves, *read.directions))
    c = [to_numpy(g) for g in read.c]
    if mode == "R":
        places, run = list(range(len(x))), kept(read.seen)

        def side(lossy: bool) -> Any:
            derive = lambda p, **k: reverse(p, places, lossy=lossy, **k)  # noqa: E731
            return started(program, f"runner {lossy} {len(x)}", derive, [*x, *c], None, run)

        plan, given = side(False)
        question = Question(plan, given, [], _dtype(read), lambda: side(True))
        question.cotangents = range(len(x), len(x) + len(c))
    else:
        question = reference(program, x, c, directions, mode)
        question.dtype = works_in(read.subject, read.recording, read.seen, mode)
    question.seed = read.subject.seed
    question.input_is_nan = any(np.isnan(a).any() for a in x)
    question.complex_numbers = read.recording.has_complex
    question.values = [read.recording.variables[v].value for v in read.outputs]
    question.outside_domain = any(np.isnan(y).any() for y in question.values)
    question.without_value = question.nan_arrives = is_nan_everywhere(question.values)
    return program, question


def _judge_one(read: _Read, answers: Answers, mode: str) -> list[tuple[str, Judgement]]:
    """The judgement of each answer of one run, by name."""
    program, question = _question(read, mode)
    leaves = read.subject.leaves
    if per_output(mode):
        names = [f"output {i}" for i in range(len(read.c))]
        pairs = list(zip(answers, read.c, strict=True))
    else:
        names = [read.subject.names[i] for i in read.used]
        pairs = [(answers[i], leaves[i]) for i in read.used]
    question.answers = [np.zeros(to_numpy(like).shape) if a is None else to_numpy(a) for a, like in pairs]
    judged = judge(question)
    relied = [name for followed in read.seen.followed.values() for name in followed]
    if not relied:
        x, c = _numbers(read, leaves), [to_numpy(g) for g in read.c]
        along = [_numbers(read, d) for d in read.directions]
        weights, run = c if mode == "R" else [], read.seen.values
        hold_against_one_sided(judged, question, program, x, weights, along[0], mode, run)
        hold_against_limits(judged, question, program, x, c, along, mode, run)
    for j, (a, like) in zip(judged, pairs, strict=True):
        follow(j, relied)
        if like.is_complex():
            name_part(j)
        if a is None and j.verdict == "mismatch":
            j.note = NO_GRADIENT
    return list(zip(names, judged, strict=True))


def _drops_a_rule(read: _Read, judged: list[tuple[str, Judgement]], mode: str, begin: tuple[Any, Any, Any]) -> bool:
    """A custom Function may state another derivative than that of its forward. A runner that has the latter where the
    eager run has the former has dropped the Function's rule: a mismatch, though the witness agrees.
    """
    if not has_custom_functions(read.recording):
        return False

    def eager(asked: str) -> list[tuple[str, Judgement]]:
        by = "func" if asked.count("F") > 1 else PLAIN
        with random_state(), untouched(read.subject.module):
            set_random_states(begin)
            try:
                answers, _ = ask(by, read.subject, read.c, read.directions, asked, lambda: None)
            except Exception:  # no rule of its own to drop: a Function without this derivative
                return []
        return _judge_one(read, answers, asked)

    if mode not in ("R", "F"):  # another rule shows in a first derivative; a second may be wrong for other reasons
        firsts = [j for letter in dict.fromkeys(mode) for _, j in eager(letter)]
        if not any(j.verdict == "mismatch" for j in firsts):
            return False
    dropped = False
    for (_, j), (_, other) in zip(judged, eager(mode), strict=False):  # none where eager has none
        if j.verdict in ("agree", "convention") and other.verdict == "mismatch":
            dropped = True
            j.verdict, j.z, j.entry = "mismatch", other.z, other.entry
            j.abs_error, j.rel_error = other.abs_error, other.rel_error
            j.note = OTHER_RULE.format(other.torch_value, other.reference)
            j.torch_value = j.reference = other.reference
    return dropped


def _write(
    reads: list[_Read],
    judgements: list[list[tuple[str, Judgement]]],
    rows: Rows,
    found: Found,
    common: dict[str, Any],
    per_sample: bool,
) -> None:
    """One row per leaf, or per output; of several samples the worst speaks, its number leads the entry."""
    judged: dict[str, list[Judgement]] = {}
    for of_sample in judgements:
        for name, j in of_sample:
            judged.setdefault(name, []).append(j)
    for name, js in judged.items():
        verdict = worst([j.verdict for j in js])
        sample = max((i for i, j in enumerate(js) if j.verdict == verdict), key=lambda i: np.nan_to_num(js[i].z))
        j = js[sample]
        if per_sample:
            j.entry = (sample, *j.entry)
        rows.judged(j, **{**common, "dtype": _dtype(reads[sample])}, wrt=name)
        if j.verdict == "mismatch" and found.culprit is None:
            _accuse(found, j, common["mode"], sample)


def _judge_values(read: _Read, outputs: Tensors) -> list[tuple[str, Judgement]]:
    """The judgement of each output of one run, by name: its value against the witness's."""
    program = read.seen.program([read.wrt[i] for i in read.used], read.outputs)
    x = _numbers(read, read.subject.leaves)
    plan, given = started(program, f"runner value {len(x)}", lambda p, **k: p, x, None, kept(read.seen))
    nan = any(np.isnan(a).any() for a in x)
    answers = [to_numpy(y) for y in outputs]
    question = Question(plan, given, answers, _dtype(read), None, nan, read.subject.seed, True)
    question.complex_numbers = read.recording.has_complex
    return [(f"output {i}", j) for i, j in enumerate(judge(question))]


def _accuse(found: Found, j: Judgement, mode: str, sample: int) -> None:
    found.culprit = Culprit("end to end", "", 0, j.entry, j.torch_value, j.reference, mode, kind=END_TO_END)
    found.call = sample
