"""torch.tensor around tensors: a list of losses that forgets where it came from

Symptom: Only the regularisation acts; the weights shrink towards zero and the data terms never fall, though they are
    printed with every step. At best there is a warning, shown once and scrolled away.
Cause: `torch.tensor(values)` reads numbers and builds a new leaf. The losses go in with their history and come out
    without. Had no other term been added, "element 0 of tensors does not require grad" would have told.
Fix: `torch.stack(losses).sum()`, or plainly `sum(losses)`. For a differentiable copy: `t.clone()`.
Shapes: w: (), losses: 2 times () -> loss: ()
Source: PyTorch documentation of torch.tensor ("no autograd history"); brian6091/Dreambooth#23
Seen on: torch 2.13.0, CPU, float64
"""

from ...reference_engine import grad
from ..scenario import Numbers, Scenario, plain

W = 1.0
INPUTS, TARGET = (2.0, 3.0), 4.0


def faulty() -> Numbers:
    """Two data terms (w x - 4)^2, gathered in a list, and a penalty w^2 / 2."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    losses = [(w * x - TARGET) ** 2 for x in INPUTS]
    loss = torch.tensor(losses).sum() + w**2 / 2
    loss.backward()
    return {"loss": plain(loss), "w.grad": plain(w.grad)}


def fixed() -> Numbers:
    """`stack` is an operation, and is recorded."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    losses = [(w * x - TARGET) ** 2 for x in INPUTS]
    loss = torch.stack(losses).sum() + w**2 / 2
    loss.backward()
    return {"loss": plain(loss), "w.grad": plain(w.grad)}


def truth() -> Numbers:
    """All three terms pull at w; together they pull the other way than the penalty alone."""

    def loss(w):
        return sum((w * x - TARGET) ** 2 for x in INPUTS) + w**2 / 2

    return {"loss": plain(loss(W)), "w.grad": plain(grad(loss)(W))}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth, same=("loss",))
