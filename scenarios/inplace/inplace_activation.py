"""inplace=True in a residual branch: the skip connection carries the wrong tensor

Symptom: A residual network trains worse than it should. Nothing raises. Output and gradient both differ from what the
    drawing of the network says.
Cause: `ReLU(inplace=True)` at the start of the branch overwrites h; when h is added back afterwards, it has lost its
    negative entries. No saved value was touched, so there is nothing to complain about: autograd differentiates, and
    rightly, a network nobody meant.
Fix: `inplace=False` wherever the input of the activation is used again; for the first activation of a residual branch
    it always is.
Shapes: x: (2,) -> h: (2,), y: (2,)
Source: rosinality/vq-vae-2-pytorch#60, pytorch/pytorch#5687, fastai/fastai#1115
Seen on: torch 2.13.0, CPU, float64
"""

import numpy as np

from ...reference_engine import grad, ops
from ..scenario import Numbers, Scenario, plain

X = [-1.0, 2.0]


def faulty() -> Numbers:
    """A residual block, y = 3 relu(h) + h with h = 2 x, and the loss sum(y)."""
    import torch

    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    activation = torch.nn.ReLU(inplace=True)
    h = 2 * x
    y = 3 * activation(h) + h
    y.sum().backward()
    return {"y": plain(y), "x.grad": plain(x.grad)}


def fixed() -> Numbers:
    """One argument less."""
    import torch

    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    activation = torch.nn.ReLU()
    h = 2 * x
    y = 3 * activation(h) + h
    y.sum().backward()
    return {"y": plain(y), "x.grad": plain(x.grad)}


def truth() -> Numbers:
    """The block as it is drawn: a negative h passes through the skip connection with slope 1, times 2 from h = 2 x."""

    def block(x):
        h = 2 * x
        return 3 * ops.relu(h) + h

    x = np.array(X)
    return {"y": plain(block(x)), "x.grad": plain(grad(lambda x: ops.sum(block(x)))(x))}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth)
