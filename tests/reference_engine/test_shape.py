"""Shape and layout functions: what they refuse, and what their wrappers settle before a primitive sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradwitness.reference_engine import ParameterError, ShapeError, grad, ops, trace

X = np.arange(6.0).reshape(2, 3)


def primitives_of(fn: Any, *shapes: tuple[int, ...]) -> list[str]:
    return [e.primitive for e in trace(fn, *[np.zeros(shape) for shape in shapes]).equations]


def test_wrappers_reduce_to_few_primitives() -> None:
    assert primitives_of(lambda x: x[0], (2, 3)) == ["slice", "reshape"]
    assert primitives_of(lambda x: x[...], (2, 3)) == []
    assert primitives_of(lambda x: x[::-1], (2, 3)) == ["flip"]
    assert primitives_of(lambda x: x[[0, 1, 1]], (2, 3)) == ["take"]
    assert primitives_of(lambda x: ops.swapaxes(x, 0, -1), (2, 3)) == ["transpose"]
    assert primitives_of(lambda x: ops.swapaxes(x, 1, -1), (2, 3)) == []
    assert primitives_of(lambda x: ops.pad(x, ((0, 1), (-1, 0))), (2, 3)) == ["slice", "pad"]
    assert primitives_of(lambda x: ops.expand_dims(x, 0), (2, 3)) == ["reshape"]


def test_a_part_of_a_concatenation_gets_its_own_slice_back() -> None:
    a, b = np.ones((2, 1)), np.ones((2, 2))
    g = np.arange(6.0).reshape(2, 3)
    first, second = grad(lambda a, b: ops.sum(g * ops.concat([a, b], 1)), (0, 1))(a, b)
    assert first.tolist() == [[0], [3]]
    assert second.tolist() == [[1, 2], [4, 5]]


def test_concat_and_stack_take_plain_arrays_beside_traced_values() -> None:
    assert grad(lambda x: ops.sum(ops.concat([np.ones((2, 3)), x]) ** 2))(X).tolist() == (2 * X).tolist()
    assert grad(lambda x: ops.sum(ops.stack([X, x])))(X).tolist() == np.ones((2, 3)).tolist()


def test_concat_with_axis_none_flattens() -> None:
    assert ops.concat([X, np.ones(1)], axis=None).tolist() == [0, 1, 2, 3, 4, 5, 1]


def test_broadcast_arrays_gives_all_their_common_shape() -> None:
    a, b, c = ops.broadcast_arrays(np.ones((2, 1)), np.ones(3), 1.0)
    assert a.shape == b.shape == c.shape == (2, 3)


MISUSES = [
    (lambda: ops.reshape(X, (4, -1)), ShapeError, "x.shape=(2, 3) has 6 entries"),
    (lambda: ops.transpose(X, (0, 0)), ParameterError, "each of its 2 axes once"),
    (lambda: ops.flip(X, 2), ParameterError, "accepted are -2 to 1"),
    (lambda: ops.flip(X, (0, -2)), ParameterError, "names an axis twice"),
    (lambda: ops.roll(X, (1, 2), 0), ParameterError, "one shift an axis"),
    (lambda: ops.squeeze(X, 0), ShapeError, "longer than 1"),
    (lambda: ops.moveaxis(X, (0, 1), 0), ParameterError, "equally many"),
    (lambda: ops.flatten(X, 1, 0), ParameterError, "start <= stop"),
    (lambda: ops.tile(X, -1), ParameterError, "repetitions=-1"),
    (lambda: ops.repeat(X, [1, 2], 1), ParameterError, "or 3 of them"),
    (lambda: ops.broadcast_to(X, (3, 3)), ShapeError, "broadcast"),
    (lambda: ops.concat([]), ShapeError, "at least one part"),
    (lambda: ops.concat([1.0, 2.0]), ShapeError, "Use stack for scalars"),
    (lambda: ops.concat([X, np.ones((2, 2))]), ShapeError, "part 1 has shape (2, 2)"),
    (lambda: trace(lambda x: ops.concat([x, np.ones((2, 2))]), X), ShapeError, "part 1 has shape (2, 2)"),
    (lambda: ops.stack([X, X.T]), ShapeError, "part 1 has shape (3, 2)"),
    (lambda: ops.split(X, [1, 1], 1), ParameterError, "sum to 3"),
    (lambda: ops.split(X, 0), ParameterError, "one positive length"),
    (lambda: ops.slices(X, (0, 0), (3, 3)), ParameterError, "start <= stop <= length"),
    (lambda: ops.pad(X, (1, 2, 3)), ParameterError, "one pair an axis"),
    (lambda: ops.pad(X, -2), ParameterError, "cut off more"),
    (lambda: ops.pad(X, 1, mode="mirror"), ParameterError, "mode='mirror'"),
    (lambda: ops.pad(np.ones(1), 1, mode="reflect"), ParameterError, "too short"),
    (lambda: ops.tril(np.ones(3)), ShapeError, "tril: x.shape=(3,)"),
    (lambda: ops.diagonal(X, 0, 1, -1), ParameterError, "the same axis"),
    (lambda: ops.diag_embed(1.0), ShapeError, "at least one axis"),
]


@pytest.mark.parametrize(("misuse", "error", "words"), MISUSES)
def test_misuse_is_named_in_one_sentence(misuse: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        misuse()
    assert words in str(caught.value)
