"""`repro.py`: a script that imports torch and math alone and holds one derivative against the right value.

The right number is the witness's, written as a literal; torch's autograd has no part in it. Exit codes of a script: 1
after printing two values that differ by more than rounding explains, 0 when they agree, 2 when it cannot run.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...reference_engine.errors import EngineError
from ...reference_engine.program import Program
from ..errors import UsageError
from ..generation.emit import compiled, emit, number, tensor
from ..judgement.comparing import Subject, cotangents
from ..judgement.judging import SAMPLES, THRESHOLD, Question, judge, spreads_of
from ..judgement.modes import DIRECTIONS, MODES, ask_torch, named, per_output, reference, steps
from ..judgement.plans import started
from ..recorder.recorded_run import Recording
from ..recorder.recorded_source import of_recording
from ..recorder.recording import to_numpy
from ..recorder.witnessing import Witnessed

LARGEST = 2000  # entries of all literals of a script; above, a script is no longer something to read
Array = np.ndarray[Any, Any]


@dataclass
class Directions:
    """Cotangents c (one per output) and directions t, s, r (one per input each), as float64 arrays."""

    c: list[Array]
    along: list[list[Array]]


@dataclass
class Difference:
    """Where torch's answer differs: number of the output of the derivative, entry, right value, what rounding
    explains there, and torch's value.
    """

    which: int
    entry: tuple[int, ...]
    right: complex
    tolerance: float
    found: complex = complex("nan")


def ones(program: Program) -> Directions:
    """All cotangents and directions 1: what a script uses if the fault shows there."""
    inputs, outputs = ([np.ones(v.shape) for v in vs] for vs in (program.inputs, program.outputs))
    return Directions(outputs, [inputs] * len(DIRECTIONS))


def random_directions(program: Program, seed: int) -> Directions:
    """Standard normal cotangents and directions."""
    rng = np.random.default_rng(seed)

    def draw(variables: Sequence[Any]) -> list[Array]:
        return [rng.standard_normal(v.shape) for v in variables]

    return Directions(draw(program.outputs), [draw(program.inputs) for _ in DIRECTIONS])


def question_of(program: Program, inputs: Sequence[Any], d: Directions, mode: str, dtype: str) -> Question:
    """The witness's side of the comparison of `program` in `mode`; mode "" asks for the value.

    Directions are rounded to `dtype` first, since those are the numbers that torch is given.
    """
    if mode == "":
        plan, given = started(program, "value", lambda p: p, list(inputs))
        return Question(plan, given, [], dtype)
    c, *along = ([_rounded(x, dtype) for x in arrays] for arrays in (d.c, *d.along))
    question = reference(program, list(inputs), c, along, mode)
    question.dtype = dtype
    return question


def _rounded(x: Array, dtype: str) -> Array:
    return np.asarray(x) if dtype == "float64" else to_numpy(torch.from_numpy(np.array(x)).to(getattr(torch, dtype)))


def answers_of(
    fn: Any, inputs: Sequence[Any], d: Directions, mode: str, dtype: str, shapes: Sequence[Any]
) -> list[Array]:
    """torch's answers in `mode` as float64 arrays; zeros where torch passes nothing. Raises whatever torch raises."""
    kind = getattr(torch, dtype)

    def tensors(arrays: Sequence[Array]) -> list[torch.Tensor]:
        return [
            torch.from_numpy(np.array(x)).to(kind) if np.asarray(x).dtype.kind == "f" else torch.tensor(x)
            for x in arrays
        ]

    x = tensors(inputs)
    if mode == "":
        return [to_numpy(y) for y in fn(*x)]
    found = ask_torch(fn, x, tensors(d.c), [tensors(a) for a in d.along], mode)
    return [np.zeros(shape) if a is None else to_numpy(a) for a, shape in zip(found, shapes, strict=True)]


