"""A weight that was scaled after requires_grad=True: its .grad stays None

Symptom: `w.grad` is `None` after the backward, or the optimizer refuses with "can't optimize a non-leaf Tensor".
    The same happens after `.to(device)`, `.double()` or `.view(…)` on a fresh parameter.
Cause: `requires_grad=True` marks the tensor that was created. Multiplying it makes another one, an intermediate
    result. Gradients are stored in leaves; the name `w` now points to something that is none, and the leaf is lost.
Fix: First all arithmetic, then `requires_grad_()`, or wrap the result in `nn.Parameter`. To look at the gradient of a
    true intermediate result, call `retain_grad()` on it before the backward.
Shapes: w: (2,) -> loss: ()
Source: pytorch/pytorch#6991, mazzzystar/randomCNN-voice-transfer#16
Seen on: torch 2.13.0, CPU, float64
"""

import numpy as np

from ...reference_engine import grad, ops
from ..scenario import Numbers, Scenario, plain

START = [10.0, -20.0]
SCALE = 0.1


def faulty() -> Numbers:
    """A weight, scaled for a better start, with the loss sum(w^2)."""
    import torch

    w = torch.tensor(START, dtype=torch.float64, requires_grad=True) * SCALE
    loss = (w**2).sum()
    loss.backward()
    return {"loss": plain(loss), "w.grad": plain(w.grad)}


def fixed() -> Numbers:
    """Scale first, then declare what is to be learned."""
    import torch

    w = (torch.tensor(START, dtype=torch.float64) * SCALE).requires_grad_()
    loss = (w**2).sum()
    loss.backward()
    return {"loss": plain(loss), "w.grad": plain(w.grad)}


def truth() -> Numbers:
    """The derivative of sum(w^2) is 2 w, at the scaled weight."""
    w = np.array(START) * SCALE
    return {"loss": plain(np.sum(w**2)), "w.grad": plain(grad(lambda w: ops.sum(w**2))(w))}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth, same=("loss",))
