"""Is a backward proportional to the gradient that arrives at it, as every derivative is?

A scalar loss sends 1 into the graph. A rule that forgets to multiply by what arrives, that squares or clamps it, is
right there and nowhere else. So the backward pass is run once more with MULTIPLE times what arrived at the outputs, a
power of two, so that no digit changes: each node must send MULTIPLE times what it sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..recorder.nodes import Node, run_backward
from ..recorder.preserving import random_state_of_backward
from ..recorder.recorded_run import Recording
from ..result import ATEN, CUSTOM, Culprit
from .culprits import backward_of, place
from .rows import Rows
from .second_run import differ, numbers

if TYPE_CHECKING:
    from .subject import Subject

TORCH = torch.__path__[0]
MULTIPLE = -2.0
NOT_PROPORTIONAL = (
    "not proportional to the gradient that arrives: for {0:g} times that gradient it gives {1:.9g}, and {0:g} times "
    "what it gave is {2:.9g}. A derivative is multiplied by what arrives, whatever that is (1 at a loss, another "
    "number where the loss is scaled or one term of several)"
)


def rows_of_bent(
    subject: Subject, recording: Recording, nodes: Sequence[Node], c: Sequence[torch.Tensor | None], rows: Rows
) -> Culprit | None:
    """One mismatch for the first node, from the outputs, that does not send MULTIPLE times what it sent.

    Asked of custom Functions, and of rules at which nothing but 1 arrived.
    """
    asked = [n for n in nodes if n.ran and (n.is_custom or _only_ones(n))]
    if not asked:
        return None
    again = [replace(n, sent=[], received=[], ran=False, returned={}, writes=[]) for n in asked]
    try:
        with random_state_of_backward(subject.seed):
            run_backward(recording, again, subject.leaves, [None if g is None else MULTIPLE * g for g in c])
    except Exception:  # a backward that can run but once: there is nothing to hold it against
        return None
    like = recording.torch_outputs[0]
    for n, other in zip(asked, again, strict=True):
        if not other.ran or any(differ(b, a, like) for a, b in _multiplied(n.received, other.received)):
            continue
        bent = [(b, a) for a, b in _multiplied(n.sent, other.sent) if differ(b, a, like)]
        if bent:
            return _told(n, *bent[0], subject, rows)
    return None


def _only_ones(n: Node) -> bool:
    arrived = [g for g in n.received if g is not None]
    return bool(arrived) and all(np.all(g == 1.0) for g in arrived)


def _multiplied(before: Sequence[Any], after: Sequence[Any]) -> list[tuple[Any, Any]]:
    """(MULTIPLE times the number, the later number) of the parts of a node; entries beyond the range count as equal."""
    pairs = []
    for a, b in zip(before, after, strict=False):
        if a is None or b is None or a.dtype.kind not in "fc" or a.shape != b.shape:
            continue
        with np.errstate(all="ignore"):
            a = MULTIPLE * a
        pairs.append((a, np.where(np.isfinite(a) & np.isfinite(b), b, a)))
    return pairs


def _told(n: Node, later: Any, expected: Any, subject: Subject, rows: Rows) -> Culprit:
    """The row and the culprit of a node."""
    entry, x, y = numbers(later, expected)
    own = backward_of(n) if n.is_custom else ""
    own = "" if own.startswith(TORCH) else own  # of a checkpoint
    rows.add(
        operation=n.name,
        mode="R",
        quantity="derivative",
        order=1,
        wrt=n.called,
        dtype=subject.dtype,
        verdict="mismatch",
        entry=str(list(entry)),
        torch_value=x,
        reference_value=y,
        z=float("inf"),
        abs_error=abs(x - y),
        rel_error=abs(x - y) / abs(y) if y else float("inf"),
        culprit=n.name,
        message=NOT_PROPORTIONAL.format(MULTIPLE, x, y),
    )
    return Culprit(
        n.name, *place(own or n.called), entry, x, y, "R", n.called if own else "", CUSTOM if n.is_custom else ATEN
    )
