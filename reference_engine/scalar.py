"""`Value`: reverse-mode differentiation of single numbers, small enough to be read in one sitting.

Every operation makes a node that remembers its operands and the slope towards each of them. `backward` walks the nodes
from the result back, each one after everything that uses it, and adds gradient times slope to the operands: the chain
rule, one edge at a time.
"""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import DerivativeError, DtypeError
from .number_types import FUNCTIONS, choose, divide, is_real, log, number, order, places, power, power_slope, unlike

_new = object.__new__  # a third faster than calling the class: each operation fills its node in itself


class Value:
    """A number that remembers how it was made.

    data: a number of any type that computes: float, int and Fraction (both exact), complex, mpmath's mpf, Dual.
    grad: ∂root/∂self once `root.backward()` has run, in units of root per unit of self; 0 before. Plain numbers may
    stand on either side of an operator. Types mix as Python mixes them (a Fraction and a float make a float); what
    Python refuses to mix raises DtypeError. Complex numbers are for the complex step and for analytic functions:
    comparisons, abs, relu, max and min go by the real part. `x == 2.0` compares numbers, so that code may branch on it;
    two Values are equal only if they are one node. pickle and deepcopy follow the graph by recursion, as deep as Python
    lets them. An operation of your own is `Value(data, operands, name, slopes)`, with at most two operands. Source:
    Griewank and Walther, Evaluating Derivatives, ch. 3.
    """

    # y = f(a, b): its operands (None where there is none) and the slopes ∂y/∂a and ∂y/∂b. Where one operand was a plain
    # number, it stands in _db, and _b is None.
    __slots__ = ("_a", "_b", "_da", "_db", "_op", "data", "grad")
    __array_ufunc__ = None  # a NumPy number on the left leaves the operation to us

    def __init__(self, data: Any, _prev: Any = (), _op: str = "", _slopes: Any = ()) -> None:
        self.data = number(data, "Value")
        self.grad: Any = 0
        self._op = _op
        self._a, self._b = _operands(_prev)
        self._da, self._db = _pair("slopes", _slopes)
        if len(tuple(_slopes)) != len(tuple(_prev)):
            raise DtypeError(
                f"Value: found {len(tuple(_prev))} operands and {len(tuple(_slopes))} slopes; accepted is one slope "
                "for each operand. Pass as many."
            )
        for slope in _slopes:
            number(slope, "Value: slope")

    def __repr__(self) -> str:
        return f"Value(data={places(self.data)}, grad={places(self.grad)})"

    def __format__(self, spec: str) -> str:
        return format(self.data, spec) if spec else repr(self)

    def __float__(self) -> float:
        raise DtypeError(
            f"float: found {self!r}; accepted are plain numbers, since the graph would be cut here. Write x.exp() for "
            "math.exp(x) and so on, or take x.data."
        )

    def __init_subclass__(cls) -> None:
        raise DtypeError(
            f"Value: {cls.__name__} inherits from it; accepted is Value itself. Write a function that takes Values, or "
            "make an operation of your own with Value(data, operands, name, slopes)."
        )

    # Addition and multiplication are written out, since nearly every node is one of them.

    def __add__(self, other: Any) -> Value:
        """a + b: slopes 1 and 1."""
        y = _new(Value)
        try:
            if other.__class__ is Value:
                y.data = self.data + other.data
                y._b = other
                y._da = y._db = 1
            else:
                y._db = other = number(other, "add")
                y.data = self.data + other
                y._b = None
                y._da = 1
        except TypeError:
            unlike("add", self, other)
        y._a = self
        y._op = "+"
        y.grad = 0
        return y

    def __mul__(self, other: Any) -> Value:
        """a b: slopes b and a."""
        y = _new(Value)
        try:
            if other.__class__ is Value:
                y._db = a = self.data
                y._da = b = other.data
                y.data = a * b
                y._b = other
            else:
                y._da = y._db = other = number(other, "multiply")
                y.data = self.data * other
                y._b = None
        except TypeError:
            unlike("multiply", self, other)
        y._a = self
        y._op = "*"
        y.grad = 0
        return y

    def __sub__(self, other: Any) -> Value:
        """a - b: slopes 1 and -1."""
        b = _data(other, "subtract")
        try:
            return _node(self.data - b, "-", self, other, 1, -1)
        except TypeError:
            unlike("subtract", self, other)

    def __truediv__(self, other: Any) -> Value:
        """a/b: slopes 1/b and -a/b². Raises DerivativeError at b = 0."""
        a, b = self.data, _data(other, "divide")
        y = divide(a, b)
        return _node(y, "/", self, other, divide(type(y)(1), b), -divide(y, b))

    def __pow__(self, other: Any) -> Value:
        """aᵇ: slopes b aᵇ⁻¹ and aᵇ log a. A plain exponent is a constant; a Value for exponent needs a > 0.

        Raises DerivativeError at 0 to a negative power, and at a negative base with an exponent that is not whole.
        """
        a, b = self.data, _data(other, "power")
        y = power(a, b)
        if other.__class__ is not Value:
            return _node(y, "**", self, other, power_slope(a, b), None)
        if is_real(a) and order(a) <= 0:
            raise DerivativeError(
                f"power: base {a} with a Value {b} for exponent; accepted is a base above 0. Use a number."
            )
        return _node(y, "**", self, other, power_slope(a, b), y * log(a))

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> Value:
        return _node(-self.data, "neg", self, None, -1, None)

    def __rsub__(self, other: Any) -> Value:
        return Value(other) - self

    def __rtruediv__(self, other: Any) -> Value:
        return Value(other) / self

    def __rpow__(self, other: Any) -> Value:
        return Value(other) ** self

    def __pos__(self) -> Value:
        return self

    # Comparisons look at the data; between Values equality is identity, so that nodes can be counted in sets.

    def __eq__(self, other: Any) -> bool:
        return self is other if isinstance(other, Value) else bool(self.data == other)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        return bool(self.data)

    def __lt__(self, other: Any) -> bool:
        return bool(order(self.data) < order(_data(other, "compare")))

    def __le__(self, other: Any) -> bool:
        return bool(order(self.data) <= order(_data(other, "compare")))

    def __gt__(self, other: Any) -> bool:
        return bool(order(self.data) > order(_data(other, "compare")))

    def __ge__(self, other: Any) -> bool:
        return bool(order(self.data) >= order(_data(other, "compare")))

    def max(self, other: Any) -> Value:
        """The greater of a and b: slope 1 towards it. In a tie every split is legitimate; ours is a half each."""
        return self._choose("max", other)

    def min(self, other: Any) -> Value:
        """The lesser of a and b: slope 1 towards it. In a tie every split is legitimate; ours is a half each."""
        return self._choose("min", other)

    def __abs__(self) -> Value:
        """|a|. At 0 every slope in [-1, 1] is legitimate; ours is 0."""
        return self._through("abs")

    def relu(self) -> Value:
        """max(a, 0). At 0 every slope in [0, 1] is legitimate; ours is 0."""
        a = self.data
        if a.__class__ is not float or a != a:
            return self._through("relu")
        return _node(a, "relu", self, None, 1, None) if a > 0.0 else _node(0.0, "relu", self, None, 0, None)

    def exp(self) -> Value:
        """eᵃ, its own slope; inf where it overflows."""
        return self._through("exp")

    def log(self) -> Value:
        """log a, with slope 1/a. Raises DerivativeError unless a > 0 (or complex and not 0)."""
        return self._through("log")

    def sqrt(self) -> Value:
        """√a, with slope 1/(2√a), inf at 0. Raises DerivativeError below 0."""
        return self._through("sqrt")

    def sin(self) -> Value:
        """sin a, with slope cos a; NaN at an infinity."""
        return self._through("sin")

    def cos(self) -> Value:
        """cos a, with slope -sin a; NaN at an infinity."""
        return self._through("cos")

    def tan(self) -> Value:
        """tan a, with slope 1 + tan² a; NaN at an infinity."""
        return self._through("tan")

    def tanh(self) -> Value:
        """tanh a, with slope 1/cosh² a = 4e/(1 + e)², e = exp(-2|a|), which keeps its digits where tanh² is near 1."""
        return self._through("tanh")

    def sigmoid(self) -> Value:
        """σ(a) = 1/(1 + e⁻ᵃ), with slope σ(a) σ(-a)."""
        return self._through("sigmoid")

    def softplus(self) -> Value:
        """log(1 + eᵃ), with slope σ(a)."""
        return self._through("softplus")

    def erf(self) -> Value:
        """erf a, with slope 2/√π exp(-a²)."""
        return self._through("erf")

    def _through(self, name: str) -> Value:
        function = FUNCTIONS[name]
        a = self.data
        y = function.of(a)
        return _node(y, name, self, None, function.slope(a, y), None)

    def _choose(self, name: str, other: Any) -> Value:
        y, da, db = choose(name, self.data, _data(other, name))
        return _node(y, name, self, other, da, db)

    def backward(self, seed: Any = 1) -> None:
        """Set `grad` of self and of everything it was made from to seed · ∂self/∂node.

        A second call, from here or from another root, starts afresh: gradients are those of the last call, never a sum
        of two (for x*x + 0 at 3 it is 6 each time); nodes that the last root does not stand on keep theirs. No
        recursion: a chain of a million nodes is as good as any. A seed that is NaN makes every gradient NaN. Raises
        DerivativeError where nodes were tied into a cycle by hand,
        DtypeError for a seed that is not a number.
        """
        seed = number(seed, "backward")
        if _tied:
            _refuse_cycles(self)
        # A node is reached once its gradient is this very zero; of the root's type, so that exact numbers stay exact.
        kind = type(self.data) if self.data.__class__ is not int else type(seed)
        zero = _Zero() if kind is int else kind(0)
        nodes = []  # each after all of its operands
        path = [self] if self._a is not None else []
        while path:
            node = path[-1]
            a = node._a
            if a.grad is not zero:
                a.grad = zero
                if a._a is not None:
                    path.append(a)
                    continue
            b = node._b
            if b is not None and b.grad is not zero:
                b.grad = zero
                if b._a is not None:
                    path.append(b)
                    continue
            nodes.append(path.pop())
        self.grad = seed
        nodes.reverse()
        try:
            for node in nodes:
                g = node.grad
                node._a.grad += g * node._da
                b = node._b
                if b is not None:
                    b.grad += g * node._db
        except TypeError:
            unlike("backward", g, node)

    @property
    def _prev(self) -> tuple[Value, ...]:
        """The operands that are Values, in order."""
        return () if self._a is None else (self._a,) if self._b is None else (self._a, self._b)

    @_prev.setter
    def _prev(self, operands: Any) -> None:
        _tied.append(None)
        self._a, self._b = _operands(operands)

    @property
    def _slopes(self) -> tuple[Any, ...]:
        """The slope towards each operand of `_prev`."""
        return (self._da, self._db)[: len(self._prev)]

    @_slopes.setter
    def _slopes(self, slopes: Any) -> None:
        self._da, self._db = _pair("slopes", slopes)


