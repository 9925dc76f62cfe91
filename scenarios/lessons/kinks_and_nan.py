"""Kinks, and where NaN comes from

Claim: Where a graph has a kink, many slopes are legitimate and a framework picks one: 0 for relu(x) and |x| at 0, and
    0.5 for each side of a tie of max.
Story: Left of 0 the slope of |x| is -1, right of it 1, and at 0 every line between the two touches the graph. Something
    has to be returned, since inputs of exactly 0 are common. PyTorch and both engines here take 0 for relu and |x|, the
    legitimate slope of least size, and a half each in a tie of max. These are choices, not mathematics, and
    frameworks differ in them: see the table for clamp.

    Choices do not add up. relu(x) - relu(-x) is x itself, written differently, and its slope is 1 everywhere. At 0 each
    part is given the slope 0, which is legitimate for that part. Their sum is 0, and that is no slope of x at all.

    NaN comes from 0 · ∞ and from numbers that do not exist. Take where(x > 0, sqrt(x), 0) at -1: around it the function
    is constant, so its slope is 0. But PyTorch's where computes both branches. The one not taken is sent the gradient
    0, which is then multiplied by the slope of the root of -1, and 0 · NaN is NaN. The array engine remembers that this
    0 comes from a selection: a strong zero, which makes 0 of whatever it meets. With Value, the if is Python's own, and
    the root is never taken. In PyTorch, keep the bad number out of the root as well, as the table's last row does.

    A zero that was computed is not strong. sqrt(x · x) is |x|. At 0 its backward multiplies the root's slope, infinite
    at 0, by the slope 2 x = 0 of the square. Only a limit could tell what 0 · ∞ is here, and no engine takes one: all
    three say NaN.
Exercise: Leaky ReLU can be written as max(x, 0.1 x). Which slope do the three engines give at x = 0?
Answer: It is a tie, so half of the slope of each side: 0.5 · 1 + 0.5 · 0.1 = 0.55. Every number from 0.1 to 1 would be
    legitimate. PyTorch's own leaky_relu takes 0.1.
Source: Clarke 1983, Optimization and Nonsmooth Analysis, ch. 2; Griewank and Walther, Evaluating Derivatives, ch. 14;
    JAX documentation, FAQ, "Gradients contain NaN where using where".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...reference_engine import Value, grad, ops
from ..layout import CODE, table
from ..observing import format_numbers
from ..scenario import Numbers
from .lesson import ENGINES, Exhibit, Lesson


def slopes(f: Callable[..., Value], *at: float) -> list[float]:
    """The slope of f with respect to each of its arguments, by `Value`."""
    x = [Value(number) for number in at]
    f(*x).backward()
    return [one.grad for one in x]


def array_slopes(f: Callable[..., Any], *at: float) -> list[float]:
    return [float(g) for g in grad(f, argnums=tuple(range(len(at))))(*at)]


def torch_slopes(f: Callable[..., Any], *at: float) -> list[float]:
    import torch

    x = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in at]
    return [g.item() for g in torch.autograd.grad(f(*x), x)]


def on_value() -> Numbers:
    """`slopes(f, x)` makes Values of the numbers, runs backward from f, and returns the gradients."""
    return {
        "relu(x) at 0": slopes(lambda x: x.relu(), 0.0),
        "|x| at 0": slopes(lambda x: abs(x), 0.0),
        "max(a, b) at 1, 1": slopes(lambda a, b: a.max(b), 1.0, 1.0),
        "relu(x) - relu(-x) at 0": slopes(lambda x: x.relu() - (-x).relu(), 0.0),
        "where(x > 0, sqrt(x), 0) at 4": slopes(lambda x: x.sqrt() if x > 0 else 0 * x, 4.0),
    }


def on_arrays() -> Numbers:
    """The same functions of the array engine."""
    return {
        "relu(x) at 0": array_slopes(ops.relu, 0.0),
        "|x| at 0": array_slopes(ops.abs, 0.0),
        "max(a, b) at 1, 1": array_slopes(ops.maximum, 1.0, 1.0),
        "relu(x) - relu(-x) at 0": array_slopes(lambda x: ops.relu(x) - ops.relu(-x), 0.0),
        "where(x > 0, sqrt(x), 0) at 4": array_slopes(lambda x: ops.where(x > 0, ops.sqrt(x), 0.0), 4.0),
    }


def in_torch() -> Numbers:
    """The same functions of PyTorch."""
    import torch

    return {
        "relu(x) at 0": torch_slopes(torch.relu, 0.0),
        "|x| at 0": torch_slopes(torch.abs, 0.0),
        "max(a, b) at 1, 1": torch_slopes(torch.maximum, 1.0, 1.0),
        "relu(x) - relu(-x) at 0": torch_slopes(lambda x: torch.relu(x) - torch.relu(-x), 0.0),
        "where(x > 0, sqrt(x), 0) at 4": torch_slopes(lambda x: torch.where(x > 0, torch.sqrt(x), 0.0), 4.0),
    }


def answer_on_value() -> float:
    return slopes(lambda x: x.max(0.1 * x), 0.0)[0]


def answer_on_arrays() -> float:
    return array_slopes(lambda x: ops.maximum(x, 0.1 * x), 0.0)[0]


def answer_in_torch() -> float:
    import torch

    return torch_slopes(lambda x: torch.maximum(x, 0.1 * x), 0.0)[0]


def who_gives_what() -> list[tuple[str, list[float], list[float], list[float], str]]:
    """Expression and point, the slopes from Value, the array engine and PyTorch, and the legitimate ones."""
    import torch

    def row(text: str, at: tuple[float, ...], f: Any, array_f: Any, torch_f: Any, legitimate: str) -> tuple[Any, ...]:
        return text, slopes(f, *at), array_slopes(array_f, *at), torch_slopes(torch_f, *at), legitimate

    clamps = lambda x: x.max(0.0).min(1.0), lambda x: ops.clip(x, 0.0, 1.0), lambda x: torch.clamp(x, 0.0, 1.0)
    greatest = (
        lambda a, b: a.max(b),
        lambda a, b: ops.max(ops.stack([a, b])),
        lambda a, b: torch.stack([a, b]).max(dim=0).values,
    )
    squares = lambda x: (x * x).sqrt(), lambda x: ops.sqrt(x * x), lambda x: torch.sqrt(x * x)
    root, array_root = lambda x: x.sqrt() if x > 0 else 0 * x, lambda x: ops.where(x > 0, ops.sqrt(x), 0.0)
    torch_root = lambda x: torch.where(x > 0, torch.sqrt(x), 0.0)
    repaired = lambda x: torch.where(x > 0, torch.sqrt(torch.where(x > 0, x, 1.0)), 0.0)
    return [
        row("clamp(x, 0, 1) at 0", (0.0,), *clamps, "0 to 1"),
        row("greatest of a list, [1, 1]", (1.0, 1.0), *greatest, "1 in all"),
        row("sqrt(x) at 0", (0.0,), Value.sqrt, ops.sqrt, torch.sqrt, "inf"),
        row("sqrt(x · x) at 0", (0.0,), *squares, "-1 to 1"),
        row("where(x > 0, sqrt(x), 0) at 0", (0.0,), root, array_root, torch_root, "left 0, right inf"),
        row("where(x > 0, sqrt(x), 0) at -1", (-1.0,), root, array_root, torch_root, "0"),
        row("the same, repaired in PyTorch", (-1.0,), root, array_root, repaired, "0"),
    ]


def _table() -> str:
    rows = [(text, *map(format_numbers, found), legitimate) for text, *found, legitimate in who_gives_what()]
    return "\n".join(line.removeprefix(CODE) for line in table(("", *ENGINES, "legitimate"), rows))


LESSON = Lesson.from_essay(
    __doc__,
    on_value,
    on_arrays,
    in_torch,
    stated={
        "relu(x) at 0": [0.0],
        "|x| at 0": [0.0],
        "max(a, b) at 1, 1": [0.5, 0.5],
        "relu(x) - relu(-x) at 0": [0.0],
        "where(x > 0, sqrt(x), 0) at 4": [0.25],
    },
    answer=0.55,
    answers=(answer_on_value, answer_on_arrays, answer_in_torch),
    exhibits=(Exhibit("Slopes in which the engines differ, or in which none has a number", text=_table),),
)
