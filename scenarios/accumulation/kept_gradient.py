"""A gradient kept for later that changes behind your back

Symptom: A list of per-batch gradients, kept for their norms, their variance or for comparison, holds the same numbers
    everywhere: those of the last batch.
Cause: `w.grad` is one tensor. Where it is cleared in place (`zero_grad(set_to_none=False)`) or not at all, the next
    `backward()` writes into the very tensor that was put on the list. With `set_to_none=True`, the default since
    2.0, the next backward makes a new tensor: code that worked by luck breaks when the flag changes.
Fix: Keep a copy: `kept.append(w.grad.clone())`.
Shapes: w: (), batch: () -> loss: (), kept: 3 times ()
Source: PyTorch documentation of torch.Tensor.grad and of torch.optim.Optimizer.zero_grad (set_to_none)
Seen on: torch 2.13.0, CPU, float64
"""

from ...reference_engine import grad
from ..scenario import Numbers, Scenario, plain

W = 1.0
BATCHES = (1.0, 2.0, 3.0)


def faulty() -> Numbers:
    """The gradient of x w^2 for three batches x, kept to be looked at after the loop."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.0)
    kept = []
    for x in BATCHES:
        optimizer.zero_grad(set_to_none=False)
        (x * w**2).backward()
        kept.append(w.grad)
    return {"kept gradients": plain(torch.stack(kept))}


def fixed() -> Numbers:
    """A copy belongs to nobody else."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.0)
    kept = []
    for x in BATCHES:
        optimizer.zero_grad(set_to_none=False)
        (x * w**2).backward()
        kept.append(w.grad.clone())
    return {"kept gradients": plain(torch.stack(kept))}


def truth() -> Numbers:
    """One gradient per batch; each call returns an array of its own."""
    return {"kept gradients": [float(grad(lambda w, x=x: x * w**2)(W)) for x in BATCHES]}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth)