class _Zero(int):
    """A zero that is another object than any 0, so that it can mark a node."""


_tied: list[None] = []  # one entry for each _prev that was set by hand: only then can there be a cycle


def _node(data: Any, op: str, a: Value, b: Any, da: Any, db: Any) -> Value:
    """The result of an operation; `b` may be a plain number, which is kept in the place of its slope."""
    y = _new(Value)
    y.data = data
    y.grad = 0
    y._op = op
    y._a, y._da = a, da
    y._b, y._db = (b, db) if b.__class__ is Value else (None, b)
    return y


def _data(x: Any, operation: str) -> Any:
    return x.data if x.__class__ is Value else number(x, operation)


def _operands(given: Any) -> tuple[Any, Any]:
    """The operands of a node, all of them Values."""
    if isinstance(given, Value) or not all(isinstance(x, Value) for x in given):
        raise DtypeError(
            f"Value: found operands {given!r}; accepted is a tuple of Values. Put them into one, and wrap plain "
            "numbers in Value."
        )
    return _pair("operands", given)


def _pair(what: str, given: Any) -> tuple[Any, Any]:
    """At most two things, filled up with None."""
    pair = (*given, None, None)
    if len(pair) > 4:
        raise DtypeError(
            f"Value: found {len(pair) - 2} {what}; accepted are at most two. Make one node for each two, as in a sum."
        )
    return pair[0], pair[1]


def _refuse_cycles(root: Value) -> None:
    """Raise DerivativeError if a node is made from itself."""
    open_nodes, done = {root}, set()
    path = [(root, list(root._prev))]
    while path:
        node, operands = path[-1]
        if operands:
            operand = operands.pop()
            if operand in open_nodes:
                _cycle(operand)
            if operand not in done:
                open_nodes.add(operand)
                path.append((operand, list(operand._prev)))
        else:
            path.pop()
            open_nodes.discard(node)
            done.add(node)


def _cycle(node: Value) -> NoReturn:
    raise DerivativeError(
        f"backward: {node!r} is made from itself, in a cycle; accepted are expressions, which have none. Make a new "
        "Value instead of changing _prev."
    )
