"""PyTorch's answer in a mode string, asked in two ways: by torch.func's transforms, and by the tape with dual numbers.

With L(x) = Σ Re⟨c, f(x)⟩ and directions t, s: R is ∇L, F is Df[t], RR, FR and RF are ∇²L t, FF is D²f[t, s].
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
import torch.autograd.forward_ad as forward_ad

Tensors = tuple[torch.Tensor, ...]
Flat = Callable[..., Tensors]
Answers = list[torch.Tensor | None]


def scalar_of(outputs: Sequence[torch.Tensor], c: Sequence[torch.Tensor]) -> torch.Tensor:
    """Σ Re⟨c, output⟩; the output itself where it is one real scalar with cotangent 1."""
    if len(outputs) == 1 and outputs[0].dim() == 0 and not outputs[0].is_complex() and c[0].dim() == 0:
        return outputs[0]
    total = None
    for y, w in zip(outputs, c, strict=True):
        term = torch.real(y * w.conj()).sum() if y.is_complex() else (y * w).sum()
        total = term if total is None else total + term
    assert total is not None
    return total


def by_transforms(fn: Flat, x: Tensors, c: Tensors, t: Tensors, s: Tensors, mode: str) -> Tensors:
    """The answer by torch.func.grad and torch.func.jvp, nested as `mode` says: one tensor per leaf where R is in it,
    one per output otherwise.
    """
    places = tuple(range(len(x)))
    x, t, s = (tuple(a.clone() for a in tensors) for tensors in (x, t, s))  # a write in place changes tangents too

    def gradient(*a: torch.Tensor) -> Tensors:
        return torch.func.grad(lambda *b: scalar_of(fn(*b), c), argnums=places)(*a)

    def tangent(*a: torch.Tensor) -> Tensors:
        return torch.func.jvp(fn, a, t)[1]

    if mode == "R":
        return gradient(*x)
    if mode == "F":
        return tangent(*x)
    if mode == "RR":
        return torch.func.grad(lambda *a: scalar_of(gradient(*a), t), argnums=places)(*x)
    if mode == "FR":
        return torch.func.jvp(gradient, x, t)[1]
    if mode == "RF":
        return torch.func.grad(lambda *a: scalar_of(tangent(*a), c), argnums=places)(*x)
    return torch.func.jvp(tangent, x, s)[1]


def by_tape(
    fn: Flat,
    leaves: Sequence[torch.Tensor],
    holding: Callable[[Sequence[torch.Tensor]], AbstractContextManager[None]],
    c: Tensors,
    t: Tensors,
    mode: str,
    *,
    create_graph: bool = False,
    between: Callable[[], None] = lambda: None,
) -> tuple[Answers, Tensors]:
    """The answer by torch.autograd.grad and torch.autograd.forward_ad, and the outputs of the run; not for FF, since
    dual numbers do not nest.

    fn: a function of `leaves`, which reads them itself in modes of R alone, and reads other values within
    holding(values). between: called after the forward pass. create_graph: also at the outermost R.
    """
    if "F" not in mode:
        outputs = fn(*leaves)
        between()
        first = _gradient(outputs, c, leaves, create_graph or mode == "RR")
        if mode == "R":
            return first, outputs
        second = _gradient(first, t, leaves, True)
        if any(g is None for g in second):
            _hear_refusals(first, t)
        return second, outputs
    with forward_ad.dual_level():
        fresh = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_() for x in leaves]
        duals = [forward_ad.make_dual(x, d.clone()) for x, d in zip(fresh, t, strict=True)]
        with holding(duals):  # a checkpoint runs the callable again while the gradient is computed
            outputs = fn(*duals)
            between()
            asked = _gradient(outputs, c, duals, True) if mode == "FR" else outputs
            tangents = [None if y is None else forward_ad.unpack_dual(y).tangent for y in asked]
            return (_gradient(tangents, c, fresh, create_graph) if mode == "RF" else tangents), outputs


def _hear_refusals(first: Answers, t: Tensors) -> None:
    """Run every node above the first gradients. The engine skips one that leads to no leaf that was asked for, and with
    it the exception by which a node says that it has no second derivative.
    """
    pairs = [(g, d) for g, d in zip(first, t, strict=True) if g is not None and g.requires_grad]
    if pairs:
        torch.autograd.backward([g for g, _ in pairs], [d for _, d in pairs])


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
            with warnings.catch_warnings():  # of a cycle of references, which is undone below
                warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True", UserWarning)
                torch.autograd.backward([y for y, _ in pairs], [w for _, w in pairs], create_graph=create_graph)
        return [x.grad for x in leaves], outputs
    finally:
        for x, grad in zip(leaves, before, strict=True):
            x.grad = grad


def _gradient(
    outputs: Sequence[torch.Tensor | None], c: Sequence[torch.Tensor], leaves: Sequence[torch.Tensor], graph: bool
) -> Answers:
    """Σ cᵀ ∂outputs/∂leaves; None where PyTorch has none."""
    pairs = [(y, w) for y, w in zip(outputs, c, strict=True) if y is not None and y.requires_grad]
    if not pairs:
        return [None] * len(leaves)
    ys, ws = zip(*pairs, strict=True)
    return list(torch.autograd.grad(ys, list(leaves), ws, create_graph=graph, allow_unused=True))
