"""Modes other than R in float32, in half precisions and under autocast: right ones agree, wrong ones are found."""

import pytest
import torch
from custom_functions import with_every_rule
from gradwitness.harness import check
from torch import nn

MODES = ("F", "RR", "FR", "RF", "FF")
PRECISIONS = ("float32", "bfloat16", "float16", "autocast")


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def seeded(made):
    torch.manual_seed(0)
    return made()


CALLABLES = {
    "MLP": (seeded(lambda: nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))), numbers(4, 5)),
    "group norm": (seeded(lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.GroupNorm(2, 4), nn.SiLU())), numbers(2, 2, 8)),
    "entropy": (lambda x: (x.softmax(-1) * x.log_softmax(-1)).sum(-1), numbers(4, 7)),
    "unit vectors": (lambda x: x / x.norm(dim=-1, keepdim=True), numbers(4, 5)),
    "deviation": (lambda x: x.var(-1).sqrt(), numbers(3, 6)),
    "product": (lambda x: x.prod(-1), numbers(3, 4)),
}


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CALLABLES)
def test_right_derivatives_agree(name, dtype):
    fn, x = CALLABLES[name]
    result = check(fn, x, modes=MODES, dtypes=(dtype,), runners=("autograd", "func"))
    assert result.verdict == "agree", result.explain()


@pytest.mark.parametrize("fn", [torch.linalg.inv, torch.linalg.svdvals, lambda x: torch.linalg.cholesky(x @ x.mT)])
def test_a_tangent_under_autocast_is_as_precise_as_autocast_lets_it_be(fn):
    """The product -A⁻¹ T A⁻¹ in the tangent of an inverse is one of bfloat16 numbers there, and 2⁻⁸ off."""

    def inside(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return fn(x)

    x = numbers(4, 4) + 3 * torch.eye(4)
    for asked, dtypes in ((fn, ("autocast",)), (inside, None)):
        result = check(asked, x, modes=("F", "FR", "RR"), dtypes=dtypes)
        assert result.verdict in ("agree", "convention"), result.explain()
    outside = check(lambda x: fn(x) if not torch.is_autocast_enabled("cpu") else x, x, modes=("F",))
    assert outside.frame["spread"].max() < 1e-4  # without autocast the yardstick is float32's


# Its tangent and its gradient are twice what they should be where x is above 1.
Doubled = with_every_rule("Doubled", torch.square, lambda x: 2 * x * torch.where(x > 1, 2, 1))


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("mode", ["F", "RR", "FR"])
def test_a_factor_of_two_is_found(mode, dtype):
    result = check(Doubled.apply, torch.tensor([0.5, 1.5, 3.0]), modes=(mode,), dtypes=(dtype,))
    assert result.verdict == "mismatch", result.explain()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_known_fault_of_torch_is_found_in_low_precision_too(dtype):
    """Batch norm's forward-mode rule holds 1/σ constant under a second derivative."""
    model = nn.BatchNorm1d(3)
    result = check(model, numbers(5, 3), modes=("RF", "F"), dtypes=(dtype,))
    wrong = result.frame[result.frame["verdict"] == "mismatch"]
    assert set(wrong["mode"]) == {"RF"} and set(wrong["known"]) == {"pytorch/pytorch#196699"}


@pytest.mark.parametrize("mean", [30.0, 100.0, 1e3])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_batch_norm_far_from_zero_is_right_but_for_the_known_fault(dtype, mean):
    for seed in (7, 14):  # at 30 rounding hides the fault where the operation is asked alone in float16
        x = numbers(4, 6, 7, seed=seed) + mean
        frame = check(nn.BatchNorm1d(6), x, modes=("R", "F", "RF", "FF"), dtypes=(dtype,), seed=seed).frame
        wrong = frame[frame["verdict"] == "mismatch"]
        assert set(wrong["mode"]) <= {"RF", "FF"} and set(wrong["known"]) <= {"pytorch/pytorch#196699"}


@pytest.mark.parametrize(
    ("make", "shape"),
    [(lambda: nn.GroupNorm(1, 6), (1, 6)), (lambda: nn.LayerNorm(6), (1, 6)), (lambda: nn.BatchNorm1d(1), (6, 1))],
    ids=["group", "layer", "batch"],
)
def test_a_tangent_of_constant_data_that_leaves_the_range_is_inaccurate(make, shape):
    """The tangent has r³ = (1e-5)^(-3/2) = 3e7, times 0: NaN in float16, whose largest number is 65504."""
    result = check(make(), torch.full(shape, 2.0), modes=("F",), dtypes=("float16",))
    assert result.verdict == "inaccurate", result.explain()
