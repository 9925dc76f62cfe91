"""Per-sample derivatives: torch.vmap over axis 0 of the first input; each sample is a subject for the witness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from ..judgement.comparing import Subject
from ..recorder.preserving import random_states, set_random_states
from .calling import calling_of, functional
from .compiling import Compiled, apart
from .derivatives import Answers, Tensors, by_transforms

NO_BATCH = "vmap maps over axis 0 of the first input, and the first input is no tensor with an axis"
EMPTY = "vmap maps over axis 0 of the first input, which has no entries"


def samples_of(subject: Subject) -> list[Subject] | str:
    """One subject per sample, or why there is none."""
    calling = calling_of(subject)
    batch = calling.batch
    if batch is None:
        return NO_BATCH
    if not len(batch):
        return EMPTY
    made = []
    for i in range(len(batch)):
        x = batch[i].detach().clone(memory_format=torch.preserve_format)
        flat = [x, *calling.flat[1:]]
        leaves = list(subject.inputs)
        if 0 in calling.positions:
            leaves[0] = x.requires_grad_()
        made.append(replace(subject, call=replace(calling, flat=flat), inputs=leaves))
    return made


def ask_per_sample(
    runner: str,
    subject: Subject,
    c: Sequence[Tensors],
    directions: Sequence[Sequence[Tensors]],
    mode: str,
) -> tuple[list[Answers], list[Tensors] | None]:
    """The answers for every sample from one run over the batch, and for `vmap` in mode R the outputs of every sample.

    c, and each of the directions: one tuple of tensors per sample.
    """
    calling = calling_of(subject)
    batch = calling.batch
    assert batch is not None
    first = 0 in calling.positions

    def of(x: torch.Tensor, others: Tensors) -> tuple[Callable[..., Tensors], Tensors]:
        """The callable at one sample, and its leaves."""
        whole = replace(calling, flat=[x, *calling.flat[1:]])
        return functional(subject, whole), (x, *others) if first else others

    def value(x: torch.Tensor, others: Tensors) -> Tensors:
        fn, leaves = of(x, others)
        return fn(*leaves)

    def one(x: torch.Tensor, others: Tensors, c: Tensors, along: Sequence[Tensors]) -> Tensors:
        return by_transforms(*of(x, others), c, along, mode)

    mapped: Callable[..., Any] = torch.vmap(one, in_dims=(0, None, 0, 0))
    others = tuple(p.detach() for p in subject.leaves[1 if first else 0 :])
    given = (batch.detach(), others, _stacked(c), tuple(_stacked(d) for d in directions[: len(mode)]))
    outputs, begin = None, random_states()
    if runner == "vmap":
        answers = mapped(*given)
        if mode == "R":
            set_random_states(begin)
            values = torch.vmap(value, in_dims=(0, None))(batch.detach(), others)
            outputs = [tuple(y[i] for y in values) for i in range(len(batch))]
    else:
        with apart():
            answers = Compiled(mapped)(*given)
    return [[a[i] for a in answers] for i in range(len(batch))], outputs


def _stacked(parts: Sequence[Tensors]) -> Tensors:
    return tuple(torch.stack(tensors) for tensors in zip(*parts, strict=True))
