"""Arguments and callables that cannot be checked: each has a sentence of its own, under every runner."""

import itertools

import numpy as np
import pytest
import torch
from gradwitness.harness import UsageError, check
from gradwitness.harness.recorder.reachable import name_of

EAGER = ("autograd", "func", "vmap", "checkpoint", "checkpoint_reentrant", "save_on_cpu", "create_graph")
X = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"modes": "X"}, "mode 'X': accepted are R, F, RR"),
        ({"modes": 3}, "modes=3 is of type int"),
        ({"modes": ()}, "at least one of each"),
        ({"runners": "foo"}, "runner 'foo': accepted are autograd, func"),
        ({"runners": 1}, "runners=1 is of type int"),
        ({"dtypes": int}, "dtypes=<class 'int'> is a type"),
        ({"dtypes": "int8"}, "dtype 'int8': accepted are float64"),
        ({"layouts": 3}, "layouts=3 is of type int"),
        ({"layouts": "foo"}, "layout 'foo': accepted are contiguous"),
        ({"devices": 3}, "devices=3 is of type int"),
        ({"devices": "foo"}, "device 'foo'"),
        ({"inputs": "abc"}, r"1 arguments \(a str\) of which none is a floating tensor"),
        ({"inputs": np.ones(3)}, r"\(a ndarray\)"),
        ({"inputs": torch.arange(3)}, r"\(a tensor of int64\)"),
        ({"inputs": [X]}, "inputs is a list"),
        ({"kwargs": [1]}, r"kwargs=\[1\] is of type list"),
        ({"kwargs": "abc"}, "kwargs='abc' is of type str"),
        ({"kwargs": {1: 2}}, "keyword arguments by name"),
        ({"seed": -1}, "seed=-1; accepted are whole numbers"),
        ({"seed": 2**70}, "accepted are whole numbers from 0 to"),
        ({"seed": "1"}, "seed='1'"),
        ({"wrt": 5}, "neither positions 0 to 0 nor parameters"),
        ({"wrt": ["nope"]}, "nope"),
        ({"wrt": []}, "wrt is empty"),
        ({"wrt": 1.0}, "wrt has 1.0"),
        ({"wrt": X}, r"wrt has a tensor of shape \(3, 4\)"),
        ({"fn": X}, "fn is a Tensor"),
        ({"fn": torch.nn.Linear}, r"fn is the class Linear; .*such as Linear\(...\)"),
        ({"inplace": "foo"}, "inplace='foo'"),
    ],
)
def test_an_argument_that_is_not_accepted_is_told_with_what_is(arguments, said):
    with pytest.raises(UsageError, match=said) as told:
        check(**{"fn": torch.sin, "inputs": X, **arguments})
    assert "accepted" in str(told.value)


def test_the_greatest_seed_and_a_dtype_and_a_device_of_torch_are_accepted():
    given = {"seed": 2**63 - 3, "dtypes": torch.float32, "devices": torch.device("cpu"), "modes": ("R", "F")}
    assert check(torch.sin, X, **given).verdict == "agree"


def raising(x):
    raise ValueError("mine")


def changing(x):
    x.mul_(2)
    return x.sin().sum()


def branching(x):
    return x.sin().sum() if x.sum() > 0 else x.cos().sum()


def drawing(x):
    return (x * torch.rand_like(x)).sum()


def without_a_rule(x):
    return torch.special.zeta(x.abs() + 2, x.abs() + 1).sum()


def writing_out(x):
    return torch.sin(x, out=torch.empty_like(x)).sum()


def writing_out_unseen(x):
    with torch.no_grad():
        y = torch.sin(x, out=torch.empty_like(x))
    return (x * y).sum()


# what the callable does -> the verdict of every runner in modes R and F, and words of its message
TOLD = {
    "nothing": (lambda x: None, "indeterminate", "NoneType without a floating tensor"),
    "integers": (lambda x: x.long(), "indeterminate", "of int64 without a floating tensor"),
    "a number": (lambda x: x.sum().item(), "indeterminate", "float without a floating tensor"),
    "an exception": (raising, "raised", "ValueError: mine"),
    "a write into its argument": (changing, "agree", ""),
    "a call without a rule": (without_a_rule, "unsupported", "zeta"),
    "a write into out=": (writing_out, "raised", "out=... arguments don't support automatic differentiation"),
}


