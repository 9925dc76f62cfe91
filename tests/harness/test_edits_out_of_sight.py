"""Writes that no operator call shows (NumPy views, DLPack, storages, pointers), and writes that autograd does not see.

A result that depends on what is differentiated and is written into so is named with the line that made it, and no rule
of PyTorch's is accused; a constant that is filled so is the constant it then is; a leaf has its new numbers from there.
"""

import ctypes

import numpy as np
import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.judgement import edited
from gradwitness.harness.recorder.recording import captured
from torch.testing._internal.common_methods_invocations import op_db

X = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)


def by_numpy(x):
    y = x * 2
    y.detach().numpy()[:] = 0
    return y.sum()


def by_dlpack(x):
    y = x * 2
    torch.from_dlpack(y.detach()).zero_()
    return y.sum()


def by_numpys_dlpack(x):
    y = x * 2
    np.from_dlpack(y.detach())[1] = 0
    return (y * y).sum()


def by_storage(x):
    y = x * 2
    y.untyped_storage().fill_(0)
    return y.sum()


def by_address(x):
    y = x * 2
    ctypes.memset(y.data_ptr(), 0, 8)
    return y.sin().sum()


def by_memoryview(x):
    y = x * 2
    memoryview(y.detach().numpy())[0] = 7.0
    return y.prod()


def before_it_is_returned(x):
    y = x * 2
    y.detach().numpy()[:] = 0
    return y


EDITS = (by_numpy, by_dlpack, by_numpys_dlpack, by_storage, by_address, by_memoryview, before_it_is_returned)


@pytest.mark.parametrize("fn", EDITS, ids=lambda f: f.__name__)
def test_a_result_that_is_written_into_past_all_calls_is_named_with_the_line_that_made_it(fn):
    result = check(fn, X)
    culprit, said = result.culprit, result.explain()
    assert (result.verdict, culprit.kind) == ("mismatch", "changed out of sight"), said
    assert culprit.operation == "a change, past all calls, of the result of aten::mul.Tensor"
    assert (culprit.file, culprit.line) == (__file__, fn.__code__.co_firstlineno + 1)
    (at,) = culprit.entry
    assert culprit.reference_value == 2 * X[at] and culprit.torch_value in (0.0, 7.0)  # what it was, what it is
    assert "by something that no operator call shows" in said and "PyTorch's own rule" not in said
    wrong = result.frame[result.frame["verdict"] == "mismatch"]
    assert list(wrong["program"]) == ["aten::mul.Tensor"] and list(wrong["quantity"]) == ["value"]


def test_of_a_complex_result_the_part_is_named():
    def fn(z):
        y = z * 2
        y.detach().numpy()[1] = 2 - 1j  # where 2 + 2j was
        return torch.view_as_real(y * y).sum()

    culprit = check(fn, torch.complex(X, X)).culprit
    assert (culprit.entry, culprit.part) == ((1,), ".imag")
    assert (culprit.torch_value, culprit.reference_value) == (-1.0, 2.0)


@pytest.mark.parametrize("mode", ["F", "RR", "FF"])
def test_it_is_seen_in_every_mode(mode):
    result = check(by_numpy, X, modes=(mode,))
    assert (result.verdict, result.culprit.kind) == ("mismatch", "changed out of sight"), result.explain()


def filled_empty(x):
    weights = torch.empty(3, dtype=x.dtype)
    weights.numpy()[:] = [1.0, 2.0, 3.0]
    return (x * x * weights).sum()


def filled_indices(x):
    order = torch.zeros(3, dtype=torch.long)
    order.numpy()[:] = [2, 1, 0]
    return (x[order] ** 2 * torch.tensor([3.0, 2.0, 1.0])).sum()


def shared_buffer(x):
    numbers = np.zeros(3)
    weights = torch.from_numpy(numbers)
    none = (x * weights).sum()
    numbers[:] = [1.0, 2.0, 3.0]
    return none.detach() + (x * x * torch.from_numpy(numbers)).sum()


@pytest.mark.parametrize("fn", [filled_empty, filled_indices, shared_buffer], ids=lambda f: f.__name__)
@pytest.mark.parametrize("mode", ["R", "RR", "F"])
def test_a_constant_that_is_filled_past_all_calls_is_that_constant(fn, mode):
    """The gradient of Σ k x_k² is 2 k x_k."""
    result = check(fn, X, modes=(mode,))
    assert result.verdict == "agree", result.explain()
    leaf = X.clone().requires_grad_()
    (g,) = torch.autograd.grad(fn(leaf), leaf)
    torch.testing.assert_close(g, 2 * torch.arange(1.0, 4.0, dtype=torch.float64) * X)


class Weighted(torch.nn.Module):
    """x + w, then w is changed as `how` says, then Σ sin(w x)."""

    def __init__(self, how, first=torch.add):
        super().__init__()
        self.how, self.first = how, first
        self.w = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))

    def forward(self, x):
        before = self.first(x, self.w).sum()
        self.how(self.w)
        return before + (self.w * x).sin().sum()


def scale_data(w):
    w.data.mul_(5.0)


def scale_part_of_data(w):
    w.data[1:].mul_(5.0)


def scale_by_numpy(w):
    w.detach().numpy()[1:] *= 5.0


HOWS = (scale_data, scale_part_of_data, scale_by_numpy)


