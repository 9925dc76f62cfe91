"""PyTorch's answer in a mode string, asked in two ways: by torch.func's transforms, and by the tape with dual numbers.

What a mode string asks for: see `judgement.modes`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.autograd.forward_ad as forward_ad

from ..judgement.modes import Answers, Flat, Tensors, gradient, named, nested, scalar_of, steps

__all__ = ["Answers", "Flat", "Tensors", "by_backward", "by_tape", "by_transforms", "scalar_of"]


def by_transforms(fn: Flat, x: Tensors, c: Tensors, directions: Sequence[Tensors], mode: str) -> Tensors:
    """The answer by torch.func.grad and torch.func.jvp, nested as `mode` says: one tensor per leaf where R is in it,
    one per output otherwise.
    """
    # copies: a write in place changes tangents too
    given = named(c, [tuple(a.clone() for a in tensors) for tensors in directions])
    return nested(fn, given, mode)(*(a.clone() for a in x))


def by_tape(
    fn: Flat,
    leaves: Sequence[torch.Tensor],
    holding: Callable[[Sequence[torch.Tensor]], AbstractContextManager[None]],
    c: Tensors,
    directions: Sequence[Tensors],
    mode: str,
    *,
    create_graph: bool = False,
    between: Callable[[], None] = lambda: None,
) -> tuple[Answers, Tensors]:
    """The answer by torch.autograd.grad and torch.autograd.forward_ad, and the outputs of the run; for one F at most,
    since dual numbers do not nest.

    fn: a function of `leaves`, which reads them itself in modes of R alone, and reads other values within
    holding(values). between: called after the forward pass. create_graph: also at the outermost R.
    """
    given = named(c, directions)
    taken = [(letter, given[name]) for letter, name in steps(mode)]
    if "F" not in mode:
        outputs = fn(*leaves)
        between()
        answers: Answers = list(outputs)
        for order, (_, w) in enumerate(taken):
            before, answers = answers, gradient(answers, w, leaves, create_graph or len(mode) > 1)
            if order and any(g is None for g in answers):
                _hear_refusals(before, w)
        return answers, outputs
    with forward_ad.dual_level():
        along = next(d for letter, d in taken if letter == "F")
        fresh = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_() for x in leaves]
        wrt = [forward_ad.make_dual(x, d.clone()) for x, d in zip(fresh, along, strict=True)]
        with holding(wrt):  # a checkpoint runs the callable again while the gradient is computed
            outputs = fn(*wrt)
            between()
            answers = list(outputs)
            for order, (letter, w) in enumerate(taken, 1):
                if letter == "R":
                    answers = gradient(answers, w, wrt, create_graph or order < len(mode))
                else:
                    answers = [None if y is None else forward_ad.unpack_dual(y).tangent for y in answers]
                    wrt = fresh
            return answers, outputs


def _hear_refusals(first: Answers, t: Tensors) -> None:
    """Run every node above the first gradients. The engine skips one that leads to no leaf that was asked for, and with
    it the exception by which a node says that it has no second derivative.
    """
    pairs = [(g, d) for g, d in zip(first, t, strict=True) if g is not None and g.requires_grad]
    if pairs:
        torch.autograd.backward([g for g, _ in pairs], [d for _, d in pairs], retain_graph=True)


def by_backward(
    fn: Flat, leaves: Sequence[torch.Tensor], c: Tensors, between: Callable[[], None], create_graph: bool = False
) -> tuple[Answers, Tensors]:
    """Mode R by `backward()`, read from .grad, which is put back afterwards."""
    before = [x.grad for x in leaves]
    try:
        for x in leaves:
            x.grad = None
        outputs = fn(*leaves)
        between()
        pairs = [(y, w) for y, w in zip(outputs, c, strict=True) if y.requires_grad]
        if pairs:
            with warnings.catch_warnings() if create_graph else nullcontext():
                if create_graph:  # PyTorch warns of a cycle of references, which is undone below
                    warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True", UserWarning)
                torch.autograd.backward([y for y, _ in pairs], [w for _, w in pairs], create_graph=create_graph)
        return [x.grad for x in leaves], outputs
    finally:
        for x, grad in zip(leaves, before, strict=True):
            x.grad = grad
