"""A compiled run that draws random numbers of its own, which no witness can know: its gradient against difference
quotients of the compiled function itself, with the same numbers drawn each time.

D(h) = (L(x + h t) - L(x - h t)) / 2h, with L(x) = Σ Re⟨c, f(x)⟩. It can contradict the gradient; it confirms nothing as
exactly as the witness does, so agreement is `unsupported`, with the quotient in the message.
"""

from __future__ import annotations

from typing import Any

import torch

from ..judgement.comparing import Found, Subject
from ..judgement.judging import THRESHOLD
from ..judgement.rows import Rows
from ..lowering.pointwise import LAWS
from ..recorder.preserving import random_state, random_states, set_random_states, untouched
from ..recorder.recorded_run import Recording
from ..recorder.witnessing import Witnessed
from ..result import COMPILER, Culprit
from .asking import compiled_with, holding
from .calling import flat_outputs
from .compiling import apart
from .derivatives import Tensors, scalar_of
from .expressible import refusal


def held_against_quotients(
    subject: Subject, c: Tensors, rows: Rows, found: Found, common: dict[str, Any], reason: str
) -> Found:
    """One row: `mismatch` where ⟨∇L, t⟩ is not the difference quotient, `unsupported` with `reason` where it is."""
    begin = random_states()
    try:
        with random_state(), untouched(subject.module), apart():
            slope, quotient, error = _both(subject, c, begin)
    except Exception as problem:
        told = refusal(problem)
        text = told or f"{type(problem).__name__}: {' '.join(str(problem).split())}"[:500]
        found.verdict = "unsupported" if told else "raised"
        rows.add(**common, verdict=found.verdict, message=text)
        return found
    z = abs(slope - quotient) / error if slope != quotient else 0.0
    if z > THRESHOLD:
        found.verdict = "mismatch"
        found.culprit = Culprit("compile", "", 0, (), slope, quotient, "R", kind=COMPILER)
        text = "⟨gradient, t⟩ against the difference quotient along t of the compiled function, same numbers drawn"
        rows.add(
            **common,
            verdict="mismatch",
            wrt="all",
            z=z,
            torch_value=slope,
            reference_value=quotient,
            abs_error=abs(slope - quotient),
            rel_error=abs(slope - quotient) / abs(quotient) if quotient else float("inf"),
            spread=error,
            entry="[]",
            culprit="compile",
            message=text,
        )
        return found
    found.verdict = "unsupported"
    found.unsupported[f"{common['runner']} of random draws"] = reason
    text = f"{reason}. Its gradient along a random direction is {slope:.9g}, its difference quotient {quotient:.9g}"
    rows.add(**common, verdict="unsupported", message=text)
    return found


def follows_its_path(recording: Recording, seen: Witnessed) -> bool:
    """Whether PyTorch's gradient of the run is that of its draws held fast, as the quotient's is: no law that is drawn
    from depends on what is differentiated (the gradient of `torch.normal` in its mean is 0).
    """
    return not any(c.name in LAWS and any(v in seen.tracers for v in c.references()) for c in recording.calls)


def _both(subject: Subject, c: Tensors, begin: tuple[Any, Any, Any]) -> tuple[float, float, float]:
    """⟨∇L, t⟩, the difference quotient along t, and how far the quotient can be off.

    Two steps, h and h/2: the error of the second is about a third of their difference, plus the roundoff of L over h.
    """
    call, count = compiled_with(subject), len(subject.inputs)
    generator = torch.Generator().manual_seed(subject.seed + 1)
    leaves = [x.detach() for x in subject.leaves]
    t = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device, x.dtype) for x in leaves]
    eps = torch.finfo(leaves[0].dtype).eps
    h = 2.0 ** round(torch.tensor(eps).log2().item() / 3)  # where truncation h² and roundoff eps / h are equal

    def terms(step: float) -> tuple[list[torch.Tensor], Tensors]:
        at = [(x + step * d).requires_grad_() for x, d in zip(leaves, t, strict=True)]
        set_random_states(begin)
        with holding(subject)(at):
            outputs = flat_outputs(call(*at[:count]))
        return at, outputs

    at, outputs = terms(0.0)
    gradients = torch.autograd.grad(scalar_of(outputs, c), at, allow_unused=True)
    slope = sum(float((g.double() * d.double()).sum()) for g, d in zip(gradients, t, strict=True) if g is not None)
    size = sum(float((y.detach().double() * w.double()).abs().sum()) for y, w in zip(outputs, c, strict=True))

    def quotient(step: float) -> float:
        forth, back = terms(step)[1], terms(-step)[1]
        return sum(
            float(((y.detach() - z.detach()).double() * w.double()).sum())
            for y, z, w in zip(forth, back, c, strict=True)
        ) / (2 * step)

    coarse, fine = quotient(h), quotient(h / 2)
    return slope, fine, abs(coarse - fine) + eps * size / h
