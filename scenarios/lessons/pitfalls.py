"""What to read next: how a right derivative goes wrong in a training script

Claim: A derivative can be right and the training still wrong: with the slopes -6 of (w - 3)² and 5 of 5 w at w = 0, two
    calls of PyTorch's backward leave -1 in w.grad, their sum, whether you wanted the sum or the last one.
Story: So far, everything was about one backward pass. A training script makes thousands, keeps graphs, writes into
    memory, moves numbers in and out of the graph. That is where wrong gradients come from that are no error of
    calculus, and many of them raise no error in Python either.

    Here is the best known one. PyTorch's backward() does not set w.grad, it adds to it. This is on purpose: the
    gradient of a sum is the sum of the gradients, so that a batch that is too large for the memory can be sent through
    in parts. The price is that somebody has to clear the gradient before each step. `Value` made the other choice: each
    backward starts afresh, and whoever wants a sum adds it up. The array engine has nowhere to keep a gradient at all:
    it returns one.

    The pitfalls come in the families below. `gradwitness learn` lists them, and `gradwitness learn ID` runs one: what
    PyTorch gives, what is right, and the line that repairs it.
Exercise: A loop forgets to clear: loss (w - 3)², start w = 0, rate 0.1, and w.grad adds up. What stands in w.grad at
    the third step?
Answer: Step 1 has -6 and moves w to 0.6. There the slope is -4.8, w.grad holds -10.8, and w moves to 1.68. There the
    slope is -2.64, and w.grad holds -13.44. Cleared at each step, it would have been -3.84.
Source: PyTorch documentation of torch.Tensor.backward ("accumulates gradients in the leaves"); the catalogue of
    pitfalls, gradwitness.scenarios.catalogue().
"""

from __future__ import annotations

import textwrap
from typing import Any

from ...reference_engine import Value, grad
from ..collection import FAMILIES, catalogue, family_introduction
from ..layout import CODE, table
from ..observing import format_numbers
from ..scenario import Numbers, plain
from .lesson import Exhibit, Lesson

START, RATE = 0.0, 0.1


def on_value() -> Numbers:
    """Each backward starts afresh, so a sum of gradients is a sum that you write."""
    w = Value(0.0)
    ((w - 3) ** 2).backward()
    first = w.grad
    (5 * w).backward()
    second = w.grad
    both = first + second
    return {"slope of (w - 3)²": [first], "slope of 5 w": [second], "both, added": [both]}


def on_arrays() -> Numbers:
    """A gradient is what a function returns; there is no place where it could add up."""
    first, second = grad(_loss)(START), grad(lambda w: 5 * w)(START)
    return {"slope of (w - 3)²": plain(first), "slope of 5 w": plain(second), "both, added": plain(first + second)}


def in_torch() -> Numbers:
    """`torch.autograd.grad` returns a gradient; `backward` adds it to `w.grad`."""
    import torch

    w = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    (first,), (second,) = torch.autograd.grad(_loss(w), w), torch.autograd.grad(5 * w, w)
    _loss(w).backward()
    (5 * w).backward()
    return {"slope of (w - 3)²": plain(first), "slope of 5 w": plain(second), "both, added": plain(w.grad)}


def _loss(w: Any) -> Any:
    return (w - 3) ** 2


def answer_on_value() -> float:
    w, held = Value(START), 0.0
    for _ in range(3):
        _loss(w).backward()
        held += w.grad
        w = Value(w.data - RATE * held)
    return held


def answer_on_arrays() -> float:
    w, held = START, 0.0
    for _ in range(3):
        held += float(grad(_loss)(w))
        w -= RATE * held
    return held


def answer_in_torch() -> float:
    import torch

    w = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=RATE)
    for _ in range(3):
        _loss(w).backward()
        optimizer.step()
    return w.grad.item()


def called_twice() -> dict[str, list[float] | None]:
    """What is left after two backward calls from the same loss, by engine."""
    import torch

    mine = Value(START)
    theirs, cleared = (torch.tensor(START, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for _ in range(2):
        _loss(mine).backward()
        right = grad(_loss)(START)
        _loss(theirs).backward()
        cleared.grad = None
        _loss(cleared).backward()
    held = {
        "Value": mine.grad,
        "array engine": right,
        "PyTorch": theirs.grad,
        "PyTorch, cleared before each": cleared.grad,
    }
    return {engine: plain(g) for engine, g in held.items()}


def _families() -> str:
    """Each family: its title, how many pitfalls it has, what they have in common, and their ids."""
    lines = []
    for family in FAMILIES:
        title, introduction = family_introduction(family)
        ids = [scenario.id for scenario in catalogue().values() if scenario.family == family]
        lines += [f"{title} ({len(ids)} pitfalls)"]
        for text in (introduction, ", ".join(ids)):
            lines += textwrap.wrap(text, 90, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
        lines += [""]
    return "\n".join(lines[:-1])


def _twice() -> str:
    rows = [(engine, format_numbers(held)) for engine, held in called_twice().items()]
    return "\n".join(line.removeprefix(CODE) for line in table(("", "gradient of w"), rows))


LESSON = Lesson.from_essay(
    __doc__,
    on_value,
    on_arrays,
    in_torch,
    stated={"slope of (w - 3)²": [-6.0], "slope of 5 w": [5.0], "both, added": [-1.0]},
    answer=-13.44,
    answers=(answer_on_value, answer_on_arrays, answer_in_torch),
    exhibits=(
        Exhibit("Two backward calls from (w - 3)² at 0, where the slope is -6", text=_twice),
        Exhibit("The families of pitfalls", text=_families),
    ),
    pitfalls=(
        "forgotten-zeroing",
        "second-backward",
        "loss-not-divided",
        "detached-path",
        "item-round-trip",
        "requires-grad-on-the-loss",
        "leaf-in-place",
        "saved-tensor-overwritten",
        "overwritten-through-data",
        "view-of-a-saved-tensor",
    ),
)
