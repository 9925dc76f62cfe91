"""What is asked of a whole run in mode R, and which documented definitions it bears out.

PyTorch documents that `ctc_loss` is given log-probabilities, and its rule is the derivative of the loss only in front
of what makes them so. Whether something does is not read off the operations: the gradients of the whole run say it, by
that rule and by the derivative.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...reference_engine.evaluate import Plan
from ...reference_engine.program import Program
from ...reference_engine.reverse import reverse
from ..recorder.recorded_run import Recording
from ..recorder.recording import to_numpy
from ..recorder.witnessing import Witnessed, witness
from .at_nan import is_nan_everywhere
from .judging import Question, judge, worst
from .plans import started
from .precisions import kept
from .subject import Subject
from .worked_in import coarsest


@dataclass
class Whole:
    """A question about a run from end to end, still without answers; its program, and the values of its inputs: those
    of the differentiated variables, then the cotangents. dtype: the shortest that a differentiated value was held in.
    """

    question: Question
    program: Program
    inputs: list[Any]
    dtype: str


def question_of_whole(
    subject: Subject,
    recording: Recording,
    seen: Witnessed,
    used: Sequence[int],
    c: Sequence[torch.Tensor | None],
    *,
    anew: bool = False,
) -> Whole:
    """The gradients of a run with respect to the recorded variables `used`, at PyTorch's own forward values.

    c: the cotangent of each output of the recording, None for one that gets none. anew: all values are computed from
    those of `used` instead, and everything in float64.
    """
    outputs = [(v, g) for v, g in zip(recording.outputs, c, strict=True) if g is not None and v in seen.tracers]
    program = seen.program([*used], [v for v, _ in outputs])
    inputs = [*[recording.variables[v].value for v in used], *[to_numpy(g) for _, g in outputs if g is not None]]
    reached = set(program.variables())
    made = reached.difference(program.inputs, program.constants)
    known = {} if anew else {v: x for v, x in seen.values.items() if v in made}
    positions, run = list(range(len(used))), None if anew else kept(seen)
    plan, given = started(program, f"global {len(used)}", lambda p, **k: reverse(p, positions, **k), inputs, known, run)

    def lossy() -> tuple[Plan, list[Any]]:
        derive = lambda p, **k: reverse(p, positions, lossy=True, **k)  # noqa: E731
        return started(program, f"global lossy {len(used)}", derive, inputs, known, run)

    groups = used, [v for v, _ in outputs]
    nan, undefined = (any(np.isnan(recording.variables[v].value).any() for v in group) for group in groups)
    scales = range(len(used), len(inputs))
    dtype = "float64" if anew else coarsest(subject, recording, seen)
    question = Question(plan, given, [], dtype, lossy, nan, subject.seed, undefined, scales=scales)
    question.complex_numbers = recording.has_complex
    question.values, question.cotangents = [recording.variables[v].value for v, _ in outputs], scales
    question.without_value = question.nan_arrives = is_nan_everywhere(question.values)
    return Whole(question, program, inputs, dtype)


def borne_out(
    subject: Subject, recording: Recording, seen: Witnessed, wrt: Sequence[int], c: Sequence[torch.Tensor | None]
) -> Witnessed:
    """The reading `seen` of a run in mode R, with those calls read by a documented definition for which that leaves the
    gradients of the whole run as they are, wherever rounding has put the numbers of the run itself.
    """
    used = [v for v in dict.fromkeys(wrt) if v >= 0]

    def read(calls: Collection[int]) -> Witnessed | None:
        defined = witness(recording, used, only_adjoints=True, by_definition=calls)
        told, asked = (question_of_whole(subject, recording, s, used, c, anew=True).question for s in (defined, seen))
        asked.answers = told.plan.run(told.given)
        return defined if worst([j.verdict for j in judge(asked)]) in ("agree", "convention") else None

    if not seen.undecided:
        return seen
    together = read(seen.undecided)
    if together is not None or len(seen.undecided) == 1:
        return together or seen
    return read([i for i in seen.undecided if read([i]) is not None]) or seen
