"""loss.requires_grad_() to silence "element 0 of tensors does not require grad"

Symptom: The error is gone, `backward()` runs, the loss is printed, and no weight ever moves.
Cause: The error said that the loss has no history: somewhere before, the graph was cut. `requires_grad_()` makes the
    loss a leaf of its own. The backward then starts and ends at it, and its gradient with respect to itself is 1.
Fix: Leave the loss alone and find the cut: print `grad_fn` of the values from the loss backwards; the cut lies where
    it first is not `None`.
Shapes: w: (), x: (2,), t: (2,) -> loss: ()
Source: ronghuaiyang/arcface-pytorch#56, brian6091/Dreambooth#23, weizheliu/People-Flows#7
Seen on: torch 2.13.0, CPU, float64
"""

import numpy as np

from ...reference_engine import ops, value_and_grad
from ..scenario import Numbers, Scenario, plain

X, T = [1.0, 2.0], [3.0, 5.0]
W = 2.0


def faulty() -> Numbers:
    """The predictions w x were detached for a plot, and the detached ones went into the loss."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    prediction = (w * torch.tensor(X, dtype=torch.float64)).detach()
    loss = ((prediction - torch.tensor(T, dtype=torch.float64)) ** 2).mean()
    loss.requires_grad_()
    loss.backward()
    return {"loss": plain(loss), "w.grad": plain(w.grad)}


def fixed() -> Numbers:
    """Two things go: the cut, and the plaster over it."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    prediction = w * torch.tensor(X, dtype=torch.float64)
    loss = ((prediction - torch.tensor(T, dtype=torch.float64)) ** 2).mean()
    loss.backward()
    return {"loss": plain(loss), "w.grad": plain(w.grad)}


def truth() -> Numbers:
    """The mean of 2 (w x - t) x over the two samples."""
    x, t = np.array(X), np.array(T)

    def loss(w):
        return ops.mean((w * x - t) ** 2)

    value, slope = value_and_grad(loss)(W)
    return {"loss": plain(value), "w.grad": plain(slope)}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth, same=("loss",))
