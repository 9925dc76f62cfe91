"""Softmax and its Jacobian: three outputs, one backward pass each

Claim: Softmax turns numbers x into shares s_i = exp(x_i) / Σ exp(x_j), and ∂s_i/∂x_j = s_i (δ_ij - s_j) with δ_ij = 1
    on the diagonal and 0 beside it: for shares 0.125, 0.25 and 0.625 the first row is 0.109375, -0.03125, -0.078125.
Story: A function with three inputs and three outputs has nine slopes. Written as a table with a row for each output and
    a column for each input, they are its Jacobian. Backward starts at one number, so it gives one row at a time: three
    outputs, three backward passes. Forward mode would give one column at a time.

    The entries follow from one thought. Raise x_j by a small d: exp(x_j) grows by the factor 1 + d, the sum below by
    the factor 1 + s_j d. So every share s_i shrinks by s_i s_j d, and the one with i = j also gains s_i d. The shares
    always add up to 1: what one gains the others lose. Each column of the table adds up to 0, and since s_i s_j is the
    same both ways, each row too.

    PyTorch never builds this table while it trains. The backward of softmax takes the gradient g that arrives and
    returns s (g - Σ g_j s_j), which is g times the table, at the cost of a few vectors. Only
    torch.autograd.functional.jacobian asks row by row, as is done here.

    A classifier ends in -log s_k, the cross entropy, k being the right class. Its slope is -1/s_k times row k, and
    s_k cancels. What is left is the most used gradient of all: the shares, less 1 at the right class.
Exercise: The second class is the right one, so the loss is -log s_2, with the same three shares. What is the slope of
    the loss with respect to x_2?
Answer: -1/s_2 times s_2 (1 - s_2) is s_2 - 1 = 0.25 - 1 = -0.75. The other two slopes are the shares themselves: the
    network is told to lower those classes in proportion to what it had given them.
Source: Bridle 1990, Probabilistic interpretation of feedforward classification network outputs; Bishop, Pattern
    Recognition and Machine Learning, eq. 4.106.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...reference_engine import Value, grad, jacobian, ops, to_svg
from ..scenario import Numbers, plain
from .lesson import Exhibit, Lesson

X = [0.0, math.log(2.0), math.log(5.0)]  # exp makes 1, 2 and 5 of them, which add up to 8
SHARES = [1 / 8, 2 / 8, 5 / 8]


def on_value() -> Numbers:
    """One backward pass for each output. Each starts afresh, so its gradients are exactly one row."""
    x = [Value(0.0), Value(math.log(2.0)), Value(math.log(5.0))]
    powers = [one.exp() for one in x]
    total = sum(powers)
    s = [power / total for power in powers]
    rows = []
    for share in s:
        share.backward()
        rows.append([one.grad for one in x])
    shares = [share.data for share in s]
    return {"s": shares, "ds_1/dx": rows[0], "ds_2/dx": rows[1], "ds_3/dx": rows[2]}


def on_arrays() -> Numbers:
    """`jacobian` pulls one row an output through the program of the gradient."""
    return _named(ops.softmax(np.array(X)), jacobian(ops.softmax)(np.array(X)))


def in_torch() -> Numbers:
    """`torch.autograd.functional.jacobian` runs backward once an output as well."""
    import torch

    x = torch.tensor(X, dtype=torch.float64)
    rows = torch.autograd.functional.jacobian(lambda x: torch.softmax(x, dim=0), x)
    return _named(torch.softmax(x, dim=0), rows)


def _named(s: Any, rows: Any) -> Numbers:
    return {"s": plain(s)} | {f"ds_{i}/dx": plain(row) for i, row in enumerate(rows, start=1)}


def _loss() -> tuple[Value, list[Value]]:
    """-log s_2 = log Σ exp(x_j) - x_2, and its inputs."""
    x = [Value(number) for number in X]
    return (x[0].exp() + x[1].exp() + x[2].exp()).log() - x[1], x


def answer_on_value() -> float:
    loss, x = _loss()
    loss.backward()
    return x[1].grad


def answer_on_arrays() -> float:
    return float(grad(lambda x: -ops.log_softmax(x)[1])(np.array(X))[1])


def answer_in_torch() -> float:
    import torch

    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.cross_entropy(x, torch.tensor(1)).backward()
    return x.grad[1].item()


def _formula_beside_backward() -> str:
    """Each row by s_i (δ_ij - s_j) and as `Value` gave it, with its sum."""
    found = on_value()
    lines = [f"      {'s_i (δ_ij - s_j)':^31}     {'Value':^31}     row adds up to"]
    for i, mine in enumerate(SHARES):
        formula = [mine * ((i == j) - share) for j, share in enumerate(SHARES)]
        backward = found[f"ds_{i + 1}/dx"]
        lines.append(f"s_{i + 1}   {_six(formula)}  |  {_six(backward)}  |  {_six([sum(backward)])}")
    return "\n".join(lines)


def _six(numbers: list[float]) -> str:
    """Six decimal places; what rounding left of a zero is a zero."""
    return "  ".join(f"{round(number, 6) + 0.0:9.6f}" for number in numbers)


def _graph() -> tuple[Value, dict[str, Value]]:
    loss, x = _loss()
    loss.backward()
    return loss, {"x1": x[0], "x2": x[1], "x3": x[2], "loss": loss}


LESSON = Lesson.from_essay(
    __doc__,
    on_value,
    on_arrays,
    in_torch,
    stated={
        "s": [0.125, 0.25, 0.625],
        "ds_1/dx": [0.109375, -0.03125, -0.078125],
        "ds_2/dx": [-0.03125, 0.1875, -0.15625],
        "ds_3/dx": [-0.078125, -0.15625, 0.234375],
    },
    answer=-0.75,
    answers=(answer_on_value, answer_on_arrays, answer_in_torch),
    exhibits=(
        Exhibit("The formula beside the backward passes, and the sum of each row", text=_formula_beside_backward),
        Exhibit("The loss of the exercise, log Σ exp(x_j) - x_2", drawing=lambda: to_svg(*_graph())),
    ),
    pitfalls=("second-backward",),
)
