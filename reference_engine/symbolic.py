"""Symbolic differentiation of functions written for `Value`: the formula of the derivative, and its size.

The function is called once on `Formula`s, which have the operations of `Value` and write down a SymPy expression
instead of computing a number. SymPy then differentiates that expression; no rule of the engine takes part.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, NoReturn

from .errors import DerivativeError, DtypeError, ParameterError
from .number_types import FUNCTIONS, choose, number

# A tree of so many nodes fills about 100 pages and takes SymPy about a second; each nesting multiplies its size.
MOST_NODES = 100_000
SIMPLE_DENOMINATOR = 64  # a float such as 0.5 or 0.375 is written as a fraction, any other as a decimal number


class Formula:
    """A SymPy expression with the operations of `Value`. Comparisons of symbols have no answer: DerivativeError.

    Every symbol is real. sigmoid and softplus are written out; abs, max, min and relu stay functions of their own,
    whose slopes at a kink are those of `Value`: `sgn` and `step` are 0 at 0, `half_step` is a half.
    """

    __slots__ = ("expression",)
    __array_ufunc__ = None  # a NumPy number on the left leaves the operation to us

    def __init__(self, expression: Any) -> None:
        self.expression = expression

    def __repr__(self) -> str:
        return f"Formula({self.expression})"

    def __add__(self, other: Any) -> Formula:
        return Formula(self.expression + _expression(other, "add"))

    def __sub__(self, other: Any) -> Formula:
        return Formula(self.expression - _expression(other, "subtract"))

    def __mul__(self, other: Any) -> Formula:
        return Formula(self.expression * _expression(other, "multiply"))

    def __truediv__(self, other: Any) -> Formula:
        """a/b. Raises DerivativeError where b is the number 0."""
        b = _expression(other, "divide")
        if b.is_zero:
            raise DerivativeError(
                f"divide: {self.expression} / {b}; accepted is any divisor but 0. Check where it became 0."
            )
        return Formula(self.expression / b)

    def __pow__(self, other: Any) -> Formula:
        return Formula(self.expression ** _expression(other, "power"))

    def __neg__(self) -> Formula:
        return Formula(-self.expression)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> Formula:
        return Formula(_expression(other, "subtract")) - self

    def __rtruediv__(self, other: Any) -> Formula:
        return Formula(_expression(other, "divide")) / self

    def __rpow__(self, other: Any) -> Formula:
        return Formula(_expression(other, "power")) ** self

    def __lt__(self, other: Any) -> NoReturn:
        self._refuse("<", other)

    def __le__(self, other: Any) -> NoReturn:
        self._refuse("<=", other)

    def __gt__(self, other: Any) -> NoReturn:
        self._refuse(">", other)

    def __ge__(self, other: Any) -> NoReturn:
        self._refuse(">=", other)

    def __eq__(self, other: Any) -> NoReturn:
        self._refuse("==", other)

    def __ne__(self, other: Any) -> NoReturn:
        self._refuse("!=", other)

    def __bool__(self) -> NoReturn:
        self._refuse("!=", 0)

    __hash__ = object.__hash__

    def _refuse(self, sign: str, other: Any) -> NoReturn:
        raise DerivativeError(
            f"symbolic_derivative: the function asks whether {self.expression} {sign} {_expression(other, 'compare')}, "
            "which a formula cannot answer; accepted are functions without branches. Use max, min, abs or relu, or the "
            "automatic derivative, which follows the branch taken."
        )

    def max(self, other: Any) -> Formula:
        return Formula(_kinked()["max"](self.expression, _expression(other, "max")))

    def min(self, other: Any) -> Formula:
        return Formula(_kinked()["min"](self.expression, _expression(other, "min")))

    def __abs__(self) -> Formula:
        return Formula(_kinked()["abs"](self.expression))

    def relu(self) -> Formula:
        return Formula(_kinked()["relu"](self.expression))

    def exp(self) -> Formula:
        return self._through("exp")

    def log(self) -> Formula:
        return self._through("log")

    def sqrt(self) -> Formula:
        return self._through("sqrt")

    def sin(self) -> Formula:
        return self._through("sin")

    def cos(self) -> Formula:
        return self._through("cos")

    def tan(self) -> Formula:
        return self._through("tan")

    def tanh(self) -> Formula:
        return self._through("tanh")

    def erf(self) -> Formula:
        return self._through("erf")

    def sigmoid(self) -> Formula:
        """1/(1 + e⁻ᵃ)."""
        return 1 / (1 + (-self).exp())

    def softplus(self) -> Formula:
        """log(1 + eᵃ)."""
        return (1 + self.exp()).log()

    def _through(self, name: str) -> Formula:
        import sympy

        return Formula(getattr(sympy, name)(self.expression))


@dataclass(frozen=True)
class Size:
    """How large a formula is. operations: `sympy.count_ops`; nodes: of the tree, as it is written; distinct: different
    subexpressions, which is the size of the graph once each common subexpression is computed a single time.
    """

    operations: int
    nodes: int
    distinct: int


@dataclass(frozen=True)
class SymbolicDerivative:
    """A formula and its derivatives, as SymPy expressions (`str` and `sympy.latex` print them).

    formula: of the symbols `names`; derivatives: ∂formula/∂name, one for each of them; sizes: of the formula and of
    each derivative.
    """

    names: tuple[str, ...]
    formula: Any
    derivatives: tuple[Any, ...]
    formula_size: Size
    derivative_sizes: tuple[Size, ...]
    symbols: tuple[Any, ...]

    def __str__(self) -> str:
        slopes = [f"∂f/∂{name} = {d}" for name, d in zip(self.names, self.derivatives, strict=True)]
        return "\n".join([f"f({', '.join(self.names)}) = {self.formula}", *slopes])

    @property
    def derivative(self) -> Any:
        """The derivative with respect to the first (most often the only) argument."""
        return self.derivatives[0]

    @property
    def derivative_size(self) -> Size:
        """The size of `derivative`."""
        return self.derivative_sizes[0]

    def value_at(self, *xs: float) -> float:
        """The formula in float arithmetic. Raises DerivativeError where it has no real number as its value."""
        return _evaluate(self.formula, self.symbols, xs)

    def gradient_at(self, *xs: float) -> tuple[float, ...]:
        """Each derivative in float arithmetic. Raises DerivativeError where one has no real number as its value."""
        return tuple(_evaluate(d, self.symbols, xs) for d in self.derivatives)


def symbolic_derivative(
    fn: Callable[..., Any], names: Sequence[str] | None = None, *, most_nodes: int = MOST_NODES
) -> SymbolicDerivative:
    """The formula that `fn` computes, and its derivative with respect to each argument.

    fn: any function of numbers written with the operations of `Value`, without branches. names: of its arguments; by
    default those it was written with. Raises DerivativeError where fn compares its arguments or a tree would have more
    than `most_nodes` nodes, DtypeError where it returns no number, ParameterError for names that do not fit.
    Source: Griewank and Walther, Evaluating Derivatives, ch. 1.
    """
    import sympy

    names = _names(fn, names)
    symbols = tuple(sympy.Symbol(name, real=True) for name in names)
    formula = written(fn, *symbols)
    sizes, derivatives = [_size_within(formula, most_nodes, "formula")], []
    for symbol in symbols:
        derivatives.append(sympy.diff(formula, symbol))
        sizes.append(_size_within(derivatives[-1], most_nodes, "derivative"))
    return SymbolicDerivative(tuple(names), formula, tuple(derivatives), sizes[0], tuple(sizes[1:]), symbols)


def written(fn: Callable[..., Any], *expressions: Any) -> Any:
    """The SymPy expression that fn computes of the given ones."""
    return _expression(fn(*[Formula(e) for e in expressions]), "symbolic_derivative")


def tree_nodes(expression: Any) -> tuple[int, int]:
    """(nodes of the tree, distinct subexpressions), counted on the graph: also a tree too large to walk is counted."""
    sizes: dict[Any, int] = {}
    path = [expression]
    while path:
        e = path[-1]
        open_arguments = [a for a in e.args if a not in sizes]
        if e not in sizes and open_arguments:
            path += open_arguments
        else:
            sizes[e] = 1 + sum(sizes[a] for a in e.args)
            path.pop()
    return sizes[expression], len(sizes)


def _size_within(expression: Any, most_nodes: int, what: str) -> Size:
    import sympy

    nodes, distinct = tree_nodes(expression)
    if nodes > most_nodes:
        raise DerivativeError(
            f"symbolic_derivative: the {what} has {nodes:,} nodes; accepted are at most {most_nodes:,}. Nest fewer "
            "steps, raise most_nodes, or use the automatic derivative, which does not grow like this."
        )
    return Size(int(sympy.count_ops(expression)), nodes, distinct)


def _names(fn: Callable[..., Any], names: Sequence[str] | None) -> tuple[str, ...]:
    """The names given, or those of the positional arguments without default."""
    if names is None:
        parameters = inspect.signature(fn).parameters.values()
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        names = [p.name for p in parameters if p.kind in positional and p.default is p.empty]
    fits = all(isinstance(name, str) and name.isidentifier() for name in names)
    if not names or not fits or len(set(names)) < len(names) or not _takes(fn, len(names)):
        raise ParameterError(
            f"symbolic_derivative: names={tuple(names)}; accepted are one or more different names, one for each "
            "argument. Pass names=('x',), or as many as fn takes."
        )
    return tuple(names)


def _takes(fn: Callable[..., Any], count: int) -> bool:
    """Whether fn can be called with so many arguments, as far as its signature says."""
    try:
        inspect.signature(fn).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a built-in function without a signature
        return True
    return True


def _expression(x: Any, operation: str) -> Any:
    """A Formula's expression; a plain number as SymPy's exact one where it is simple, else as a decimal number."""
    import sympy

    if isinstance(x, Formula):
        return x.expression
    x = number(x, operation)
    if isinstance(x, float) and math.isfinite(x) and x.as_integer_ratio()[1] <= SIMPLE_DENOMINATOR:
        return sympy.Rational(*x.as_integer_ratio())
    if isinstance(x, Fraction):
        return sympy.Rational(x.numerator, x.denominator)
    if isinstance(x, int | float | complex):
        return sympy.sympify(x)
    raise DtypeError(
        f"{operation}: found {x!r} of type {type(x).__name__} in a formula; accepted are Formulas, int, float, "
        "Fraction and complex. Convert it, for example with float."
    )


@cache
def _kinked() -> dict[str, Any]:
    """The functions with a kink and their slopes, as SymPy functions that are never rewritten.

    SymPy's own Max, Abs and Piecewise try to decide which case holds; nested a few times that takes minutes.
    """
    from sympy import Function, Integer

    def declare(name: str, slope: Callable[[Any, int], Any]) -> Any:
        return type(name, (Function,), {"fdiff": lambda self, argindex=1: slope(self.args, argindex), "is_real": True})

    def flat(arguments: Any, index: int) -> Any:
        return Integer(0)

    step, sgn, half_step = declare("step", flat), declare("sgn", flat), declare("half_step", flat)
    return {
        "abs": declare("abs", lambda a, i: sgn(a[0])),
        "relu": declare("relu", lambda a, i: step(a[0])),
        "max": declare("max", lambda a, i: half_step(a[i - 1] - a[2 - i])),
        "min": declare("min", lambda a, i: half_step(a[2 - i] - a[i - 1])),
    }


def _numeric() -> dict[str, Any]:
    """The functions that a formula may name, by floats: inf where exp overflows, an error outside a domain."""
    return {
        **{name: function.of for name, function in FUNCTIONS.items()},
        "max": lambda a, b: choose("max", a, b)[0],
        "min": lambda a, b: choose("min", a, b)[0],
        "sgn": lambda a: FUNCTIONS["abs"].slope(a, None),
        "step": lambda a: FUNCTIONS["relu"].slope(a, None),
        "half_step": lambda a: choose("max", a, 0.0)[1],
    }


def _evaluate(expression: Any, symbols: tuple[Any, ...], xs: Sequence[float]) -> float:
    """The expression at floats. Decimal constants are passed in as numbers, since their print has 15 digits only."""
    import sympy

    if len(xs) != len(symbols):
        raise ParameterError(
            f"symbolic_derivative: evaluated at {len(xs)} numbers; accepted are {len(symbols)}, one for each of "
            f"{', '.join(map(str, symbols))}. Pass them in that order."
        )
    constants = {c: sympy.Dummy() for c in expression.atoms(sympy.Float)}
    compute = sympy.lambdify(
        [*symbols, *constants.values()], expression.xreplace(constants), modules=[_numeric(), "math"], cse=True
    )
    try:
        y = compute(*[float(x) for x in xs], *[float(c) for c in constants])
        result = float(y)  # TypeError for a complex number: a root of a negative one
    except (TypeError, ArithmeticError) as fault:
        at = ", ".join(f"{s} = {x!r}" for s, x in zip(symbols, xs, strict=True))
        raise DerivativeError(
            f"symbolic_derivative: {str(expression)[:200]} has no real value at {at} ({fault}); accepted are points "
            "where every part of the formula has one. Move the point, or rewrite the function."
        ) from None
    return result
