"""One program as a question: its loss, its inputs in a dtype, and what PyTorch answers in a mode, planted or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ..judgement.modes import DIRECTIONS, ask_torch, per_output
from .programs import PROGRAMS, Draw

LOSSES = ("sum", "mean")


@dataclass(frozen=True)
class Asked:
    """A loss of a program's inputs. elements: entries of the inputs in all. runner: as PyTorch runs it."""

    loss: Callable[..., torch.Tensor]
    inputs: tuple[torch.Tensor, ...]
    name: str
    runner: str = "autograd"

    @property
    def elements(self) -> int:
        return sum(x.numel() for x in self.inputs)

    @contextmanager
    def running(self) -> Iterator[Callable[..., torch.Tensor]]:
        """The loss as PyTorch runs it: itself, or compiled anew."""
        if self.runner == "autograd":
            yield self.loss
            return
        from ..runners.compiling import Compiled, apart

        with apart():
            yield Compiled(self.loss)


def ask(
    program: str,
    elements: int,
    loss: str,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    runner: str = "autograd",
) -> Asked:
    """The program's output, times weights between 0.5 and 1.5 of the same shape, summed or averaged.

    Weights, since the gradient of a plain sum is 0 for a softmax and 1 for a sum. The loss is computed out of sight of
    torch-function modes, so that no fault is planted into it.
    """
    draw = Draw(seed)
    fn, inputs = PROGRAMS[program](draw, elements)
    with torch.no_grad():
        shape = fn(*inputs).shape
    weights = draw.uniform(0.5, 1.5, *shape).to(dtype)

    def value(*tensors: torch.Tensor) -> torch.Tensor:
        y = fn(*tensors)
        with torch._C.DisableTorchFunction():
            weighted = weights.to(y.dtype) * y
            return weighted.sum() if loss == "sum" else weighted.mean()

    return Asked(value, tuple(_converted(x, dtype) for x in inputs), f"{program}, {loss}", runner)


def _converted(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`x` in a dtype with its strides, and inside a buffer like its own if it is a slice of one."""
    if dtype == x.dtype:
        return x
    whole = torch.empty(0, dtype=x.dtype).set_(x.untyped_storage()).to(dtype)  # type: ignore[call-overload]
    return whole.as_strided(x.shape, x.stride(), x.storage_offset())


def answer(asked: Asked, mode: str, seed: int = 0) -> list[torch.Tensor]:
    """PyTorch's derivative of the loss in a mode, with 0 for None; directions are drawn from the seed."""
    draw = Draw(seed + 1)
    directions = [[draw.normal(*x.shape).to(x.dtype) for x in asked.inputs] for _ in DIRECTIONS]
    one = [torch.ones((), dtype=asked.inputs[0].dtype)]
    if mode == "R":
        leaves = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_() for x in asked.inputs]
        with asked.running() as loss:
            got = torch.autograd.grad(loss(*leaves), leaves, allow_unused=True)
        return [torch.zeros_like(x) if g is None else g for g, x in zip(got, leaves, strict=True)]
    got = ask_torch(lambda *a: (asked.loss(*a),), asked.inputs, one, directions, mode)
    likes = [one[0]] * len(got) if per_output(mode) else asked.inputs
    return [torch.zeros_like(x) if g is None else g.detach() for g, x in zip(got, likes, strict=True)]


def effect(right: Sequence[torch.Tensor], wrong: Sequence[torch.Tensor]) -> float:
    """The greatest relative difference of two answers, entry by entry; infinity for NaN on one side."""
    worst = 0.0
    for a, b in zip(right, wrong, strict=True):
        same = (a == b) | (a.isnan() & b.isnan())
        if bool(same.all()):
            continue
        apart = ((a - b).abs() / a.abs())[~same]
        worst = max(worst, float(apart.nan_to_num(float("inf"), float("inf")).max()))
    return worst


def unchanged(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether two answers are equal bit for bit."""
    return all(
        x.dtype == y.dtype and torch.equal(x.nan_to_num(0.5), y.nan_to_num(0.5)) for x, y in zip(a, b, strict=True)
    )
