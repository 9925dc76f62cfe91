"""What tied entries get: every way to share one gradient is a convention, giving each of them all of it is not."""

import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.faults.fault import CLASSES, Fault, fault
from gradwitness.harness.faults.planting import planted

TIED = torch.tensor([[5.0, 5.0, 1.0], [5.0, 2.0, 5.0], [0.0, 1.0, 2.0]], dtype=torch.float64)


def shared_by(*weights: float) -> Fault:
    """amax along axis 1 of TIED, whose tied entries get these shares in order."""

    def wrong(node, g, right):
        tied = node._saved_self == node._saved_result.unsqueeze(1)
        shares = torch.zeros_like(right)
        for row in range(2):
            shares[row, tied[row]] = torch.tensor(weights, dtype=right.dtype)
        shares[2, 2] = 1.0
        return shares * g[0].unsqueeze(1)

    return fault("shared", CLASSES[0], "amax", "amax", "AmaxBackward0", wrong, "other shares")


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (0.25, 0.75)])
def test_shares_that_add_up_to_one_are_a_convention(weights):
    with planted(shared_by(*weights)):
        result = check(lambda x: x.amax(1).exp(), TIED)
    assert result.verdict == "convention"


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.0, 0.0), (0.5, 0.25), (0.500001, 0.5)])
def test_shares_that_do_not_add_up_to_one_are_a_mismatch_of_the_operation(weights):
    with planted(shared_by(*weights)):
        result = check(lambda x: x.amax(1).exp(), TIED)
    assert result.verdict == "mismatch" and result.culprit.operation == "aten::amax.default"


def test_twice_a_share_is_found_among_more_ties_than_there_are_choices():
    x = torch.ones(3, 500, dtype=torch.float64)
    wrong = fault(
        "twice", CLASSES[0], "amax", "amax", "AmaxBackward0", lambda n, g, r: r * 1.000001, "too much"
    )
    assert check(lambda x: x.amax(1), x).ok
    with planted(wrong):
        assert check(lambda x: x.amax(1), x).verdict == "mismatch"


def test_a_tie_at_another_place_of_the_graph_is_held_end_to_end_too():
    with planted(shared_by(1.0, 1.0)):
        frame = check(lambda x: (x * 2.0).amax(1).tanh().sum(), TIED / 2).frame
    assert list(frame[frame["program"] == "whole"]["verdict"]) == ["mismatch"]


@pytest.mark.parametrize("name", ["maximum-of-ties", "amax-of-ties", "scatter-amax-of-ties"])
@pytest.mark.parametrize("elements", [10, 1000])
def test_each_tied_entry_with_the_whole_gradient_is_found(name, elements):
    from gradwitness.harness.faults import catalogue
    from gradwitness.harness.faults.asking import ask

    asked = ask(catalogue()[name].program, elements, "sum")
    assert check(asked.loss, asked.inputs).ok
    with planted(name):
        assert check(asked.loss, asked.inputs).verdict == "mismatch"


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x.amax(1),
        lambda x: x.max(),
        lambda x: x.max(1).values,
        lambda x: x.aminmax(dim=1),
        lambda x: torch.linalg.vector_norm(x, float("inf"), dim=1),
        lambda x: x.cummax(1).values,
        lambda x: torch.nn.functional.max_pool1d(x[None], 2, 1),
        lambda x: x.new_ones(2).scatter_reduce(0, torch.tensor([0, 0, 1]), x[0], "amax"),
        lambda x: torch.cdist(x, x.flip(0), p=float("inf")),
        lambda x: x.amax(1) + x.amax(0),
        lambda x: x.median(1).values,
        lambda x: x.topk(2, 1).values,
    ],
)
def test_what_torch_does_at_ties_stays_no_mismatch(fn):
    for x in (TIED, TIED.float(), torch.ones(3, 3, dtype=torch.float64)):
        assert check(fn, x).verdict in ("agree", "convention")
