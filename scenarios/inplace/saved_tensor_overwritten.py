"""Overwriting a value that the backward needs

Symptom: RuntimeError in `backward()`: "one of the variables needed for gradient computation has been modified by an
    inplace operation". The forward pass was fine, and the message names a shape, not a line.
Cause: The derivative of exp(x) is its own result, so exp keeps its output, not its input. `y += 1` writes into that
    very memory. PyTorch counts the writes of every tensor, compares, and refuses to use the wrong value.
Fix: Write out of place, `y = y + 1`. Which side an operation keeps differs: exp, tanh, sigmoid, sqrt and softmax
    keep their result; sin, log and multiplication keep their inputs. To find the line, run under
    `torch.autograd.detect_anomaly()`.
Shapes: x: (2,) -> y: (2,), loss: ()
Source: PyTorch documentation, autograd mechanics, "In-place correctness checks"
Seen on: torch 2.13.0, CPU, float64
"""

import numpy as np

from ...reference_engine import ops, value_and_grad
from ..scenario import Numbers, Scenario, plain, raises

X = [0.0, 1.0]


@raises("modified by an inplace operation")
def faulty() -> Numbers:
    """The loss is the sum of exp(x) + 1."""
    import torch

    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    y = x.exp()
    y += 1
    y.sum().backward()
    return {"loss": plain(y.sum()), "x.grad": plain(x.grad)}


def fixed() -> Numbers:
    """A new tensor for the new value."""
    import torch

    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    y = x.exp()
    y = y + 1
    y.sum().backward()
    return {"loss": plain(y.sum()), "x.grad": plain(x.grad)}


def truth() -> Numbers:
    """The derivative is exp(x). Had PyTorch used the overwritten value, it would have been exp(x) + 1."""

    def loss(x):
        return ops.sum(ops.exp(x) + 1)

    value, slope = value_and_grad(loss)(np.array(X))
    return {"loss": plain(value), "x.grad": plain(slope)}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth)
