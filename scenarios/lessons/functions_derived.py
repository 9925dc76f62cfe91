"""Slopes derived on paper: exp, division and tanh, and a right formula that loses its digits

Claim: Three slopes on paper: eˣ has itself, a/b has 1/b and -(a/b)/b, which at 3 and 4 are 0.25 and -0.1875, and tanh
    has 1 - y². All are right, but in float32, which has 7 digits, 1 - y² keeps one digit at 8 and none at 10.
Story: Take eˣ: moving x by h multiplies the value by eʰ, which is 1 + h for small h. So the slope is the value itself:
    7.38906 at x = 2. Now division: q = a/b says q · b = a. Move a alone: the change of q, times b, is the change of a,
    so the slope is 1/b. Move b alone: a stays, so (change of q) · b + q · (change of b) = 0, and the slope is -q/b.

    With these two, tanh: it is y = s/c with s = eˣ - e⁻ˣ and c = eˣ + e⁻ˣ. By the rule of exp, the slope of s is c, and
    that of c is s. By the rule of division the slope of y is c/c - y · s/c = 1 - y². At 0.5 this is 0.786448.

    On paper that is the end. A machine has few digits: float32 numbers just below 1 stand 6e-8 apart. tanh 8 differs
    from 1 by 2e-7, so y holds that difference to one digit, and 1 - y² inherits it: subtracting equal numbers removes
    the digits that were right and leaves those that were rounded. At 10, y is rounded to 1 and the slope to 0.

    PyTorch keeps y from the forward pass and computes 1 - y², which is cheap. The engine computes 4 e/(1 + e)² with e =
    e⁻²ˣ instead: the same on paper, and nothing is subtracted. In float64 there are 16 digits to lose from, and at 8
    nine of them are left.
Exercise: σ(x) = 1/(1 + e⁻ˣ) is built from exp and division. What is its slope where e⁻ˣ = 1/4, at x = log 4 =
    1.38629?
Answer: With q = 1/b and b = 1 + e⁻ˣ = 5/4, q is 4/5 and its slope towards b is -q/b = -16/25. The slope of b is -e⁻ˣ =
    -1/4. The product is 4/25 = 0.16, which is also q · (1 - q).
Source: DLMF 4.20 and 4.34; Goldberg, What every computer scientist should know about floating-point arithmetic, 1991.
"""

from __future__ import annotations

import math

import numpy as np

from ...reference_engine import Value, grad, ops
from ..layout import table
from ..observing import ROUNDING
from ..scenario import Numbers, plain
from .lesson import Exhibit, Lesson

# PyTorch's 1 - y² at 8 is 4.5e-7: what remains of numbers near 1, so their rounding weighs so many times more.
LOSS_AT_8 = 1 / 4.5e-7


def on_value() -> Numbers:
    """One operation each; `backward` asks it for its slopes."""
    x, a, b, near, far = Value(2.0), Value(3.0), Value(4.0), Value(0.5), Value(8.0)
    for y in (x.exp(), a / b, near.tanh(), far.tanh()):
        y.backward()
    return {
        "slope of exp at 2": [x.grad],
        "slopes of a/b at 3, 4": [a.grad, b.grad],
        "slope of tanh at 0.5": [near.grad],
        "slope of tanh at 8": [far.grad],
    }


def on_arrays() -> Numbers:
    return {
        "slope of exp at 2": plain(grad(ops.exp)(2.0)),
        "slopes of a/b at 3, 4": [float(slope) for slope in grad(ops.divide, argnums=(0, 1))(3.0, 4.0)],
        "slope of tanh at 0.5": plain(grad(ops.tanh)(0.5)),
        "slope of tanh at 8": plain(grad(ops.tanh)(8.0)),
    }


def in_torch() -> Numbers:
    """In float64, where 1 - y² at 8 still has nine digits."""
    import torch

    x, a, b, near, far = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (2.0, 3.0, 4.0, 0.5, 8.0))
    for y in (torch.exp(x), a / b, torch.tanh(near), torch.tanh(far)):
        y.backward()
    return {
        "slope of exp at 2": plain(x.grad),
        "slopes of a/b at 3, 4": [a.grad.item(), b.grad.item()],
        "slope of tanh at 0.5": plain(near.grad),
        "slope of tanh at 8": plain(far.grad),
    }


def answer_on_value() -> float:
    x = Value(math.log(4))
    (1 / (1 + (-x).exp())).backward()
    return x.grad


def answer_on_arrays() -> float:
    return float(grad(lambda x: 1 / (1 + ops.exp(-x)))(math.log(4)))


def answer_in_torch() -> float:
    import torch

    x = torch.tensor(math.log(4), dtype=torch.float64, requires_grad=True)
    (1 / (1 + torch.exp(-x))).backward()
    return x.grad.item()


def _checked() -> str:
    """Im f(x + ih)/h needs no rule for a slope, and subtracts nothing."""
    h = 1e-30
    numbers = on_value()
    by_complex_step = {
        "slope of exp at 2": [Value(2 + h * 1j).exp().data.imag / h],
        "slopes of a/b at 3, 4": [(Value(3 + h * 1j) / 4).data.imag / h, (3 / Value(4 + h * 1j)).data.imag / h],
        "slope of tanh at 0.5": [Value(0.5 + h * 1j).tanh().data.imag / h],
        "slope of tanh at 8": [Value(8 + h * 1j).tanh().data.imag / h],
    }
    rows = [
        (
            name.split(" ", 2)[2],
            ", ".join(f"{v:.15g}" for v in values),
            ", ".join(f"{v:.15g}" for v in by_complex_step[name]),
        )
        for name, values in numbers.items()
    ]
    return _flush(table(("slope", "Value", "complex step, h = 1e-30"), rows))


def _flush(lines: list[str]) -> str:
    return "\n".join(line.strip() for line in lines)


def _in_float32() -> str:
    import torch

    rows = []
    for x in (0.5, 2.0, 4.0, 6.0, 8.0, 10.0):
        right = Value(x)
        right.tanh().backward()
        leaf = torch.tensor(x, dtype=torch.float32, requires_grad=True)
        torch.tanh(leaf).backward()
        e = np.exp(np.float32(-2 * x))
        kept = float(4 * e / ((1 + e) * (1 + e)))
        rows.append([f"{x:g}", f"{right.grad:.7g}", f"{leaf.grad.item():.7g}", f"{kept:.7g}"])
    return _flush(table(("x", "right", "PyTorch, 1 - y²", "4 e/(1 + e)²"), rows))


LESSON = Lesson.from_essay(
    __doc__,
    on_value,
    on_arrays,
    in_torch,
    stated={
        "slope of exp at 2": [7.38906],
        "slopes of a/b at 3, 4": [0.25, -0.1875],
        "slope of tanh at 0.5": [0.786448],
        "slope of tanh at 8": [4.50141e-07],
    },
    answer=0.16,
    answers=(answer_on_value, answer_on_arrays, answer_in_torch),
    exhibits=(
        Exhibit("Checked by a way that knows none of these slopes (told in the lesson before)", text=_checked),
        Exhibit("The slope of tanh in float32: the same formula on paper, written in two ways", text=_in_float32),
    ),
    rounding=ROUNDING * LOSS_AT_8,
)
