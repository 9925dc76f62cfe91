"""Convolution against its defining sum, and every derivative against the form T(x, w, g), linear in each argument.

All entries are small integers, so that float64 is exact and no tolerance is needed.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest
from gradwitness.reference_engine import ParameterError, ShapeError, grad, hvp, ops, vjp
from gradwitness.reference_engine.tracing import bind


class Geometry(NamedTuple):
    """Sizes and parameters of one convolution, one number an axis where there are several."""

    batch: int
    channels: int
    out: int
    groups: int
    size: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def params(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups")}

    @property
    def result(self) -> tuple[int, ...]:
        ends = zip(self.size, self.window, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + 2 * p - e * (k - 1) - 1) // s + 1 for n, k, s, p, e in ends)

    def drawn(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, w and g of the right shapes with entries from -3 to 3."""
        rng = np.random.default_rng(seed)
        shapes = (
            (self.batch, self.channels, *self.size),
            (self.out, self.channels // self.groups, *self.window),
            (self.batch, self.out, *self.result),
        )
        x, w, g = (rng.integers(-3, 4, shape).astype(float) for shape in shapes)
        return x, w, g


GEOMETRIES = {
    "plain": Geometry(2, 2, 3, 1, (5,), (3,), (1,), (0,), (1,)),
    "stride, padding and dilation": Geometry(2, 2, 2, 1, (6,), (2,), (2,), (1,), (3,)),
    "entries behind the last window": Geometry(1, 1, 2, 1, (6,), (2,), (3,), (0,), (1,)),
    "stride greater than the window": Geometry(1, 2, 1, 1, (7,), (2,), (3,), (0,), (1,)),
    "window of one": Geometry(2, 3, 2, 1, (3,), (1,), (1,), (0,), (1,)),
    "window as large as the input": Geometry(2, 2, 2, 1, (3,), (3,), (1,), (0,), (1,)),
    "groups": Geometry(2, 4, 6, 2, (4,), (2,), (1,), (1,), (1,)),
    "one group a channel": Geometry(1, 3, 6, 3, (4,), (3,), (2,), (1,), (1,)),
    "empty batch": Geometry(0, 2, 2, 1, (4,), (2,), (1,), (0,), (1,)),
    "two axes": Geometry(2, 2, 3, 1, (4, 3), (2, 3), (2, 1), (1, 0), (1, 1)),
    "two axes, dilation and groups": Geometry(1, 2, 2, 2, (5, 4), (2, 2), (1, 2), (0, 1), (2, 3)),
    "three axes": Geometry(1, 2, 2, 1, (3, 2, 3), (2, 1, 2), (1, 1, 2), (0, 1, 1), (1, 1, 1)),
}
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)


def defining_sum(x: np.ndarray, w: np.ndarray, g: np.ndarray, geometry: Geometry) -> float:
    """T(x, w, g) = Σ g[n, o, i] w[o, c, j] x[n, c, i · stride + j · dilation - padding], term by term."""
    total = 0.0
    per_group, outs = geometry.channels // geometry.groups, geometry.out // geometry.groups
    for n, o in itertools.product(range(geometry.batch), range(geometry.out)):
        for i in np.ndindex(*geometry.result):
            for j in np.ndindex(*geometry.window):
                at = [
                    a * s + b * e - p
                    for a, b, s, e, p in zip(i, j, geometry.stride, geometry.dilation, geometry.padding, strict=True)
                ]
                if all(0 <= a < size for a, size in zip(at, geometry.size, strict=True)):
                    for c in range(per_group):
                        channel = o // outs * per_group + c
                        total += g[(n, o, *i)] * w[(o, c, *j)] * x[(n, channel, *at)]
    return total


def partial(which: int, arguments: list[np.ndarray], geometry: Geometry) -> np.ndarray:
    """∂T/∂argument: T with a unit array in that place, entry by entry, since T is linear in it."""
    result = np.zeros(arguments[which].shape)
    for k in range(result.size):
        unit = np.zeros(result.shape)
        unit.flat[k] = 1.0
        result.flat[k] = defining_sum(*[unit if i == which else a for i, a in enumerate(arguments)], geometry)
    return result


@every_geometry
def test_the_value_is_the_defining_sum(geometry: Geometry) -> None:
    x, w, g = geometry.drawn()
    y = ops.conv(x, w, **geometry.params)
    assert y.shape == (geometry.batch, geometry.out, *geometry.result)
    assert np.array_equal(y, partial(2, [x, w, g], geometry))


@every_geometry
def test_both_gradients_are_the_partial_derivatives_of_the_form(geometry: Geometry) -> None:
    x, w, g = geometry.drawn()
    _, pull = vjp(lambda x, w: ops.conv(x, w, **geometry.params), x, w)
    for which, gradient in enumerate(pull(g)):
        assert np.array_equal(gradient, partial(which, [x, w, g], geometry))


@every_geometry
@pytest.mark.parametrize("which", [0, 1], ids=["conv_input", "conv_weight"])
def test_each_gradient_differentiated_again_gives_the_form_with_its_cotangent_in_that_place(
    geometry: Geometry, which: int
) -> None:
    x, w, g = geometry.drawn(1)
    arguments = [x, w, g]
    h = geometry.drawn(2)[which]
    others = [i for i in range(3) if i != which]
    if which == 0:
        fn = lambda w, g: bind("conv_input", g, w, size=geometry.size, **geometry.params)
    else:
        fn = lambda x, g: bind("conv_weight", x, g, size=geometry.window, **geometry.params)
    y, pull = vjp(fn, *[arguments[i] for i in others])
    assert np.array_equal(y, partial(which, arguments, geometry))
    filled = [h if i == which else a for i, a in enumerate(arguments)]
    for i, gradient in zip(others, pull(h), strict=True):
        assert np.array_equal(gradient, partial(i, filled, geometry))


