"""Writing to a view of a value that the backward needs

Symptom: The in-place RuntimeError of a saved tensor, though the tensor it speaks of was never written to; something
    else was: a row, a slice, the result of `view`, `t()` or `detach()`.
Cause: A view has no memory of its own. Writing to `first = y[0]` writes to y, and both share one counter of writes.
    tanh keeps its result y for the backward, and finds the counter moved.
Fix: Build the masked tensor out of place: multiply by a mask, or `torch.where`. If the write must be in place,
    `y = y.clone()` first: then the copy is written to, and tanh keeps what it needs.
Shapes: x: (3,) -> y: (3,), first: ()
Source: PyTorch documentation, "Tensor Views", and autograd mechanics, "In-place correctness checks"
Seen on: torch 2.13.0, CPU, float64
"""

import numpy as np

from ...reference_engine import grad, ops
from ..scenario import Numbers, Scenario, plain, raises

X = [0.5, 1.0, -1.0]
MASK = [0.0, 1.0, 1.0]


@raises("modified by an inplace operation")
def faulty() -> Numbers:
    """The loss is the sum of tanh(x), with its first entry masked out."""
    import torch

    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    y = torch.tanh(x)
    first = y[0]
    first.zero_()
    y.sum().backward()
    return {"x.grad": plain(x.grad)}


def fixed() -> Numbers:
    """The mask is multiplied in."""
    import torch

    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    y = torch.tanh(x)
    y = y * torch.tensor(MASK, dtype=torch.float64)
    y.sum().backward()
    return {"x.grad": plain(x.grad)}


def truth() -> Numbers:
    """The derivative is 1 - tanh(x)^2 where the entry counts, and 0 where it is masked."""
    mask = np.array(MASK)
    return {"x.grad": plain(grad(lambda x: ops.sum(ops.tanh(x) * mask))(np.array(X)))}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth)
