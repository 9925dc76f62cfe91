"""torch.no_grad around part of the forward pass, with a weight that is used on both sides

Symptom: Memory is saved, the loss is right, every parameter has a gradient. The weight that is shared between the two
    halves learns too slowly, or in the wrong direction.
Cause: Under `no_grad` nothing is recorded. The use inside the block counts as a constant; only the use outside
    contributes. With tied weights, or a layer applied twice, that is a part of the derivative, not none of it.
Fix: Keep `no_grad` for what is not trained. To save memory in what is, recompute: `torch.utils.checkpoint`.
Shapes: w: (), x: () -> loss: ()
Source: PyTorch documentation, "Locally disabling gradient computation" (notes on autograd)
Seen on: torch 2.13.0, CPU, float64
"""

from ...reference_engine import grad
from ..scenario import Numbers, Scenario, plain

W, X = 2.0, 3.0


def faulty() -> Numbers:
    """One layer applied twice, h = w x and then y = w h; the loss is y."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        h = w * X
    loss = w * h
    loss.backward()
    return {"loss": plain(loss), "w.grad": plain(w.grad)}


def fixed() -> Numbers:
    """Both uses are recorded."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    h = w * X
    loss = w * h
    loss.backward()
    return {"loss": plain(loss), "w.grad": plain(w.grad)}


def truth() -> Numbers:
    """The loss is w^2 x and its derivative 2 w x; each of the two uses contributes one w x."""

    def loss(w):
        return w * (w * X)

    return {"loss": plain(loss(W)), "w.grad": plain(grad(loss)(W))}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth, same=("loss",))
