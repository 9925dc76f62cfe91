"""Generated programs: drawn by hypothesis, compared in every mode, and what differs traced to one operation."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.strategies import SearchStrategy

from ...reference_engine.errors import EngineError
from ...reference_engine.evaluate import Plan, arguments_of
from ...reference_engine.program import Equation, Program
from ...reference_engine.registry import PRIMITIVES
from ...reference_engine.rounding import UNIT_ROUNDOFF
from ..evidence.scripts import Difference, Directions, answers_of, difference, question_of, random_directions
from ..generation.drawn import Case, depends
from ..generation.emit import compiled, emit, spelled
from ..generation.fixed_draws import without_constants_of_modules
from ..judgement.comparing import Found, Subject, TheirsRaised, compare_reverse
from ..judgement.judging import judge, worst
from ..judgement.modes import per_output
from ..judgement.one_sided import hold_against_one_sided
from ..judgement.precisions import AUTOCAST, DTYPES, entered
from ..judgement.rows import Rows
from ..recorder.recording import capture
from ..result import Culprit

OPERATOR_NAMES = {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "negative": "neg",
    "matmul": "matmul",
}
OPERATOR_NAMES |= {"power_constant": "pow", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge"}


def draw_cases(strategy: SearchStrategy[Case], count: int, seed: int) -> list[Case]:
    """`count` cases drawn by hypothesis from `seed` (fewer only if the strategy has no more).

    Hypothesis begins every run with the simplest case of all; that one is not counted, so that blocks do not repeat it.
    """
    found: list[Case] = []

    @seeded(seed)
    @settings(
        max_examples=count + 1,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=False,
    )
    @given(strategy)
    def collect(case: Case) -> None:
        found.append(case)

    with without_constants_of_modules():
        collect()
    return found[1:]


def in_precision(case: Case, dtype: str) -> Case:
    """The case with inputs and constants that `dtype` (a name of `precisions.DTYPES`) holds exactly."""
    if dtype == "float64":
        return case

    def rounded(x: Any) -> Any:
        if np.asarray(x).dtype.kind != "f":
            return x
        return torch.from_numpy(np.array(x, dtype=np.float64)).to(DTYPES[dtype]).double().numpy()

    p = case.program
    program = Program(p.inputs, {v: rounded(c) for v, c in p.constants.items()}, p.equations, p.outputs, p.name)
    return Case(program, tuple(rounded(x) for x in case.inputs), case.left_out)


def subject_of(case: Case, dtype: str, seed: int) -> Subject:
    """The emitted PyTorch function of a case, with its inputs as leaves of `dtype` (a name of `precisions.DTYPES`)."""
    leaves = [torch.from_numpy(x.copy()).to(DTYPES[dtype]).requires_grad_() for x in case.inputs]
    plain = compiled(emit(case.program, always_tuple=True))

    def under(*tensors: torch.Tensor) -> Any:
        with entered(dtype):
            return plain(*tensors)

    call = under if dtype == AUTOCAST else plain
    return Subject(call, leaves, [], [f"x{i}" for i in range(len(leaves))], None, seed)


def compare_case(case: Case, rows: Rows, modes: Sequence[str] = ("R",), dtype: str = "float64", seed: int = 0) -> Found:
    """Compare the emitted function of `case` with the witness, in each of `modes`.

    Mode R judges every recorded value, every autograd node and the end-to-end gradients, which are also held against
    the program's own gradient (float64), a reading that owes nothing to the recording. The other modes ask for the
    program as a whole. Every comparison ends in a row of `rows`; where PyTorch raises, the row says so.
    """
    case = in_precision(case, dtype)
    found = Found()
    for mode in modes:
        start = time.perf_counter()
        try:
            if mode == "R":
                reverse = compare_reverse(subject_of(case, dtype, seed), rows)
                found.recording, found.seen, found.culprit = reverse.recording, reverse.seen, reverse.culprit
                found.unsupported.update(reverse.unsupported)
            if mode != "R" or dtype == "float64":
                _whole(case, rows, mode, dtype, seed, start)
        except TheirsRaised as error:
            rows.add(
                mode=mode, dtype=dtype, order=len(mode), quantity="derivative", verdict="raised", message=_said(error)
            )
    found.verdict = worst([r["verdict"] for r in rows.rows])
    return found


def _whole(case: Case, rows: Rows, mode: str, dtype: str, seed: int, start: float) -> None:
    """One row per input (or output, in F and FF) of the program as a whole, by the program's own reading."""
    program = case.program
    d = random_directions(program, seed)
    common = {"mode": mode, "dtype": dtype, "order": len(mode), "quantity": "derivative"}
    try:
        question = question_of(program, case.inputs, d, mode, dtype)
        exact = question.plan.run(question.given)
    except EngineError as error:
        rows.add(**common, verdict="unsupported", message=str(error))
        return
    fn = compiled(emit(program, always_tuple=True))
    try:
        question.answers = answers_of(fn, case.inputs, d, mode, dtype, [np.shape(y) for y in exact])
    except Exception as error:  # PyTorch raised where the witness has an answer: a row, not a crash
        rows.add(**common, verdict="raised", message=_said(error), seconds=time.perf_counter() - start)
        return
    question.seed = seed
    question.input_is_nan = any(np.isnan(x).any() for x in case.inputs)
    forward = per_output(mode)
    judgements = judge(question)
    hold_against_one_sided(judgements, question, program, case.inputs, d.c, d.along[0], mode)
    for i, j in enumerate(judgements):
        rows.judged(j, **common, wrt=f"output {i}" if forward else f"x{i}", seconds=time.perf_counter() - start)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


