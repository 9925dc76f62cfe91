"""A detour through NumPy, beside a path that stays in PyTorch

Symptom: The gradient exists and has a sensible size, but part of it is missing; training is slow or ends elsewhere.
    `Can't call numpy() on Tensor that requires grad` was met, and `detach()` was added as it advises.
Cause: NumPy records nothing. What comes back through `from_numpy` is a new constant. The skip connection beside it
    keeps a gradient alive, so no `None` gives the cut away.
Fix: Use the PyTorch function. Where there is none, write a `torch.autograd.Function` with a backward, and check it.
Shapes: x: (2,), c: (2,) -> loss: ()
Source: PyTorch error text of Tensor.numpy(); PyTorch tutorial, "Creating Extensions Using NumPy and SciPy"
Seen on: torch 2.13.0, CPU, float64
"""

import numpy as np

from ...reference_engine import ops, value_and_grad
from ..scenario import Numbers, Scenario, plain

X = [0.5, -0.25]
C = [1.0, 2.0]


def faulty() -> Numbers:
    """A residual branch, y = x + tanh(x), with the loss c · y; the tanh is NumPy's."""
    import torch

    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    branch = torch.from_numpy(np.tanh(x.detach().numpy()))
    loss = (torch.tensor(C, dtype=torch.float64) * (x + branch)).sum()
    loss.backward()
    return {"loss": plain(loss), "x.grad": plain(x.grad)}


def fixed() -> Numbers:
    """The same function, recorded."""
    import torch

    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    branch = torch.tanh(x)
    loss = (torch.tensor(C, dtype=torch.float64) * (x + branch)).sum()
    loss.backward()
    return {"loss": plain(loss), "x.grad": plain(x.grad)}


def truth() -> Numbers:
    """The derivative of c (x + tanh x) is c (2 - tanh(x)^2); PyTorch gave c alone, the share of the skip connection."""
    c = np.array(C)

    def loss(x):
        return ops.sum(c * (x + ops.tanh(x)))

    value, slope = value_and_grad(loss)(np.array(X))
    return {"loss": plain(value), "x.grad": plain(slope)}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth, same=("loss",))
