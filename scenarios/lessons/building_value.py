"""Building Value: automatic differentiation in 25 lines

Claim: A class of 25 lines is a whole automatic differentiation: it remembers what a number was made from, and walks
    back. At x = 3 it gives y = u + u·u with u = x·x the value 90 and the slope 114, just as PyTorch does.
Story: Step 1, remember: the result of an operation keeps its operands and, for each, the slope towards it: 1 and 1 for
    a sum, the other factor for a product. These slopes are known at once, since the numbers are there. Step 2, find an
    order: a node may send its gradient on only when everything that uses it has sent its own. So list the nodes, each
    after its operands, and walk the list from its end. This is called a topological order.

    Step 3, walk back: the result gets gradient 1, and each node sends gradient times slope to each of its operands. The
    operand adds up what arrives, with `+=`, because a number that is used twice acts twice: x·x at 3 has slope 3 + 3 =
    6. With `=` the second message overwrites the first and the answer is 3: half of it, and no error message.

    The engine's `Value` is this class with more operations and without recursion. PyTorch is the same for arrays: a
    tensor's `grad_fn` leads to its operands, and `backward()` walks them in such an order. Its `+=` reaches further:
    `.grad` goes on adding from one call of `backward()` to the next, which is why training loops zero it.
Exercise: With u = x·x, what is the derivative of y = u·x + u at x = 2?
Answer: u waits for both of its uses: x = 2 from the product and 1 from the sum make 3. It sends 3 · 2 = 6 to each of
    its two operands, and both are x: 12. The product itself sends u = 4 to x. Together that is 16. By school rules: y =
    x³ + x², with slope 3 · 4 + 2 · 2.
Source: Speelpenning, Compiling fast partial derivatives, 1980; Karpathy, micrograd, 2020.
"""

from __future__ import annotations

import inspect
import math
import textwrap

from ...reference_engine import Value, grad
from ..layout import table
from ..scenario import Numbers, plain
from .lesson import Exhibit, Lesson


class Tiny:
    """A number that remembers how it was made."""

    def __init__(self, data, operands=(), slopes=()):
        self.data, self.operands, self.slopes = data, operands, slopes
        self.grad = 0

    def __add__(self, other):
        return Tiny(self.data + other.data, (self, other), (1, 1))

    def __mul__(self, other):
        return Tiny(self.data * other.data, (self, other), (other.data, self.data))

    def tanh(self):
        y = math.tanh(self.data)
        return Tiny(y, (self,), (1 - y * y,))

    def nodes(self):
        found = []

        def visit(node):
            if node not in found:
                for operand in node.operands:
                    visit(operand)
                found.append(node)

        visit(self)
        return found

    def backward(self):
        self.grad = 1
        for node in reversed(self.nodes()):
            for operand, slope in zip(node.operands, node.slopes, strict=True):
                operand.grad += node.grad * slope


def backward_with_equals(root):
    root.grad = 1
    for node in reversed(root.nodes()):
        for operand, slope in zip(node.operands, node.slopes, strict=True):
            operand.grad = node.grad * slope  # forgets what came before


def backward_as_met(root):
    root.grad = 1
    met = [root]
    for node in met:  # grows while it is read
        for operand, slope in zip(node.operands, node.slopes, strict=True):
            operand.grad += node.grad * slope  # too late if it has sent its own
            if operand not in met:
                met.append(operand)


def on_value() -> Numbers:
    """The same lines with `Tiny(3)` in place of `Value(3)` give the same numbers."""
    x = Value(3)
    u = x * x
    y = u + u * u
    y.backward()
    return {"y": plain(y.data), "dy/du": plain(u.grad), "dy/dx": plain(x.grad)}


def on_arrays() -> Numbers:
    """The array engine, with u as an argument and as a step in between."""
    return {
        "y": plain(9.0 + 9.0 * 9.0),
        "dy/du": plain(grad(lambda u: u + u * u)(9.0)),
        "dy/dx": plain(grad(lambda x: x * x + (x * x) * (x * x))(3.0)),
    }


def in_torch() -> Numbers:
    """PyTorch, with u's gradient kept as well."""
    import torch

    x = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    u = x * x
    u.retain_grad()
    y = u + u * u
    y.backward()
    return {"y": plain(y), "dy/du": plain(u.grad), "dy/dx": plain(x.grad)}


def answer_on_value() -> float:
    x = Value(2)
    u = x * x
    (u * x + u).backward()
    return x.grad


def answer_on_arrays() -> float:
    return float(grad(lambda x: (x * x) * x + x * x)(2.0))


def answer_in_torch() -> float:
    import torch

    x = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    u = x * x
    (u * x + u).backward()
    return x.grad.item()


def _square(x):
    return x * x


def _square_and_its_square(x):
    u = x * x
    return u + u * u


def _source(*functions) -> str:
    return "\n".join(textwrap.dedent(inspect.getsource(function)) for function in functions)


def _table(head, rows) -> str:
    return "\n".join(line.strip() for line in table(head, rows))


def _slope(expression, backward) -> str:
    x = Tiny(3)
    backward(expression(x))
    return str(x.grad)


def _step_1() -> str:
    rows = [
        (str(node.data), str([o.data for o in node.operands]), str(list(node.slopes)))
        for node in _square_and_its_square(Tiny(3)).nodes()
    ]
    shown = _table(("number", "made from", "slopes"), rows)
    return "\n".join([_source(Tiny.__init__, Tiny.__add__, Tiny.__mul__, Tiny.tanh), shown])


def _step_2() -> str:
    order = [node.data for node in _square_and_its_square(Tiny(3)).nodes()]
    return f"{_source(Tiny.nodes)}\nx, u, u*u, y = {order}, to be walked from the right"


def _step_3() -> str:
    y = _square_and_its_square(Tiny(3))
    y.backward()
    sent = [f"{node.data} has gradient {node.grad}" for node in reversed(y.nodes())]
    return "\n".join([_source(Tiny.backward), *sent])


def _two_mistakes() -> str:
    rows = [
        (name, _slope(_square, backward), _slope(_square_and_its_square, backward))
        for name, backward in (
            ("Tiny.backward", Tiny.backward),
            ("backward_with_equals", backward_with_equals),
            ("backward_as_met", backward_as_met),
        )
    ]
    shown = _table(("slope at x = 3", "of x*x", "of u + u*u, u = x*x"), rows)
    return "\n".join([_source(backward_with_equals, backward_as_met), shown])


LESSON = Lesson.from_essay(
    __doc__,
    on_value,
    on_arrays,
    in_torch,
    stated={"y": [90.0], "dy/du": [19.0], "dy/dx": [114.0]},
    answer=16.0,
    answers=(answer_on_value, answer_on_arrays, answer_in_torch),
    exhibits=(
        Exhibit("Step 1, remember: class Tiny begins; and what y = u + u*u at x = 3 remembers", text=_step_1),
        Exhibit("Step 2, find an order: each node after its operands", text=_step_2),
        Exhibit("Step 3, walk back; this completes Tiny, and its gradients are those above", text=_step_3),
        Exhibit("Two ways to go wrong: only Tiny.backward gives 6 and 114", text=_two_mistakes),
    ),
)
