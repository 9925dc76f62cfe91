"""A network learns "either, but not both"

Claim: Nine numbers and plain gradient descent are enough to learn XOR: all four answers are on the right side of one
    half after 25 steps, and within 0.1 of their targets after 117.
Story: XOR is 1 when exactly one of its two inputs is 1. A single neuron cuts the plane along one straight line, and no
    line has (0, 1) and (1, 0) on one side and (0, 0) and (1, 1) on the other. Two hidden neurons draw two lines, and a
    third neuron combines them.

    Training is a loop: compute the loss, run backward, move every weight downhill by 2 times its gradient, repeat. The
    loss is the mean of the four squared errors. At first it stays near 0.25, which is what the answer "one half,
    always" would cost, while the two hidden neurons slowly become different from each other; then it falls.

    Look at the weights at the end. The first hidden neuron is about tanh(2.5 a - 2.6 b - 1.2): positive for the input
    (1, 0) alone. The second is nearly its mirror image, positive for (0, 1) alone. The output adds them up: "one of the
    two". Nobody told the network to split the question like this; the gradient did.

    In PyTorch the loop reads optimizer.zero_grad(), loss.backward(), optimizer.step(). The first call is there because
    PyTorch adds each new gradient to the last one. Here every step makes nine new Values instead.
Exercise: At the start weights, what is the slope of the loss with respect to the bias of the output neuron?
Answer: Each case adds (y - t)/2, the slope of its part of the loss, times y (1 - y), the slope of the sigmoid. With the
    four outputs of step 0 that is 0.0625 - 0.05829804 - 0.05777665 + 0.07156585, which is 0.0179912.
Source: Rumelhart, Hinton and Williams 1986, Learning representations by back-propagating errors; Minsky and Papert
    1969, Perceptrons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...reference_engine import Value, grad, ops, text_tree, to_svg
from ..layout import CODE, table
from ..observing import format_numbers
from ..scenario import Numbers, plain
from ..sources import code_of
from .lesson import Exhibit, Lesson

INPUTS = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
TARGETS = [0.0, 1.0, 1.0, 0.0]
START = [0.8, -0.5, 0.0, -0.4, 0.9, 0.0, 0.5, 0.5, 0.0]
RATE = 2.0
SHOWN = (0, 50, 100)
STEPS = 117

# One step rounds each weight by at most 40 u: 2 u to store it (all stay below 4), and 2 · 4 · 0.072 · 64 u from the
# gradient, the rate 2 times four terms below 0.072, each right to 64 u. A change of all weights by d in any one step
# changes a stated number by at most 9 d, relative (a test measures it). 117 steps add up; found are 5 u in all.
GROWTH = 9.0
STEP_ROUNDING = 40 * 2.0**-53


def network(w: Sequence[Any], a: float, b: float) -> Any:
    """w is p₁, q₁, r₁, p₂, q₂, r₂, then u₁, u₂, c: two hidden neurons, and one that combines them."""
    first = (w[0] * a + w[1] * b + w[2]).tanh()
    second = (w[3] * a + w[4] * b + w[5]).tanh()
    return (w[6] * first + w[7] * second + w[8]).sigmoid()


def on_value() -> Numbers:
    """Every step makes nine new Values, a little downhill from the old ones."""
    w = [Value(number) for number in START]
    history = []
    while True:
        outputs = [network(w, a, b) for a, b in INPUTS]
        loss = sum((y - t) ** 2 for y, t in zip(outputs, TARGETS, strict=True)) / 4
        history.append((loss.data, [y.data for y in outputs]))
        if is_learned(history):
            return told(history, [one.data for one in w])
        loss.backward()
        w = [Value(one.data - RATE * one.grad) for one in w]


def on_arrays() -> Numbers:
    """All four cases at once; the gradient is a function of the weights."""
    w, history = np.array(START), []
    while True:
        history.append((float(_loss(w)), plain(_outputs(w))))
        if is_learned(history):
            return told(history, plain(w))
        w = w - RATE * grad(_loss)(w)


def in_torch() -> Numbers:
    """PyTorch with its own loss and optimizer."""
    import torch

    w = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor(TARGETS, dtype=torch.float64)
    optimizer, history = torch.optim.SGD([w], lr=RATE), []
    while True:
        outputs = _torch_outputs(w)
        loss = torch.nn.functional.mse_loss(outputs, targets)
        history.append((loss.item(), outputs.tolist()))
        if is_learned(history):
            return told(history, plain(w))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def is_learned(history: list[tuple[float, list[float]]]) -> bool:
    """Whether each of the latest outputs is within 0.1 of its target."""
    return all(abs(y - t) < 0.1 for y, t in zip(history[-1][1], TARGETS, strict=True))


def told(history: list[tuple[float, list[float]]], w: list[float]) -> Numbers:
    """What the lesson speaks of: from loss and outputs before each step and after the last, and the last weights."""
    right = [all((y > 0.5) == (t > 0.5) for y, t in zip(outputs, TARGETS, strict=True)) for _, outputs in history]
    numbers: Numbers = {f"loss after {step} steps": [history[step][0]] for step in SHOWN}
    return numbers | {
        "steps until all are on the right side": [float(right.index(True))],
        "steps until all are within 0.1": [float(len(history) - 1)],
        "outputs at the end": history[-1][1],
        "first hidden neuron at the end": w[0:3],
        "second hidden neuron at the end": w[3:6],
        "output neuron at the end": w[6:9],
    }


def _outputs(w: Any) -> Any:
    """w: (9,) -> (4,)"""
    hidden = ops.reshape(w[:6], (2, 3))
    return ops.sigmoid(ops.tanh(np.array(INPUTS) @ hidden[:, :2].T + hidden[:, 2]) @ w[6:8] + w[8])


def _loss(w: Any) -> Any:
    return ops.mean((_outputs(w) - np.array(TARGETS)) ** 2)


def _torch_outputs(w: Any) -> Any:
    import torch

    hidden, inputs = w[:6].reshape(2, 3), torch.tensor(INPUTS, dtype=torch.float64)
    return torch.sigmoid(torch.tanh(inputs @ hidden[:, :2].T + hidden[:, 2]) @ w[6:8] + w[8])


def answer_on_value() -> float:
    w = [Value(number) for number in START]
    (sum((network(w, a, b) - t) ** 2 for (a, b), t in zip(INPUTS, TARGETS, strict=True)) / 4).backward()
    return w[8].grad


def answer_on_arrays() -> float:
    return float(grad(_loss)(np.array(START))[8])


def answer_in_torch() -> float:
    import torch

    w = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.mse_loss(_torch_outputs(w), torch.tensor(TARGETS, dtype=torch.float64)).backward()
    return w.grad[8].item()


def _training() -> str:
    """Loss and the four outputs along the way, from the array engine."""
    w, rows = np.array(START), []
    for step in range(STEPS + 1):
        if step in (0, 25, 50, 75, 100, STEPS):
            rows.append((str(step), format_numbers(plain(_loss(w))), *(f"{y:.3f}" for y in _outputs(w))))
        w = w - RATE * grad(_loss)(w)
    heads = [f"{a:g} xor {b:g}" for a, b in INPUTS]
    lines = table(("step", "loss", *heads), rows)
    return "\n".join(line.removeprefix(CODE) for line in lines)


def _one_case() -> tuple[Value, dict[str, Value]]:
    """The squared error at the start for the input (1, 0), whose target is 1."""
    names = ("p1", "q1", "r1", "p2", "q2", "r2", "u1", "u2", "c")
    w = {name: Value(number) for name, number in zip(names, START, strict=True)}
    error = (network(list(w.values()), 1.0, 0.0) - 1.0) ** 2
    error.backward()
    return error, {**w, "error": error}


LESSON = Lesson.from_essay(
    __doc__,
    on_value,
    on_arrays,
    in_torch,
    stated={
        "loss after 0 steps": [0.259207],
        "loss after 50 steps": [0.0508475],
        "loss after 100 steps": [0.010332],
        "steps until all are on the right side": [25.0],
        "steps until all are within 0.1": [117.0],
        "outputs at the end": [0.0797625, 0.900014, 0.90054, 0.0700535],
        "first hidden neuron at the end": [2.48299, -2.56501, -1.20823],
        "second hidden neuron at the end": [-2.49522, 2.41949, -1.17372],
        "output neuron at the end": [3.06368, 3.07417, 2.65372],
    },
    answer=0.0179912,
    answers=(answer_on_value, answer_on_arrays, answer_in_torch),
    exhibits=(
        Exhibit("The network as code", text=lambda: "\n".join(code_of(network))),
        Exhibit("Training", text=_training),
        Exhibit("One case at the start: the error for the input (1, 0)", text=lambda: text_tree(*_one_case())),
        Exhibit("The same as a graph", drawing=lambda: to_svg(*_one_case())),
    ),
    rounding=STEPS * STEP_ROUNDING * GROWTH,
    unasked=(
        "loss after 0 steps",
        "loss after 50 steps",
        "loss after 100 steps",
        "outputs at the end",
        "first hidden neuron at the end",
        "second hidden neuron at the end",
        "output neuron at the end",
    ),
    pitfalls=("forgotten-zeroing", "leaf-in-place", "leaf-replaced"),
)
