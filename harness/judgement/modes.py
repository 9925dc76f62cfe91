"""Mode strings: how PyTorch is asked for a derivative, outermost first, and the one reference that each answer meets.

R reverse, F forward. With L(x) = Σ Re⟨c, f(x)⟩ and directions t, s: R is ∇L, F is Df[t], RR, FR and RF are ∇²L t, FF is
D²f[t, s]. Of a complex number z = x + iy the witness differentiates the pair (x, y), with the scalar product Re⟨g, t⟩.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ...reference_engine.forward import forward
from ...reference_engine.program import Program
from ...reference_engine.reverse import reverse
from ...reference_engine.simplify import simplify
from ..errors import UsageError
from ..recorder.copies import apart
from .judging import Question
from .plans import started

MODES = ("R", "F", "RR", "FR", "RF", "FF")
Flat = Callable[..., tuple[torch.Tensor, ...]]


def accepted_mode(mode: str) -> str:
    """`mode` if it is one of MODES. Raises UsageError otherwise."""
    if mode not in MODES:
        raise UsageError(
            f"mode {mode!r}: accepted are {', '.join(MODES)} (R reverse, F forward, outermost first). Choose one of "
            f"them."
        )
    return mode


def ask_torch(
    fn: Flat,
    x: Sequence[torch.Tensor],
    c: Sequence[torch.Tensor],
    t: Sequence[torch.Tensor],
    s: Sequence[torch.Tensor],
    mode: str,
) -> list[torch.Tensor | None]:
    """PyTorch's answer in `mode`: one tensor per input (R, RR, FR, RF) or per output (F, FF).

    fn: maps tensors to a tuple of floating tensors. c: cotangents, one per output; t, s: directions, one per input.
    Raises what PyTorch raises.
    """
    # copies: a write in place changes the tangent of what it writes into as well
    primals, directions, seconds = (tuple(apart(p) for p in tensors) for tensors in (x, t, s))

    def scalar(*a: torch.Tensor) -> torch.Tensor:
        return _pair(fn(*a), c)

    def gradient(*a: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.func.grad(scalar, argnums=tuple(range(len(a))))(*a)

    def tangent(*a: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.func.jvp(fn, a, directions)[1]

    if mode == "F":
        return list(tangent(*primals))
    if mode == "FF":
        return list(torch.func.jvp(tangent, primals, seconds)[1])
    if mode == "FR":
        return list(torch.func.jvp(gradient, primals, directions)[1])
    if mode == "RF":
        return list(torch.func.grad(lambda *a: _pair(tangent(*a), c), argnums=tuple(range(len(x))))(*primals))
    leaves = [_leaf(p) for p in primals]
    value = scalar(*leaves)
    if not value.requires_grad:
        return [None] * len(leaves)
    first = torch.autograd.grad(value, leaves, create_graph=mode == "RR", allow_unused=True)
    if mode == "R":
        return list(first)
    used = [(g, v) for g, v in zip(first, directions, strict=True) if g is not None and g.requires_grad]
    if not used:
        return [None] * len(leaves)
    return list(torch.autograd.grad(_pair([g for g, _ in used], [v for _, v in used]), leaves, allow_unused=True))


def direction(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random numbers of the form and dtype of `x`: standard normal ones, in a half precision ±[1, 2), since a factor
    near 0 would hide what leaves its range on the way."""
    drawn = torch.randn(x.shape, generator=generator, dtype=torch.complex128 if x.is_complex() else torch.float64)
    if x.dtype in (torch.float16, torch.bfloat16):
        drawn = torch.copysign(1.0 + drawn.abs().frac(), drawn)
    return drawn.to(x.device, x.dtype)


def _leaf(p: torch.Tensor) -> torch.Tensor:
    return apart(p).requires_grad_()


def _pair(outputs: Sequence[torch.Tensor], weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """Σ Re⟨output, weight⟩."""
    total = outputs[0].new_zeros((), dtype=outputs[0].dtype.to_real())
    for y, w in zip(outputs, weights, strict=True):
        total = total + (torch.real(y * w.conj()) if y.is_complex() else y * w).sum()
    return total


def reference(
    program: Program, x: Sequence[Any], c: Sequence[Any], t: Sequence[Any], s: Sequence[Any], mode: str
) -> Question:
    """The witness's side of the same question: a Question whose answers are still to be filled in.

    program: inputs x, one output per cotangent. All values are float64 arrays.
    """
    wrt = list(range(len(x)))

    def derive(p: Program, mode: str, lossy: bool = False) -> Program:
        derived = p
        for letter in reversed(mode):
            inner = derived if derived is p else simplify(derived)
            derived = (reverse if letter == "R" else forward)(inner, wrt, lossy=lossy)
        return derived

    # Equal quantities of two nestings are rounded differently (k (t - s) is not k t - k s): the rules that lose digits
    # are nested as PyTorch was asked to nest its own, the exact ones always alike.
    inputs = {"R": [*x, *c], "F": [*x, *t], "FF": [*x, *t, *s]}.get(mode, [*x, *c, *t])
    kind = mode if mode in ("R", "F", "FF") else "FR"
    plan, given = started(program, f"{kind} {len(x)}", lambda p: derive(p, kind), inputs)
    nested = [*x, *t, *c] if mode == "RF" else inputs
    return Question(
        plan,
        given,
        [],
        "float64",
        lambda: started(program, f"{mode} {len(x)} lossy", lambda p: derive(p, mode, True), nested),
        nested=len(mode) > 1,
        scales=range(len(x), len(inputs)),
    )