def difference(
    fn: Any, program: Program, inputs: Sequence[Any], d: Directions, mode: str, dtype: str
) -> Difference | None:
    """The entry where torch differs most from the witness, or None if there is no mismatch."""
    question = question_of(program, inputs, d, mode, dtype)
    exact = question.plan.run(question.given)
    question.answers = answers_of(fn, inputs, d, mode, dtype, [np.shape(y) for y in exact])
    wrong = [
        (j.z, i, j) for i, j in enumerate(judge(question)) if j.verdict == "mismatch" and j.reference == j.reference
    ]
    if not wrong:
        return None
    _, which, j = max(wrong, key=lambda w: w[0])
    if np.shape(exact[which]) != np.shape(question.answers[which]):
        return None
    tolerance = THRESHOLD * j.spread if np.isfinite(j.spread) else 0.0
    found = np.asarray(question.answers[which])[j.entry]
    return Difference(which, j.entry, np.asarray(exact[which])[j.entry], tolerance, found)


ORDINALS = ("first", "second", "third")
NAMES = {"R": "reverse", "F": "forward"}


def _asking(mode: str) -> str:
    """What sets `answers` to the derivative of f in `mode`: by the tape where all is reverse, else by torch.func."""
    taken = list(steps(mode))
    if "F" not in mode and mode:
        lines = ["leaves = [a.clone().requires_grad_() for a in x]", "answers = f(*leaves)"]
        for _, name in taken:
            slope = f"sum((y * w).sum() for y, w in zip(answers, {name}) if y is not None and y.requires_grad)"
            create = ", create_graph=True" if len(mode) > 1 else ""
            lines.append(f"slope = {slope}")
            lines.append(f"answers = torch.autograd.grad(slope, leaves{create}, allow_unused=True)")
        return "\n".join(lines)
    lines, inner = [], "f"
    for order, (letter, name) in enumerate(taken):
        new = ORDINALS[order]
        if letter == "F":
            value = f"torch.func.jvp({inner}, a, {name})[1]"
        else:
            lines += [
                f"def slope_of_{new}(*a):",
                f"    return sum((y * w).sum() for y, w in zip({inner}(*a), {name}))\n\n",
            ]
            value = f"torch.func.grad(slope_of_{new}, argnums=tuple(range(len(a))))(*a)"
        lines += [f"def {new}(*a):", f"    return {value}\n\n"]
        inner = new
    return "\n".join([*lines, f"answers = {inner}(*x)"])


def _says(mode: str) -> str:
    """What a mode asks for, in words."""
    if not mode:
        return "the value of f"
    how = " over ".join(NAMES[letter] for letter in mode) + (" mode" if len(mode) == 1 else "")
    along = [name for _, name in steps(mode) if name != "c"]
    directions = " and ".join(filter(None, (", ".join(along[:-1]), *along[-1:])))
    if per_output(mode):
        return f"{how}: the {ORDINALS[len(mode) - 1] + ' ' if len(mode) > 1 else ''}derivative of f along {directions}"
    if not along:
        return f"{how}: the gradient of L = Σ ⟨c, f⟩"
    return f"{how}: the {ORDINALS[len(mode) - 1]} derivative of L = Σ ⟨c, f⟩ applied to {directions}"


