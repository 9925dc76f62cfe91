"""`Value`: reverse-mode differentiation of plain Python floats, small enough to be read in one sitting.

Every operation makes a node that remembers its operands and the slope towards each of them. `backward` walks the nodes
from the result back, each one after everything that uses it, and adds slope times gradient to the operands: the chain
rule, one edge at a time.
"""

from __future__ import annotations

import math
from typing import Any

from .errors import DerivativeError, DtypeError


class Value:
    """A number that remembers how it was made.

    data, grad: floats; grad is ∂root/∂self once `root.backward()` has run, in units of root per unit of self.
    Plain numbers may stand on either side of an operator. Source: Griewank and Walther, Evaluating Derivatives, ch. 3.
    """

    __slots__ = ("_op", "_prev", "_slopes", "data", "grad")
    __array_ufunc__ = None  # a NumPy number on the left leaves the operation to us

    def __init__(
        self, data: Any, _prev: tuple[Value, ...] = (), _op: str = "", _slopes: tuple[float, ...] = ()
    ) -> None:
        try:
            self.data = float(data)
        except (TypeError, ValueError):
            raise DtypeError(
                f"Value: found {data!r} of type {type(data).__name__}; accepted is one real number. Take one entry."
            ) from None
        self.grad = 0.0
        self._prev = _prev
        self._op = _op
        self._slopes = _slopes

    def __repr__(self) -> str:
        return f"Value(data={self.data:.4f}, grad={self.grad:.4f})"

    def __add__(self, other: Any) -> Value:
        b = _value(other)
        return Value(self.data + b.data, (self, b), "+", (1.0, 1.0))

    def __sub__(self, other: Any) -> Value:
        b = _value(other)
        return Value(self.data - b.data, (self, b), "-", (1.0, -1.0))

    def __mul__(self, other: Any) -> Value:
        b = _value(other)
        return Value(self.data * b.data, (self, b), "*", (b.data, self.data))

    def __truediv__(self, other: Any) -> Value:
        """a/b: slopes 1/b and -a/b². Raises DerivativeError at b = 0."""
        b = _value(other)
        if b.data == 0.0:
            raise DerivativeError(
                f"divide: {self.data} / {b.data}; accepted is any divisor but 0. Check where it became 0."
            )
        y = self.data / b.data
        return Value(y, (self, b), "/", (1.0 / b.data, -y / b.data))

    def __pow__(self, other: Any) -> Value:
        """aᵇ: slopes b aᵇ⁻¹ and aᵇ log a. A plain exponent is a constant; a Value for exponent needs a > 0.

        Raises DerivativeError at 0 to a negative power, and at a negative base with an exponent that is not whole.
        """
        a = self.data
        if not isinstance(other, Value):
            b = _value(other).data
            y = _power(a, b)
            endless = a == 0.0 and 0.0 < b < 1.0  # a root at 0 rises vertically
            slope = 0.0 if b == 0.0 else math.inf if endless else b * _power(a, b - 1.0)
            return Value(y, (self,), f"**{other}", (slope,))
        b = other.data
        if a <= 0.0:
            raise DerivativeError(
                f"power: base {a} with a Value {b} for exponent; accepted is a base above 0. Use a number."
            )
        y = _power(a, b)
        return Value(y, (self, other), "**", (b * _power(a, b - 1.0), y * math.log(a)))

    def __neg__(self) -> Value:
        return Value(-self.data, (self,), "neg", (-1.0,))

    def __radd__(self, other: Any) -> Value:
        return _value(other) + self

    def __rsub__(self, other: Any) -> Value:
        return _value(other) - self

    def __rmul__(self, other: Any) -> Value:
        return _value(other) * self

    def __rtruediv__(self, other: Any) -> Value:
        return _value(other) / self

    def __rpow__(self, other: Any) -> Value:
        return _value(other) ** self

    def relu(self) -> Value:
        """max(a, 0). At 0 every slope in [0, 1] is legitimate; ours is 0."""
        a = self.data
        return Value(a if a > 0.0 or a != a else 0.0, (self,), "relu", (1.0 if a > 0.0 else 0.0,))

    def tanh(self) -> Value:
        """tanh a, with slope 1/cosh² a = 4e/(1 + e)², e = exp(-2|a|), which keeps its digits where tanh² is near 1."""
        e = math.exp(-2.0 * abs(self.data))
        return Value(math.tanh(self.data), (self,), "tanh", (4.0 * e / (1.0 + e) ** 2,))

    def exp(self) -> Value:
        """eᵃ, its own slope; inf where it overflows."""
        try:
            y = math.exp(self.data)
        except OverflowError:
            y = math.inf
        return Value(y, (self,), "exp", (y,))

    def log(self) -> Value:
        """log a, with slope 1/a. Raises DerivativeError unless a > 0."""
        if self.data <= 0.0:
            raise DerivativeError(
                f"log: a = {self.data}; accepted are numbers above 0. Check where it became so small."
            )
        return Value(math.log(self.data), (self,), "log", (1.0 / self.data,))

    def backward(self, seed: float = 1.0) -> None:
        """Set `grad` of self and of everything it was made from to seed · ∂self/∂node.

        A second call, from here or from another root, starts afresh: gradients are those of the last call, never a sum
        of two (for x*x + 0 at 3 it is 6 each time). No recursion: a chain of a million nodes is as good as any.
        Raises DerivativeError where nodes were tied into a cycle by hand.
        """
        uses: dict[Value, int] = {}  # of each node, by the nodes between it and the root
        stack = [self]
        while stack:
            for operand in stack.pop()._prev:
                if operand in uses:
                    uses[operand] += 1
                else:
                    uses[operand] = 1
                    operand.grad = 0.0
                    stack.append(operand)
        self.grad = float(seed)
        ready = [] if self in uses else [self]
        finished = 0
        while ready:
            node = ready.pop()
            for operand, slope in zip(node._prev, node._slopes, strict=True):
                operand.grad += node.grad * slope
                uses[operand] -= 1
                if not uses[operand]:
                    ready.append(operand)
                    finished += 1
        if finished < len(uses):
            raise DerivativeError(
                f"backward: {len(uses) - finished} nodes use each other in a cycle; accepted are expressions, "
                "which have none. Make a new Value instead of changing _prev."
            )


def _value(x: Any) -> Value:
    return x if isinstance(x, Value) else Value(x)


def _power(a: float, b: float) -> float:
    """aᵇ as a float; inf where it overflows."""
    try:
        return math.pow(a, b)
    except OverflowError:
        return math.inf if a > 0.0 or b % 2.0 == 0.0 else -math.inf
    except ValueError:
        raise DerivativeError(
            f"power: {a} ** {b} is not a real number; accepted are a base above 0, or a whole exponent (not "
            "negative at 0). Check where the base left that range."
        ) from None
