"""A neuron: the gradient of relu(w1 x1 + w2 x2 + b), and the side on which it is dead

Claim: For relu(w1 x1 + w2 x2 + b) each weight's slope is its input and each input's slope is its weight, while the sum
    is above 0: at w1 = 0.5, x1 = 2, w2 = -1, x2 = 3, b = 4.5 they are 2 and 3, 0.5 and -1. Below 0 all are 0.
Story: A neuron weighs its inputs, adds a bias, and lets through only what is above 0: z = w1 x1 + w2 x2 + b, then y =
    relu(z) = max(z, 0). Here z = 1 - 3 + 4.5 = 2.5, so y = 2.5 as well. On this side relu is a straight line of slope
    1, and the rest is products and sums: the slope for w1 is what w1 is multiplied with, x1 = 2.

    Training moves the weights against their slopes. A weight on a large input has a large slope and moves far; a weight
    on an input of 0 does not move at all. The bias is multiplied with nothing, so its slope is 1.

    Now lower the bias to 1. Then z = -1, y = 0, and y stays 0 when any of the five moves a little: all slopes are 0. No
    step of training can change this neuron through this example. If it is so for every example, the neuron is dead for
    good. At z = 0 itself there is a corner and no single slope; PyTorch and this engine both take 0 there. In PyTorch
    these lines are `torch.relu(torch.nn.Linear(2, 1)(x))`.
Exercise: The neuron should give 1 and gives 2.5, so take the loss (y - 1)². What is the derivative of the loss with
    respect to w2?
Answer: Three slopes in a row: 2 · (2.5 - 1) = 3 for the square, 1 for relu, and x2 = 3 for the weight. The product is
    9, so a step of training makes w2 smaller.
Source: Nair and Hinton, Rectified linear units improve restricted Boltzmann machines, 2010.
"""

from __future__ import annotations

from ...reference_engine import Value, backward_listing, grad, ops, text_tree, to_svg
from ..scenario import Numbers, plain
from .lesson import Exhibit, Lesson

INPUTS = {"w1": 0.5, "x1": 2.0, "w2": -1.0, "x2": 3.0, "b": 4.5}


def on_value() -> Numbers:
    """The neuron on its live side; then with b lower by 3.5, so that relu cuts it off."""
    w1, x1, w2, x2, b = Value(0.5), Value(2.0), Value(-1.0), Value(3.0), Value(4.5)
    y = (w1 * x1 + w2 * x2 + b).relu()
    y.backward()
    live = {
        "y": [y.data],
        "dy/dw1": [w1.grad],
        "dy/dx1": [x1.grad],
        "dy/dw2": [w2.grad],
        "dy/dx2": [x2.grad],
        "dy/db": [b.grad],
    }
    (w1 * x1 + w2 * x2 + (b - 3.5)).relu().backward()  # gradients are those of this call
    return {**live, "all five at b = 1": [w1.grad, x1.grad, w2.grad, x2.grad, b.grad]}


def on_arrays() -> Numbers:
    """The array engine differentiates one function with respect to all five arguments."""

    def neuron(w1, x1, w2, x2, b):
        return ops.relu(w1 * x1 + w2 * x2 + b)

    gradient = grad(neuron, argnums=(0, 1, 2, 3, 4))
    live, dead = gradient(*INPUTS.values()), gradient(0.5, 2.0, -1.0, 3.0, 1.0)
    return {
        "y": plain(neuron(*INPUTS.values())),
        **{f"dy/d{name}": plain(slope) for name, slope in zip(INPUTS, live, strict=True)},
        "all five at b = 1": [float(slope) for slope in dead],
    }


def in_torch() -> Numbers:
    """PyTorch on single numbers; `torch.autograd.grad` returns gradients instead of adding them to `.grad`."""
    import torch

    leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in INPUTS.values()]
    w1, x1, w2, x2, b = leaves
    y = torch.relu(w1 * x1 + w2 * x2 + b)
    live = torch.autograd.grad(y, leaves)
    dead = torch.autograd.grad(torch.relu(w1 * x1 + w2 * x2 + (b - 3.5)), leaves)
    return {
        "y": plain(y),
        **{f"dy/d{name}": plain(slope) for name, slope in zip(INPUTS, live, strict=True)},
        "all five at b = 1": [slope.item() + 0.0 for slope in dead],  # PyTorch's 0 · w2 is -0.0
    }


def answer_on_value() -> float:
    y, values = _neuron(INPUTS)
    ((y - 1) ** 2).backward()
    return values["w2"].grad


def answer_on_arrays() -> float:
    def loss(w1, x1, w2, x2, b):
        return (ops.relu(w1 * x1 + w2 * x2 + b) - 1) ** 2

    return float(grad(loss, argnums=2)(*INPUTS.values()))


def answer_in_torch() -> float:
    """The same neuron as a layer: weights (1, 2), bias (1,), inputs (2,)."""
    import torch

    layer = torch.nn.Linear(2, 1, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[INPUTS["w1"], INPUTS["w2"]]]))
        layer.bias.fill_(INPUTS["b"])
    y = torch.relu(layer(torch.tensor([INPUTS["x1"], INPUTS["x2"]], dtype=torch.float64)))
    ((y - 1) ** 2).sum().backward()
    return layer.weight.grad[0, 1].item()


def _neuron(inputs: dict[str, float]) -> tuple[Value, dict[str, Value]]:
    values = {name: Value(number) for name, number in inputs.items()}
    z = values["w1"] * values["x1"] + values["w2"] * values["x2"] + values["b"]
    y = z.relu()
    y.backward()
    return y, {**values, "z": z, "y": y}


LESSON = Lesson.from_essay(
    __doc__,
    on_value,
    on_arrays,
    in_torch,
    stated={
        "y": [2.5],
        "dy/dw1": [2.0],
        "dy/dx1": [0.5],
        "dy/dw2": [3.0],
        "dy/dx2": [-1.0],
        "dy/db": [1.0],
        "all five at b = 1": [0.0, 0.0, 0.0, 0.0, 0.0],
    },
    answer=9.0,
    answers=(answer_on_value, answer_on_arrays, answer_in_torch),
    exhibits=(
        Exhibit("Forward, and backward beside it", text=lambda: backward_listing(*_neuron(INPUTS))),
        Exhibit(
            "The dead side, b = 1: no gradient passes relu", text=lambda: text_tree(*_neuron({**INPUTS, "b": 1.0}))
        ),
        Exhibit("The live neuron as a graph", drawing=lambda: to_svg(*_neuron(INPUTS))),
    ),
)