def script(
    source: str,
    inputs: Sequence[Array],
    d: Directions,
    mode: str,
    at: Difference,
    dtype: str = "float64",
    title: str = "",
    raises: bool = False,
) -> str:
    """The text of a repro.py.

    source: defines `f(x0, x1, …)`, which returns a tuple. at: the entry that is compared. raises: torch raises where
    it should answer. Raises UsageError for another mode.
    """
    if mode not in ("", *MODES):
        raise UsageError(f"script: mode {mode!r}; accepted are '' and {', '.join(MODES)}. Choose one of them.")
    kind = f"torch.{dtype}"
    lines = [
        f'"""{title or "torch and the right value"}: {_says(mode)}.',
        "",
        "Exits 1 if torch raises, or they differ, 0 if they agree." if raises else
        "Exits 1 if they differ, 0 if they agree, 2 if this torch cannot run it.",
    ]
    lines += [
        '"""',
        "",
        "import math",
        "",
        "import torch",
        "",
        "",
        source.rstrip(),
        "",
        "",
        f"x = {_tuple(inputs, kind)}",
    ]
    given = named(d.c, d.along)
    lines += [f"{name} = {_tuple(given[name], kind)}" for name in dict.fromkeys(name for _, name in steps(mode))]
    lines += [
        f"right = {number(at.right)}  # computed without torch",
        f"tolerance = {number(at.tolerance)}  # {THRESHOLD:g} times what rounding moves it",
    ]
    lines += ["try:", *[f"    {line}" if line else "" for line in _asking(mode).rstrip().split("\n")]]
    place = f"answers[{at.which}]"
    told = "raises, right={right!r}" if raises else "cannot run with torch {torch.__version__}"
    lines += [
        f"    value = 0.0 if {place} is None else {place}[{_index(at.entry)}].item()",
        "except Exception as error:",
        f'    print(f"{told}: {{type(error).__name__}}: {{error}}")',
        f"    raise SystemExit({1 if raises else 2})",
        'print(f"torch={value!r} right={right!r}")',
        "same = value == right or abs(value - right) <= tolerance or (value != value and right != right)",
        "raise SystemExit(0 if same else 1)",
    ]
    return "\n".join(lines) + "\n"


def _tuple(arrays: Sequence[Array], kind: str) -> str:
    return (
        "("
        + "".join(tensor(x, kind) + ", " for x in arrays).rstrip(" ").rstrip(",")
        + ("," if len(arrays) == 1 else "")
        + ")"
    )


def _index(entry: tuple[int, ...]) -> str:
    return ", ".join(map(str, entry)) if entry else "()"


