"""What a user's callable is asked beyond its one run: is a second run the same, its graph whole, what is written to?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from ..errors import place_of
from ..recorder.nodes import Node
from ..recorder.preserving import same_bits
from ..recorder.recorded_run import Recording
from ..result import ATEN, CUSTOM, END_TO_END, Culprit
from .cuts import rows_of_cuts
from .proportional import rows_of_bent
from .rows import Rows
from .second_run import backward_parts, row_of_parting

if TYPE_CHECKING:
    from .subject import Subject

WRITES = (
    "the callable writes into its argument{0}: it was given a copy, so that yours is as before and the derivative is "
    "that of the whole callable"
)
LEAF_WRITTEN = ("a leaf Variable that requires grad", "a view of a leaf Variable that requires grad")


def look_again(
    subject: Subject,
    recording: Recording,
    nodes: Sequence[Node],
    c: Sequence[torch.Tensor | None],
    gradients: Sequence[torch.Tensor | None],
    wrt: Sequence[int],
    culprit: Culprit | None,
    rows: Rows,
) -> Culprit | None:
    """Rows for what a second run and the graph show, and the culprit in the light of them.

    A rule is not accused where a second backward pass through the same graph gives other numbers.
    """
    open_still = culprit is None or culprit.kind == END_TO_END
    if culprit is not None and culprit.kind in (ATEN, CUSTOM, END_TO_END):
        culprit = backward_parts(subject, recording, nodes, c) or culprit
    if subject.written is not None:
        rows.add(
            operation="arguments",
            mode="R",
            quantity="value",
            order=0,
            wrt=subject.written,
            dtype=subject.dtype,
            verdict="agree",
            message=WRITES.format(f" ({subject.written})" if subject.written else ""),
        )
    parting = row_of_parting(subject, recording, rows, "R")
    if parting is not None:
        return parting.culprit if open_still else culprit
    cut = rows_of_cuts(subject, recording, gradients, wrt, c, rows, nodes)
    if not open_still:
        return culprit
    return cut or rows_of_bent(subject, recording, nodes, c, rows) or culprit


def given_copies(subject: Subject, error: Exception | None, before: Sequence[torch.Tensor] = ()) -> bool:
    """Whether the callable writes into its arguments, so that it has to be run again on copies of them.

    error: what its run raised: PyTorch refuses a write into a leaf that requires a gradient. Where the user has none of
    them require one, that leaf is ours. before: the numbers of the inputs before a run that raised nothing.
    """
    call: Any = subject.call
    if not subject.thorough or not hasattr(call, "copied") or call.copied:
        return False
    count = len(subject.inputs)
    ours = [i for i in range(count) if not subject.asked[i]]
    if error is not None:
        if not ours or not any(text in str(error) for text in LEAF_WRITTEN):
            return False
        subject.written = place_of(error)
    else:
        wrong = [i for i, (x, b) in enumerate(zip(subject.inputs, before, strict=True)) if not same_bits(x.detach(), b)]
        if not wrong:
            return False
        ours = list(range(count))
        for i in wrong:
            subject.inputs[i].data.copy_(before[i])
        subject.written = ", ".join(subject.names[i] for i in wrong)
    subject.call = replace(call, copied=[call.positions[i] for i in ours])
    return True
