"""At a kink: the set of derivatives that are all legitimate, and the one-sided derivative that is unique.

Every rule that leaves a choice open does so through `choice` or `tie_weights`, so the same program evaluated with other
weights gives the other members of the set. Source: Clarke, Optimization and Nonsmooth Analysis, sec. 2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import ShapeError
from .evaluate import Plan, arguments_of
from .forward import forward
from .program import Equation, Program, Variable
from .registry import CONSTANT, FLOAT, PRIMITIVES, Array, Primitive

Interval = tuple[Array, Array, Array, bool]
Draw = Callable[[str, Array, tuple[int, ...]], Array]
CARRIES_WEIGHTS = frozenset(("share_of_larger", "where", "broadcast_to", "reshape", "transpose"))
LOW, HIGH, CORNER, INSIDE = "low", "high", "corner", "inside"


def hull(plan: Plan, given: Sequence[Any], *, samples: int = 8, seed: int = 0) -> list[Interval]:
    """(lower, upper, exact, has_kink) of each output of a gradient program: its least and greatest entries over the
    choices.

    plan, given: as for Plan.run. exact: with the engine's own choices. has_kink: whether any choice was open at all;
    without one all three arrays are the same. Evaluated are all weights low, all high, each place (site) alone against
    the others, and `samples` more with random corners and interior points: a gradient is linear in each weight, so its
    extremes are corners. The hull is exact where an entry meets at most two sites, and from inside otherwise. Complex
    outputs are not widened.
    """
    sites: dict[tuple[Any, ...], bool] = {}
    exact = [np.asarray(y) for y in plan.observe(given, _Watch(sites))]
    open_sites = [key for key, is_open in sites.items() if is_open]
    lower, upper = [y.copy() for y in exact], [y.copy() for y in exact]
    if open_sites:
        rng = np.random.default_rng(seed)
        for manner in _manners(open_sites, samples, rng):
            results = plan.observe(given, _Weights(manner, np.random.default_rng(rng.integers(2**63))))
            for i, y in enumerate(results):
                if exact[i].dtype.kind == "f":
                    lower[i], upper[i] = np.fmin(lower[i], y), np.fmax(upper[i], y)
    return [(a, b, y, bool(open_sites)) for a, b, y in zip(lower, upper, exact, strict=True)]


def open_ties(plan: Plan, given: Sequence[Any]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(shape, axes) of each site of a gradient program where entries are tied along the axes at these numbers."""
    sites: dict[tuple[Any, ...], bool] = {}
    plan.observe(given, _Watch(sites))
    return sorted({key[2:] for key, is_open in sites.items() if is_open and key[1] == "tie_weights"})


def members(plan: Plan, given: Sequence[Any], *, samples: int, seed: int = 0) -> Iterator[list[Array]]:
    """The outputs of a gradient program under random choices, one after another: mixed ones and corners in turn."""
    for k in range(samples):
        weights = _Weights(_always((INSIDE, CORNER)[k % 2]), np.random.default_rng([seed, k]))
        yield [np.asarray(y) for y in plan.observe(given, weights)]


def meets_kink(plan: Plan, given: Sequence[Any]) -> bool:
    """Whether a gradient program leaves any choice open at these numbers."""
    if not any(PRIMITIVES[e.primitive].sites for e in plan.equations):
        return False
    sites: dict[tuple[Any, ...], bool] = {}
    plan.observe(given, _Watch(sites))
    return any(sites.values())


def corners() -> list[Callable[[Primitive, Equation, list[Any], Any], Any]]:
    """Observers for `Plan.observe` that answer every open choice low, and every one high: two ends of the set."""
    return [_Weights(lambda key: LOW, np.random.default_rng(0)), _Weights(lambda key: HIGH, np.random.default_rng(0))]


def _always(manner: str) -> Callable[[tuple[Any, ...]], str]:
    return lambda key: manner