def proves(text: str) -> bool:
    """Whether the script exits 1, run in this process."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            exec(compile(text, "<repro>", "exec"), {"__name__": "__main__"})  # the text is our own
        except SystemExit as end:
            return end.code == 1
    return False


@dataclass(frozen=True)
class Shown:
    """A script that proves a mismatch, and what it asks: `program` at `inputs` with directions d, entry `at`."""

    text: str
    program: Program
    inputs: Sequence[Array]
    d: Directions
    mode: str
    at: Difference


def script_of_program(
    program: Program, inputs: Sequence[Array], mode: str, dtype: str = "float64", seed: int = 0, title: str = ""
) -> str:
    """A script that shows the mismatch of `program` in `mode`, with directions of 1 if it shows there; "" if it does
    not show.
    """
    shown = shown_by_program(program, inputs, mode, dtype, seed, title)
    return "" if shown is None else shown.text


def shown_by_program(
    program: Program, inputs: Sequence[Array], mode: str, dtype: str = "float64", seed: int = 0, title: str = ""
) -> Shown | None:
    """The same with what the script asks."""
    source = emit(program, always_tuple=True)
    return _proof(source, program, inputs, mode, dtype, [ones(program), random_directions(program, seed)], title)


def _proof(
    source: str,
    program: Program,
    inputs: Sequence[Array],
    mode: str,
    dtype: str,
    tried: Sequence[Directions],
    title: str,
) -> Shown | None:
    if sum(np.size(x) for x in inputs) > LARGEST:
        return None
    fn = compiled(source)
    for d in tried:
        try:
            at = difference(fn, program, inputs, d, mode, dtype)
        except (EngineError, RuntimeError, NotImplementedError, ValueError, TypeError):
            return None  # neither side, or not PyTorch, can be asked in this form: there is no script
        if at is not None:
            text = script(source, inputs, d, mode, at, dtype, title)
            if proves(text):
                c, *along = ([_rounded(x, dtype) for x in part] for part in (d.c, *d.along))
                rounded = Directions(c, along)
                return Shown(text, program, inputs, rounded, mode, at)
    return None


def shown_by_recording(
    recording: Recording, seen: Witnessed, inputs: Sequence[int], mode: str, seed: int = 0, title: str = ""
) -> Shown | None:
    """The same for a recorded run: f is the recorded ATen calls. inputs: recorded variables that are differentiated.

    None where the run cannot be replayed from its calls (random numbers, custom Functions) or the replay does not show
    a mismatch.
    """
    outputs = [v for v in recording.outputs if v in seen.tracers]
    if not outputs or seen.missing:
        return None
    source = of_recording(recording, inputs, outputs)
    if not source:
        return None
    program = seen.program(list(inputs), outputs)
    dtype = str(recording.variables[outputs[0]].dtype).removeprefix("torch.")
    values = [recording.variables[v].value for v in inputs]
    tried = [ones(program), random_directions(program, seed)]
    if mode == "R":
        c = [
            to_numpy(g)
            for v, g in zip(recording.outputs, cotangents(recording.torch_outputs, seed), strict=True)
            if v in outputs and g is not None
        ]
        if len(c) == len(outputs):
            tried.append(Directions(c, []))
    return _proof(source, program, values, mode, dtype, tried, title)


def script_of_raise(recording: Recording, seen: Witnessed, subject: Subject, mode: str, culprit: str) -> str:
    """The script of one recorded call or run at which torch raises in `mode`, with directions of 1; "" where there is
    none that proves it.
    """
    inputs = _leaves(recording, seen, subject)
    title = f"{culprit} in torch {torch.__version__.split('+')[0]}"
    outputs = [v for v in recording.outputs if v in seen.tracers]
    source = of_recording(recording, inputs, outputs) if outputs and not seen.missing else ""
    values = [recording.variables[v].value for v in inputs]
    if not source or sum(np.size(x) for x in values) > LARGEST or recording.has_complex:  # of pairs
        return ""
    program = seen.program(list(inputs), outputs)
    dtype = str(recording.variables[outputs[0]].dtype).removeprefix("torch.")
    try:
        question = question_of(program, values, ones(program), mode, dtype)
        exact, spreads = spreads_of(question, question.plan, question.given, SAMPLES)
    except EngineError:
        return ""
    entries = [(i, e) for i, y in enumerate(exact) for e in np.ndindex(y.shape) if np.isfinite(y[e])]
    if not entries:
        return ""
    which, entry = max(entries, key=lambda place: exact[place[0]][place[1]] != 0)  # the first that is not 0
    tolerance = THRESHOLD * spreads[which][entry]
    at = Difference(which, entry, exact[which][entry], tolerance if np.isfinite(tolerance) else 0.0)
    text = script(source, values, ones(program), mode, at, dtype, title, raises=True)
    return text if proves(text) else ""


def script_of_call(recording: Recording, seen: Witnessed, subject: Subject, mode: str, row: dict[str, Any]) -> str:
    """The script of one recorded call or run whose row is a mismatch; "" where there is none that proves it."""
    shown = shown_by_call(recording, seen, subject, mode, row)
    return "" if shown is None else shown.text


def shown_by_call(
    recording: Recording, seen: Witnessed, subject: Subject, mode: str, row: dict[str, Any]
) -> Shown | None:
    """The same with what the script asks."""
    wrt = _leaves(recording, seen, subject)
    title = f"{row.get('culprit') or row.get('op') or 'f'} in torch {torch.__version__.split('+')[0]}"
    return shown_by_recording(
        recording, seen, wrt, "" if row.get("quantity") == "value" else mode, subject.seed, title
    )


def script_of_row(
    recording: Recording, seen: Witnessed, subject: Subject, mode: str, row: dict[str, Any], culprit: str
) -> str:
    """The script of a run whose row is a mismatch, or raised."""
    if row["verdict"] == "raised":
        return script_of_raise(recording, seen, subject, mode, culprit)
    return script_of_call(recording, seen, subject, mode, row)


def _leaves(recording: Recording, seen: Witnessed, subject: Subject) -> list[int]:
    """The recorded variables of the leaves that the run used, each once."""
    order = dict(zip([id(t) for t in subject.inputs], recording.inputs, strict=True))
    order.update({id(t): index for index, t in recording.leaves.items()})
    return list(dict.fromkeys(order[id(t)] for t in subject.leaves if order.get(id(t), -1) in seen.tracers))
