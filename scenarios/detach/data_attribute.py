""".data in the forward pass: everything before it stays untrained

Symptom: The loss falls, since the last layers learn; the first ones never move. Their `.grad` is `None`, which
    optimizers skip without a word.
Cause: `h.data` is the number without its history: the graph begins anew behind it. Unlike `detach()` it also switches
    off the check that would notice a later overwrite.
Fix: Use `h` itself. Where a cut is wanted, say so with `h.detach()`. After a backward, assert that no `.grad` is None.
Shapes: a: (), b: (), x: (), t: () -> h: (), loss: ()
Source: MorvanZhou/PyTorch-Tutorial#57; PyTorch 0.4.0 migration guide, "What about .data?"
Seen on: torch 2.13.0, CPU, float64
"""

from ...reference_engine import grad
from ..scenario import Numbers, Scenario, plain

A, B = 2.0, 3.0  # the weights of the first and of the second layer
X, T = 1.5, 10.0


def faulty() -> Numbers:
    """Two layers, h = a x and y = b h, with the loss (y - t)^2."""
    import torch

    a = torch.tensor(A, dtype=torch.float64, requires_grad=True)
    b = torch.tensor(B, dtype=torch.float64, requires_grad=True)
    h = a * X
    loss = (b * h.data - T) ** 2
    loss.backward()
    return {"loss": plain(loss), "a.grad": plain(a.grad), "b.grad": plain(b.grad)}


def fixed() -> Numbers:
    """The tensor itself."""
    import torch

    a = torch.tensor(A, dtype=torch.float64, requires_grad=True)
    b = torch.tensor(B, dtype=torch.float64, requires_grad=True)
    h = a * X
    loss = (b * h - T) ** 2
    loss.backward()
    return {"loss": plain(loss), "a.grad": plain(a.grad), "b.grad": plain(b.grad)}


def truth() -> Numbers:
    """Both weights shape the loss, so both have a derivative: 2 (y - t) b x and 2 (y - t) a x."""

    def loss(a, b):
        return (b * (a * X) - T) ** 2

    g_a, g_b = grad(loss, argnums=(0, 1))(A, B)
    return {"loss": plain(loss(A, B)), "a.grad": plain(g_a), "b.grad": plain(g_b)}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth, same=("loss", "b.grad"))
