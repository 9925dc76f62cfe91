"""An end-to-end gradient that is wrong by known issues alone bears them; a further cause in it keeps it new."""

import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.evidence.known import load

D = torch.float64
X = torch.tensor([[0.4, 0.7, 1.1], [0.5, 0.9, 1.2]], dtype=D)
TRIGAMMA = next(issue.reference for issue in load() if issue.id == "trigamma-truncated")
DETERMINANT = next(issue.reference for issue in load() if issue.id == "determinant-of-rank-less-one")


class Wrong(torch.autograd.Function):
    """sin, whose backward is off by one in a thousand."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos() * 1.001


def hooked(x):
    y = x * 2
    y.register_hook(lambda g: g * 1.5)
    return torch.digamma(y)


def overwritten(x):
    y = x * 2
    z = torch.digamma(y) * y
    y.data.mul_(3)
    return z


def known_of(result):
    """Leaf -> what its end-to-end gradient, a mismatch, is known as; None where nobody knows it."""
    rows = result.frame.query("program == 'whole' and verdict == 'mismatch' and mode == 'R'")
    return {r["wrt"]: r["known"] if isinstance(r["known"], str) else None for _, r in rows.iterrows()}


def test_what_only_known_issues_make_wrong_is_marked_in_mode_r_as_in_f():
    result = check(lambda x: torch.digamma(x).sum(), X, modes=("R", "F"))
    assert known_of(result) == {"x": TRIGAMMA}
    assert not result.ok and result.verdict == "mismatch"  # an issue of PyTorch is named and excuses nothing
    (line,) = [line for line in result.explain().splitlines() if line.split()[:1] == ["autograd"]]
    assert line.split() == ["autograd", "mismatch*", "mismatch*"]


CARRIED = {
    "inside": lambda x: (torch.digamma(x.exp()) * x).sin(),
    "twice": lambda x: torch.digamma(x) * torch.digamma(x * x),
    "alone": lambda x: torch.digamma(x),
}


@pytest.mark.parametrize("fn", CARRIED.values(), ids=CARRIED)
def test_errors_are_carried_through_what_follows_and_added(fn):
    assert known_of(check(fn, X)) == {"x": TRIGAMMA}


@pytest.mark.parametrize(
    "fn",
    [lambda x: torch.digamma(Wrong.apply(x) + 1), lambda x: Wrong.apply(torch.digamma(x)), hooked, overwritten],
    ids=["wrong before", "wrong after", "hook", "overwritten"],
)
def test_a_further_cause_is_not_hidden(fn):
    assert known_of(check(fn, X)) == {"x": None}


def test_each_leaf_is_judged_for_itself():
    result = check(lambda x, y: torch.digamma(x) * Wrong.apply(y), (X, X.flip(1)))
    assert known_of(result) == {"x": TRIGAMMA, "y": None}


def test_of_several_issues_those_that_reach_a_leaf_are_named():
    singular = torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=D)
    moved = torch.eye(2, dtype=D)
    result = check(lambda x, a: torch.digamma(x).sum() + torch.linalg.det(a + (x[0, 0] - 0.4) * moved), (X, singular))
    assert known_of(result) == {"a": DETERMINANT, "x": f"{DETERMINANT}; {TRIGAMMA}"}


def test_a_gradient_that_is_no_number_for_a_known_reason_is_explained_entry_by_entry():
    x = torch.tensor([0.5, float("inf"), -0.75], dtype=D)
    one = torch.ones((), dtype=D)
    result = check(lambda x: torch.copysign(x, one) * 2.0, x)
    assert list(known_of(result)) == ["x"] and "copysign" in str(result.culprit)
    assert known_of(result)["x"] is not None
    further = check(lambda x: torch.copysign(x, one) * 2.0 + Wrong.apply(x.clamp(-1.0, 1.0)), x)
    assert known_of(further) == {"x": None}
