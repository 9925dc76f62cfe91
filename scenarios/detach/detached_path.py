"""One detached path: the value is right, one term of the product rule is gone

Symptom: The loss is right to the last digit and falls, yet training does not reach the optimum, or drifts. Every
    parameter has a gradient, so no check for `None` finds anything.
Cause: The weight reaches the loss along two paths: itself, and through its norm. `detach()` turns the norm into a
    constant, and the term of the quotient rule that belongs to it is dropped.
Fix: Detach only what the mathematics calls a constant. Write down the derivative once: if it holds a term for the
    path, the path must not be cut.
Shapes: v: (2,), c: (2,) -> loss: ()
Source: Salimans and Kingma, Weight Normalization (2016), equation 3: the term a detached norm leaves out
Seen on: torch 2.13.0, CPU, float64
"""

import numpy as np

from ...reference_engine import grad, ops
from ..scenario import Numbers, Scenario, plain

V = [3.0, 4.0]  # norm 5
C = [2.0, 1.0]


def faulty() -> Numbers:
    """The loss is c · v / |v|, "with the norm detached, for stability"."""
    import torch

    v = torch.tensor(V, dtype=torch.float64, requires_grad=True)
    c = torch.tensor(C, dtype=torch.float64)
    loss = (c * v / v.norm().detach()).sum()
    loss.backward()
    return {"loss": plain(loss), "v.grad": plain(v.grad)}


def fixed() -> Numbers:
    """The norm stays part of the graph."""
    import torch

    v = torch.tensor(V, dtype=torch.float64, requires_grad=True)
    c = torch.tensor(C, dtype=torch.float64)
    loss = (c * v / v.norm()).sum()
    loss.backward()
    return {"loss": plain(loss), "v.grad": plain(v.grad)}


def truth() -> Numbers:
    """Only the direction of v matters, so no gradient may point along v: 3 * 0.16 - 4 * 0.12 = 0, as it should."""
    c, v = np.array(C), np.array(V)

    def loss(v):
        return ops.sum(c * v) / ops.sqrt(ops.sum(v * v))

    return {"loss": plain(loss(v)), "v.grad": plain(grad(loss)(v))}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth, same=("loss",))
