"""The chain rule by hand: slopes multiply along the way

Claim: The derivative of nested functions is the product of their slopes, each taken at its own argument: for
    y = (2 x + 1)³ at x = 1 the outer slope is 3 u² = 27 at u = 3, the inner one is 2, and dy/dx = 54.
Story: Write the expression as steps, each so simple that its slope is known: u = 2 x + 1, then y = u³. Move x by a
    little: u moves twice as far, and y moves 27 times as far as u. Two gears in a row multiply: 2 · 27 = 54.

    Automatic differentiation is this and nothing more. It keeps every step, knows the slope of each, and multiplies.
    No formula for the whole is ever written down, and no difference of nearby values is taken.
Exercise: What is the derivative of y = tanh(2 x)³ at x = 0.5?
Answer: Three slopes in a row: 2 for the inside, 1 - tanh²(1) = 0.419974 for tanh at 1, and 3 tanh²(1) = 1.74008 for
    the cube. Their product is 1.46158.
Source: Leibniz 1676; Griewank and Walther, Evaluating Derivatives, ch. 2.
"""

from __future__ import annotations

from ...reference_engine import Value, backward_listing, grad, ops, to_svg
from ..scenario import Numbers, plain
from .lesson import Exhibit, Lesson


def on_value() -> Numbers:
    """Each operation makes a node; `backward` multiplies the slopes from the result to x."""
    x = Value(1.0)
    u = 2 * x + 1
    y = u**3
    y.backward()
    return {"y": [y.data], "dy/du": [u.grad], "dy/dx": [x.grad]}


def on_arrays() -> Numbers:
    """The array engine traces the function; its derivative with respect to u is that of the second step alone."""
    return {
        "y": plain((2.0 * 1.0 + 1.0) ** 3),
        "dy/du": plain(grad(lambda u: u**3)(3.0)),
        "dy/dx": plain(grad(lambda x: (2 * x + 1) ** 3)(1.0)),
    }


def in_torch() -> Numbers:
    """PyTorch, with u's gradient kept as well."""
    import torch

    x = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    u = 2 * x + 1
    u.retain_grad()
    y = u**3
    y.backward()
    return {"y": plain(y), "dy/du": plain(u.grad), "dy/dx": plain(x.grad)}


def answer_on_value() -> float:
    x = Value(0.5)
    ((2 * x).tanh() ** 3).backward()
    return x.grad


def answer_on_arrays() -> float:
    return float(grad(lambda x: ops.tanh(2 * x) ** 3)(0.5))


def answer_in_torch() -> float:
    import torch

    x = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    (torch.tanh(2 * x) ** 3).backward()
    return x.grad.item()


def _graph() -> tuple[Value, dict[str, Value]]:
    x = Value(1.0)
    u = 2 * x + 1
    y = u**3
    y.backward()
    return y, {"x": x, "u": u, "y": y}


LESSON = Lesson.from_essay(
    __doc__,
    on_value,
    on_arrays,
    in_torch,
    stated={"y": [27.0], "dy/du": [27.0], "dy/dx": [54.0]},
    answer=1.46158,
    answers=(answer_on_value, answer_on_arrays, answer_in_torch),
    exhibits=(
        Exhibit("Forward, and backward beside it", text=lambda: backward_listing(*_graph())),
        Exhibit("The graph: values, gradients, and the slope on every edge", drawing=lambda: to_svg(*_graph())),
    ),
)