def _manners(
    open_sites: Sequence[tuple[Any, ...]], samples: int, rng: np.random.Generator
) -> Iterator[Callable[[tuple[Any, ...]], str]]:
    """For each evaluation, how the weights of a site are drawn."""
    yield lambda key: LOW
    yield lambda key: HIGH
    if len(open_sites) > 1:
        alone = [open_sites[i] for i in rng.permutation(len(open_sites))[:samples]]
        for site in alone:
            yield lambda key, site=site: HIGH if key[0] == site[0] else LOW  # type: ignore[misc]
            yield lambda key, site=site: LOW if key[0] == site[0] else HIGH  # type: ignore[misc]
    for k in range(samples):
        yield lambda key, k=k: INSIDE if k % 4 == 3 else CORNER  # type: ignore[misc]


def _key(equation: Equation, mask: Array) -> tuple[Any, ...]:
    """Equations with one key share their weights: a choice belongs to the forward operation, not to one rule."""
    return equation.params["site"], equation.primitive, np.shape(mask), equation.params.get("axes")


def _is_open(equation: Equation, mask: Array) -> bool:
    """Whether more than one choice is legitimate: an entry on a kink, or a group with two tied entries."""
    if equation.primitive == "choice":
        return bool(np.any(mask))
    return bool(np.any(np.sum(mask, axis=equation.params["axes"]) > 1))


class _Watch:
    """An observer that notes which sites have an open choice, and changes nothing."""

    def __init__(self, sites: dict[tuple[Any, ...], bool]) -> None:
        self.sites = sites

    def __call__(self, primitive: Primitive, equation: Equation, arguments: list[Any], result: Any) -> Any:
        if primitive.sites:
            key = _key(equation, arguments[0])
            self.sites[key] = self.sites.get(key, False) or _is_open(equation, arguments[0])
        return result


class _Weights:
    """An observer that answers every open choice in the manner asked for. A choice of 0 selects nothing: it is 0 of an
    infinite cotangent too.
    """

    def __init__(self, manner: Callable[[tuple[Any, ...]], str], rng: np.random.Generator) -> None:
        self.manner = manner
        self.rng = rng
        self.drawn: dict[tuple[Any, ...], Array] = {}
        self.weights: set[Variable] = set()

    def __call__(self, primitive: Primitive, equation: Equation, arguments: list[Any], result: Any) -> Any:
        if not primitive.sites:
            return self._selected(primitive, equation, arguments, result)
        self.weights.update(equation.outputs)
        if not _is_open(equation, arguments[0]):
            return result
        mask = np.asarray(arguments[0])
        key = _key(equation, mask)
        if key not in self.drawn:
            self.drawn[key] = self._draw(self.manner(key), mask.shape, equation.params.get("axes"))
        if equation.primitive == "choice":
            return np.where(mask, self.drawn[key], result)
        return _tied(mask, self.drawn[key], equation.params["axes"], self.manner(key) == INSIDE)

    def _selected(self, primitive: Primitive, equation: Equation, arguments: list[Any], result: Any) -> Any:
        chosen = [x for x, v in zip(arguments, equation.inputs, strict=True) if v in self.weights]
        if chosen and primitive.name in CARRIES_WEIGHTS:
            self.weights.update(equation.outputs)
        elif chosen and primitive.name == "multiply" and not np.isfinite(result).all():
            for weight in chosen:
                result = np.where(weight == 0.0, 0.0, result)
        return result

    def _draw(self, manner: str, shape: tuple[int, ...], axes: tuple[int, ...] | None) -> Array:
        """Numbers in [0, 1]: the weights themselves for `choice`, the order of preference for `tie_weights`."""
        if axes is not None and manner in (LOW, HIGH):
            order = np.arange(np.prod(shape, dtype=np.int64)).reshape(shape) / max(1, int(np.prod(shape)))
            return 1.0 - order if manner == LOW else order
        if manner == LOW:
            return np.zeros(shape)
        if manner == HIGH:
            return np.ones(shape)
        if manner == CORNER and axes is None:
            return self.rng.integers(0, 2, size=shape).astype(np.float64)
        return self.rng.random(shape)


