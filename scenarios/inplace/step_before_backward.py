"""optimizer.step() between the forward and the backward that belongs to it

Symptom: The in-place RuntimeError, in code without one visible in-place operation; typical for GANs and actor-critic
    pairs, where one forward serves two losses.
Cause: `step()` writes the new weights into the old ones' memory. The second backward belongs to the forward at the old
    weights, which are gone. Up to PyTorch 1.4 optimizers wrote through `.data`, and the result was silently wrong.
Fix: All backwards of a forward first, then the step. Or run the forward again after the step, if the second loss is
    meant at the new weights.
Shapes: w: (), x: () -> y: (), two losses: ()
Source: pytorch/pytorch#39141, MorvanZhou/PyTorch-Tutorial#89, leftthomas/SRGAN#79
Seen on: torch 2.13.0, CPU, float64
"""

from ...reference_engine import grad
from ..scenario import Numbers, Scenario, plain, raises

W, X, RATE = 2.0, 3.0, 0.1


@raises("modified by an inplace operation")
def faulty() -> Numbers:
    """Two losses on one forward y = w^2 x: first y, then (y - 10)^2, each with a backward and a step."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=RATE)
    y = w * w * X
    first, second = y, (y - 10) ** 2
    first.backward(retain_graph=True)
    optimizer.step()
    second.backward()
    return {"w.grad of both losses": plain(w.grad)}


def fixed() -> Numbers:
    """The step moves below the last backward."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=RATE)
    y = w * w * X
    first, second = y, (y - 10) ** 2
    first.backward(retain_graph=True)
    second.backward()
    optimizer.step()
    return {"w.grad of both losses": plain(w.grad)}


def truth() -> Numbers:
    """Both derivatives at the weight of the forward: 2 w x (1 + 2 (y - 10)), with y = 12."""

    def both(w):
        y = w * w * X
        return y + (y - 10) ** 2

    return {"w.grad of both losses": plain(grad(both)(W))}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth)
