"""`ctc_loss` adds probabilities to its gradient: right behind whatever normalises them, wrong behind all else."""

import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.lowering.symmetry import STORED

F = torch.nn.functional
D = torch.float64
T, N, C = 5, 2, 4
TARGETS, TIMES, LENGTHS = torch.tensor([[1, 2], [3, 3]]), torch.tensor([5, 4]), torch.tensor([2, 1])


def drawn(*shape, dtype=D, seed=0):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed)).to(dtype)


def loss(log_probs, **how):
    return F.ctc_loss(log_probs, TARGETS, TIMES, LENGTHS, **how)


def by_hand(z):
    return (z.exp() / z.exp().sum(-1, keepdim=True)).log()


class LogSoftmax(torch.autograd.Function):
    """A log_softmax with a rule of its own, times a factor."""

    factor = 1.0

    @staticmethod
    def forward(ctx, z):
        y = z - z.logsumexp(-1, keepdim=True)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return LogSoftmax.factor * (g - y.exp() * g.sum(-1, keepdim=True))


NORMALISED = {
    "log_softmax": lambda z: z.log_softmax(-1),
    "less the logsumexp": lambda z: z - z.logsumexp(-1, keepdim=True),
    "by hand": by_hand,
    "times 1": lambda z: z.log_softmax(-1) * 1.0,
    "plus 0": lambda z: z.log_softmax(-1) + torch.zeros(C, dtype=z.dtype),
    "wider": lambda z: z.log_softmax(-1).double(),
    "normalised twice": lambda z: z.log_softmax(-1).log_softmax(-1),
    "part by part": lambda z: torch.cat([z[:2] - z[:2].logsumexp(-1, keepdim=True), z[2:].log_softmax(-1) * 1.0]),
    "a custom Function": LogSoftmax.apply,
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", NORMALISED)
def test_behind_what_normalises_in_numbers_the_gradient_is_a_convention(name, dtype):
    result = check(lambda z: loss(NORMALISED[name](z)), drawn(T, N, C, dtype=dtype))
    assert result.verdict == "convention", result.explain()
    conventions = result.frame[result.frame.verdict == "convention"]
    assert set(conventions.program) == {"aten::_ctc_loss.Tensor"}


@pytest.mark.parametrize("how", [{"reduction": "none"}, {"reduction": "sum"}, {"zero_infinity": True}], ids=str)
def test_the_reductions_of_the_loss_are_read_alike(how):
    result = check(lambda z: loss(NORMALISED["less the logsumexp"](z), **how), drawn(T, N, C))
    assert result.verdict == "convention", result.explain()


@pytest.mark.parametrize("name", ["log_softmax", "less the logsumexp"])
def test_an_infinite_loss_that_counts_as_0_gives_0(name):
    targets = torch.tensor([[1, 1, 1], [1, 2, 3]])  # three equal labels need five time steps, and get four

    def infinite(z):
        y = NORMALISED[name](z)
        return F.ctc_loss(y, targets, torch.tensor([4, 5]), torch.tensor([3, 3]), zero_infinity=True)

    result = check(infinite, drawn(T, N, C))
    assert result.verdict == "convention", result.explain()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_probabilities_that_a_half_precision_held_are_normalised_to_the_rounding_of_that(half, scale, seed):
    z = drawn(T, N, C, seed=seed).mul(scale).to(half)
    sums = z.log_softmax(-1).double().exp().sum(-1)
    assert 0 < (sums - 1).abs().max() < STORED * torch.finfo(half).eps
    for wide in (torch.Tensor.float, torch.Tensor.double):
        result = check(lambda z, wide=wide: loss(wide(z.log_softmax(-1))), z)
        assert result.verdict == "convention", result.explain()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_rows_that_add_up_to_1_within_a_hundredth_are_borne_out_by_what_made_them(half, seed):
    generator = torch.Generator().manual_seed(seed)
    z = (0.3 * torch.randn(40, 1, 29, dtype=D, generator=generator)).to(half)
    labels = torch.randint(1, 29, (1, 10), generator=generator)

    def lost(z):
        return F.ctc_loss((z.log_softmax(-1) * 1.0).float(), labels, (40,), (10,))

    result = check(lost, z)
    assert result.verdict == "convention", result.explain()
    # the same numbers as a leaf
    held = (z.log_softmax(-1) * 1.0).float()
    assert check(lambda lp: F.ctc_loss(lp, labels, (40,), (10,)), held).verdict == "mismatch"


def test_under_autocast_too():
    linear = torch.nn.Linear(3, C)

    def step(x):
        y = linear(x)
        return loss(y - y.logsumexp(-1, keepdim=True))

    result = check(step, drawn(T, N, 3, dtype=torch.float32), dtypes=("autocast",))
    assert result.verdict == "convention", result.explain()


B, K = torch.zeros(C, dtype=D), torch.ones((), dtype=D)
WRONG = {  # what is differentiated; which of it gets a wrong gradient
    "a leaf": (lambda lp: loss(lp), (drawn(T, N, C).log_softmax(-1),), {0}),
    "a view of a leaf": (lambda lp: loss(lp.transpose(0, 1)), (drawn(N, T, C).log_softmax(-1),), {0}),
    "a bias of 0 behind it": (lambda z, b: loss(z.log_softmax(-1) + b), (drawn(T, N, C), B), {1}),
    "a factor of 1 behind it": (lambda z, k: loss(z.log_softmax(-1) * k), (drawn(T, N, C), K), {1}),
    "a detached sum": (lambda z: loss(z - z.logsumexp(-1, keepdim=True).detach()), (drawn(T, N, C),), {0}),
    "half of it by a leaf": (
        lambda z, lp: loss(torch.cat([z[:3] - z[:3].logsumexp(-1, keepdim=True), lp])),
        (drawn(T, N, C), drawn(T - 3, N, C, seed=1).log_softmax(-1)),
        {1},
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_where_nothing_normalises_the_gradient_of_the_whole_is_wrong_and_the_call_is_named(name):
    fn, inputs, wrong = WRONG[name]
    result = check(fn, inputs)
    assert result.verdict == "mismatch" and result.culprit.operation.startswith("aten::_ctc_loss"), result.explain()
    assert "pytorch/pytorch#52241" in set(result.frame.known.dropna())
    whole = result.frame[(result.frame.program == "whole") & (result.frame.quantity == "derivative")]
    assert {i for i, v in enumerate(whole.verdict) if v == "mismatch"} == wrong


def test_a_call_is_not_accused_for_another_one():
    leaf = drawn(T, N, C, seed=1).log_softmax(-1)

    def both(z, lp):
        right = loss(z - z.logsumexp(-1, keepdim=True))
        return right + loss(lp)

    result = check(both, (drawn(T, N, C), leaf))
    calls = result.frame[(result.frame.program == "aten::_ctc_loss.Tensor") & (result.frame.quantity == "derivative")]
    assert sorted(calls.verdict) == ["convention", "mismatch"], result.explain()


def test_a_wrong_rule_of_what_normalises_is_found_and_the_call_is_not_accused(monkeypatch):
    monkeypatch.setattr(LogSoftmax, "factor", 0.999)
    result = check(lambda z: loss(LogSoftmax.apply(z)), drawn(T, N, C))
    assert result.verdict == "mismatch"
    assert result.culprit.operation == "LogSoftmaxBackward", result.explain()
    calls = result.frame[result.frame.program == "aten::_ctc_loss.Tensor"]
    assert "mismatch" not in set(calls.verdict)


@pytest.mark.parametrize("share", [0.5, 1.5])
def test_a_gradient_that_is_off_behind_what_normalises_is_still_a_mismatch(share):
    class Loss(torch.autograd.Function):
        """ctc_loss whose gradient has a part more, or less, of the probabilities."""

        @staticmethod
        def forward(ctx, lp):
            ctx.save_for_backward(lp)
            return loss(lp, reduction="sum")

        @staticmethod
        def backward(ctx, g):
            lp = ctx.saved_tensors[0].detach().requires_grad_()
            with torch.enable_grad():
                (found,) = torch.autograd.grad(loss(lp, reduction="sum"), lp)
            return g * share * found

    result = check(lambda z: Loss.apply(z - z.logsumexp(-1, keepdim=True)), drawn(T, N, C))
    assert result.verdict == "mismatch", result.explain()


def test_numbers_that_are_not_normalised_are_as_before():
    for off in (1e-6, 0.5):
        result = check(lambda z, off=off: loss(z.log_softmax(-1) * 1.0 + off), drawn(T, N, C))
        local = result.frame[(result.frame.program != "whole") & (result.frame.verdict == "mismatch")]
        assert set(local.program) == {"aten::_ctc_loss.Tensor"}, result.explain()


def test_where_another_operation_has_no_rule_the_leaves_still_decide():
    beside = torch.randn(3, 3, dtype=D)

    def fn(z, lp):
        unknown = torch.linalg.qr(beside * lp.sum(), mode="complete")[0].sum()
        return loss(z - z.logsumexp(-1, keepdim=True)) + unknown

    result = check(fn, (drawn(T, N, C), K))
    calls = result.frame[(result.frame.program == "aten::_ctc_loss.Tensor") & (result.frame.quantity == "derivative")]
    assert set(calls.verdict) == {"convention"}, result.explain()
