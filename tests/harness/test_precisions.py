"""The judge in bfloat16, float16 and autocast: right code agrees, planted faults are seen."""

import pytest
import torch
import torch.nn.functional as F
from gradwitness.harness import check

HALVES = ("bfloat16", "float16")
GOOD = {"agree", "convention"}

MOVED = {
    "clamp": lambda x: x.clamp(-0.3, 0.7),
    "clamp_min": lambda x: x.clamp_min(0.1),
    "hardtanh": lambda x: F.hardtanh(x, -0.1, 0.3),
    "masked_fill": lambda x: x.masked_fill(x > 0, 0.1),
    "index_fill": lambda x: x.index_fill(0, torch.tensor([0]), 0.3),
    "pad": lambda x: F.pad(x, (1, 1), value=0.1),
    "threshold": lambda x: F.threshold(x, 0.1, 0.3),
    "fmod": lambda x: torch.fmod(x, 0.3),
    "remainder": lambda x: torch.remainder(x, 0.7),
}


def values(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def verdicts(result):
    return set(result.frame["verdict"])


@pytest.mark.parametrize("dtype", ["float32", *HALVES])
@pytest.mark.parametrize("name", MOVED)
def test_a_number_that_a_kernel_moves_is_held_in_the_dtype_of_its_result(name, dtype):
    result = check(MOVED[name], (values(7),), dtypes=(dtype,))
    assert verdicts(result) <= GOOD, result.explain()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("fn", [lambda x, s: torch.where(x > 0, x, s), torch.maximum, torch.mul], ids=str)
def test_a_tensor_without_axes_is_rounded_to_the_dtype_of_the_others(fn, dtype):
    inputs = (values(5).to(getattr(torch, dtype)), torch.tensor(0.1234567))
    result = check(fn, inputs)
    assert verdicts(result) <= GOOD, result.explain()


class WrongTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * (1.0 - y)


@pytest.mark.parametrize("dtype", [*HALVES, "autocast"])
def test_a_wrong_backward_is_seen_in_every_precision(dtype):
    linear = torch.nn.Linear(4, 3)
    result = check(lambda x: WrongTanh.apply(linear(x)), (values(2, 4),), dtypes=(dtype,))
    assert result.verdict == "mismatch"
    assert "WrongTanh" in result.explain()
