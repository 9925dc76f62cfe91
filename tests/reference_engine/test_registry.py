"""What holds for every primitive of the registry: complete declarations, transposes that are transposes, right rules.

Inputs come from each primitive's own `draw`; nothing here names a primitive except the lists of declared exceptions.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from gradwitness.reference_engine import (
    PRIMITIVES,
    Plan,
    Primitive,
    Program,
    evaluate,
    forward,
    numerical,
    reverse,
    simplify,
)
from gradwitness.reference_engine.evaluate import arguments_of
from gradwitness.reference_engine.registry import ELEMENTWISE, GENERAL, STRUCTURAL, Marker
from gradwitness.reference_engine.tracing import Builder, Tracer

AT_LEAST = 80
# Primitives that no generator draws by themselves: Booleans and choices, and the members of closed families that only
# appear as somebody's derivative, where that somebody's second and third derivatives test them.
NOT_DRAWN = frozenset(n for n, p in PRIMITIVES.items() if p.draw is None)
DRAWN = sorted(set(PRIMITIVES) - NOT_DRAWN)
# 1e-9 of the size of a derivative: what extrapolated differences reach (numerical.along) with a decade to spare; a
# fault of one in a thousand is a million times larger.
DIFFERENCES = 1e-9
# Greatest steps: the best for smooth functions, and one that seldom crosses a jump or a kink; the better estimate wins.
STEPS = (1e-2, 1e-4)
# Times the number of entries: each entry of the two inner products rounds a handful of times.
ROUNDINGS = 1e-12


class NumpyPool:
    """The drawing protocol on a NumPy generator: every value is a new input of the program, away from kinks."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.builder = Builder()
        self.values: list[np.ndarray] = []

    def shaped(self, shape: Sequence[int], domain: str = "real") -> Tracer:
        x = self.rng.uniform(0.2, 0.9, size=tuple(shape))
        if domain == "real":
            x = x * self.rng.choice([-1.0, 1.0], size=x.shape) * 2.0
        elif domain == "unit":
            x = x * self.rng.choice([-1.0, 1.0], size=x.shape)
        elif domain == "above_one":
            x = x + 1.0
        self.values.append(x)
        return self.builder.input(x.shape, x.dtype)

    def array(self, min_ndim: int = 0, max_ndim: int = 4, domain: str = "real") -> Tracer:
        ndim = int(self.rng.integers(min_ndim, max(min_ndim, min(max_ndim, 3)) + 1))
        return self.shaped([self.length() for _ in range(ndim)], domain)

    def broadcastable(self, shape: Sequence[int]) -> Tracer:
        kept = list(shape)[int(self.rng.integers(0, len(shape) + 1)) :]
        return self.shaped([1 if self.rng.random() < 0.3 else n for n in kept])

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def choice(self, sequence: Sequence[Any]) -> Any:
        return sequence[self.integer(0, len(sequence) - 1)]

    def length(self) -> int:
        return self.integer(1, 4)

    def axis(self, ndim: int) -> int:
        return self.integer(0, ndim - 1)

    def indices(self, shape: Sequence[int], below: int) -> np.ndarray:
        return self.rng.integers(0, below, size=tuple(shape))

    def mask(self, shape: Sequence[int]) -> np.ndarray:
        return self.rng.random(tuple(shape)) < 0.5


def drawn(name: str, attempt: int, draw: Callable[[Any], Any] | None = None) -> tuple[Program, list[np.ndarray], Any]:
    """A small program that applies the primitive once, its inputs, and a generator for directions."""
    pool = NumpyPool(zlib.crc32(f"{name} {attempt}".encode()))
    result = (draw or PRIMITIVES[name].draw)(pool)
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    program = simplify(pool.builder.finish([y for y in outputs if y.dtype.kind == "f"], name))
    return program, pool.values, pool.rng


