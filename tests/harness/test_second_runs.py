"""Runs that differ though nothing else does: told apart from wrong rules; and callables that misbehave otherwise."""

import linecache

import numpy as np
import pytest
import torch
from gradwitness.harness import GradientMismatch, UnsupportedOperation, assert_gradients, check
from gradwitness.harness.result import NONDETERMINISM

POINT = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)


class Counter:
    """1, 2, 3, … at each call: what a generator without a seed is, without the chance of equal draws."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1
        return float(self.count)


def test_a_run_that_differs_from_the_next_is_indeterminate_and_its_line_is_named():
    count = Counter()

    def fn(x):
        return x.sin() * count()

    result = check(fn, POINT)
    assert result.verdict == "indeterminate" and not result.ok
    assert (result.culprit.kind, result.culprit.line) == ("nondeterminism", fn.__code__.co_firstlineno + 1)
    assert "two runs with equal inputs and equal random state" in result.explain()
    assert set(result.frame.loc[result.frame["program"] != "two runs", "verdict"]) == {"agree"}


def test_a_generator_without_a_seed_is_told_from_the_generators_that_check_puts_back():
    own = torch.Generator()
    own.seed()
    result = check(lambda x: x * torch.randn(3, generator=own, dtype=torch.float64), POINT)
    assert result.culprit.kind == "nondeterminism" and "by a generator of their own" in result.explain()

    def seeded_by_the_caller(x):
        return x * torch.randn(3, dtype=torch.float64) * np.random.rand() + torch.nn.functional.dropout(x)

    assert check(seeded_by_the_caller, POINT).verdict == "agree"


def test_two_runs_that_take_different_branches_are_said_to():
    count = Counter()

    def fn(x):
        if count() % 2 == 1:
            return x.sin()
        return x.cos()

    result = check(fn, POINT)
    assert "take different branches: aten::cos there, where the recorded run had aten::sin" in result.explain()
    assert result.culprit.line == fn.__code__.co_firstlineno + 3


def test_a_branch_that_depends_on_the_data_is_checked_as_it_was_taken():
    def fn(x):
        return x.exp() if x.sum() > 0 else x.sin()

    assert check(fn, POINT).verdict == check(fn, -POINT).verdict == "agree"


def test_no_rule_is_accused_where_two_backward_passes_differ():
    count = Counter()

    class Unsteady(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return 2 * g * (1 + 1e-3 * count())

    result = check(Unsteady.apply, POINT)
    assert result.verdict == "mismatch" and result.culprit.kind == "nondeterminism"
    assert result.culprit.line == Unsteady.backward.__code__.co_firstlineno
    assert "second run" in str(result.culprit) and "first run" in str(result.culprit)


def test_a_backward_that_draws_random_numbers_is_named_as_that_and_no_rule_is_accused():
    class DrawsAgain(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.nn.functional.dropout(x, 0.5)

        @staticmethod
        def backward(ctx, g):
            return torch.nn.functional.dropout(g, 0.5)  # another mask than the forward's

    result = check(DrawsAgain.apply, torch.ones(64, dtype=torch.float64))
    assert result.verdict == "mismatch" and result.culprit.kind == "random backward"
    assert result.culprit.line == DrawsAgain.backward.__code__.co_firstlineno
    assert "Draw them in the forward and save them" in result.explain()


@pytest.mark.parametrize("mode", ["F", "RR", "FR"])
def test_other_modes_of_a_run_that_differs_are_not_called_wrong(mode):
    count = Counter()
    result = check(lambda x: x.sin() * count(), POINT, modes=(mode,))
    assert result.verdict == "indeterminate" and result.culprit.kind == "nondeterminism"


def doubled_in_place(x):
    x.mul_(2)
    return x * x


def doubled_under_no_grad(x):
    with torch.no_grad():
        x.mul_(2)
    return x * x


def test_a_callable_that_writes_into_its_argument_gets_a_copy_and_it_is_said():
    """(2x)² = 4x², with the derivative 8x; the caller's tensor stays."""
    x = torch.tensor([3.0], dtype=torch.float64)
    for modes in (("R",), ("F",), ("R", "RR")):
        result = check(lambda x: doubled_in_place(x).sum(), x, modes=modes)
        assert result.verdict == "agree" and x.item() == 3.0, result.explain()
    whole = result.frame[(result.frame["program"] == "whole") & (result.frame["mode"] == "R")].iloc[0]
    assert whole["torch_value"] == 8 * 3.0
    said = result.frame[result.frame["program"] == "arguments"].iloc[0]
    assert f"{__file__}:{doubled_in_place.__code__.co_firstlineno + 1}" in said["message"]


def test_a_write_under_no_grad_leaves_the_caller_s_tensor_and_the_next_run_alone():
    """y = (2x)² where autograd does not see the doubling: d(y)/dx = 2 · 2x = 4x."""
    x = torch.tensor([3.0], dtype=torch.float64)
    result = check(lambda x: doubled_under_no_grad(x).sum(), x)
    assert x.item() == 3.0 and "writes into its argument (x)" in " ".join(result.frame["message"].dropna())
    whole = result.frame[result.frame["program"] == "whole"].iloc[0]
    assert whole["torch_value"] == 4 * 3.0 and result.verdict == "agree"