@every_geometry
def test_second_derivatives_of_a_squared_convolution_are_exact(geometry: Geometry) -> None:
    """f = Σ conv(x, w)² / 2 is a polynomial of degree 2 in x: its Hessian times t is the pull-back of conv(t, w)."""
    x, w, _ = geometry.drawn(3)
    t = geometry.drawn(4)[0]
    product = hvp(lambda x: 0.5 * ops.sum(ops.square(ops.conv(x, w, **geometry.params))), [x], [t])
    moved = partial(2, [t, w, np.zeros((geometry.batch, geometry.out, *geometry.result))], geometry)
    assert np.array_equal(product, partial(0, [x, w, moved], geometry))


@every_geometry
def test_transposed_convolution_of_the_result_has_the_size_that_output_padding_names(geometry: Geometry) -> None:
    x, w, g = geometry.drawn()
    ends = zip(geometry.size, geometry.window, geometry.stride, geometry.padding, geometry.dilation, strict=True)
    rest = tuple((n + 2 * p - e * (k - 1) - 1) % s for n, k, s, p, e in ends)
    y = ops.conv_transpose(g, w, output_padding=rest, **geometry.params)
    assert np.array_equal(y, partial(0, [x, w, g], geometry))


def test_output_padding_of_a_whole_stride_adds_entries_that_no_window_reaches() -> None:
    x, w = np.ones((1, 1, 2)), np.ones((1, 1, 2))
    y = ops.conv_transpose(x, w, dilation=3, output_padding=2)
    assert y.tolist() == [[[1, 1, 0, 1, 1, 0, 0]]]


@pytest.mark.parametrize("window", [2, 3])
def test_same_padding_keeps_the_length_and_puts_the_odd_zero_behind(window: int) -> None:
    x, w = np.arange(1.0, 6.0).reshape(1, 1, 5), np.ones((1, 1, window))
    y = ops.conv(x, w, padding="same")
    assert y[0, 0].tolist() == {2: [3, 5, 7, 9, 5], 3: [3, 6, 9, 12, 9]}[window]


def test_padding_may_differ_before_and_behind() -> None:
    x, w = np.arange(1.0, 4.0).reshape(1, 1, 3), np.ones((1, 1, 2))
    assert ops.conv(x, w, padding=[(2, 1)])[0, 0].tolist() == [0, 1, 3, 5, 3]


def test_an_input_without_a_batch_and_a_bias_are_accepted() -> None:
    x, w, b = np.arange(1.0, 4.0).reshape(1, 3), np.ones((2, 1, 2)), np.array([10.0, 20.0])
    assert ops.conv(x, w, b).tolist() == [[13, 15], [23, 25]]
    assert ops.conv_transpose(x, w[:1], b[:1]).tolist() == [[11, 13, 15, 13]]
    assert grad(lambda b: ops.sum(ops.conv(x, w, b)))(b).tolist() == [2, 2]


def test_a_batch_that_is_worked_through_in_blocks_gives_the_same_as_one_sample_at_a_time() -> None:
    rng = np.random.default_rng(5)
    x = rng.integers(-3, 4, (24, 8, 32, 32)).astype(float)  # 24 · 8 · 9 · 900 entries of windows: many blocks
    w = rng.integers(-3, 4, (4, 8, 3, 3)).astype(float)
    y, pull = vjp(ops.conv, x, w)
    x_bar, w_bar = pull(y)
    single = [vjp(ops.conv, x[i : i + 1], w) for i in range(24)]
    assert np.array_equal(y, np.concatenate([value for value, _ in single]))
    parts = [back(value) for value, back in single]
    assert np.array_equal(x_bar, np.concatenate([part[0] for part in parts]))
    assert np.array_equal(w_bar, sum(part[1] for part in parts))


def test_complex_kernels_are_convolved_without_conjugation() -> None:
    x, w = np.array([[[1.0, 1j, 2.0]]]), np.array([[[1j, 1.0]]])
    assert ops.conv(x, w)[0, 0].tolist() == [2j, 1.0]


MISUSES = [
    (lambda: ops.conv(np.ones((1, 2, 3)), np.ones((1, 3, 2))), ShapeError, "has 2 channels but w.shape=(1, 3, 2)"),
    (lambda: ops.conv(np.ones((1, 1, 2)), np.ones((1, 1, 3))), ShapeError, "does not fit into size=(2,)"),
    (lambda: ops.conv(np.ones((1, 3, 4)), np.ones((2, 1, 2)), groups=2), ShapeError, "groups dividing both"),
    (lambda: ops.conv(np.ones(3), np.ones((1, 3))), ShapeError, "(out, in, k₁, …)"),
    (lambda: ops.conv(np.ones((1, 1, 4)), np.ones((1, 1, 2)), stride=0), ParameterError, "stride=0"),
    (lambda: ops.conv(np.ones((1, 1, 4)), np.ones((1, 1, 2)), stride=(1, 1)), ParameterError, "one an axis"),
    (lambda: ops.conv(np.ones((1, 1, 4)), np.ones((1, 1, 2)), padding="full"), ParameterError, "padding='full'"),
    (lambda: ops.conv_transpose(np.ones((1, 1, 4)), np.ones((2, 1, 2))), ShapeError, "takes 2"),
    (
        lambda: ops.conv_transpose(np.ones((1, 1, 4)), np.ones((1, 1, 2)), stride=2, output_padding=2),
        ParameterError,
        "output_padding below stride or dilation",
    ),
]


@pytest.mark.parametrize(("misuse", "error", "words"), MISUSES)
def test_misuse_is_named_in_one_sentence(misuse: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        misuse()
    assert words in str(caught.value)
