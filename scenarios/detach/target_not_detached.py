"""A missing cut: the target that is made by the network itself

Symptom: Value learning (DQN, TD, self-distillation) is unstable or learns the wrong thing, with a loss that is right.
Cause: The target r + γ v(s') is computed by the network that is trained. It is to be taken as given; without
    `detach()` the step also moves the target towards the prediction, and here this part is the larger one.
Fix: `target.detach()`, or compute the target under `torch.no_grad()`.
Shapes: w: (), s: (), next s: (), r: () -> loss: ()
Source: Sutton and Barto, Reinforcement Learning (2018), section 9.3, semi-gradient methods; datawhalechina/easy-rl#117
Seen on: torch 2.13.0, CPU, float64
"""

from ...reference_engine import ops, value_and_grad
from ..scenario import Numbers, Scenario, plain

W, GAMMA = 0.5, 0.9  # the value of a state s is v(s) = w s
S, NEXT_S, R = 1.0, 2.0, 1.0


def faulty() -> Numbers:
    """The squared error between the value of a state and its target, one step of temporal difference learning."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    target = R + GAMMA * (w * NEXT_S)
    loss = (w * S - target) ** 2
    loss.backward()
    return {"loss": plain(loss), "w.grad": plain(w.grad)}


def fixed() -> Numbers:
    """The target is a number."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    target = (R + GAMMA * (w * NEXT_S)).detach()
    loss = (w * S - target) ** 2
    loss.backward()
    return {"loss": plain(loss), "w.grad": plain(w.grad)}


def truth() -> Numbers:
    """The semi-gradient 2 (v(s) - target) s. Here the engine is told what is constant: PyTorch differentiated
    correctly, but something else than what was meant."""

    def loss(w):
        target = ops.stop_gradient(R + GAMMA * (w * NEXT_S))
        return (w * S - target) ** 2

    value, slope = value_and_grad(loss)(W)
    return {"loss": plain(value), "w.grad": plain(slope)}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth, same=("loss",))
