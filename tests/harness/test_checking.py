"""`check` and `assert_gradients` on callables and modules of a user."""

import copy
import random

import numpy as np
import pytest
import torch
from gradwitness.harness import GradientMismatch, UnsupportedOperation, UsageError, assert_gradients, check


def normal(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def faulty_product(entry, size):
    """A custom Function for x·w whose backward is off by a relative `size` in one entry."""

    class FaultyProduct(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx, g):  # the line that a culprit has to name
            x, w = ctx.saved_tensors
            to_x = g * w
            to_x[entry] = to_x[entry] * (1 + size)
            return to_x, g * x

    return FaultyProduct


LINE_OF_BACKWARD = faulty_product(0, 0.0).backward.__code__.co_firstlineno


@pytest.mark.parametrize(("dtype", "size"), [(torch.float64, 1e-6), (torch.float32, 1e-3)])
def test_a_backward_that_is_off_in_one_entry_of_100000_is_a_mismatch_and_its_line_is_named(dtype, size):
    function = faulty_product(54321, size)
    result = check(
        lambda x, w: function.apply(x, w).sin(), (normal(100_000, dtype=dtype), normal(100_000, dtype=dtype, seed=1))
    )
    assert result.verdict == "mismatch"
    assert not result.ok
    assert result.culprit.operation == "FaultyProductBackward"
    assert result.culprit.file == __file__
    assert result.culprit.line == LINE_OF_BACKWARD
    assert result.culprit.entry == (54321,)
    assert f"{__file__}:{LINE_OF_BACKWARD}" in result.explain()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_right_backward_agrees(dtype):
    function = faulty_product(0, 0.0)
    result = check(
        lambda x, w: function.apply(x, w).sin(), (normal(1000, dtype=dtype), normal(1000, dtype=dtype, seed=1))
    )
    assert result.verdict == "agree", result.explain()
    assert result.ok
    assert result.culprit is None


def test_a_module_has_its_parameters_differentiated_too():
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)).double()
    result = assert_gradients(model, normal(3, 4))
    assert {"0.weight", "0.bias", "2.weight", "2.bias", "input"} <= set(result.frame["wrt"])


def test_wrt_narrows_to_positions_and_parameter_names():
    model = torch.nn.Linear(4, 2).double()
    by_name = check(model, normal(3, 4), wrt=["bias"]).frame
    assert set(by_name.loc[by_name["program"] == "whole", "wrt"]) == {"bias"}
    by_position = check(lambda a, b: a * b, (normal(3), normal(3, seed=1)), wrt=[1]).frame
    assert set(by_position.loc[by_position["program"] == "whole", "wrt"]) == {"b"}
    with pytest.raises(UsageError, match="names \\['weigth'\\]"):
        check(model, normal(3, 4), wrt=["weigth"])


def test_a_gradient_that_pytorch_lost_is_a_mismatch_of_the_whole():
    class Forgetful(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return None

    result = check(lambda x: Forgetful.apply(x) + x, normal(3))
    assert result.verdict == "mismatch"
    assert result.culprit.operation == "ForgetfulBackward"


def test_detached_paths_and_no_grad_blocks_are_constants_as_the_user_wrote_them():
    def fn(x):
        with torch.no_grad():
            scale = x * x
        return x * x.detach() * scale

    assert check(fn, normal(4)).verdict == "agree"


def test_tensors_written_in_place_through_views_are_followed():
    def fn(x, w):
        a = torch.zeros(3, 4, dtype=torch.float64)
        a[0] = w
        a[1].add_(w * 2)
        b = a * x
        b.mul_(3)
        b[:, 1:].sub_(x[:, 1:])
        return b.sum(0) * w

    assert check(fn, (normal(3, 4), normal(4, seed=1))).verdict == "agree"


def test_nothing_of_the_model_or_of_the_random_state_is_changed():
    model = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 2), torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.Dropout(0.5)
    )
    model[0].weight.grad = torch.ones_like(model[0].weight)
    hook = model.register_forward_hook(lambda *_: None)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    objects = [id(t) for t in (*model.parameters(), *model.buffers())]
    flags = [m.training for m in model.modules()]
    hooks = copy.copy(model._forward_hooks)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    check(model, normal(2, 2, 4, 4, dtype=torch.float32), dtypes=["float64", "float32"], modes=["R", "F"])
    after = model.state_dict()
    assert all(torch.equal(before[k], after[k]) and before[k].dtype == after[k].dtype for k in before)
    assert [id(t) for t in (*model.parameters(), *model.buffers())] == objects
    assert [m.training for m in model.modules()] == flags
    assert model._forward_hooks == hooks
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert all(p.grad is None for n, p in model.named_parameters() if n != "0.weight")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    hook.remove()


