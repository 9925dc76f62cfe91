"""Recording the real run: calls, values, places, single assignment, and the autograd nodes they belong to."""

import numpy as np
import pytest
import torch
from custom_functions import with_backward
from gradwitness.harness import UnsupportedOperation, capture, check
from gradwitness.harness.recorder import recording
from gradwitness.harness.recorder.geometry import are_apart
from gradwitness.harness.recorder.nodes import nodes_of, run_backward
from gradwitness.reference_engine import Program, evaluate


def leaf(*shape, seed=0):
    t = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return t.requires_grad_()


def names(recording):
    # PyTorch detaches every result that it saves for the backward pass
    return [c.qualified for c in recording.calls if c.func is not None and c.name != "aten::detach"]


def test_every_call_is_recorded_with_its_value_and_its_line():
    x = leaf(2, 3)
    recording = capture(lambda a: (a.exp() * 2).sum(), x)
    assert names(recording) == ["aten::exp.default", "aten::mul.Tensor", "aten::sum.default"]
    assert all(c.where.startswith(__file__) for c in recording.calls)
    (total,) = recording.outputs
    assert recording.variables[total].value == pytest.approx(float((x.detach().exp() * 2).sum()), rel=1e-15)


def test_the_run_is_pytorchs_own_with_the_same_graph():
    x = leaf(3)
    recording = capture(lambda a: a.sin().sum(), x)
    recording.result.backward()
    assert torch.equal(x.grad, x.detach().cos())


def test_a_recorded_run_becomes_a_program_that_computes_the_same_numbers():
    x, w = leaf(4, 3), leaf(3, 2, seed=1)
    recording = capture(lambda a, b: (a @ b).mean(0), x, w)
    program = recording.program()
    assert isinstance(program, Program)
    y = evaluate(program, x.detach().numpy(), w.detach().numpy())
    np.testing.assert_allclose(y, recording.result.detach().numpy(), rtol=1e-14)  # one rounding per term of 3
    with pytest.raises(UnsupportedOperation, match="linalg_inv_ex"):
        capture(lambda a: torch.linalg.inv(torch.complex(a, a)).real, leaf(2, 2)).program()


def test_a_write_into_a_view_gives_the_base_a_new_value():
    def fn(w):
        a = torch.zeros(2, 3, dtype=torch.float64)
        a[1].add_(w)
        return a * 2

    recording = capture(fn, leaf(3))
    np.testing.assert_array_equal(recording.variables[recording.outputs[0]].value, recording.result.detach().numpy())
    assert any(c.name == "storage::write" for c in recording.calls)
    y = evaluate(recording.program(), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(y, [[0, 0, 0], [2, 4, 6]])


def test_values_are_those_at_the_time_of_the_call_even_when_overwritten_later():
    def fn(x):
        y = x * 2
        z = y + 1
        with torch.no_grad():
            z.zero_()
        return y

    recording = capture(fn, leaf(2))
    added = next(c for c in recording.calls if c.qualified == "aten::add.Tensor")
    assert (recording.variables[added.outputs[0]].value != 0).all()


def test_every_node_of_the_graph_is_tied_to_its_calls():
    x, w = leaf(2, 3), leaf(3, 3, seed=1)
    recording = capture(lambda a, b: torch.tanh(a @ b).sum(), x, w)
    nodes = nodes_of(recording)
    tied = {n.name: [recording.calls[c].qualified for c in n.calls] for n in nodes}
    assert tied == {
        "SumBackward0": ["aten::sum.default"],
        "TanhBackward0": ["aten::tanh.default"],
        "MmBackward0": ["aten::mm.default"],
    }


def test_a_custom_function_is_tied_to_what_its_forward_computed():
    Cube = with_backward("Cube", lambda x: x * x * x, lambda x: 3 * x * x)
    recording = capture(lambda x: Cube.apply(x).sum(), leaf(3))
    (cube,) = [n for n in nodes_of(recording) if n.is_custom]
    assert [recording.calls[c].qualified for c in cube.calls] == ["aten::mul.Tensor", "aten::mul.Tensor"]


def test_the_backward_run_notes_the_adjoints_of_every_node_and_leaves_grad_alone():
    x = leaf(3)
    recording = capture(lambda a: a.sin().sum(), x)
    nodes = nodes_of(recording)
    (gradient,) = run_backward(recording, nodes, [x], [torch.ones((), dtype=torch.float64)])
    assert torch.equal(gradient, x.detach().cos())
    assert x.grad is None
    assert all(n.ran for n in nodes)
    sine = next(n for n in nodes if n.name == "SinBackward0")
    np.testing.assert_array_equal(sine.received[0], np.ones(3))
    np.testing.assert_array_equal(sine.sent[0], gradient.numpy())


def test_a_write_is_compared_with_each_place_once_however_many_views_show_it(monkeypatch):
    compared = []
    monkeypatch.setattr(recording, "are_apart", lambda a, b: compared.append((a, b)) or are_apart(a, b))
    steps = 30

    def fn(x):
        x = x * 1.0
        for _ in range(steps):
            x[0] = x[1] * 1.5
        return x

    assert check(fn, torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)).verdict == "agree"
    assert len(compared) <= 3 * steps  # the whole, the entry that is read, and the one that is written
