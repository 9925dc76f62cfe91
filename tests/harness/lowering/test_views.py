"""Lowerings of views, joins and writes into parts: which entry goes where, told by its number."""

import numpy as np
import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.recorder.recording import capture
from gradwitness.harness.recorder.witnessing import witness

X = np.arange(12.0).reshape(3, 4)
COUNT = torch.arange(12.0, dtype=torch.float64).reshape(3, 4)

# Each function only moves entries (or writes a 0), so the value at 0, 1, 2, ... tells where each went. The slope of the
# sum of the result counts how often an entry appears in it.
MOVES = [
    ("select", lambda x: x.select(1, -1)),
    ("slice", lambda x: x[:, 1:100:2]),
    ("narrow_copy", lambda x: torch.narrow_copy(x, 1, 1, 2)),
    ("split", lambda x: torch.cat(x.split(3, 1)[::-1], 1)),
    ("split_with_sizes", lambda x: x.split([1, 0, 3], 1)[2]),
    ("chunk", lambda x: x.chunk(3, 1)[-1]),
    ("unbind", lambda x: x.unbind(1)[2]),
    ("diagonal", lambda x: x.diagonal(1)),
    ("diagonal of three axes", lambda x: x.reshape(3, 2, 2).diagonal(0, 2, 1)),
    ("diag_embed", lambda x: torch.diag_embed(x, -1, 0, 2)),
    ("unfold", lambda x: x.unfold(1, 3, 1)),
    ("as_strided", lambda x: x.as_strided((2, 2, 3), (4, 1, 3), 0)),
    ("as_strided of a transpose", lambda x: x.t().as_strided((2, 3), (1, 4), 2)),
    ("flip", lambda x: x.flip(0, 1)),
    ("roll", lambda x: x.roll((1, -2), (0, 1))),
    ("roll of everything", lambda x: x.roll(5)),
    ("rot90", lambda x: torch.rot90(x, 1)),
    ("rot90 backwards", lambda x: torch.rot90(x, -1)),
    ("rot90 twice", lambda x: torch.rot90(x, 2)),
    ("tril", lambda x: x.tril(1)),
    ("triu", lambda x: x.triu(-1)),
    ("cat with an empty vector", lambda x: torch.cat([torch.empty(0, dtype=torch.float64), x, x])),
    ("stack", lambda x: torch.stack([x, x], 1)),
    ("repeat", lambda x: x.repeat(2, 1, 3)),
    ("block_diag", lambda x: torch.block_diag(x, x[0], x[0, 0])),
    ("channel_shuffle", lambda x: torch.channel_shuffle(x.reshape(1, 6, 2, 1), 3)),
    ("pixel_shuffle", lambda x: torch.pixel_shuffle(x.reshape(12, 1, 1), 2)),
    ("pixel_unshuffle", lambda x: torch.pixel_unshuffle(x.reshape(1, 2, 6), 2)),
    ("movedim", lambda x: x.reshape(3, 2, 2).movedim(0, -1)),
    ("squeeze_copy", lambda x: torch.squeeze_copy(x.reshape(3, 1, 4))),
    ("select_scatter", lambda x: x.select_scatter(torch.zeros(3, dtype=torch.float64), 1, 2)),
    ("slice_scatter", lambda x: x.slice_scatter(torch.zeros(3, 2, dtype=torch.float64), 1, 0, None, 2)),
    ("diagonal_scatter", lambda x: x.diagonal_scatter(torch.zeros(3, dtype=torch.float64), 1)),
    ("as_strided_scatter", lambda x: x.as_strided_scatter(torch.zeros(2, dtype=torch.float64), (2,), (5,), 1)),
    ("fill", lambda x: torch.cat([x, torch.fill(x, 0.0)])),
]


def how_often(fn):
    """How often each of the numbers 1 … 12 occurs in the result of `fn` on them: a count, without any derivative."""
    moved = fn(COUNT + 1).numpy()
    return np.bincount(moved.astype(int).ravel(), minlength=13)[1:].reshape(3, 4)


@pytest.mark.parametrize("fn", [m[1] for m in MOVES], ids=[m[0] for m in MOVES])
def test_entries_go_where_pytorch_puts_them_and_count_as_often_as_they_appear(read, fn):
    value, (slope,) = read(fn, X)
    assert np.array_equal(value, fn(COUNT).numpy())
    assert np.array_equal(slope, how_often(fn))


def test_a_tensor_filled_with_a_traced_number_passes_the_sum_of_its_cotangent_to_it(read):
    value, (x, v) = read(lambda x, v: torch.fill(x, v), X, 3.0)
    assert (value == 3.0).all() and (x == 0.0).all() and v == 12.0


def test_as_strided_over_storage_outside_its_argument_is_not_covered():
    t = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    recording = capture(lambda x: x[1:].as_strided((2, 2), (1, 2), 0), t)
    (why,) = witness(recording, recording.inputs).unsupported.values()
    assert "storage outside its argument" in why


def test_as_strided_of_a_tensor_that_overlaps_itself_is_not_covered():
    t = torch.randn(3, 1, dtype=torch.float64, requires_grad=True)
    recording = capture(lambda x: x.expand(3, 2).as_strided((3,), (1,)), t)
    (why,) = witness(recording, recording.inputs).unsupported.values()
    assert "overlaps itself" in why


def test_as_strided_scatter_of_pytorch_keeps_what_was_overwritten():
    x, v = torch.randn(3, 3, dtype=torch.float64), torch.randn(2, 2, dtype=torch.float64)
    result = check(lambda x, v: x.as_strided_scatter(v, (2, 2), (1, 2)).sum(), (x, v))
    assert result.verdict == "mismatch" and result.culprit.operation.startswith("aten::as_strided_scatter")


def test_a_part_of_lower_precision_has_its_cotangent_rounded():
    x, y = torch.randn(50, dtype=torch.float32), torch.randn(50, dtype=torch.float64)
    assert check(lambda x, y: torch.cat([x, y]), (x, y)).verdict == "agree"


def test_a_number_is_transposed_to_itself():
    for fn in (lambda x: x.transpose(0, -1) * x, lambda x: x.t() * x):
        result = check(fn, torch.tensor(0.5, dtype=torch.float64), modes=("R", "F"))
        assert result.verdict == "agree", result.explain()


@pytest.mark.parametrize("mode", ["R", "F", "RR"])
def test_storage_outside_the_argument_is_there_in_every_mode_and_no_mode_claims_to_follow_it(mode):
    view = torch.arange(14.0, dtype=torch.float64)[:4]
    frame = check(lambda x: x.as_strided((2, 2), (1, 2), 10), view, modes=(mode,)).frame
    assert set(frame["verdict"]) == {"unsupported"}  # `raised` where the storage was copied without its surroundings
    assert frame["message"].str.contains("storage outside its argument").all()