def test_inputs_are_differentiated_whether_or_not_they_ask_for_it_and_stay_as_they_are():
    x, y = normal(3), normal(3, seed=1).requires_grad_()
    kept = x.clone()
    assert check(lambda a, b: a * b, (x, y)).verdict == "agree"
    assert not x.requires_grad
    assert y.grad is None
    assert torch.equal(x, kept)


def test_keyword_nested_and_non_floating_arguments_are_passed_on():
    def fn(pair, index, *, scale):
        return pair["a"].gather(0, index) * scale + pair["b"]

    result = check(fn, ({"a": normal(3), "b": normal(2, seed=1)}, torch.tensor([2, 0])), {"scale": normal(2, seed=2)})
    assert result.verdict == "agree", result.explain()
    assert {"pair[0]", "pair[1]", "scale"} <= set(result.frame["wrt"])


@pytest.mark.parametrize("mode", ["R", "F", "RR", "FR", "RF", "FF"])
def test_every_mode_string_is_compared_on_a_module(mode):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    result = check(model, normal(2, 3), modes=[mode])
    assert result.verdict == "agree", result.explain()
    assert set(result.frame["mode"]) == {mode}


def test_the_second_derivative_of_layer_norm_through_its_forward_rule_is_found():
    # For f(s) = s / sqrt(s² / 4 · ... ) the closed form is in the corpus of public reports; PyTorch drops d(1/σ) there.
    result = check(
        lambda x: torch.nn.functional.layer_norm(x, (2,), eps=0.25),
        torch.tensor([0.7, 0.0], dtype=torch.float64),
        modes=["FF"],
    )
    assert result.verdict == "mismatch"


def test_an_operation_without_a_rule_is_named_and_never_ok():
    result = check(lambda x: torch.linalg.inv(torch.complex(x, x)).real, normal(3, 3))
    assert result.verdict == "unsupported"
    assert not result.ok
    with pytest.raises(UnsupportedOperation, match="no rule for"):
        assert_gradients(lambda x: torch.linalg.inv(torch.complex(x, x)).real, normal(3, 3))


def test_an_exception_of_the_user_is_shown_as_theirs():
    def fn(x):
        raise ZeroDivisionError("my own")

    result = check(fn, normal(3))
    assert result.verdict == "raised"
    assert "ZeroDivisionError: my own" in result.frame["message"].iloc[0]
    with pytest.raises(ZeroDivisionError, match="my own"):
        assert_gradients(fn, normal(3))


