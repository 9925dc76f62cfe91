"""Plans compute in buffers that they keep: nothing that a caller holds is ever written to again."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from gradwitness.reference_engine import (
    PRIMITIVES,
    Equation,
    Plan,
    Primitive,
    grad,
    ops,
    reverse,
    trace,
    value_and_grad,
    vjp,
)
from gradwitness.reference_engine.evaluate import BUFFER, DONOR, FRESH, LEAST_BYTES, RESULT
from gradwitness.reference_engine.tracing import Builder

SIDE = 40  # a square of 40 × 40 float64 numbers is above LEAST_BYTES


def square(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((SIDE, SIDE))


def loss(x: Any, w: Any) -> Any:
    h = ops.tanh(ops.matmul(x, w) + 1.0)
    return ops.mean((ops.relu(h) + ops.where(h > 0.5, h, 0.0)) ** 2)


def places(program: Any) -> set[int]:
    return {step[5] for step in Plan(program).steps}


def test_large_results_go_into_buffers_over_dying_arguments_and_into_arrays_that_leave() -> None:
    assert SIDE * SIDE * 8 >= LEAST_BYTES
    x = square(0)
    assert places(trace(lambda x: ops.sum(ops.exp(ops.flip(x))), x)) == {FRESH, BUFFER}
    assert places(trace(lambda x: ops.sum(ops.exp(ops.roll(x, 1, 0))), x)) == {FRESH, DONOR}
    assert places(trace(lambda x: ops.matmul(ops.matmul(x, x), x), x)) == {BUFFER, RESULT}


def test_a_gradient_that_is_kept_does_not_change_when_the_next_one_is_computed() -> None:
    gradient = grad(loss, (0, 1))
    first = gradient(square(0), square(1))
    copies = [g.copy() for g in first]
    views = [g[1:, ::2] for g in first]
    pictures = [v.copy() for v in views]
    del first
    second = gradient(square(2), square(3))
    assert all(np.array_equal(a, b) for a, b in zip(views, pictures, strict=True))
    again = gradient(square(0), square(1))
    assert all(np.array_equal(a, b) for a, b in zip(again, copies, strict=True))
    assert not any(np.shares_memory(a, b) for a, b in zip(second, again, strict=True))


def test_memory_of_a_gradient_that_nobody_holds_is_used_again() -> None:
    gradient = grad(loss, (0, 1))
    address = gradient(square(0), square(1))[0].ctypes.data
    assert gradient(square(2), square(3))[0].ctypes.data == address


def test_no_input_and_no_constant_is_written_to() -> None:
    x, w, scale = square(0), square(1), square(2)
    copies = [x.copy(), w.copy(), scale.copy()]
    value_and_grad(lambda x, w: loss(x * scale, w) + ops.sum(scale + x), (0, 1))(x, w)
    assert all(np.array_equal(a, b) for a, b in zip((x, w, scale), copies, strict=True))


def test_a_value_that_is_both_returned_and_used_further_is_kept() -> None:
    x = square(0)

    def both(x: Any) -> Any:
        h = ops.exp(x)
        return h, ops.exp(h * 2.0 - 1.0)

    (h, y), pull = vjp(both, x)
    assert np.array_equal(h, np.exp(x)) and np.array_equal(y, np.exp(np.exp(x) * 2.0 - 1.0))
    pull((h, y))
    assert np.array_equal(h, np.exp(x))


def test_one_buffer_read_through_its_transpose_is_not_overwritten_early() -> None:
    x = square(0)
    y = vjp(lambda x: ops.sum(ops.exp(x) + ops.transpose(ops.exp(x)), axis=0), x)[0]
    assert np.array_equal(y, (np.exp(x) + np.exp(x).T).sum(axis=0))


def test_threads_that_run_one_plan_at_once_get_their_own_numbers() -> None:
    gradient = grad(loss, (0, 1))
    expected = {seed: [g.copy() for g in gradient(square(seed), square(seed + 1))] for seed in range(4)}
    wrong: list[int] = []

    def work(seed: int) -> None:
        for _ in range(20):
            found = gradient(square(seed), square(seed + 1))
            if not all(np.array_equal(a, b) for a, b in zip(found, expected[seed], strict=True)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_complex_step_runs_outside_the_buffers_of_the_declared_dtypes() -> None:
    x, step = square(0), 1e-30
    program = trace(lambda x: ops.exp(ops.exp(x * 0.1) + x), x)
    y = Plan(program).run([x + 1j * step, *program.constants.values()])[0]
    slope = np.exp(np.exp(0.1 * x) + x) * (0.1 * np.exp(0.1 * x) + 1.0)
    rounding = 64 * 2.0**-53  # about ten operations a side, each of relative error 2**-53 times an argument below 6
    assert np.all(np.abs(y.imag / step - slope) <= rounding * np.abs(slope))


class Drawn:
    """Arrays large enough for buffers, for every draw of the registry."""

    def __init__(self, seed: int) -> None:
        self.rng, self.builder = np.random.default_rng(seed), Builder(eager=True)

    def shaped(self, shape: Any, domain: str = "real") -> Any:
        values = self.rng.uniform(0.1, 0.9, shape) + (1.0 if domain == "above_one" else 0.0)
        return self.builder.input(tuple(shape), np.dtype(np.float64), values)

    def array(self, min_ndim: int = 0, max_ndim: int = 4, domain: str = "real") -> Any:
        return self.shaped([self.length() for _ in range(self.integer(min_ndim, max_ndim))], domain)

    def broadcastable(self, shape: Any, domain: str = "real") -> Any:
        return self.shaped(shape, domain)

    def length(self) -> int:
        return self.integer(1, 5)

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def choice(self, sequence: Any) -> Any:
        return sequence[self.integer(0, len(sequence) - 1)]

    def axis(self, ndim: int) -> int:
        return self.integer(0, ndim - 1)

    def indices(self, shape: Any, below: int) -> np.ndarray:
        return self.rng.integers(0, below, shape)

    def mask(self, shape: Any) -> np.ndarray:
        return self.rng.random(shape) < 0.5


DRAWN = sorted(name for name, primitive in PRIMITIVES.items() if primitive.draw)


@pytest.mark.parametrize("name", DRAWN)
def test_only_a_primitive_that_says_so_returns_memory_of_an_argument(name: str) -> None:
    """`view` is what keeps a buffer alive as long as its views; an undeclared one would be overwritten while in use."""

    def look(primitive: Primitive, equation: Equation, arguments: list[Any], result: Any) -> Any:
        for y in result if isinstance(result, tuple) else (result,):
            shared = {i for i, x in enumerate(arguments) if np.shares_memory(x, y)}
            assert not shared or primitive.view and shared == {0}, f"{primitive.name}{equation.params}: {shared}"
        return result

    for seed in range(12):
        pool = Drawn(seed)
        y = PRIMITIVES[name].draw(pool)
        program = pool.builder.finish(list(y) if isinstance(y, (tuple, list)) else [y])
        gradient = reverse(program)
        numbers = [pool.builder.value_of(v) for v in program.inputs]
        cotangents = [np.full(v.shape, 0.5) for v in program.outputs]
        for read, given in ((program, numbers), (gradient, [*numbers, *cotangents])):
            Plan(read).observe([*given, *read.constants.values()], look)


@pytest.mark.parametrize("name", [name for name in DRAWN if PRIMITIVES[name].ufunc])
def test_a_primitive_that_takes_a_buffer_fills_all_of_it_and_returns_it(name: str) -> None:
    for seed in range(12):
        pool = Drawn(seed)
        PRIMITIVES[name].draw(pool)
        for e in pool.builder.equations:
            if e.primitive == name:
                arguments = [pool.builder.value_of(v) for v in e.inputs]
                out = np.full(e.outputs[0].shape, 7, e.outputs[0].dtype)
                with np.errstate(all="ignore"):
                    expected = PRIMITIVES[name].forward(*arguments, **e.params)
                    found = PRIMITIVES[name].forward(*arguments, out=out, **e.params)
                assert found is out
                assert np.array_equal(out, expected, equal_nan=True)
