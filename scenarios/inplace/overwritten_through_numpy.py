"""Preparing a plot changes the gradient

Symptom: With the plot switched on, training differs from the same run without it. Nothing raises, the loss is right.
Cause: `y.detach().numpy()` is no copy: the array and the tensor are one piece of memory. Normalising the image in
    place rewrites what exp keeps for the backward, and NumPy's writes are not counted.
Fix: Copy before writing: `image = y.detach().numpy().copy()`, or write out of place, `image = image / image.max()`.
Shapes: x: (3,) -> y: (3,), loss: (), image: (3,)
Source: PyTorch documentation of torch.Tensor.numpy and torch.from_numpy ("share the same memory")
Seen on: torch 2.13.0, CPU, float64
"""

import numpy as np

from ...reference_engine import grad, ops
from ..scenario import Numbers, Scenario, plain

X = [0.0, 1.0, 2.0]


def faulty() -> Numbers:
    """The loss is the sum of exp(x). Before the backward, the activations are scaled to 0 … 1 for a plot."""
    import torch

    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    y = x.exp()
    loss = y.sum()
    image = y.detach().numpy()
    image /= image.max()
    loss.backward()
    return {"loss": plain(loss), "image": plain(image), "x.grad": plain(x.grad)}


def fixed() -> Numbers:
    """The image gets memory of its own."""
    import torch

    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    y = x.exp()
    loss = y.sum()
    image = y.detach().numpy().copy()
    image /= image.max()
    loss.backward()
    return {"loss": plain(loss), "image": plain(image), "x.grad": plain(x.grad)}


def truth() -> Numbers:
    """A plot has no influence on a derivative: exp(x), whatever is done with the image."""
    x = np.array(X)
    y, slope = np.exp(x), grad(lambda x: ops.sum(ops.exp(x)))(x)
    return {"loss": plain(y.sum()), "image": plain(y / y.max()), "x.grad": plain(slope)}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth, same=("loss", "image"))
