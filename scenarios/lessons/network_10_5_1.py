"""A network of nn.Linear layers, reproduced number by number

Claim: PyTorch's Linear(10, 5), ReLU, Linear(5, 1) can be rebuilt from single numbers: as torch.manual_seed(42) draws
    it, its loss on a random example is 0.0153722, and 24 of its 61 gradients are exactly 0.
Story: Layers sound like more than they are. nn.Linear(10, 5) is five sums, each of ten products and a bias: 55 numbers
    to learn. ReLU keeps what is positive and makes 0 of the rest. nn.Linear(5, 1) is one more sum: 6 numbers. The loss
    is the squared distance to the target. That is the whole of the code below, and every number is PyTorch's.

    Backward needs two rules. A weight sits between a number that came in and a sum, so its gradient is what came in
    times the gradient of the sum. A bias sits alone, so its gradient is that of the sum itself. Hence each row of
    W1.grad is the input x times one entry of b1.grad: fifty numbers from ten and five.

    A hidden neuron whose sum is negative is off: ReLU gave 0, and its slope there is 0. Nothing it did reached the
    output, so nothing comes back: its row of W1.grad, its bias and its weight in W2 have gradient 0. Another example
    may turn it on. A neuron that is off for all of them never learns again.

    The start numbers are PyTorch's own, drawn in float32 as users draw them, and then taken over without rounding
    into float64, in which all three engines compute.
Exercise: With W2.grad and b2.grad in the table, what number h did the third hidden neuron send to the output?
Answer: The third entry of W2.grad is h times the gradient of the sum, which is b2.grad. So h is their ratio, 0.184526 /
    0.247969 = 0.744149. Gradients tell what a network saw: whoever shares them shares something of the data.
Source: PyTorch documentation of torch.nn.Linear and torch.nn.ReLU; the numbers are those of torch 2.13.0 on the CPU.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...reference_engine import Value, grad, ops, value_and_grad
from ..observing import ROUNDING
from ..scenario import Numbers
from .lesson import Exhibit, Lesson

SEED = 42

# All terms of the output's sums, taken as positive, add up to 45 times the output (0.83 and -0.0185): what is left of a
# cancellation is uncertain by so much more than a plain sum is. Everything else cancels less.
CANCELLATION = 45


class Drawn(NamedTuple):
    """The start: W1 (5, 10), b1 (5,), W2 (5,), b2 (), an example x (10,) and its target t ()."""

    w1: list[list[float]]
    b1: list[float]
    w2: list[float]
    b2: float
    x: list[float]
    t: float


@functools.cache
def drawn() -> Drawn:
    """PyTorch's numbers after torch.manual_seed(42), in the order of drawing: two layers, the example, its target.

    The only thing that the other two engines take from PyTorch. Its random state is left as it was.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        first, second = torch.nn.Linear(10, 5), torch.nn.Linear(5, 1)
        x, t = torch.randn(10), torch.randn(())
    return Drawn(
        first.weight.tolist(), first.bias.tolist(), second.weight[0].tolist(), second.bias.item(), x.tolist(), t.item()
    )


def on_value() -> Numbers:
    """Ten numbers in, five hidden neurons, one number out, and 61 Values that learn."""
    start = drawn()
    w1 = [[Value(number) for number in row] for row in start.w1]
    b1 = [Value(number) for number in start.b1]
    w2 = [Value(number) for number in start.w2]
    b2 = Value(start.b2)

    hidden = [(dot(row, start.x) + b).relu() for row, b in zip(w1, b1, strict=True)]
    output = dot(w2, hidden) + b2
    loss = (output - start.t) ** 2
    loss.backward()

    w1_grad = [[w.grad for w in row] for row in w1]
    b1_grad, w2_grad = [b.grad for b in b1], [w.grad for w in w2]
    return told(output.data, loss.data, w1_grad, b1_grad, w2_grad, b2.grad)


def dot(a: list[Any], b: list[Any]) -> Any:
    return sum(p * q for p, q in zip(a, b, strict=True))


def on_arrays() -> Numbers:
    """The same as matrix products."""
    start = drawn()
    w = tuple(np.array(one) for one in start[:4])
    loss, gradients = value_and_grad(_loss, argnums=(0, 1, 2, 3))(*w)
    return told(float(_output(*w)), float(loss), *(g.tolist() for g in gradients))


def _output(w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    return w2 @ ops.relu(w1 @ np.array(drawn().x) + b1) + b2


def _loss(w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    return (_output(w1, b1, w2, b2) - drawn().t) ** 2


def in_torch() -> Numbers:
    """PyTorch's own layers, drawn in the same way, in float64."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = torch.nn.Sequential(torch.nn.Linear(10, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1)).double()
        x, t = torch.randn(10).double(), torch.randn(()).double()
    output = model(x)[0]
    loss = torch.nn.functional.mse_loss(output, t)
    loss.backward()
    w1, b1, w2, b2 = (one.grad for one in model.parameters())
    return told(output.item(), loss.item(), w1.tolist(), b1.tolist(), w2[0].tolist(), b2[0].item())


def told(output: float, loss: float, w1: list[list[float]], b1: list[float], w2: list[float], b2: float) -> Numbers:
    """What the lesson speaks of, from output, loss and all 61 gradients."""
    every = [*(g for row in w1 for g in row), *b1, *w2, b2]
    return {
        "output": [output],
        "loss": [loss],
        "gradients": [float(len(every))],
        "gradients that are 0": [float(every.count(0.0))],
        "W1.grad, length of each row": [math.hypot(*row) for row in w1],
        "b1.grad": b1,
        "W2.grad": w2,
        "b2.grad": [b2],
    }


def came_in(numbers: Numbers) -> float:
    """What the third hidden neuron sent: the third entry of W2.grad over b2.grad."""
    w2, b2 = numbers["W2.grad"], numbers["b2.grad"]
    assert w2 is not None and b2 is not None
    return w2[2] / b2[0]


def _rows() -> str:
    """x, and below it the rows of W1.grad with their entry of b1.grad, from the array engine."""
    start = drawn()
    w1, b1 = grad(_loss, argnums=(0, 1))(*(np.array(one) for one in start[:4]))
    lines = [f"      x =  {_four(start.x)}", "", " b1.grad"]
    lines += [f"{_four([b])}   {_four(row)}" for b, row in zip(b1, w1, strict=True)]
    return "\n".join(lines)


def _four(numbers: Sequence[float]) -> str:
    return "".join(f"{round(number, 4) + 0.0:8.4f}" for number in numbers)


LESSON = Lesson.from_essay(
    __doc__,
    on_value,
    on_arrays,
    in_torch,
    stated={
        "output": [-0.018519],
        "loss": [0.0153722],
        "gradients": [61.0],
        "gradients that are 0": [24.0],
        "W1.grad, length of each row": [0.142421, 0.0, 0.00598135, 0.0, 0.2443],
        "b1.grad": [0.0459343, 0.0, -0.00192913, 0.0, -0.0787925],
        "W2.grad": [0.00565295, 0.0, 0.184526, 0.0, 0.035204],
        "b2.grad": [0.247969],
    },
    answer=0.744149,
    answers=(lambda: came_in(on_value()), lambda: came_in(on_arrays()), lambda: came_in(in_torch())),
    exhibits=(Exhibit("W1.grad: each of its rows is x times one entry of b1.grad", text=_rows),),
    rounding=CANCELLATION * ROUNDING,
    unasked=("output", "loss", "W1.grad, length of each row", "b1.grad", "W2.grad", "b2.grad"),
    pitfalls=("nonleaf-grad", "data-attribute", "no-grad-in-forward"),
)
