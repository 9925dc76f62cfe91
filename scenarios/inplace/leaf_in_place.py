"""Updating a weight in place, without no_grad

Symptom: RuntimeError: "a leaf Variable that requires grad is being used in an in-place operation", in a training step
    written by hand.
Cause: `w -= rate * w.grad` is a computation with w, so autograd wants to record it. A leaf that is changed by a
    recorded operation would be a leaf no more, and its gradient would have no place to go; PyTorch refuses.
Fix: An update is not part of the function that is differentiated: wrap it in `with torch.no_grad():`. That is what
    optimizers do. Not through `.data`, which also hides later faults.
Shapes: w: () -> loss: ()
Source: pytorch/examples#779, BaiTheBest/SparseLLM#13
Seen on: torch 2.13.0, CPU, float64
"""

from ...reference_engine import grad
from ..scenario import Numbers, Scenario, plain, raises

W, RATE = 1.0, 0.25


@raises("a leaf Variable that requires grad")
def faulty() -> Numbers:
    """One step of gradient descent on (w - 3)^2."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    ((w - 3) ** 2).backward()
    w -= RATE * w.grad
    return {"w after the step": plain(w)}


def fixed() -> Numbers:
    """The update is not recorded, and w stays the leaf it was."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    ((w - 3) ** 2).backward()
    with torch.no_grad():
        w -= RATE * w.grad
    return {"w after the step": plain(w)}


def truth() -> Numbers:
    """The derivative 2 (w - 3) is -4; one step of 0.25 goes from 1 to 2."""
    return {"w after the step": plain(W - RATE * grad(lambda w: (w - 3) ** 2)(W))}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth)
