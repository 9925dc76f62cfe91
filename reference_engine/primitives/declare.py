"""The three forms of a declaration. Each enters the registry and returns the function that applies the primitive.

Use the first that fits: `elementwise` (partial derivatives), `structural` (the transpose of a linear map whose
coefficients are not negative: data movement, sums), `general` (whole vector-Jacobian products).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..program import Variable
from ..registry import ELEMENTWISE, GENERAL, PRIMITIVES, STRUCTURAL, Accumulation, Primitive, elementwise_aval
from ..tracing import bind

# What a declaration returns. A rule that names an operation declared further down, or itself, needs it written out:
# `cos: Operation = elementwise(...)`, so that its type is known before its value.
Operation = Callable[..., Any]


def _binder(name: str, doc: str) -> Operation:
    def apply(*args: Any, **params: Any) -> Any:
        return bind(name, *args, **params)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return apply


def elementwise(
    name: str,
    forward: Callable[..., Any],
    *partials: Any,
    source: str,
    torch: Any = None,
    boolean: bool = False,
    draw: Any = None,
    domain: tuple[str, ...] = (),
    takes_out: bool = False,
    **more: Any,
) -> Callable[..., Any]:
    """Declare `y = forward(*xs)`, applied entry by entry with broadcasting.

    partials: one per argument, `lambda y, *xs` (and parameters) giving ∂y/∂argument in primitives, or a number, or a
    marker. boolean: the result is Boolean (comparisons). torch: PyTorch spelling, a bare name stands for
    torch.name({args}). domain: one tag an argument, "real" where none is given. draw: None stands for `plain_draw`,
    False for a primitive that no generator uses by itself. takes_out: `forward` takes NumPy's `out`, an array that is
    none of its arguments; a ufunc always does.
    """
    if isinstance(torch, str) and torch.isidentifier():
        torch = f"torch.{torch}({{args}})"
    apply = _binder(name, f"{name}, entry by entry with broadcasting. Source: {source}.")
    domain = (*domain, *(("real",) * (len(partials) - len(domain))))
    if draw is None and not boolean:
        draw = plain_draw(apply, domain)
    PRIMITIVES.declare(
        Primitive(
            name=name,
            forward=forward,
            infer=elementwise_aval(name, boolean),
            rules=partials,
            kind=ELEMENTWISE,
            source=source,
            torch=torch,
            ufunc=isinstance(forward, np.ufunc) or takes_out,
            draw=draw or None,
            domain=domain,
            **more,
        )
    )
    return apply


def plain_draw(apply: Callable[..., Any], domain: tuple[str, ...]) -> Callable[[Any], Any]:
    """How a generator uses an elementwise function: one drawn array, the other arguments broadcast against it.

    The argument with the narrowest domain is drawn first; the real ones may then have any shape that broadcasts,
    and further narrow ones have its shape.
    """
    first = next((i for i, tag in enumerate(domain) if tag != "real"), 0)

    def draw(pool: Any) -> Any:
        x = pool.array(domain=domain[first])
        arguments = [
            pool.broadcastable(x.shape) if tag == "real" else pool.shaped(x.shape, domain=tag) for tag in domain[:first]
        ]
        arguments.append(x)
        for tag in domain[first + 1 :]:
            arguments.append(pool.broadcastable(x.shape) if tag == "real" else pool.shaped(x.shape, domain=tag))
        return apply(*arguments)

    return draw


def structural(
    name: str,
    forward: Callable[..., Any],
    infer: Callable[..., Any],
    *transposes: Any,
    source: str,
    torch: Any = None,
    **more: Any,
) -> Callable[..., Any]:
    """Declare a linear map with coefficients ≥ 0; each transpose is `rule(g, y, *xs, **params)`, linear in g.

    Data movement rounds nothing (`ulps=0`, the default here); a sum names its `accumulates`.
    """
    more.setdefault("ulps", 0.0 if "accumulates" not in more else 1.0)
    more["draw"] = more.get("draw") or None
    rules = transposes[0] if len(transposes) == 1 and more.pop("variadic", False) else transposes
    PRIMITIVES.declare(
        Primitive(
            name=name, forward=forward, infer=infer, rules=rules, kind=STRUCTURAL, source=source, torch=torch, **more
        )
    )
    return _binder(name, f"{name}, a linear map. Source: {source}.")


def general(
    name: str,
    forward: Callable[..., Any],
    infer: Callable[..., Any],
    *vjps: Any,
    source: str,
    torch: Any = None,
    **more: Any,
) -> Callable[..., Any]:
    """Declare any other primitive; each vjp is `rule(g, y, *xs, **params)` and gives one argument's cotangent."""
    more["draw"] = more.get("draw") or None
    rules = vjps[0] if len(vjps) == 1 and more.pop("variadic", False) else vjps
    PRIMITIVES.declare(
        Primitive(
            name=name, forward=forward, infer=infer, rules=rules, kind=GENERAL, source=source, torch=torch, **more
        )
    )
    return _binder(name, f"{name}. Source: {source}.")


def squared_size(x: Any) -> Any:
    """|x|² entry by entry."""
    return np.square(x) if x.dtype.kind == "f" else np.abs(x) ** 2


def terms_along(axes_of: str = "axes") -> Accumulation:
    """Accumulation of a plain sum along the axes named by the parameter `axes_of`."""

    def terms(x: Any, **params: Any) -> int:
        return int(np.prod([x.shape[i] for i in params[axes_of]], dtype=np.int64))

    def squares(x: Any, **params: Any) -> Any:
        return np.sum(squared_size(x), axis=params[axes_of])

    return Accumulation(terms, squares)


def inner_rounding(moves: Callable[..., Any]) -> Accumulation:
    """Rounding of an intermediate number that the result is sensitive to, beside the rounding of the result itself.

    moves(*xs, **params) is x ∂y/∂x of that intermediate number x, in units of y: an error of one rounding in x moves y
    by that much. Written as a sum of two terms, whose variance 0.16 u² [y² (1 + 2/3) + 2 moves²] is what is wanted.
    """
    return Accumulation(
        lambda *xs, **params: 2,
        lambda *xs, **params: np.square(moves(*xs, **params)),
        length=lambda *xs, **params: np.abs(moves(*xs, **params)),
    )


def shape_of(variable: Variable) -> tuple[int, ...]:
    return variable.shape
