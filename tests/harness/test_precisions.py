"""The judge in bfloat16, float16 and autocast: right code agrees, planted faults are seen."""

import pytest
import torch
import torch.nn.functional as F
from custom_functions import with_backward
from gradwitness.harness import check
from gradwitness.harness.campaigns import opinfo
from gradwitness.harness.judgement.comparing import compare_reverse
from gradwitness.harness.judgement.rows import Rows

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
@pytest.mark.parametrize("name", ["where", "maximum", "mul"])
def test_a_tensor_without_axes_is_rounded_to_the_dtype_of_the_others(name, dtype):
    fn = {"where": lambda x, s: torch.where(x > 0, x, s)}.get(name) or getattr(torch, name)
    inputs = (values(5).to(getattr(torch, dtype)), torch.tensor(0.1234567))
    result = check(fn, inputs)
    assert verdicts(result) <= GOOD, result.explain()


WrongTanh = with_backward("WrongTanh", torch.tanh, lambda x: 1.0 - x.tanh())


@pytest.mark.parametrize("dtype", [*HALVES, "autocast"])
def test_a_wrong_backward_is_seen_in_every_precision(dtype):
    linear = torch.nn.Linear(4, 3)
    result = check(lambda x: WrongTanh.apply(linear(x)), (values(2, 4),), dtypes=(dtype,))
    assert result.verdict == "mismatch"
    assert "WrongTanh" in result.explain()


def offset(*shape):
    """Numbers whose mean is large beside their deviation: a rounded mean shows."""
    return values(*shape) * 0.1 + 10.0


def attention(x):
    return F.scaled_dot_product_attention(x, x * 0.5, x + 1.0)


# What these kernels hold in the half precision between their stages was found out by such calls.
KERNELS = {
    "layer norm": (lambda x: F.layer_norm(x, (6,), values(6), values(6, seed=1)), (values(4, 6),)),
    "layer norm far from zero": (torch.nn.LayerNorm(6), (offset(4, 6),)),
    "batch norm": (torch.nn.BatchNorm2d(3), (values(3, 3, 6, 6),)),
    "batch norm far from zero": (torch.nn.BatchNorm1d(6), (offset(5, 6),)),
    "group norm": (torch.nn.GroupNorm(2, 6), (offset(4, 6),)),
    "attention": (attention, (values(2, 3, 4, 8),)),
    "transformer": (torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), (values(2, 3, 8),)),
    "recurrent": (torch.nn.LSTM(6, 4, batch_first=True), (values(2, 3, 6),)),
    "grid sampler": (
        lambda x, g: F.grid_sample(x, g.tanh(), align_corners=False),
        (values(2, 2, 4, 4), values(2, 3, 3, 2)),
    ),
    "resampled": (torch.nn.Upsample(scale_factor=2, mode="bilinear"), (values(1, 2, 5, 5),)),
    "resampled line": (torch.nn.Upsample(scale_factor=1.7, mode="linear"), (values(2, 3, 40),)),
    "resampled by cubics": (torch.nn.Upsample(scale_factor=1.7, mode="bicubic"), (values(2, 3, 20, 20),)),
    "logits": (
        lambda x: F.binary_cross_entropy_with_logits(x, torch.linspace(-1, 2, 600, dtype=x.dtype), reduction="none"),
        (values(600) * 5.0,),
    ),
    "pooled": (torch.nn.AdaptiveAvgPool2d(2), (values(1, 2, 5, 5),)),
    "convolution": (torch.nn.Conv2d(2, 3, 3, padding=1), (values(2, 2, 6, 6),)),
    "cross entropy": (lambda x: F.cross_entropy(x, torch.tensor([0, 1, 2, 3])), (values(4, 6),)),
    "polygamma": (lambda x: torch.polygamma(1, x.abs() + 0.2), (values(6),)),
}


@pytest.mark.parametrize("dtype", [*HALVES, "autocast"])
@pytest.mark.parametrize("name", KERNELS)
def test_right_code_agrees_in_every_precision(name, dtype):
    fn, inputs = KERNELS[name]
    result = check(fn, inputs, dtypes=(dtype,))
    assert verdicts(result) <= GOOD, result.explain()


def test_a_planted_fault_in_the_affine_part_of_a_layer_norm_is_seen():
    WrongScale = with_backward("WrongScale", lambda x: x * 1.0, lambda x: 1.5)
    norm = torch.nn.LayerNorm(6)
    result = check(lambda x: norm(WrongScale.apply(x)), (values(4, 6),), dtypes=("bfloat16",))
    assert result.verdict == "mismatch"
    assert "WrongScale" in result.explain()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["used twice", "returned twice"])
def test_the_sum_that_arrives_at_an_input_is_rounded_to_its_dtype(name, dtype):
    fn = {"used twice": lambda x: x + torch.tanh(x), "returned twice": lambda x: (x, x)}[name]
    result = check(fn, (values(9) + 2.5,), dtypes=(dtype,))
    assert set(result.frame["verdict"]) <= {"agree", "inaccurate"}, result.explain()


