"""The callable of a subject asked once more: at other values of its parameters, and by dual numbers on the tape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from ..recorder.draws import Draws, replaying
from ..recorder.preserving import random_state, untouched
from .subject import Subject


def with_parameters(subject: Subject, tensors: Sequence[torch.Tensor]) -> Any:
    """The callable at other values of its inputs and parameters, with copies of its buffers and of tensors that are
    plain attributes: torch.func refuses a write into what it does not differentiate, such as running statistics.
    `untouched` around us puts the attributes back.
    """
    n = len(subject.inputs)
    if subject.module is None:
        return subject.call(*tensors[:n])
    names = {id(p): k for k, p in subject.module.named_parameters()}
    values = {names[id(p)]: t for p, t in zip(subject.parameters, tensors[n:], strict=True)}
    values |= {k: b.detach().clone() for k, b in subject.module.named_buffers()}
    for m in subject.module.modules():
        for k, v in list(m.__dict__.items()):
            if isinstance(v, torch.Tensor):
                m.__dict__[k] = v.clone()
    with torch.nn.utils.stateless._reparametrize_module(subject.module, values, tie_weights=True):
        return subject.call(*tensors[:n])


def by_duals(
    subject: Subject,
    flat: Callable[..., tuple[torch.Tensor, ...]],
    drawn: Draws,
    c: Sequence[torch.Tensor],
    along: Sequence[Sequence[torch.Tensor]],
    mode: str,
) -> list[torch.Tensor | None] | None:
    """The answer by dual numbers on the tape, for a user's callable that torch.func refuses to transform (a write into
    a tensor it closes over, a custom Function in the older form); None where PyTorch has none either, as for two F.
    """
    from ..runners.asking import holding
    from ..runners.derivatives import by_tape

    if not subject.thorough or mode.count("F") != 1:
        return None
    try:
        with random_state(), untouched(subject.module), replaying(drawn):
            fn = partial(flat, run=lambda subject, tensors: subject.call(*tensors[: len(subject.inputs)]))
            return by_tape(fn, subject.leaves, holding(subject), tuple(c), [tuple(d) for d in along], mode)[0]
    except Exception:  # both ways refuse: the first exception is shown
        return None