@dataclass
class Located:
    """One equation whose derivative differs when it is asked alone, at its own values.

    case: the equation as a program. operation: PyTorch's function; aten: the ATen operation it calls.
    """

    case: Case
    primitive: str
    operation: str
    aten: str
    mode: str
    dtype: str
    at: Difference
    directions: Directions

    @property
    def found(self) -> complex:
        """torch's number at the entry that differs."""
        return self.at.found

    @property
    def wrong_digits(self) -> bool:
        """Whether more than half of the digits are wrong there, or torch has no number."""
        error = abs(self.at.found - self.at.right)
        return not error <= UNIT_ROUNDOFF[self.dtype] ** 0.5 * abs(self.at.right)

    @property
    def culprit(self) -> Culprit:
        return Culprit(
            self.aten, "", 0, self.at.entry, float(np.real(self.found)), float(np.real(self.at.right)), self.mode
        )


def localise(case: Case, mode: str, dtype: str = "float64", seed: int = 0) -> Located | None:
    """The first equation that differs in `mode` as a program of its own; None if no single one does (then the fault
    is in how they are put together)."""
    for number, alone in enumerate(single_equations(case)):
        found = differs_alone(alone, mode, dtype, seed + number)
        if found is not None:
            return found
    return None


def differs_alone(case: Case, mode: str, dtype: str, seed: int) -> Located | None:
    """Whether a case of one equation (or few) differs from torch in `mode`, and where."""
    case = in_precision(case, dtype)
    d = random_directions(case.program, seed)
    try:
        fn = compiled(emit(case.program, always_tuple=True))
        at = difference(fn, case.program, case.inputs, d, mode, dtype)
    except EngineError:
        return None
    except (RuntimeError, NotImplementedError):  # torch cannot be asked for this equation in this mode
        return None
    if at is None:
        return None
    last = case.program.equations[-1]
    return Located(case, last.primitive, torch_function(last), aten_operation(case), mode, dtype, at, d)


def single_equations(case: Case) -> list[Case]:
    """Each equation of the program that a derivative passes through, as a case at its own values."""
    program = case.program
    variables = [v for e in program.equations for v in e.outputs]
    everything = Program(program.inputs, program.constants, program.equations, tuple(variables), program.name)
    known: dict[Any, Any] = dict(zip(program.inputs, case.inputs, strict=True)) | program.constants
    known.update(zip(variables, Plan(everything).run(arguments_of(everything, case.inputs)), strict=True))
    active = depends(program)
    cases = []
    for e in program.equations:
        inputs = tuple(dict.fromkeys(v for v in e.inputs if v in active))
        outputs = tuple(v for v in e.outputs if v.dtype.kind in "fc")
        if not inputs or not outputs:
            continue
        constants = {v: known[v] for v in e.inputs if v not in inputs}
        cases.append(Case(Program(inputs, constants, (e,), outputs), tuple(np.array(known[v]) for v in inputs)))
    return cases


JOINING = ("torch.cat", "torch.stack", "torch.where")  # put together what a primitive has as one, choose its signs


def torch_function(e: Equation) -> str:
    """The name of PyTorch's function in the spelling of an equation: "torch.cumprod"."""
    if e.primitive in OPERATOR_NAMES:
        return f"torch.{OPERATOR_NAMES[e.primitive]}"
    text = spelled(e, [f"x{i}" for i in range(len(e.inputs))])
    names = [n for n in re.findall(r"(torch(?:\.[a-z_]\w*)+)\(", text) if n != "torch.tensor"]
    names = [n for n in names if n not in JOINING] or names
    if names:
        return str(names[0])
    methods = re.findall(r"\.([a-z_]\w*)\(", text)
    return f"torch.{methods[0]}" if methods else e.primitive


def aten_operation(case: Case) -> str:
    """The last ATen operation that the emitted function of the case calls on its inputs."""
    kept = [torch.from_numpy(x.copy()).requires_grad_() for x in case.inputs]
    recording = capture(compiled(emit(case.program, always_tuple=True)), *kept)
    named = [c.qualified for c in recording.calls if c.func is not None and c.references() and c.name != "aten::detach"]
    return named[-1] if named else PRIMITIVES[case.program.equations[-1].primitive].name


def counted(cases: Sequence[Case]) -> Counter[str]:
    """What was drawn and not kept, over all cases."""
    total: Counter[str] = Counter()
    for case in cases:
        total.update(case.left_out)
    return total
