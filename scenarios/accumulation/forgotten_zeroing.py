"""A gradient that was never cleared

Symptom: The first step is right, then training overshoots, swings, and may diverge; a smaller learning rate hides it
    for a while. Nothing raises.
Cause: `backward()` adds to `.grad`, it does not replace it. Without clearing, step k uses the sum of the gradients
    of steps 1 to k, each taken at another weight. It acts like momentum without friction: old gradients never fade.
Fix: Clear once per optimizer step: `optimizer.zero_grad()` before the backward, or directly after `step()`.
Shapes: w: (), x: (2,), t: (2,) -> loss: ()
Source: wenet-e2e/wekws#72, tatsu-lab/alpaca_farm#58; PyTorch documentation of torch.optim.Optimizer.zero_grad.
Seen on: torch 2.13.0, CPU, float64
"""

import numpy as np

from ...reference_engine import grad, ops
from ..scenario import Numbers, Scenario, plain

X, T = [1.0, 2.0], [2.0, 4.0]  # t = 2 x: the best weight is w = 2
RATE = 0.1


def faulty() -> Numbers:
    """Three steps of gradient descent on mean((w x - t)^2), from w = 0."""
    import torch

    x, t = torch.tensor(X, dtype=torch.float64), torch.tensor(T, dtype=torch.float64)
    w = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=RATE)
    seen = {}
    for step in (1, 2, 3):
        ((w * x - t) ** 2).mean().backward()
        seen[f"w.grad in step {step}"] = plain(w.grad)
        optimizer.step()
    return seen | {"w after 3 steps": plain(w)}


def fixed() -> Numbers:
    """The same loop, with the one missing line."""
    import torch

    x, t = torch.tensor(X, dtype=torch.float64), torch.tensor(T, dtype=torch.float64)
    w = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=RATE)
    seen = {}
    for step in (1, 2, 3):
        optimizer.zero_grad()
        ((w * x - t) ** 2).mean().backward()
        seen[f"w.grad in step {step}"] = plain(w.grad)
        optimizer.step()
    return seen | {"w after 3 steps": plain(w)}


def truth() -> Numbers:
    """Gradient descent as it is defined: each step uses the gradient at its own weight, and no other."""
    x, t, w, seen = np.array(X), np.array(T), 0.0, {}
    for step in (1, 2, 3):
        g = grad(lambda w: ops.mean((w * x - t) ** 2))(w)
        seen[f"w.grad in step {step}"] = plain(g)
        w = w - RATE * g
    return seen | {"w after 3 steps": plain(w)}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth)
