"""Forward and reverse: a pass for each input, or a pass for each result

Claim: A forward pass gives the slopes of every result towards one input, a backward pass those of one result towards
    every input: for x1 · x2 · x3 · x4 at 1, 2, 3, 4 the slopes 24, 12, 8, 6 take 4 forward passes, or 1 backward pass.
Story: There are two ways to multiply slopes along the paths. Forward: let x1 alone move, at speed 1, and carry the
    speed of each number along with it while computing. A sum has the sum of the speeds; a product a · b has speed
    (speed of a) · b + a · (speed of b). Such a pair of number and speed is called a dual number, and the speed its
    tangent. At the end stands the speed of the result, which is its slope towards x1. For x2 one starts again.

    Backward: compute once and remember every step; then go from the result back, as in the lessons before. One such
    pass gives the slopes towards all inputs together. It has a price: the steps must be kept in memory until then,
    while the forward pass forgets each as it goes.

    So count what there is less of. From n inputs to m results, the whole table of slopes costs n forward passes or m
    backward ones. A network has millions of weights and one loss: one backward pass. That is why training runs
    backward, and why PyTorch's `backward()` is the default; `torch.func.jvp` is its forward pass, and `jacfwd` and
    `jacrev` make the whole table in either way.
Exercise: One forward pass can have several inputs move. Let x1 move at speed 1 and x4 at speed 2, with x2 and x3 at
    rest: how fast does the product move?
Answer: Each input adds its slope times its speed: 24 · 1 + 6 · 2 = 36. One forward pass finds this with the tangents
    1, 0, 0, 2; the four slopes are not needed one by one.
Source: Wengert, A simple automatic derivative evaluation program, 1964; Griewank and Walther, Evaluating
    Derivatives, ch. 3.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

from ...reference_engine import Dual, Value, backward_listing, grad, jacobian_costs, jvp
from ..layout import table
from ..scenario import Numbers, plain
from .lesson import Exhibit, Lesson

AT = (1.0, 2.0, 3.0, 4.0)
ONE_MOVES = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
SHAPES = tuple((2**k, 2 ** (6 - k)) for k in range(7))
FIRST_AND_LAST_MOVE = (1.0, 0.0, 0.0, 2.0)


def product(*xs: Any) -> Any:
    """x1 x2 x3 x4, of whatever kind of number."""
    return math.prod(xs)


def on_value() -> Numbers:
    """AT is 1, 2, 3, 4. `Dual(number, tangent)` carries its speed along; `Value` remembers, and walks back."""
    forward = []
    for moving in range(4):
        x = [Dual(number, 1.0 if i == moving else 0.0) for i, number in enumerate(AT)]
        forward.append((x[0] * x[1] * x[2] * x[3]).tangent)

    x = [Value(number) for number in AT]
    y = x[0] * x[1] * x[2] * x[3]
    y.backward()
    backward = [each.grad for each in x]
    return {"y": [y.data], "4 forward passes": forward, "1 backward pass": backward}


def on_arrays() -> Numbers:
    """`jvp` is the array engine's forward pass, `grad` its backward pass."""
    return {
        "y": plain(product(*AT)),
        "4 forward passes": [float(jvp(product, AT, speeds)[1]) for speeds in ONE_MOVES],
        "1 backward pass": [float(slope) for slope in grad(product, argnums=(0, 1, 2, 3))(*AT)],
    }


def in_torch() -> Numbers:
    """PyTorch has both as well."""
    import torch

    leaves = [x.requires_grad_() for x in _tensors(AT)]
    y = product(*leaves)
    y.backward()
    return {
        "y": plain(y),
        "4 forward passes": [torch.func.jvp(product, _tensors(AT), _tensors(speeds))[1].item() for speeds in ONE_MOVES],
        "1 backward pass": [x.grad.item() for x in leaves],
    }


def _tensors(numbers: tuple[float, ...]) -> tuple[Any, ...]:
    import torch

    return tuple(torch.tensor(x, dtype=torch.float64) for x in numbers)


def answer_on_value() -> float:
    return product(*map(Dual, AT, FIRST_AND_LAST_MOVE)).tangent


def answer_on_arrays() -> float:
    return float(jvp(product, AT, FIRST_AND_LAST_MOVE)[1])


def answer_in_torch() -> float:
    import torch

    return torch.func.jvp(product, _tensors(AT), _tensors(FIRST_AND_LAST_MOVE))[1].item()


def _one_forward_pass() -> str:
    x1, x2, x3, x4 = map(Dual, AT, ONE_MOVES[0])
    a = x1 * x2
    b = a * x3
    y = b * x4
    steps = {"x1": x1, "x2": x2, "a = x1 * x2": a, "x3": x3, "b = a * x3": b, "x4": x4, "y = b * x4": y}
    rows = [(name, f"{step.data:g}", f"{step.tangent:g}") for name, step in steps.items()]
    return "\n".join(line.strip() for line in table(("step", "number", "speed"), rows))


def _one_backward_pass() -> str:
    x1, x2, x3, x4 = map(Value, AT)
    a = x1 * x2
    b = a * x3
    y = b * x4
    return backward_listing(y, {"x1": x1, "x2": x2, "x3": x3, "x4": x4, "a": a, "b": b, "y": y})


@functools.cache
def _costs() -> Any:
    return jacobian_costs(SHAPES)


def _passes() -> str:
    rows = [tuple(map(str, (c.inputs, c.outputs, c.forward_passes, c.reverse_passes))) for c in _costs().rows]
    return "\n".join(line.strip() for line in table(("inputs", "results", "forward", "backward"), rows))


def _plot() -> tuple[str, dict[str, Any]]:
    costs = _costs()
    return "crossing_figure", {
        "rows": [dataclasses.asdict(row) for row in costs.rows],
        "pass_crossings": costs.pass_crossings,
        "time_crossings": costs.time_crossings,
    }


LESSON = Lesson.from_essay(
    __doc__,
    on_value,
    on_arrays,
    in_torch,
    stated={"y": [24.0], "4 forward passes": [24.0, 12.0, 8.0, 6.0], "1 backward pass": [24.0, 12.0, 8.0, 6.0]},
    answer=36.0,
    answers=(answer_on_value, answer_on_arrays, answer_in_torch),
    exhibits=(
        Exhibit("One forward pass, with x1 moving: the last speed is the slope 24", text=_one_forward_pass),
        Exhibit("One backward pass: all four slopes", text=_one_backward_pass),
        Exhibit("Passes for all slopes of two layers of tanh, counted: the fewer of inputs and results", text=_passes),
        Exhibit("The seconds of the same, and where the two ways cost the same", plot=_plot),
    ),
)
