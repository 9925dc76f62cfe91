"""The graph of (x1 + x2) * (x1 * x2): slopes multiply along a path and add up over paths

Claim: Where a number is used twice, its derivative is a sum, one product of slopes for each path to the result: for
    y = (x1 + x2) · (x1 · x2) at 2 and 3, which is 30, the derivatives are 6 + 15 = 21 for x1 and 6 + 10 = 16 for x2.
Story: Give each step a name: s = x1 + x2 is 5, p = x1 · x2 is 6, y = s · p is 30. Draw a circle for each number and an
    arrow from each to whatever is computed with it. Write on every arrow its slope: how far the head moves when
    the tail moves by a little. A sum has slope 1 towards both; a product has, towards each factor, the other factor.

    Now move x1 by a little. It reaches y on two paths at once. Through s it moves y by 1 · 6 = 6 times as much,
    through p by 3 · 5 = 15 times as much. Both happen together, so y moves 6 + 15 = 21 times as far as x1. That is all
    there is to it: multiply along a path, add over the paths.

    A big graph has far too many paths to list. So one walks backwards instead: start with 1 at y, and let every node,
    once it is complete, send its own number times the slope to each operand, which adds up what arrives. Each arrow is
    used once. This is what `backward()` does in PyTorch, where the same drawing hangs on `y.grad_fn`.
Exercise: Let the second factor be x1 · x1: what is the derivative of y = (x1 + x2) · (x1 · x1) with respect to x1, at
    x1 = 2 and x2 = 5?
Answer: Now s = 7 and p = 4, and there are three paths. Through s: 1 · 4 = 4. Through p twice, since x1 is both of its
    factors: 2 · 7 = 14 each time. The sum is 4 + 14 + 14 = 32. By school rules: y = x1³ + 5 x1², so 3 · 4 + 10 · 2.
Source: Griewank and Walther, Evaluating Derivatives, sec. 3.2; Bauer, Computational graphs and rounding error, 1974.
"""

from __future__ import annotations

from ...reference_engine import Value, grad, paths, text_tree, to_svg
from ..scenario import Numbers, plain
from .lesson import Exhibit, Lesson


def on_value() -> Numbers:
    """Three operations, three nodes; `backward` fills in the gradient of each."""
    x1, x2 = Value(2), Value(3)
    s = x1 + x2
    p = x1 * x2
    y = s * p
    y.backward()
    return {
        "y": plain(y.data),
        "dy/ds": plain(s.grad),
        "dy/dp": plain(p.grad),
        "dy/dx1": plain(x1.grad),
        "dy/dx2": plain(x2.grad),
    }


def on_arrays() -> Numbers:
    """The array engine gives one function's gradient; for s and p that function is the last step alone."""
    s, p = 2.0 + 3.0, 2.0 * 3.0
    of_s, of_p = grad(lambda s, p: s * p, argnums=(0, 1))(s, p)
    of_x1, of_x2 = grad(lambda x1, x2: (x1 + x2) * (x1 * x2), argnums=(0, 1))(2.0, 3.0)
    return {
        "y": plain(s * p),
        "dy/ds": plain(of_s),
        "dy/dp": plain(of_p),
        "dy/dx1": plain(of_x1),
        "dy/dx2": plain(of_x2),
    }


def in_torch() -> Numbers:
    """PyTorch drops the gradients of steps in between unless it is asked to keep them."""
    import torch

    x1, x2 = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (2.0, 3.0))
    s = x1 + x2
    p = x1 * x2
    y = s * p
    s.retain_grad()
    p.retain_grad()
    y.backward()
    return {
        "y": plain(y),
        "dy/ds": plain(s.grad),
        "dy/dp": plain(p.grad),
        "dy/dx1": plain(x1.grad),
        "dy/dx2": plain(x2.grad),
    }


def answer_on_value() -> float:
    x1, x2 = Value(2), Value(5)
    ((x1 + x2) * (x1 * x1)).backward()
    return x1.grad


def answer_on_arrays() -> float:
    return float(grad(lambda x1, x2: (x1 + x2) * (x1 * x1))(2.0, 5.0))


def answer_in_torch() -> float:
    import torch

    x1, x2 = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (2.0, 5.0))
    ((x1 + x2) * (x1 * x1)).backward()
    return x1.grad.item()


def _graph() -> tuple[Value, dict[str, Value]]:
    x1, x2 = Value(2), Value(3)
    s, p = x1 + x2, x1 * x2
    y = s * p
    y.backward()
    return y, {"x1": x1, "x2": x2, "s": s, "p": p, "y": y}


def _paths_of(name: str) -> str:
    y, names = _graph()
    return str(paths(y, names[name], names))


LESSON = Lesson.from_essay(
    __doc__,
    on_value,
    on_arrays,
    in_torch,
    stated={"y": [30.0], "dy/ds": [6.0], "dy/dp": [5.0], "dy/dx1": [21.0], "dy/dx2": [16.0]},
    answer=32.0,
    answers=(answer_on_value, answer_on_arrays, answer_in_torch),
    exhibits=(
        Exhibit("The graph as text, from the result down to the inputs", text=lambda: text_tree(*_graph())),
        Exhibit("Every path from x1 to y, and their sum", text=lambda: _paths_of("x1")),
        Exhibit("Every path from x2 to y, and their sum", text=lambda: _paths_of("x2")),
        Exhibit("The graph, with the slope on every arrow", drawing=lambda: to_svg(*_graph())),
    ),
)
