"""Memory layouts, in-place variants and devices: right ones agree, a planted fault shows in its layout alone."""

import pytest
import torch
from gradwitness.harness import UsageError, check
from gradwitness.harness.runners import LAYOUTS, laid_out

FACTOR = 1.001  # a planted fault of 1e-3, far above rounding in float64


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def verdicts(result) -> dict[str, set[str]]:
    """The verdicts of the callable as a whole, by layout."""
    f = result.frame[result.frame["program"] == "whole"]
    return {layout: set(rows["verdict"]) for layout, rows in f.groupby("layout")}


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "channels_last", "sliced"])
def test_a_layout_holds_the_same_numbers_in_memory_of_its_own(layout):
    t = numbers(2, 3, 4, 5)
    laid = laid_out(t, layout)
    assert torch.equal(laid, t) and laid.untyped_storage().data_ptr() != t.untyped_storage().data_ptr()
    strides = {
        "contiguous": (60, 20, 5, 1),
        "transposed": (60, 20, 1, 4),
        "channels_last": (60, 1, 15, 3),
        "sliced": (132, 44, 11, 2),  # rows of 2 * 5 + 1 places
    }
    assert laid.stride() == strides[layout]


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_around_the_entries_of_a_slice_there_is_nothing_but_nan(shape):
    laid = laid_out(torch.ones(shape), "sliced")
    whole = laid.as_strided((laid.untyped_storage().nbytes() // 4,), (1,), 0)
    assert int(whole.isnan().sum()) == whole.numel() - laid.numel() > 0
    assert whole[0].isnan() and whole[-1].isnan()


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (2, 1), (0,)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.complex128])
def test_one_entry_in_every_layout_agrees(shape, dtype):
    """A tensor of one entry is contiguous to PyTorch whatever its stride."""
    t = torch.ones(8, dtype=dtype).as_strided(shape, (2,) * len(shape))
    result = check(lambda x: x.sin().unsqueeze(0), t, layouts=LAYOUTS)
    assert set(result.frame["verdict"]) <= {"agree", "unsupported"}


def test_sparse_tensors_have_no_layout_and_that_is_said():
    sparse = torch.eye(3, dtype=torch.float64).to_sparse()
    result = check(lambda a: torch.sparse.mm(a, torch.ones(3, 2).double()), sparse, layouts=("transposed", "sliced"))
    assert set(result.frame["verdict"]) == {"unsupported"}
    assert check(torch.Tensor.to_sparse, torch.eye(3, dtype=torch.float64)).verdict == "unsupported"


def test_an_expanded_tensor_repeats_its_first_entries():
    t = numbers(1, 3, 2)
    assert torch.equal(laid_out(t, "expanded"), t[:, :1].expand(1, 3, 2))
    assert laid_out(t, "expanded").stride()[1] == 0
    assert laid_out(torch.ones(()), "expanded") is None


def test_a_convolution_agrees_in_every_layout_and_each_has_its_rows():
    model = torch.nn.Conv2d(2, 3, 3).double()
    result = check(model, numbers(2, 2, 5, 5), layouts=LAYOUTS, runners=("autograd", "checkpoint"))
    assert verdicts(result) == {layout: {"agree"} for layout in LAYOUTS}


class OffWhereStrided(torch.autograd.Function):
    """The square; its derivative is off where the input, or where the cotangent, is not contiguous."""

    @staticmethod
    def forward(ctx, x, looks_at):
        ctx.save_for_backward(x)
        ctx.looks_at = looks_at
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        strided = not (x if ctx.looks_at == "input" else g).is_contiguous()
        return 2 * x * g * (FACTOR if strided else 1.0), None