@pytest.mark.parametrize("how", HOWS, ids=lambda f: f.__name__)
def test_a_leaf_that_autograd_does_not_see_change_has_its_new_numbers_from_there(how):
    result = check(Weighted(how), X)
    assert result.verdict == "agree", result.explain()


@pytest.mark.parametrize("how", HOWS, ids=lambda f: f.__name__)
def test_a_rule_that_saved_the_leaf_before_it_changed_is_overwritten(how):
    """d/dx (x w) is the w that was met, 1; PyTorch's rule has the 5 that it holds since."""
    result = check(Weighted(how, torch.mul), X)
    assert (result.verdict, result.culprit.kind) == ("mismatch", "overwritten"), result.explain()
    assert (result.culprit.torch_value, result.culprit.reference_value) == (5.0, 1.0)
    assert ("past all calls" in result.culprit.operation) == (how is scale_by_numpy)


def part_of_a_detached(x):
    y = x * 2
    y.detach()[1:].zero_()
    return (y * y).sum()


def part_of_data(x):
    y = x * 2
    y.data[0] = 3.0
    return (y * y).sum()


@pytest.mark.parametrize("fn", [part_of_a_detached, part_of_data], ids=lambda f: f.__name__)
@pytest.mark.parametrize("mode", ["R", "F", "RR"])
def test_a_part_written_through_data_has_the_derivative_of_the_whole_as_it_was(fn, mode):
    """d Σ y² = 2 y · 2, with the y that it was made."""
    result = check(fn, X, modes=(mode,))
    assert result.verdict == "agree", result.explain()
    leaf = X.clone().requires_grad_()
    y = torch.where(torch.arange(3) < 1, 2 * X, 0.0) if fn is part_of_a_detached else 2 * X
    y[0] = 3.0 if fn is part_of_data else y[0]
    torch.testing.assert_close(torch.autograd.grad(fn(leaf), leaf)[0], 4 * y)


class Sine(torch.autograd.Function):
    """sin x by NumPy, in a buffer that torch has made; `slope` is the factor of the derivative that is 1."""

    buffer = torch.clone
    slope = 1.0

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        y = Sine.buffer(x)
        y.numpy()[:] = np.sin(x.detach().numpy())
        return y

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return Sine.slope * g * x.cos()


BUFFERS = {"clone": torch.clone, "empty": torch.empty_like, "product": lambda x: x * 1.0}


@pytest.mark.parametrize("buffer", BUFFERS.values(), ids=list(BUFFERS))
@pytest.mark.parametrize("slope", [1.0, 1.5])
def test_a_function_that_fills_a_buffer_by_numpy_is_unsupported_and_what_surrounds_it_is_judged(
    buffer, slope, monkeypatch
):
    monkeypatch.setattr(Sine, "buffer", staticmethod(buffer))
    monkeypatch.setattr(Sine, "slope", slope)
    result = check(lambda x: (Sine.apply(x.exp()) * 3.0).sum(), X)
    assert result.verdict == "unsupported" and list(result.unsupported) == ["Sine"], result.explain()
    judged = result.frame[result.frame["quantity"] == "derivative"].set_index("program")["verdict"]
    assert judged["aten::exp.default"] == judged["aten::mul.Tensor"] == "agree"


def test_a_rule_that_is_wrong_is_accused_beside_an_edit_of_a_constant():
    """The watched run judges what it meets: an edit excuses no other fault."""
    result = check(lambda x: torch.digamma(filled_empty(x) + x), torch.tensor([1.2, 1.1, 0.9], dtype=torch.float64))
    assert result.verdict == "mismatch" and result.culprit.operation == "aten::digamma.default"


def test_nothing_is_watched_where_nothing_differs(monkeypatch):
    watched = []
    monkeypatch.setattr(edited, "_is_edited", lambda *a: watched.append(a))
    assert check(lambda x: (x * 2).sin().sum(), X).verdict == "agree" and not watched
    assert check(by_numpy, X).verdict == "mismatch" and len(watched) == 1


@pytest.mark.parametrize("mode", ["R", "F", "RR"])
def test_an_input_that_is_written_into_by_numpy_is_as_written(mode):
    def fn(x):
        x.detach().numpy()[0] = 3.0
        return (x * x).sum()

    given = X.clone()
    result = check(fn, given, modes=(mode,))
    assert result.verdict == "agree" and torch.equal(given, X), result.explain()


def test_what_an_operation_of_pytorch_writes_itself_is_not_past_all_calls():
    """First samples of norms and of each fifth entry of op_db; `instance_norm` writes statistics that its schema
    calls constant.
    """
    recorded = []
    for op in [op for i, op in enumerate(op_db) if "norm" in op.name or i % 5 == 0]:
        if torch.float64 not in op.supported_dtypes("cpu") or not op.supports_autograd:
            continue
        sample = next(iter(op.sample_inputs("cpu", torch.float64, requires_grad=True)), None)
        if sample is None:
            continue
        try:
            run = captured(op.op, (sample.input, *sample.args), sample.kwargs, watchful=True)
        except Exception:  # sparse and nested tensors, which are refused by name
            continue
        recorded.append(op.name)
        assert not run.edits and not run.moved, op.name
    assert len(recorded) > 80 and "nn.functional.instance_norm" in recorded