def test_a_write_into_a_leaf_of_the_user_s_own_raises_as_theirs():
    result = check(doubled_in_place, POINT.clone().requires_grad_())
    assert result.verdict == "raised" and "leaf Variable" in result.frame["message"].iloc[0]


def test_integers_that_a_callable_writes_into_stay_as_they_are():
    index = torch.tensor([0, 1])

    def fn(x, i):
        i.add_(1)
        return x[i]

    assert check(fn, (POINT, index), modes=("R", "F")).verdict == "agree"
    assert index.tolist() == [0, 1]


def test_an_exception_is_shown_as_theirs_with_its_line_and_traceback():
    def fn(x):
        raise KeyError("weights")

    result = check(fn, POINT)
    assert result.verdict == "raised" and isinstance(result.exception, KeyError)
    assert f"KeyError: 'weights' (raised at {__file__}:{fn.__code__.co_firstlineno + 1})" in result.explain()
    frames = []
    traceback = result.exception.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert frames[-1] == "fn"


def test_an_exception_in_a_backward_is_theirs_too():
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            raise ValueError("no backward today")

    result = check(Broken.apply, POINT)
    line = Broken.backward.__code__.co_firstlineno + 2
    assert f"ValueError: no backward today (raised at {__file__}:{line})" in result.explain()
    with pytest.raises(ValueError, match="no backward today"):
        assert_gradients(Broken.apply, POINT)


def test_a_lazy_module_whose_first_call_raises_is_theirs():
    result = check(torch.nn.LazyConv2d(3, 2), torch.randn(4))
    assert result.verdict == "raised" and result.exception is not None


def test_each_misbehaviour_has_a_verdict_that_is_never_ok():
    count = Counter()
    with pytest.raises(GradientMismatch, match="two runs"):
        assert_gradients(lambda x: x * count(), POINT)
    with pytest.raises(UnsupportedOperation, match="linalg_inv_ex"):
        assert_gradients(lambda x: torch.linalg.inv(torch.complex(x, x)).real, torch.randn(2, 2, dtype=torch.float64))


def test_a_callable_that_can_be_called_but_once_is_told_as_such():
    calls = []

    def once(x):
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("only once")
        return x.sin().sum()

    result = check(once, torch.linspace(0.1, 1.0, 4, dtype=torch.float64))
    assert result.verdict == "indeterminate" and result.culprit.kind == NONDETERMINISM
    assert "a further one raises ValueError: only once" in result.explain()
    assert result.culprit.file == __file__ and 'raise ValueError("only once")' in line_of(result.culprit)


def test_a_callable_that_raises_while_its_second_run_is_followed_is_told_as_such():
    calls = []

    def thrice(x):
        calls.append(1)
        if len(calls) > 2:
            raise ValueError("only twice")
        return x.sin().sum() * len(calls)

    result = check(thrice, torch.linspace(0.1, 1.0, 4, dtype=torch.float64))
    assert result.verdict == "indeterminate" and not result.ok


def line_of(culprit):
    return linecache.getline(culprit.file, culprit.line)


class Cached(torch.nn.Module):
    """Computes a layer at its first call, and keeps the result: with its graph, or without."""

    def __init__(self, *, detached: bool) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 3).double()
        self.detached = detached
        self.kept = None

    def forward(self, x):
        if self.kept is None:
            self.kept = self.layer(x)
        if self.detached:
            kept, self.kept = self.kept, None
            return (kept * x).sum()
        return (self.kept * x).sum()


def test_a_graph_kept_from_one_call_to_the_next_is_told_with_the_line_that_made_it():
    line = Cached.forward.__code__.co_firstlineno + 2
    result = check(Cached(detached=False), POINT)
    assert result.verdict == "indeterminate"
    assert (result.culprit.kind, result.culprit.line) == ("nondeterminism", line)
    assert "Compute it in each call, or detach it" in result.explain()
    assert check(Cached(detached=True), POINT).verdict == "agree"


def test_a_hidden_state_that_keeps_its_graph_is_told_from_one_that_is_detached():
    for detached in (True, False):
        state = [torch.zeros(3, dtype=torch.float64)]

        def fn(x, state=state, detached=detached):
            hidden = (state[0] + x).tanh()
            state[0] = torch.zeros(3, dtype=torch.float64) * (hidden.detach() if detached else hidden)
            return hidden.sum()

        assert check(fn, POINT).verdict == ("agree" if detached else "indeterminate")


def test_a_gradient_through_a_graph_of_before_the_check_is_not_called_unused():
    model = Cached(detached=False)
    model(POINT)
    result = check(model, POINT)
    rows = result.frame.set_index("wrt")
    assert result.verdict == "indeterminate" and not result.ok
    assert set(rows.loc[["layer.weight", "layer.bias"], "verdict"]) == {"indeterminate"}
    assert "made before this call" in rows.loc["layer.weight", "message"]
    assert rows.loc["x", "verdict"] == "agree"


def test_a_constant_with_a_graph_of_its_own_is_no_matter_of_the_callable():
    outer = (torch.ones(3, dtype=torch.float64, requires_grad=True) * 2).exp()
    assert check(lambda x: (x * outer).sum(), POINT).verdict == "agree"
