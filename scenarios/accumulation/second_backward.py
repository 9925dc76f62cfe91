"""A second backward through the same graph counts its loss twice

Symptom: One term of the loss has twice the weight it should have, though the formula of the loss is right. It starts
    on the day somebody logs the gradient of that term.
Cause: `part.backward(retain_graph=True)` is not a look: it adds the gradient of the part to `.grad`. The backward of
    the total adds it again. `retain_graph=True` removed the error that would have told.
Fix: To look at a gradient, use `torch.autograd.grad(part, w, retain_graph=True)`: it returns the gradient and leaves
    `.grad` alone. Call `backward()` once per objective and step.
Shapes: w: () -> fit: (), penalty: (), total: ()
Source: karpathy/micrograd#102; PyTorch documentation of torch.Tensor.backward ("accumulates gradients in the leaves")
Seen on: torch 2.13.0, CPU, float64
"""

from ...reference_engine import grad
from ..scenario import Numbers, Scenario, plain

W = 1.0


def faulty() -> Numbers:
    """The loss is (w - 3)^2 + 5 w; the gradient of its first term is wanted for a plot."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    fit, penalty = (w - 3) ** 2, 5 * w
    total = fit + penalty
    fit.backward(retain_graph=True)
    plotted = w.grad.clone()
    total.backward()
    return {"total": plain(total), "plotted": plain(plotted), "w.grad": plain(w.grad)}


def fixed() -> Numbers:
    """Asking without adding."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    fit, penalty = (w - 3) ** 2, 5 * w
    total = fit + penalty
    (plotted,) = torch.autograd.grad(fit, w, retain_graph=True)
    total.backward()
    return {"total": plain(total), "plotted": plain(plotted), "w.grad": plain(w.grad)}


def truth() -> Numbers:
    """Here a gradient is the value of a function: asking for one cannot change another."""

    def fit(w):
        return (w - 3) ** 2

    def total(w):
        return fit(w) + 5 * w

    plotted, slope = grad(fit)(W), grad(total)(W)
    return {"total": plain(total(W)), "plotted": plain(plotted), "w.grad": plain(slope)}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth, same=("total", "plotted"))
