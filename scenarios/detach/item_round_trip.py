""".item() on something that is to be learned

Symptom: A learnable temperature, scale or loss weight never moves from its initial value. All else trains.
Cause: `.item()` gives a Python float. What is computed with it is right, but for autograd it is a constant like 0.5.
Fix: Compute with the tensor; call `.item()` for what is printed, and nowhere else.
Shapes: z: (3,), temperature: () -> loss: ()
Source: PyTorch documentation of torch.Tensor.item ("This operation is not differentiable")
Seen on: torch 2.13.0, CPU, float64
"""

import numpy as np

from ...reference_engine import ops, value_and_grad
from ..scenario import Numbers, Scenario, plain

Z = [1.0, 2.0, -1.0]  # scores of three classes; the first is the right one
TEMPERATURE = 0.5


def faulty() -> Numbers:
    """Cross entropy of softmax(z / temperature), where the temperature is to be learned too."""
    import torch

    z = torch.tensor(Z, dtype=torch.float64, requires_grad=True)
    temperature = torch.tensor(TEMPERATURE, dtype=torch.float64, requires_grad=True)
    scaled = z / temperature.item()
    loss = scaled.exp().sum().log() - scaled[0]
    loss.backward()
    grads = {"z.grad": plain(z.grad), "temperature.grad": plain(temperature.grad)}
    return {"loss": plain(loss)} | grads


def fixed() -> Numbers:
    """Seven characters less."""
    import torch

    z = torch.tensor(Z, dtype=torch.float64, requires_grad=True)
    temperature = torch.tensor(TEMPERATURE, dtype=torch.float64, requires_grad=True)
    scaled = z / temperature
    loss = scaled.exp().sum().log() - scaled[0]
    loss.backward()
    grads = {"z.grad": plain(z.grad), "temperature.grad": plain(temperature.grad)}
    return {"loss": plain(loss)} | grads


def truth() -> Numbers:
    """A loss that changes with the temperature has a derivative with respect to it."""
    first = np.array([1.0, 0.0, 0.0])

    def loss(z, temperature):
        scaled = z / temperature
        return ops.log(ops.sum(ops.exp(scaled))) - ops.sum(first * scaled)

    both = value_and_grad(loss, argnums=(0, 1))
    value, (g_z, g_temperature) = both(np.array(Z), TEMPERATURE)
    grads = {"z.grad": plain(g_z), "temperature.grad": plain(g_temperature)}
    return {"loss": plain(value)} | grads


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth, same=("loss", "z.grad"))