@pytest.mark.parametrize("name", TOLD)
def test_a_callable_that_cannot_be_checked_is_told_alike_by_every_runner(name):
    fn, verdict, words = TOLD[name]
    result = check(fn, X, runners=EAGER, modes=("R", "F"))
    for runner, mode in itertools.product(EAGER, ("R", "F")):
        if mode == "F" and runner in ("create_graph", "checkpoint_reentrant"):
            continue
        f = result.frame
        rows = f[(f["runner"] == runner) & (f["mode"] == mode)]
        assert set(rows["verdict"]) == {verdict}, (runner, mode)
        of_whole = rows["message"][rows["program"] == "whole"]
        assert len(of_whole) and all(words in (m if isinstance(m, str) else "") for m in of_whole)


@pytest.mark.parametrize("fn", [branching, drawing, writing_out_unseen])
def test_what_only_vmap_cannot_run_is_checked_by_the_others_in_mode_r(fn):
    f = check(fn, X, runners=EAGER).frame
    assert set(f["verdict"][f["runner"] != "vmap"]) <= {"agree", "convention"}
    assert list(f["verdict"][f["runner"] == "vmap"]) == ["unsupported"]
    assert f["message"][f["runner"] == "vmap"].str.contains("vmap|Batching rule").all()


@pytest.mark.parametrize("runner", EAGER)
def test_a_callable_that_gives_other_numbers_each_time_is_not_the_fault_of_a_runner(runner):
    counter, own = itertools.count(1), np.random.default_rng(0)
    for fn in (lambda x: (x * next(counter)).sum(), lambda x: (x * own.random()).sum()):
        result = check(fn, X, runners=runner)
        assert result.verdict == "indeterminate" and result.culprit.kind == "nondeterminism"
        told = result.frame[result.frame["verdict"] == "indeterminate"]
        assert set(told["runner"]) == {runner} and told["message"].str.contains("two runs with equal inputs").all()


@pytest.mark.parametrize("runner", EAGER[1:])
def test_a_callable_whose_result_depends_on_nothing_is_no_test_for_any_runner(runner):
    result = check(lambda x: x.detach().sin(), X, runners=runner)
    assert result.verdict == "indeterminate"
    assert "nothing was tested" in result.explain()


def test_numbers_that_numpy_draws_are_the_same_in_the_value_and_the_gradient_of_vmap():
    assert check(lambda x: (x * float(np.random.rand())).sum(), X, runners="vmap").verdict == "agree"


@pytest.mark.parametrize("mode", ["F", "FF", "FR", "RF"])
def test_forward_modes_of_writes_into_out_and_of_no_grad_have_a_row_that_says_why(mode):
    f = check(writing_out_unseen, X, modes=mode, runners=("autograd", "func", "checkpoint", "save_on_cpu")).frame
    assert set(f["verdict"]) == {"unsupported"}
    assert f["message"].str.contains("out= function" if "R" not in mode else "no one meaning").all()


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (torch.relu, "torch.relu"),
        (torch.conv2d, "torch.conv2d"),
        (torch.Tensor.exp, "torch.Tensor.exp"),
        (torch.special.erf, "torch.special.erf"),
        (torch.linalg.det, "torch.linalg.det"),
        (torch.fft.fft, "torch.fft.fft"),
        (torch.nn.functional.gelu, "torch.nn.functional.gelu"),
        (torch.ops.aten.sin, "aten::sin"),
        (torch.nn.functional.relu, "relu"),
        (raising, "raising"),
        (torch.nn.Linear(2, 2), "Linear"),
    ],
)
def test_functions_bear_the_name_that_they_are_called_by(fn, name):
    assert name_of(fn) == name


def test_wrt_may_be_anything_that_gives_positions_or_names_once():
    result = check(lambda a, b: a * b, (X, X.clone()), wrt=(k for k in [1]))
    assert set(result.frame["wrt"][result.frame["program"] == "whole"]) == {"b"}