@pytest.mark.parametrize(
    ("looks_at", "wrong"),
    [
        ("input", {"transposed", "expanded", "sliced"}),
        ("cotangent", {"cotangents_transposed", "cotangents_expanded"}),
    ],
)
def test_a_fault_of_one_layout_is_found_in_its_rows_alone(looks_at, wrong):
    layouts = [name for name in LAYOUTS if name != "channels_last"]
    result = check(lambda x: OffWhereStrided.apply(x, looks_at), numbers(3, 4), layouts=layouts)
    assert {name for name, found in verdicts(result).items() if found == {"mismatch"}} == wrong
    assert {name for name, found in verdicts(result).items() if found == {"agree"}} == set(layouts) - wrong


def test_a_layout_comes_after_the_conversion_to_a_precision():
    seen = []

    def noted(x):
        seen.append((x.dtype, x.stride()))
        return x.sin().sum()

    assert check(noted, numbers(3, 4), layouts="sliced", dtypes="float32").verdict == "agree"
    assert set(seen) == {(torch.float32, (9, 2))}


def test_a_tensor_that_is_given_twice_stays_one_leaf():
    x = numbers(2, 3)
    result = check(lambda a, b: (a * b).sum(), (x, x), layouts="transposed")
    ends = result.frame[result.frame["program"] == "whole"]
    assert result.verdict == "agree" and len(ends) == 1  # ∂(x²)/∂x, and not x twice


@pytest.mark.parametrize("layout", ["channels_last", "cotangents_transposed"])
def test_a_layout_that_no_tensor_can_have_is_one_row_that_says_so(layout):
    result = check(lambda x: x.sum(), numbers(3, 4), layouts=layout, modes=("R", "F"))
    assert list(result.frame["verdict"]) == ["unsupported"] and list(result.frame["layout"]) == [layout]
    assert layout in result.frame["message"].iloc[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"layouts": "diagonal"}, "accepted are contiguous, transposed, channels_last, expanded, sliced"),
        ({"layouts": ()}, "at least one of each"),
        ({"devices": "nowhere"}, "cpu"),
    ],
)
def test_a_name_that_is_not_accepted_is_refused(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        check(torch.sin, numbers(2), **arguments)


@pytest.mark.parametrize(
    ("fn", "name"), [(torch.relu, "relu_"), (torch.nn.functional.elu, "elu_"), (torch.Tensor.exp, "exp_")]
)
def test_the_in_place_variant_of_a_function_is_compared_beside_it(fn, name):
    x = numbers(3, 4)
    before = x.clone()
    result = check(fn, x, inplace=True)
    assert result.verdict == "agree" and torch.equal(x, before)
    assert name in set(result.frame["op"]) and f"aten::{name}.default" in set(result.frame["program"])


@pytest.mark.parametrize("fn", [lambda x: x.sin(), torch.matmul])
def test_without_an_in_place_variant_there_is_one_row_that_says_so(fn):
    inputs = numbers(3) if fn is not torch.matmul else (numbers(2, 2), numbers(2, 2))
    frame = check(fn, inputs, inplace=True).frame
    told = frame[frame["verdict"] == "unsupported"]
    assert len(told) == 1 and told["message"].iloc[0].startswith("in place: ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_here_is_one_row_that_says_so():
    result = check(torch.sin, numbers(3), devices=("cpu", "cuda"))
    by_device = result.frame.groupby("device")["verdict"].apply(set).to_dict()
    assert by_device == {"cpu": {"agree"}, "cuda": {"unsupported"}}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("runner", ["autograd", "func", "checkpoint", "save_on_cpu"])
def test_a_module_is_compared_on_a_gpu_and_comes_back(runner):
    model = torch.nn.Linear(4, 2).double()
    result = check(model, numbers(3, 4), devices="cuda", runners=runner)
    assert result.verdict == "agree" and set(result.frame["device"]) == {"cuda"}
    assert model.weight.device.type == "cpu"


def test_the_rows_of_a_callable_that_holds_a_module_bear_the_callable_s_name():
    model = torch.nn.Linear(3, 1).double()

    def loss(x):
        return model(x).square().sum()

    assert all(case.endswith("loss") for case in check(loss, numbers(2, 3), layouts="transposed").frame["case"])
