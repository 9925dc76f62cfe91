"""Micro-batches whose losses are summed, not averaged

Symptom: After the change to gradient accumulation, training behaves as if the learning rate had been multiplied by
    the number of micro-batches. With Adam it may go unnoticed, since Adam divides the factor out again.
Cause: The mean over a batch of n is 1/K times the sum of the means over its K equal parts. Calling `backward()` on
    every part adds the K means up; nobody divides by K.
Fix: Divide each micro-batch loss by the number of micro-batches in the window, `(loss / K).backward()`.
Shapes: w: (2,), X: (4, 2) in two parts of (2, 2), T: (4,) -> loss: ()
Source: fastai/fastai#3023, facebookresearch/ParlAI#1833, Deci-AI/super-gradients#1713
Seen on: torch 2.13.0, CPU, float64
"""

import numpy as np

from ...reference_engine import grad, ops
from ..scenario import Numbers, Scenario, plain

X = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
T = [1.0, 1.0, 0.0, 1.0]
W = [1.0, 2.0]
PARTS = 2  # micro-batches in a window, of equal size


def faulty() -> Numbers:
    """One window: the batch of four in two micro-batches, a backward for each."""
    import torch

    x, t = torch.tensor(X, dtype=torch.float64), torch.tensor(T, dtype=torch.float64)
    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    for part, target in zip(x.chunk(PARTS), t.chunk(PARTS), strict=True):
        loss = ((part @ w - target) ** 2).mean()
        loss.backward()
    return {"w.grad": plain(w.grad)}


def fixed() -> Numbers:
    """Each micro-batch carries its share of the mean."""
    import torch

    x, t = torch.tensor(X, dtype=torch.float64), torch.tensor(T, dtype=torch.float64)
    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    for part, target in zip(x.chunk(PARTS), t.chunk(PARTS), strict=True):
        loss = ((part @ w - target) ** 2).mean()
        (loss / PARTS).backward()
    return {"w.grad": plain(w.grad)}


def truth() -> Numbers:
    """Accumulation is a way to afford the large batch, so the gradient of the whole batch at once is right."""
    x, t = np.array(X), np.array(T)

    def loss(w):
        return ops.mean((ops.matmul(x, w) - t) ** 2)

    return {"w.grad": plain(grad(loss)(np.array(W)))}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth)
