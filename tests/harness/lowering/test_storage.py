"""In-place writes and views that share storage have the derivative of what was computed."""

import numpy as np
import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.recorder.geometry import are_apart, extent, positions

T = torch.tensor


def view_of_everything(x):
    y = x * 1
    y.view(-1).mul_(3)
    return (y**2).sum()


def write_through_a_slice(x):
    y = x * 1
    y[0].mul_(x[1])
    return (y**2).sum()


def assign_a_part(x):
    y = x * 1
    y[1] = x[0] ** 2
    return (y**3).sum()


def assign_a_number(x):
    y = x * 1
    y[1] = 0.0
    return (y**3).sum()


def assign_detached(x):
    y = x * 1
    y[0] = x[0].detach()
    return (y**2).sum()


def add_to_a_view(x):
    y = x * 1
    v = y[:, 1]
    v += y[:, 0] * 2
    return (y * v.sum()).sum()


def write_through_a_transpose(x):
    y = x * 1
    y.t()[0].add_(x[1] ** 2)
    return (y**2).sum()


def write_through_two_views_that_cross(x):
    y = x * 1
    a, b = y[0], y[:, 0]
    a.mul_(2)
    b.mul_(a.sum())
    return (y * y).sum() + (a * b).sum()


def read_before_and_after(x):
    y = x * 1
    v = y[0]
    z = v * 2
    y.add_(1)
    return (z * v).sum()


def write_by_steps(x):
    y = x * 1
    y[::2, 1:] = x[:2, :2]
    return (y**2).sum()


def write_by_mask(x):
    y = x * 1
    mask = y.real > 0
    y[mask] = y[mask] * 2
    return (y**2).sum()


def write_by_index(x):
    y = x * 1
    y[T([0, 2]), T([1, 1])] = x[0, :2]
    return (y**2).sum()


def view_of_a_view(x):
    y = x * 1
    y[1:][0][1:].pow_(2)
    return (y**2).sum()


def diagonal_in_place(x):
    y = x * 1
    y.diagonal().mul_(x[0])
    return (y**2).sum()


def base_then_view(x):
    y = x * 1
    v = y.view(9)
    y.mul_(2)
    w = v + 1
    v.mul_(3)
    return (w * v * y.view(9)).sum()


def parts_that_autograd_holds_apart(x):
    a, b, c = torch.unsafe_chunk(x * 1, 3)
    a.mul_(b)
    return (a * b * c).sum()


def zero_a_part(x):
    y = x * 1
    y[0].zero_()
    return (y**3).sum()


def expanded(x):
    return (x[0].expand(3, 3) * x.sum()).sum()


RUNS = [f for f in list(globals().values()) if getattr(f, "__module__", None) == __name__ and callable(f)]


@pytest.mark.parametrize("fn", RUNS, ids=[f.__name__ for f in RUNS])
def test_what_is_written_in_place_has_the_derivative_of_what_was_computed(fn, read):
    x = np.random.default_rng(0).standard_normal((3, 3))
    assert check(fn, torch.tensor(x), modes=("R", "F", "RR")).verdict == "agree"
    if fn is not assign_detached:  # its derivative is not that of its value, on purpose
        _, (slope,) = read(fn, x)
        step = 1e-20j  # a complex step: PyTorch's own values, no derivative rule of anybody
        moved = [fn(torch.tensor(x + step * unit.reshape(3, 3))) for unit in np.eye(9)]
        wanted = np.array([float(m.imag) / 1e-20 for m in moved]).reshape(3, 3)
        # of at most 50 products of size 1 to 100
        assert np.allclose(slope, wanted, rtol=1e-12, atol=1e-12)


def test_a_part_written_under_no_grad_changes_its_value_and_keeps_its_derivative():
    def fn(x):
        y = x * 1
        with torch.no_grad():
            y[0].mul_(2)
        return (y**2).sum()

    x = torch.randn(3, 3, dtype=torch.float64)
    result = check(fn, x)
    assert result.verdict == "agree"


def test_positions_count_strides_from_the_offset():
    assert positions(((2, 3), (1, 4), 5)).tolist() == [[5, 9, 13], [6, 10, 14]]
    assert extent(((2, 3), (1, 4), 5)) == (5, 15)
    assert extent(((0, 3), (1, 4), 5)) == (5, 5)


def test_interleaved_columns_are_apart_and_a_row_and_a_column_are_not():
    assert are_apart(((3,), (2,), 0), ((3,), (2,), 1))
    assert are_apart(((3,), (1,), 0), ((3,), (1,), 3))
    assert not are_apart(((3,), (1,), 3), ((3,), (3,), 1))