def directions(rng: Any, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    return [rng.standard_normal(shape) for shape in shapes]


def as_list(results: Any) -> list[np.ndarray]:
    return [np.asarray(r) for r in (results if isinstance(results, tuple) else (results,))]


def inner(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    return float(sum(np.sum(x * y) for x, y in zip(a, b, strict=True)))


def size_of(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    return float(sum(np.sum(np.abs(x * y)) for x, y in zip(a, b, strict=True)))


ATTEMPTS = range(4)


def test_the_registry_holds_at_least_eighty_primitives() -> None:
    assert len(PRIMITIVES) >= AT_LEAST


@pytest.mark.parametrize("name", sorted(PRIMITIVES))
def test_every_declaration_is_complete(name: str) -> None:
    p = PRIMITIVES[name]
    assert p.name == name
    assert p.kind in (ELEMENTWISE, STRUCTURAL, GENERAL)
    assert len(p.source) > 5, "the source names a book, a paper or an identity"
    assert "torch" not in p.source.lower()
    assert p.ulps >= 0.0
    if not callable(p.rules):
        assert all(callable(r) or isinstance(r, (Marker, int, float)) for r in p.rules)
        assert p.lossy is None or len(p.lossy) == len(p.rules)
        assert not isinstance(p.selects, tuple) or len(p.selects) == len(p.rules)
        assert all(i < len(p.rules) for i in p.integers)
    if p.draw is not None:
        assert p.torch, "what a generator draws must have a spelling in PyTorch"


@pytest.mark.parametrize("name", DRAWN)
def test_every_drawn_program_uses_its_primitive_and_can_be_written_and_read(name: str) -> None:
    used = set()
    for attempt in ATTEMPTS:
        program, values, _ = drawn(name, attempt)
        used |= {e.primitive for e in program.equations}
        again = Program.from_json(program.to_json())
        for a, b in zip(as_list(evaluate(program, *values)), as_list(evaluate(again, *values)), strict=True):
            np.testing.assert_array_equal(a, b)
    assert name in used or not any(drawn(name, attempt)[0].equations for attempt in ATTEMPTS)


@pytest.mark.parametrize("name", DRAWN)
def test_the_values_have_the_inferred_shape_and_dtype(name: str) -> None:
    for attempt in ATTEMPTS:
        program, values, _ = drawn(name, attempt)
        for variable, y in zip(program.outputs, as_list(evaluate(program, *values)), strict=True):
            assert (y.shape, y.dtype) == (variable.shape, variable.dtype)


@pytest.mark.parametrize("name", DRAWN)
def test_forward_mode_is_the_transpose_of_reverse_mode(name: str) -> None:
    for attempt in ATTEMPTS:
        program, values, rng = drawn(name, attempt)
        if not program.outputs:
            continue
        g = directions(rng, [v.shape for v in program.outputs])
        t = directions(rng, [v.shape for v in program.inputs])
        pushed = as_list(evaluate(forward(program), *values, *t))
        pulled = as_list(evaluate(simplify(reverse(program)), *values, *g))
        scale = size_of(g, pushed) + size_of(pulled, t)
        assert abs(inner(g, pushed) - inner(pulled, t)) <= ROUNDINGS * scale


def assert_agrees_with_differences(program: Program, values: list[np.ndarray], rng: Any) -> Program:
    """⟨Jᵀg, t⟩ against the extrapolated difference of ⟨g, f⟩ along t; returns the program of Jᵀg with g as inputs."""
    g = directions(rng, [v.shape for v in program.outputs])
    t = directions(rng, [v.shape for v in program.inputs])
    gradient = simplify(reverse(program))
    pulled = as_list(evaluate(gradient, *values, *g))
    plan = Plan(program)

    def paired(*xs: np.ndarray) -> np.ndarray:
        return np.asarray(inner(g, [np.asarray(y) for y in plan.run(arguments_of(program, xs))]))

    scale = size_of(pulled, t) + size_of(g, as_list(evaluate(program, *values)))
    slope, error = numerical.along(paired, values, t, STEPS[0])
    if float(error) > DIFFERENCES * scale:
        slope, error = min(
            (slope, error), numerical.along(paired, values, t, STEPS[1]), key=lambda pair: float(pair[1])
        )
    difference = abs(float(slope) - inner(pulled, t))
    assert difference <= DIFFERENCES * scale + 10.0 * float(error), (
        f"{program.name}: rule gives {inner(pulled, t)!r}, "
        f"differences give {float(slope)!r} ± {float(error):.1e}\n{program}"
    )
    return gradient


# Differences see through it: its derivative is 0 by definition, and test_elementwise_limits.py holds that.
NOT_ITS_VALUE = {"stop_gradient"}


@pytest.mark.parametrize("name", sorted(set(DRAWN) - NOT_ITS_VALUE))
def test_every_rule_agrees_with_differences_to_second_order(name: str) -> None:
    for attempt in ATTEMPTS:
        program, values, rng = drawn(name, attempt)
        if not program.outputs:
            continue
        gradient = assert_agrees_with_differences(program, values, rng)
        cotangents = directions(rng, [v.shape for v in program.outputs])
        assert_agrees_with_differences(gradient, [*values, *cotangents], rng)


@pytest.mark.parametrize("name", sorted(n for n, p in PRIMITIVES.items() if p.lossy and p.draw is not None))
def test_a_lossy_rule_is_the_same_derivative_where_no_digits_are_lost(name: str) -> None:
    for attempt in ATTEMPTS:
        program, values, rng = drawn(name, attempt)
        g = directions(rng, [v.shape for v in program.outputs])
        right = as_list(evaluate(simplify(reverse(program)), *values, *g))
        lossy = as_list(evaluate(simplify(reverse(program, lossy=True)), *values, *g))
        for a, b in zip(right, lossy, strict=True):
            np.testing.assert_allclose(
                a, b, rtol=DIFFERENCES, atol=ROUNDINGS * max(1.0, float(np.max(np.abs(a), initial=0.0)))
            )


def test_a_rule_that_is_off_by_one_in_a_thousand_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The testers themselves: the transposes agree with each other, and the differences do not agree with them."""
    right = PRIMITIVES["sin"]
    cosine = right.rules[0]  # type: ignore[index]
    wrong = Primitive(**{**vars(right), "rules": (lambda y, x: 1.001 * cosine(y, x),)})
    monkeypatch.setitem(PRIMITIVES._table, "sin", wrong)
    test_forward_mode_is_the_transpose_of_reverse_mode("sin")
    with pytest.raises(AssertionError, match="differences give"):
        test_every_rule_agrees_with_differences_to_second_order("sin")


def test_a_rule_that_is_right_to_first_order_only_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule written on values instead of primitives gives a right gradient and a wrong second derivative."""
    from gradwitness.reference_engine import ops

    right = PRIMITIVES["sin"]
    frozen = Primitive(**{**vars(right), "rules": (lambda y, x: ops.stop_gradient(ops.cos(x)),)})
    monkeypatch.setitem(PRIMITIVES._table, "sin", frozen)
    with pytest.raises(AssertionError, match="differences give"):
        test_every_rule_agrees_with_differences_to_second_order("sin")
