"""Modules in train mode, in every mode: buffers that a pass writes into and reads, dropout, running statistics."""

import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.judgement.modes import MODES
from torch import nn

D = torch.float64


class Averaging(nn.Module):
    """Keeps a running mean in a buffer, or in a plain attribute, and multiplies by it in the same pass."""

    def __init__(self, buffer):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 5, dtype=D))
        mean = torch.ones(5, dtype=D)
        self.register_buffer("mean", mean) if buffer else setattr(self, "mean", mean)

    def forward(self, x):
        self.mean.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
        return x * self.weight * self.mean


class Normalising(nn.Module):
    """Writes into a parameter under no_grad before it is used."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 5, dtype=D))

    def forward(self, x):
        with torch.no_grad():
            self.weight.div_(self.weight.norm())
        return (x * self.weight).sin()


class WritesAfterUse(nn.Module):
    """Writes into a buffer after the product has saved it: PyTorch refuses the backward pass."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.full((5,), 2.0, dtype=D))

    def forward(self, x):
        y = x * self.scale
        self.scale.mul_(0.5)
        return y.sum()


def rows(shape, seed=0):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


ATTENTION = nn.MultiheadAttention(8, 2, dropout=0.3, batch_first=True).double()


def attention(x):
    return ATTENTION(x, x, x)[0]


DRAWING = {
    "dropout": (nn.Sequential(nn.Dropout(0.3), nn.Linear(64, 3)).double(), rows((40, 64))),
    "transposed dropout": (lambda x: nn.functional.dropout(x.t(), 0.5).sin(), rows((40, 64))),
    "dropout of channels": (nn.Dropout2d(0.5), rows((3, 4, 5, 5))),
    "alpha dropout": (nn.AlphaDropout(0.5), rows((3, 40))),
    "lstm": (nn.LSTM(8, 5, num_layers=2, dropout=0.5, batch_first=True).double(), rows((2, 6, 8))),
    "attention": (attention, rows((2, 6, 8))),
    "noise": (lambda x: x + torch.randn_like(x) * x.sin(), rows((30, 4))),
    "rrelu": (nn.RReLU(), rows((30, 4))),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("buffer", [True, False])
def test_a_running_mean_that_is_used_in_the_same_pass_is_the_one_of_that_pass(mode, buffer):
    module = Averaging(buffer)
    result = check(module, rows((4, 5)), modes=[mode])
    assert result.verdict == "agree", result.explain()
    assert torch.equal(module.mean, torch.ones(5, dtype=D))


@pytest.mark.parametrize("mode", ["R", "F", "RR"])
def test_a_parameter_written_under_no_grad_counts_with_the_numbers_it_was_used_with(mode):
    result = check(Normalising(), rows((4, 5)), modes=[mode])
    assert result.ok, result.explain()


def test_a_buffer_written_after_it_was_saved_raises_as_in_the_user_s_own_run():
    result = check(WritesAfterUse(), rows((4, 5)))
    assert result.verdict == "raised" and "modified by an inplace operation" in result.explain()


def test_a_wrong_rule_behind_a_written_buffer_is_still_found():
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, m):
            ctx.save_for_backward(m)
            return x * m

        @staticmethod
        def backward(ctx, g):
            return 1.25 * g * ctx.saved_tensors[0], None

    class Module(Averaging):
        def forward(self, x):
            self.mean.mul_(0.5)
            return Wrong.apply(x * self.weight, self.mean)

    result = check(Module(True), rows((4, 5)))
    assert result.verdict == "mismatch" and result.culprit.operation == "WrongBackward"
    assert result.culprit.torch_value == pytest.approx(1.25 * result.culprit.reference_value)


@pytest.mark.parametrize("runner", ["autograd", "func"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", DRAWING)
def test_every_mode_draws_what_the_recorded_run_drew(name, mode, runner):
    fn, x = DRAWING[name]
    result = check(fn, x, modes=[mode], runners=[runner])
    assert result.verdict == "agree", result.explain()


@pytest.mark.parametrize("mode", ["F", "RR", "FR"])
def test_batch_normalisation_in_train_mode_agrees_in_every_mode_that_torch_has_right(mode):
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()).double()
    result = check(net, rows((3, 2, 6, 6)), modes=[mode])
    assert result.verdict == "agree", result.explain()
    assert net[1].num_batches_tracked == 0


def test_a_callable_that_torch_func_refuses_is_asked_by_dual_numbers_and_says_so():
    seen = torch.zeros(5, dtype=D)

    def counting(x):
        seen.add_(x.detach().sum(0))
        return x.sin()

    result = check(counting, rows((4, 5)), modes=["F"])
    assert result.verdict == "agree" and "torch.func refuses" in result.frame["message"].iloc[-1]


def test_a_second_forward_derivative_of_such_a_callable_is_refused():
    seen = torch.zeros(5, dtype=D)

    def counting(x):
        seen.add_(x.detach().sum(0))
        return x.sin()

    result = check(counting, rows((4, 5)), modes=["FF"])
    assert result.verdict == "unsupported" and "mutate a captured Tensor" in result.explain()
