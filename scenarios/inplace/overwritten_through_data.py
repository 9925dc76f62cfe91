"""Overwriting a saved value through .data: the same fault, without the error

Symptom: None at all. The loss is right; the gradient is that of another function.
Cause: A write through `.data` is not counted. exp keeps its result for the backward, multiplies by what it finds
    there, and finds the capped value. To autograd the cap itself never happened: it is in no graph.
Fix: Cap by an operation, `y.clamp(max=…)`. Never answer the in-place error with `.data`: the error was the help.
Shapes: x: (2,) -> y: (2,), loss: ()
Source: pytorch/pytorch#39141, pytorch/examples#779; PyTorch 0.4.0 migration guide, "What about .data?"
Seen on: torch 2.13.0, CPU, float64
"""

import numpy as np

from ...reference_engine import ops, value_and_grad
from ..scenario import Numbers, Scenario, plain

X = [0.0, 2.0]  # exp gives 1 and 7.39; the second is capped
CAP = 3.0


def faulty() -> Numbers:
    """The loss is the sum of min(exp(x), 3); `clamp_` alone had raised, so `.data` was put before it."""
    import torch

    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    y = x.exp()
    y.data.clamp_(max=CAP)
    loss = y.sum()
    loss.backward()
    return {"loss": plain(loss), "x.grad": plain(x.grad)}


def fixed() -> Numbers:
    """A recorded, out of place clamp."""
    import torch

    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    y = x.exp()
    y = y.clamp(max=CAP)
    loss = y.sum()
    loss.backward()
    return {"loss": plain(loss), "x.grad": plain(x.grad)}


def truth() -> Numbers:
    """Above the cap the function is flat, so the derivative is 0; PyTorch gave 3, the cap itself: neither exp(2)
    nor 0, but what it found in memory."""

    def loss(x):
        return ops.sum(ops.minimum(ops.exp(x), CAP))

    value, slope = value_and_grad(loss)(np.array(X))
    return {"loss": plain(value), "x.grad": plain(slope)}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth, same=("loss",))