def _tied(mask: Array, preference: Array, axes: tuple[int, ...], inside: bool) -> Array:
    """Weights over the tied entries: all on the preferred one, or (`inside`) spread as normalised exponentials."""
    if inside:
        weights = np.where(mask, -np.log(np.maximum(preference, 1e-300)), 0.0)
        return np.asarray(weights / np.maximum(np.sum(weights, axis=axes, keepdims=True), 1e-300))
    best = np.max(np.where(mask, preference, -1.0), axis=axes, keepdims=True, initial=-1.0)
    return np.asarray(mask & (preference == best), dtype=np.float64)


# From here: the one-sided derivative.

OneSided = Callable[..., Any]


def _larger(first: Array, second: Array, a: Any, b: Any) -> Array:
    """f'(x; t) of the larger of two: the tangent of the larger one, the larger tangent at a tie."""
    return np.asarray(np.where(first > second, a, np.where(first < second, b, np.maximum(a, b))))


def _ignoring_nan(rule: OneSided) -> OneSided:
    """As `rule` for fmax and fmin: a NaN operand is not there."""

    def apply(xs: Sequence[Array], ts: Sequence[Array]) -> Array:
        return np.asarray(np.where(np.isnan(xs[1]), ts[0], np.where(np.isnan(xs[0]), ts[1], rule(xs, ts))))

    return apply


def _maximum(xs: Sequence[Array], ts: Sequence[Array]) -> Array:
    return _larger(xs[0], xs[1], ts[0], ts[1])


def _minimum(xs: Sequence[Array], ts: Sequence[Array]) -> Array:
    return -_larger(-xs[0], -xs[1], -ts[0], -ts[1])


def _clip(xs: Sequence[Array], ts: Sequence[Array], *, low: float, high: float) -> Array:
    x, t = xs[0], ts[0]
    raised = _larger(x, np.full(x.shape, low), t, 0.0)
    return -_larger(-np.maximum(x, low), np.full(x.shape, -high), -raised, 0.0)


def _largest(xs: Sequence[Array], ts: Sequence[Array], *, axes: tuple[int, ...]) -> Array:
    x, t = xs[0], ts[0]
    tied = x == np.max(x, axis=axes, keepdims=True)
    return np.asarray(np.max(np.where(tied, t, -np.inf), axis=axes))


# What a kinked operation does to a tangent, exactly; operations that are not listed are looked at from beside the kink.
ONE_SIDED: dict[str, OneSided] = {
    "relu": lambda xs, ts: _larger(xs[0], np.zeros(xs[0].shape), ts[0], 0.0),
    "abs": lambda xs, ts: np.where(xs[0] == 0.0, np.abs(ts[0]), np.sign(xs[0]) * ts[0]),
    "maximum": _maximum,
    "minimum": _minimum,
    "fmax": _ignoring_nan(_maximum),
    "fmin": _ignoring_nan(_minimum),
    "clip": _clip,
    "max": _largest,
    "min": lambda xs, ts, *, axes: -_largest([-xs[0]], [-ts[0]], axes=axes),
}
# How far beside: relative to the greatest entry. Slopes that are constant on each side of the kink come out exactly,
# others with an error of this size.
BESIDE = 2.0**-30