class FmodOffByOne(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return torch.fmod(a, b)

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return g, g * (-torch.div(a, b, rounding_mode="trunc") - 1.0)


def test_a_whole_quotient_is_that_of_the_quotient_as_stored():
    b = torch.tensor([2.07421875], dtype=torch.float16)
    rounded = torch.tensor([10.3671875], dtype=torch.float16), b  # the quotient is 4.998, and 5 in float16
    assert check(torch.fmod, rounded).frame["verdict"].isin(["agree", "inaccurate"]).all()
    below = torch.tensor([10.328125], dtype=torch.float16), b  # 4.979, five float16 numbers below 5
    assert verdicts(check(torch.fmod, below)) == {"agree"}
    assert check(FmodOffByOne.apply, below).verdict == "mismatch"


@pytest.mark.parametrize("modes", ["R", "F", "RF"])
def test_the_rows_of_a_check_under_autocast_say_so(modes):
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))
    result = check(model, (values(2, 4),), modes=modes, dtypes=("float32", "autocast"), runners=("autograd", "func"))
    assert set(result.frame["dtype"]) == {"float32", "autocast"}
    assert set(result.frame.loc[result.frame["dtype"] == "autocast", "runner"]) == {"autograd", "func"}
    assert "autocast" in str(result)


# Samples of PyTorch's own on which a kernel rounds between its stages, or decides by a rounded number.
SAMPLES = [
    ("_unsafe_masked_index_put_accumulate", "float16", 4),
    ("addbmm", "bfloat16", 4),
    ("addbmm", "float16", 4),
    ("addr", "float16", 2),
    ("grid_sampler_2d", "bfloat16", 6),
    ("nn.functional.adaptive_avg_pool3d", "bfloat16", 8),
    ("nn.functional.celu", "bfloat16", 2),
    ("nn.functional.conv_transpose3d", "bfloat16", 3),
    ("nn.functional.elu", "float16", 2),
    ("nn.functional.grid_sample", "bfloat16", 20),
    ("nn.functional.interpolate.area", "float16", 14),
    ("nn.functional.interpolate.trilinear", "float16", 16),
    ("nn.functional.soft_margin_loss", "bfloat16", 4),
]


@pytest.mark.parametrize(("name", "dtype", "number"), SAMPLES)
def test_right_samples_of_pytorch_agree_in_half_precisions(name, dtype, number):
    entry = next(e for e in opinfo.entries() if e.name == name)
    subject = dict(opinfo.subjects(entry, dtype=getattr(torch, dtype)))[number]
    rows = Rows(name)
    compare_reverse(subject, rows)
    assert rows.rows and {r["verdict"] for r in rows.rows} <= GOOD, rows.rows


def test_a_gradient_formed_from_its_rounded_logarithm_is_no_wrong_rule():
    # PyTorch forms log g - y for the backward pass of logcumsumexp: at g near 1e-30 it is off by 69 roundings of 1,
    # and y near 0 adds none
    x = torch.linspace(0.0, 0.02, 2000)[None]
    size = torch.rand(1, 2000, generator=torch.Generator().manual_seed(0)) * 1e-30
    result = check(lambda x: (size * x.logcumsumexp(0)).sum(), (x,))
    assert result.verdict == "agree"
    assert float(result.frame["z"].max()) > 64


WORDS = "\"lu_cpu\" not implemented for 'BFloat16'"


class RaisingWithSuchWords(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        raise NotImplementedError(WORDS)


def raising_with_such_words(x):
    raise NotImplementedError(WORDS)


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (lambda x: torch.linalg.det(x.outer(x) + 1), "not implemented for 'BFloat16'"),
        (lambda x: torch.linalg.inv(x.outer(x) + x.diag()), "Low precision dtypes not supported"),
        (lambda x: torch.fft.fft(x).abs(), "Unsupported dtype BFloat16"),
    ],
    ids=["det", "inv", "fft"],
)
def test_a_kernel_that_is_missing_for_a_precision_that_was_asked_for_is_unsupported(fn, words):
    x = torch.tensor([0.5, 1.0], dtype=torch.float64)
    result = check(fn, x, dtypes=("float64", "bfloat16"))
    of_half = result.frame[result.frame["dtype"] == "bfloat16"]
    assert [*of_half["verdict"]] == ["unsupported"] and words in of_half["message"].iloc[0]
    assert [words in text for text in result.unsupported.values()] == [True]
    assert {*result.frame.query("dtype == 'float64'")["verdict"]} <= {"agree", "mismatch"}
    assert check(fn, x.bfloat16()).verdict == "raised"  # the precision is the user's own


@pytest.mark.parametrize("fn", [raising_with_such_words, RaisingWithSuchWords.apply], ids=["forward", "backward"])
def test_what_the_users_code_raises_stays_raised_whatever_it_says(fn):
    result = check(fn, torch.ones(2, dtype=torch.float64), dtypes="bfloat16")
    assert result.verdict == "raised" and WORDS in str(result.exception)


@pytest.mark.parametrize(("dtype", "big"), [("float32", 1e30), ("float64", 1e200)])
def test_lost_digits_in_one_entry_and_an_overflow_in_another_are_both_explained(dtype, big):
    """x² - 1 cancels near 1 and overflows far out: each alone is a correct formula that PyTorch has."""
    x = torch.tensor([1.0000005, 1.5, big, 1.2], dtype=getattr(torch, dtype))
    assert check(torch.acosh, x).verdict == "inaccurate"
    off = torch.tensor([1.0, 1.0 + 1e-3, 1.0, 1.0], dtype=x.dtype)
    wrong = with_backward("Off", torch.acosh, lambda t: off * (t * t - 1).rsqrt())
    assert check(wrong.apply, x).verdict == "mismatch"
