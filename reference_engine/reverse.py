"""Reverse mode: from a program, the program of its vector-Jacobian product.

Beside each cotangent runs an optional Boolean, the entries that are *not* strong zeros. A zero made by selection
(where, relu, a slice) is strong: whatever it multiplies later does not matter, not even inf. Any other zero is an
ordinary number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .errors import DerivativeError
from .primitives.unbroadcast import sum_to
from .program import Equation, Program, Variable
from .registry import CONSTANT, ELEMENTWISE, NOT_WRITTEN, PRIMITIVES, STRUCTURAL, Marker, Primitive
from .tracing import Builder, Tracer, bind

Cotangent = tuple[Tracer, Tracer | None]


class Step(NamedTuple):
    """What reverse mode writes for one equation of the forward program, for those who read its work line by line."""

    equation: Equation
    cotangents: tuple[Variable, ...]  # of its outputs, summed
    gathering: tuple[Equation, ...]  # the sums, and what they say about strong zeros
    backward: tuple[Equation, ...]
    contributions: tuple[tuple[Variable, Variable], ...]  # an input, and what its cotangent grows by


def reverse(
    program: Program, wrt: Sequence[int] | None = None, *, lossy: bool | str = False, trail: list[Step] | None = None
) -> Program:
    """The program (inputs…, one cotangent per output) -> one gradient per input in `wrt` (default: every float input).

    x̄ = Σ_outputs g ∂y/∂x.  Shapes: each gradient has the shape of its input. The equations of `program` come first,
    unchanged, so values known from a forward run can be used again. `lossy` takes the declared alternative rules that
    lose digits (TANGENT: those of forward mode). `trail` receives a Step for each equation that is differentiated, the
    last equation first. Raises DerivativeError where a derivative does not exist. Source: Griewank and Walther,
    Evaluating Derivatives, ch. 3.
    """
    if wrt is None:
        wrt = [i for i, v in enumerate(program.inputs) if v.dtype.kind in "fc"]
    targets = [program.inputs[i] for i in wrt]
    builder = Builder.extending(program)
    active = set(targets)
    for e in program.equations:
        if not active.isdisjoint(e.inputs):
            active.update(e.outputs)
    cotangents: dict[Variable, list[Cotangent]] = {}
    for output in program.outputs:
        g = builder.input(output.shape, output.dtype)
        if output in active:
            cotangents.setdefault(output, []).append((g, None))
    for e in reversed(program.equations):
        if cotangents.keys().isdisjoint(e.outputs) or active.isdisjoint(e.outputs):
            continue
        start = len(builder.equations)
        gs = [_collect(builder, cotangents.pop(v, None), v) for v in e.outputs]
        gathered = len(builder.equations)
        sent = []
        builder.site = e.site
        for i, v in enumerate(e.inputs):
            if v in active:
                contribution = _contribution(builder, e, i, gs, lossy)
                if contribution is not None:
                    cotangents.setdefault(v, []).append(contribution)
                    sent.append((v, contribution[0].variable))
        if trail is not None:
            written = tuple(builder.equations[start:gathered]), tuple(builder.equations[gathered:])
            trail.append(Step(e, tuple([g.variable for g, _ in gs]), *written, tuple(sent)))
    results = [_collect(builder, cotangents.get(v), v)[0] for v in targets]
    return builder.finish(results, name=f"{program.name}_gradient")


def _collect(builder: Builder, parts: list[Cotangent] | None, variable: Variable) -> Cotangent:
    """The sum of all contributions; an entry is a strong zero only if it is one in every part."""
    if not parts:
        return _zeros(builder, variable), None
    g, alive = parts[0]
    for h, other in parts[1:]:
        g = g + h
        alive = None if alive is None or other is None else bind("logical_or", alive, other)
    return g, alive


def _zeros(builder: Builder, variable: Variable) -> Tracer:
    zero = builder.lift(0.0)
    return bind("broadcast_to", zero, shape=variable.shape) if variable.shape else zero


def _contribution(builder: Builder, e: Equation, i: int, gs: list[Cotangent], lossy: bool | str) -> Cotangent | None:
    """What equation `e` sends back to its argument `i`."""
    primitive = PRIMITIVES[e.primitive]
    rule = primitive.rule(i, lossy)
    if rule is CONSTANT:
        return None
    if isinstance(rule, Marker):
        why = "has no derivative" if rule is not NOT_WRITTEN else "has a derivative whose rule is not written"
        raise DerivativeError(
            f"{e.primitive}: argument {i} ({e.inputs[i]!r}) {why}; accepted are arguments with a rule. Treat it as "
            f"constant with ops.stop_gradient."
        )
    xs = [builder.tracer(v) for v in e.inputs]
    ys = [builder.tracer(v) for v in e.outputs]
    g, alive = gs[0]
    y: Any = ys[0]
    if primitive.kind == ELEMENTWISE:
        return _elementwise(primitive, rule, i, g, alive, y, xs, e.params, lossy)
    x = xs[i]
    if primitive.kind == STRUCTURAL:
        contribution = rule(g, y, *xs, **e.params)  # type: ignore[operator]
        if alive is None and not primitive.drops and y.size:  # nothing reaches an empty result
            return contribution, None
        reached = builder.lift(1.0) if alive is None else bind("where", alive, 1.0, 0.0)
        if reached.shape != g.shape:
            reached = bind("broadcast_to", reached, shape=g.shape)
        return contribution, bind("greater", rule(reached, y, *xs, **e.params), 0.0)  # type: ignore[operator]
    if len(gs) > 1:
        contribution = rule(tuple(g for g, _ in gs), tuple(ys), *xs, **e.params)  # type: ignore[operator]
    else:
        contribution = rule(g, y, *xs, **e.params)  # type: ignore[operator]
    select = primitive.select(i, lossy)
    if select is None:
        return contribution, None
    mask = select(y, *xs, **e.params)
    return bind("where", mask, contribution, 0.0) if contribution.shape == x.shape else contribution, mask


def _elementwise(
    primitive: Primitive,
    rule: Any,
    i: int,
    g: Tracer,
    alive: Tracer | None,
    y: Tracer,
    xs: list[Tracer],
    params: dict[str, Any],
    lossy: bool | str = False,
) -> Cotangent:
    """g ∂y/∂xᵢ, kept at exactly 0 where the cotangent is a strong zero, summed over the axes xᵢ was broadcast along."""
    x = xs[i]
    partial = rule(y, *xs, **params) if callable(rule) else rule
    select = primitive.select(i, lossy)
    if select is not None:
        mask = select(y, *xs, **params)
        alive = mask if alive is None else bind("logical_and", alive, mask)
    plain = not isinstance(partial, Tracer)
    if plain and partial == 1.0:
        contribution = g
    elif plain and partial == -1.0:
        contribution = -g
    else:
        contribution = g * partial
    if alive is not None and (select is not None or not plain):
        contribution = bind("where", alive, contribution, 0.0)
    if contribution.shape != y.shape:
        contribution = bind("broadcast_to", contribution, shape=y.shape)
    if x.shape == y.shape:
        return contribution, alive
    if alive is not None:
        if alive.shape != y.shape:
            alive = bind("broadcast_to", bind("where", alive, 1.0, 0.0), shape=y.shape)
        else:
            alive = bind("where", alive, 1.0, 0.0)
        alive = bind("greater", sum_to(alive, x.shape), 0.0)
    return sum_to(contribution, x.shape), alive