def test_a_mismatch_raises_an_assertion_error_that_explains_itself():
    function = faulty_product(2, 1e-3)
    with pytest.raises(GradientMismatch, match="culprit: FaultyProductBackward") as caught:
        assert_gradients(lambda x, w: function.apply(x, w), (normal(4), normal(4, seed=1)))
    assert isinstance(caught.value, AssertionError)
    assert caught.value.result.verdict == "mismatch"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"modes": ["RFRF"]}, "mode 'RFRF': accepted are R, F, RR"),
        ({"dtypes": ["float8"]}, "dtype 'float8': accepted are float64, float32"),
        ({"runners": ["jit"]}, "runner 'jit': accepted are autograd"),
    ],
)
def test_an_argument_that_is_not_accepted_is_refused_with_what_is(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        check(torch.sin, normal(3), **arguments)


def test_nothing_to_differentiate_and_no_tensor_returned_are_said():
    with pytest.raises(UsageError, match="nothing to differentiate"):
        check(lambda i: i, torch.tensor([1, 2]))
    result = check(lambda x: 3.0, normal(2))
    assert result.verdict == "indeterminate" and "returned float without a floating tensor" in result.explain()
    with pytest.raises(GradientMismatch, match="without a floating tensor"):
        assert_gradients(lambda x: None, normal(2))


def test_a_wrong_value_of_a_call_is_found_as_well():
    assert (check(lambda x: x.exp(), normal(5)).frame["quantity"] == "value").any()


def test_random_layers_are_compared_on_the_numbers_they_drew():
    model = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Dropout(0.5), torch.nn.Linear(6, 2)).double()
    assert check(model, normal(4, 6)).verdict == "agree"


def test_strides_and_expanded_inputs_are_kept():
    seen = []

    def fn(x, y):
        seen.append((x.stride(), y.stride()))
        return (x * y).sum()

    x, y = normal(3, 4).t(), normal(1, 3, seed=1).expand(4, 3)
    assert check(fn, (x, y)).verdict == "agree"
    assert seen[0] == (x.stride(), y.stride())


def test_a_single_name_is_one_name_and_none_at_all_is_refused():
    wrong = check(lambda x: torch.nn.functional.layer_norm(x, (2,), eps=0.25), normal(2), modes="R,FF")
    assert set(wrong.frame["mode"]) == {"R", "FF"}
    assert set(check(torch.sin, normal(3), wrt=0).frame["mode"]) == {"R"}
    for nothing in ({"modes": ()}, {"modes": ""}, {"dtypes": []}):
        with pytest.raises(UsageError, match="at least one of each"):
            check(torch.sin, normal(3), **nothing)
    with pytest.raises(UsageError, match="inputs is a list"):
        check(torch.add, [normal(3), normal(3)])


def test_a_layer_with_dropout_in_train_mode_is_compared_in_every_mode():
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).double()
    result = check(layer, normal(2, 3, 8), modes=("R", "F", "RR", "FR", "RF", "FF"))
    by_mode = {mode: set(rows["verdict"]) for mode, rows in result.frame.groupby("mode")}
    assert all(by_mode[mode] == {"agree"} for mode in ("R", "F", "RR", "FR"))
    wrong = result.frame[result.frame["verdict"] == "mismatch"]  # torch's layer norm, whose issue is known
    assert set(wrong["mode"]) == {"RF", "FF"} and set(wrong["culprit"]) == {"aten::native_layer_norm.default"}


