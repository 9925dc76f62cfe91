"""Clipping every micro-batch instead of the whole window

Symptom: With accumulation, clipping bites far more often than it did with the large batch; updates can even point the
    wrong way. Nothing raises.
Cause: Micro-batch gradients are large and partly cancel; only their sum is what the optimizer is to use. Clipping
    after each backward cuts the partial sums, so what would have cancelled no longer does.
Fix: Clip once per window: after its last backward, before `step()`.
Shapes: w: (2,), each micro-batch: (2,) -> loss: ()
Source: PyTorch documentation, automatic mixed precision examples, "Gradient accumulation" (unscale and clip only
    where the step is taken); pytorch/examples#1196
Seen on: torch 2.13.0, CPU, float64
"""

import numpy as np

from ...reference_engine import grad, ops
from ..scenario import Numbers, Scenario, plain

BATCHES = [[6.0, 0.5], [-5.5, 0.25]]  # the first entries nearly cancel
LIMIT = 1.0


def faulty() -> Numbers:
    """Two micro-batches with the loss sum(w x), clipped to entries of at most 1 as soon as they arrive."""
    import torch

    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    for batch in BATCHES:
        (w * torch.tensor(batch, dtype=torch.float64)).sum().backward()
        torch.nn.utils.clip_grad_value_([w], LIMIT)
    return {"w.grad at the step": plain(w.grad)}


def fixed() -> Numbers:
    """The call moves out of the loop: four spaces less."""
    import torch

    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    for batch in BATCHES:
        (w * torch.tensor(batch, dtype=torch.float64)).sum().backward()
    torch.nn.utils.clip_grad_value_([w], LIMIT)
    return {"w.grad at the step": plain(w.grad)}


def truth() -> Numbers:
    """The gradient of the whole window first; then the clip, which here has nothing left to cut."""
    g = grad(lambda w: ops.sum(w * np.array(BATCHES)))(np.zeros(2))
    return {"w.grad at the step": plain(np.clip(g, -LIMIT, LIMIT))}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth)