def directional(
    program: Program, inputs: Sequence[Any], tangents: Sequence[Any], known: Mapping[Variable, Any] | None = None
) -> list[Array]:
    """f'(x; t), the limit of (f(x + h t) - f(x))/h for h → 0+, of every output; it exists at kinks too.

    tangents: one for each float input, of its shape. known: numbers that some variables are taken to have, whatever
    the program computes for them (recorded ones, which decide on which side of a kink they are). Pushed through
    equation by equation, at a kink by the one-sided rule of the operation, so no choice is left open: relu(x) -
    relu(-x) at 0 gives t, where the choice 0 for both gives 0. At a jump (floor, comparisons) it is 0. Raises
    ShapeError where the tangents do not fit.
    """
    wanted = [i for i, v in enumerate(program.inputs) if v.dtype == FLOAT]
    shapes = [program.inputs[i].shape for i in wanted]
    given = [np.asarray(t, dtype=np.float64) for t in tangents]
    if [t.shape for t in given] != shapes:
        raise ShapeError(
            f"directional: tangent shapes are {[t.shape for t in given]}; accepted are {shapes}, those of the float "
            "inputs. Pass one tangent for each."
        )
    values = dict(zip([*program.inputs, *program.constants], arguments_of(program, inputs), strict=True))
    moving = {program.inputs[i]: t for i, t in zip(wanted, given, strict=True)}
    with np.errstate(all="ignore"):
        for e in program.equations:
            arguments = [np.asarray(values[v]) for v in e.inputs]
            results = PRIMITIVES[e.primitive].forward(*arguments, **e.params)
            values.update(zip(e.outputs, results if isinstance(results, tuple) else (results,), strict=True))
            if known:
                values.update({v: np.asarray(known[v]) for v in e.outputs if v in known})
            if not moving.keys().isdisjoint(e.inputs):
                ts = [moving.get(v) for v in e.inputs]
                moving.update(zip(e.outputs, _push(e, arguments, ts), strict=True))
    return [moving.get(v, np.zeros(v.shape)) for v in program.outputs]


def _push(e: Equation, arguments: list[Array], ts: Sequence[Array | None]) -> list[Array]:
    """The tangents of the outputs of one equation; None stands for a tangent of zeros."""
    rule = ONE_SIDED.get(e.primitive)
    if rule is not None:
        filled = [np.zeros(x.shape) if t is None else t for x, t in zip(arguments, ts, strict=True)]
        return [np.broadcast_to(rule(arguments, filled, **e.params), e.outputs[0].shape)]
    primitive = PRIMITIVES[e.primitive]
    wrt = [i for i, t in enumerate(ts) if t is not None and primitive.rule(i) is not CONSTANT]
    if not wrt:
        return [np.zeros(v.shape) for v in e.outputs]
    pushed = forward(_alone(e), wrt)
    plan = Plan(pushed)
    moved = [np.asarray(ts[i]) for i in wrt]
    kinks: list[Array] = []

    def watch(primitive: Primitive, equation: Equation, seen: list[Any], result: Any) -> Any:
        if primitive.sites and _is_open(equation, seen[0]):
            mask = np.asarray(seen[0])
            kinks.append(mask if equation.primitive == "choice" else np.sum(mask, axis=equation.params["axes"]) > 1)
        return result

    at = [np.asarray(y) for y in plan.observe(arguments_of(pushed, [*arguments, *moved]), watch)]
    if not kinks:
        return at
    beside = list(arguments)
    moves = [i for i, direction in enumerate(ts) if direction is not None]
    size = max(float(np.max(np.abs(arguments[i]), initial=0.0)) for i in moves) or 1.0
    speed = max(float(np.max(np.abs(np.asarray(ts[i])), initial=0.0)) for i in moves) or 1.0
    for i in moves:
        beside[i] = arguments[i] + BESIDE * size / speed * np.asarray(ts[i])
    there = [np.asarray(y) for y in plan.run(arguments_of(pushed, [*beside, *moved]))]
    return [np.where(_kinked(kinks, y.shape), b, y) for y, b in zip(at, there, strict=True)]


def _alone(e: Equation) -> Program:
    """The program of one equation, every argument an input of its own."""
    ins = tuple(Variable(v.shape, v.dtype) for v in e.inputs)
    outs = tuple(Variable(v.shape, v.dtype) for v in e.outputs)
    return Program(ins, {}, (Equation(e.primitive, ins, e.params, outs, e.site),), outs, e.primitive)


def _kinked(kinks: Sequence[Array], shape: tuple[int, ...]) -> Array:
    """The entries of an output on a kink; all of them where a mask does not say which."""
    result = np.zeros(shape, dtype=bool)
    for mask in kinks:
        try:
            result = result | np.broadcast_to(mask, shape)
        except ValueError:
            return np.ones(shape, dtype=bool)
    return result