class RedrawnMask(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * (torch.rand_like(x) > 0.5)

    @staticmethod
    def backward(ctx, g):
        return g * (torch.rand_like(g) > 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_a_backward_that_draws_its_mask_anew_is_a_mismatch_and_named(seed):
    result = check(lambda x: RedrawnMask.apply(x.sin()).exp(), normal(20), modes=("R", "RR"), seed=seed)
    assert result.culprit.operation == "RedrawnMaskBackward"
    assert all((rows["verdict"] == "mismatch").any() for _, rows in result.frame.groupby("mode"))


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_gradients_that_the_caller_switched_off_are_checked_all_the_same(off):
    with off():
        assert check(faulty_product(0, 1.0).apply, (normal(3), normal(3))).verdict == "mismatch"


@pytest.mark.parametrize("fn", [lambda x: x.data.sin(), lambda x: torch.ones(2) * 1.0, lambda x: x.exp().detach()])
def test_where_nothing_depends_on_the_input_it_is_said_that_nothing_was_tested(fn):
    result = check(fn, normal(3))
    assert "nothing was tested" in result.explain() and not result.ok
    assert "nothing was tested" not in check(torch.exp, normal(3)).explain()


def test_a_fault_in_another_mode_is_traced_to_its_operation_with_its_known_issue():
    result = check(torch.nn.LayerNorm(4, dtype=torch.float64), normal(3, 4), modes=("R", "RF", "FF"))
    assert (result.culprit.operation, result.culprit.mode) == ("aten::native_layer_norm.default", "RF")
    assert result.culprit.line > 0 and "in mode" in result.explain()
    assert set(result.frame.query("verdict == 'mismatch'")["known"]) == {"pytorch/pytorch#196700"}


def test_an_entry_without_a_number_is_the_one_that_is_named():
    result = check(lambda x: -torch.log(1 - torch.sigmoid(x)), torch.tensor([3.0, 60.0], dtype=torch.float64))
    row = result.frame.query("verdict == 'indeterminate'").iloc[0]
    assert row["entry"] == "[1]" and "entry [1]" in result.explain()


@pytest.mark.parametrize("seed", [-1, "x", 1.5])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(UsageError, match="whole numbers from 0"):
        check(torch.exp, normal(3), seed=seed)


class OutsideTorch(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.from_numpy(x.detach().numpy() ** 3)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


class ThroughNumbers(OutsideTorch):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.tensor([v**3 for v in x.tolist()], dtype=x.dtype) * 1.0


@pytest.mark.parametrize("function", [OutsideTorch, ThroughNumbers])
@pytest.mark.parametrize("mode", ["R", "RR"])
def test_a_custom_function_that_leaves_torch_is_named_and_what_surrounds_it_is_judged(function, mode):
    result = check(lambda x: function.apply(x.sin()).exp().sum(), normal(3), modes=(mode,))
    assert result.verdict == "unsupported" and not result.ok
    assert list(result.unsupported) == [function.__name__]
    assert f"{function.__name__}: its forward is not made of torch operations" in result.explain()
    if mode == "R":
        judged = result.frame[result.frame["quantity"] == "derivative"].set_index("program")["verdict"]
        assert judged["aten::sin.default"] == judged["aten::exp.default"] == "agree"


def tripled_through_data(x):
    y = x * 2
    y.data.mul_(3)
    return (y * y).sum()


def tripled_by_another_data(x):
    y = x * 2
    y.data = y.data * 3
    return (y * y).sum()


@pytest.mark.parametrize("fn", [tripled_through_data, tripled_by_another_data])
def test_a_write_through_data_changes_the_value_and_leaves_the_derivative(fn):
    """y = 6x, whose slope autograd takes for 2: d(y²) = 2 · 6x · 2 = 24 x."""
    result = check(fn, torch.tensor([1.0, 2.0], dtype=torch.float64))
    whole = result.frame[result.frame["program"] == "whole"].iloc[0]
    assert result.verdict == "agree" and whole["torch_value"] in (24.0, 48.0)


@pytest.mark.parametrize("at", [-1.0, 0.0])
def test_zero_times_an_infinite_slope_names_the_operation_and_its_line(at):
    def root_of_positive(x):
        root = torch.sqrt(x)
        return torch.where(x > 0, root, 0.0).sum()

    result = check(root_of_positive, torch.tensor([at, 2.0], dtype=torch.float64))
    assert result.verdict == "mismatch" and result.culprit.operation == "aten::sqrt.default"
    assert result.culprit.line == root_of_positive.__code__.co_firstlineno + 1
    assert "0 · inf is NaN" in result.explain()


def test_an_explanation_tells_apart_numbers_that_differ_late_and_names_the_known_issue():
    result = check(torch.nn.Linear(3, 2).double(), normal(4, 3))
    line = result.explain().splitlines()[1]
    said = line[line.index("(PyTorch ") + 9 : -1].split(", witness ")
    assert said[0] != said[1] or " 0 times" in line
    far = torch.tensor([-1e155], dtype=torch.float64)
    assert "a known issue of PyTorch: " in check(torch.special.log_ndtr, far).explain()
