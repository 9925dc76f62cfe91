"""`Dual`: forward-mode differentiation of single numbers, the twin of `Value`.

A dual number carries its tangent along: the derivative with respect to the one input that was given tangent 1 (or along
any direction, if several were given one). Nothing is remembered; each operation applies the chain rule at once.
"""

from __future__ import annotations

from typing import Any

from .errors import DerivativeError, DtypeError
from .number_types import FUNCTIONS, choose, divide, is_real, log, number, order, places, power, power_slope, unlike


class Dual:
    """A number and its tangent: data + tangent ε with ε² = 0.

    data, tangent: numbers of any type that computes: float, int and Fraction (both exact), complex, mpmath's mpf, or
    Duals again, for second derivatives. tangent is in units of self per unit of the input with tangent 1. The whole
    number 0 for a tangent marks a constant, which stays one whatever its slope, be it infinite; 0.0 is a number, and
    0.0 times infinity is NaN. Plain numbers may stand on either side of an operator; they are constants. A Dual may
    stand inside a Value, a Value not in a Dual.
    Source: Griewank and Walther, Evaluating Derivatives, ch. 3.
    """

    __slots__ = ("data", "tangent")
    __array_ufunc__ = None  # a NumPy number on the left leaves the operation to us

    def __init__(self, data: Any, tangent: Any = 0) -> None:
        self.data = number(data, "Dual")
        self.tangent = number(tangent, "Dual")

    def __repr__(self) -> str:
        return f"Dual(data={places(self.data)}, tangent={places(self.tangent)})"

    def __add__(self, other: Any) -> Dual:
        """a + b: tangent ȧ + ḃ."""
        b, tb = _parts(other, "add")
        try:
            return Dual(self.data + b, self.tangent + tb)
        except TypeError:
            unlike("add", self, b)

    def __sub__(self, other: Any) -> Dual:
        """a - b: tangent ȧ - ḃ."""
        b, tb = _parts(other, "subtract")
        try:
            return Dual(self.data - b, self.tangent - tb)
        except TypeError:
            unlike("subtract", self, b)

    def __mul__(self, other: Any) -> Dual:
        """a b: tangent ȧ b + a ḃ."""
        b, tb = _parts(other, "multiply")
        try:
            return Dual(self.data * b, _scaled(b, self.tangent) + _scaled(self.data, tb))
        except TypeError:
            unlike("multiply", self, b)

    def __truediv__(self, other: Any) -> Dual:
        """a/b: tangent (ȧ - (a/b) ḃ)/b. Raises DerivativeError at b = 0."""
        b, tb = _parts(other, "divide")
        y = divide(self.data, b)
        t = self.tangent - _scaled(y, tb)
        return Dual(y, t if _is_constant(t) else divide(t, b))

    def __pow__(self, other: Any) -> Dual:
        """aᵇ: tangent b aᵇ⁻¹ ȧ + aᵇ log(a) ḃ. A plain exponent is a constant; a Dual for exponent needs a > 0.

        Raises DerivativeError at 0 to a negative power, and at a negative base with an exponent that is not whole.
        """
        a, (b, tb) = self.data, _parts(other, "power")
        y = power(a, b)
        t = _scaled(power_slope(a, b), self.tangent)
        if isinstance(other, Dual):
            if is_real(a) and order(a) <= 0:
                raise DerivativeError(
                    f"power: base {a} with a Dual {b} for exponent; accepted is a base above 0. Use a number."
                )
            t = t + _scaled(y * log(a), tb)
        return Dual(y, t)

    def __neg__(self) -> Dual:
        return Dual(-self.data, -self.tangent)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> Dual:
        return Dual(other) - self

    def __rtruediv__(self, other: Any) -> Dual:
        return Dual(other) / self

    def __rpow__(self, other: Any) -> Dual:
        return Dual(other) ** self

    def __pos__(self) -> Dual:
        return self

    def __eq__(self, other: Any) -> bool:
        return bool(self.data == (other.data if isinstance(other, Dual) else other))

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        raise DtypeError(
            f"float: found {self!r}; accepted are plain numbers, since the tangent would be lost. Write x.exp() for "
            "math.exp(x) and so on, or take x.data."
        )

    def __lt__(self, other: Any) -> bool:
        return bool(order(self) < order(other))

    def __le__(self, other: Any) -> bool:
        return bool(order(self) <= order(other))

    def __gt__(self, other: Any) -> bool:
        return bool(order(self) > order(other))

    def __ge__(self, other: Any) -> bool:
        return bool(order(self) >= order(other))

    def max(self, other: Any) -> Dual:
        """The greater of a and b, with its tangent. In a tie every split is legitimate; ours is a half each."""
        return self._choose("max", other)

    def min(self, other: Any) -> Dual:
        """The lesser of a and b, with its tangent. In a tie every split is legitimate; ours is a half each."""
        return self._choose("min", other)

    def __abs__(self) -> Dual:
        """|a|. At 0 every slope in [-1, 1] is legitimate; ours is 0."""
        return self._through("abs")

    def relu(self) -> Dual:
        """max(a, 0). At 0 every slope in [0, 1] is legitimate; ours is 0."""
        return self._through("relu")

    def exp(self) -> Dual:
        """eᵃ, its own slope; inf where it overflows."""
        return self._through("exp")

    def log(self) -> Dual:
        """log a, with slope 1/a. Raises DerivativeError unless a > 0 (or complex and not 0)."""
        return self._through("log")

    def sqrt(self) -> Dual:
        """√a, with slope 1/(2√a), inf at 0. Raises DerivativeError below 0."""
        return self._through("sqrt")

    def sin(self) -> Dual:
        """sin a, with slope cos a; NaN at an infinity."""
        return self._through("sin")

    def cos(self) -> Dual:
        """cos a, with slope -sin a; NaN at an infinity."""
        return self._through("cos")

    def tan(self) -> Dual:
        """tan a, with slope 1 + tan² a; NaN at an infinity."""
        return self._through("tan")

    def tanh(self) -> Dual:
        """tanh a, with slope 1/cosh² a."""
        return self._through("tanh")

    def sigmoid(self) -> Dual:
        """σ(a) = 1/(1 + e⁻ᵃ), with slope σ(a) σ(-a)."""
        return self._through("sigmoid")

    def softplus(self) -> Dual:
        """log(1 + eᵃ), with slope σ(a)."""
        return self._through("softplus")

    def erf(self) -> Dual:
        """erf a, with slope 2/√π exp(-a²)."""
        return self._through("erf")

    def _through(self, name: str) -> Dual:
        function = FUNCTIONS[name]
        y = function.of(self.data)
        return Dual(y, _scaled(function.slope(self.data, y), self.tangent))

    def _choose(self, name: str, other: Any) -> Dual:
        b, tb = _parts(other, name)
        y, da, db = choose(name, self.data, b)
        return Dual(y, _scaled(da, self.tangent) + _scaled(db, tb))


def _parts(x: Any, operation: str) -> tuple[Any, Any]:
    """Data and tangent of an operand; a plain number is a constant."""
    return (x.data, x.tangent) if isinstance(x, Dual) else (number(x, operation), 0)


def _is_constant(t: Any) -> bool:
    return t.__class__ is int and t == 0


def _scaled(slope: Any, t: Any) -> Any:
    """slope · t, and 0 for a constant whatever the slope."""
    return t if _is_constant(t) else slope * t
