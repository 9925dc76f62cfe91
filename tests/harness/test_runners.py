"""Runners without a compiler: each with a right case, a planted fault, and the modes that it cannot express."""

import copy
import json

import custom_functions
import numpy as np
import pytest
import torch
from custom_functions import with_backward, with_every_rule
from gradwitness.harness import UsageError, check
from gradwitness.harness.evidence import naming
from gradwitness.harness.evidence.known import KnownIssue
from gradwitness.harness.judgement.modes import MODES
from gradwitness.harness.runners import RUNNERS
from torch.utils.checkpoint import checkpoint

EAGER = tuple(r for r in RUNNERS if not r.startswith("compile"))
FACTOR = 1.001  # a planted fault of 1e-3, far above rounding in float64


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def layer(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x @ w).square().sum()


def whole(result, runner: str, quantity: str = "derivative"):
    """The rows of one runner for the callable as a whole."""
    f = result.frame
    return f[(f["runner"] == runner) & (f["program"] == "whole") & (f["quantity"] == quantity)]


def test_every_runner_agrees_in_every_mode_that_it_can_express_and_has_one_row_for_the_others():
    result = check(layer, (numbers(3, 4), numbers(4, 2, seed=1)), modes=MODES, runners=EAGER)
    without = {("checkpoint_reentrant", m) for m in MODES if m != "R"}
    without |= {("create_graph", m) for m in ("F", "FF", "FFF")}
    hooked = ("RFF", "FRF", "FFR")  # two F need torch.func, whose grad takes no hooks on saved tensors
    without |= {(runner, m) for runner in ("checkpoint", "save_on_cpu") for m in hooked}
    for runner in EAGER:
        rows = whole(result, runner)
        for mode in MODES:
            of_mode = rows[rows["mode"] == mode]
            if (runner, mode) in without:
                assert list(of_mode["verdict"]) == ["unsupported"] and of_mode["message"].iloc[0]
            else:
                assert set(of_mode["verdict"]) == {"agree"}, (runner, mode)
    assert result.verdict == "unsupported" and result.culprit is None


def test_a_runner_that_does_not_exist_is_refused_with_all_that_do():
    with pytest.raises(UsageError, match="checkpoint_reentrant, save_on_cpu, create_graph"):
        check(torch.sin, numbers(2), runners=("eager",))


OffSine = with_backward("OffSine", torch.sin, lambda x: FACTOR * x.cos())


@pytest.mark.parametrize("runner", ["autograd", "checkpoint", "checkpoint_reentrant", "save_on_cpu", "create_graph"])
def test_a_wrong_backward_is_found_by_every_runner_of_the_tape_and_the_function_is_named(runner):
    result = check(lambda x: OffSine.apply(x).sum(), numbers(3), runners=runner)
    assert result.verdict == "mismatch" and result.culprit.operation == "OffSineBackward"
    row = whole(result, runner).iloc[0]
    assert row["verdict"] == "mismatch"
    assert row["torch_value"] == pytest.approx(FACTOR * row["reference_value"], rel=1e-12)  # a product of two roundings


@pytest.mark.parametrize("runner", ["func", "vmap"])
def test_a_function_without_setup_context_cannot_be_transformed_and_pytorch_says_so(runner):
    result = check(lambda x: OffSine.apply(x).sum(), numbers(3, 2), runners=runner)
    assert list(result.frame["verdict"]) == ["unsupported"]
    assert "setup_context" in result.frame["message"].iloc[0]


class WrongUnderTransforms(with_every_rule("Sine", torch.sin, torch.cos, lambda x: FACTOR * x.cos())):
    """The sine; its forward and its batched rules are off, its backward is right."""

    generate_vmap_rule = False

    @staticmethod
    def vmap(info, in_dims, x):
        return WrongUnderTransforms.apply(x * FACTOR), in_dims[0]


def test_a_wrong_forward_rule_is_found_in_mode_f_alone():
    result = check(lambda x: WrongUnderTransforms.apply(x), numbers(3), modes=("R", "F"), runners="func")
    rows = whole(result, "func")
    assert dict(zip(rows["mode"], rows["verdict"], strict=True)) == {"R": "agree", "F": "mismatch"}


def test_a_wrong_batching_rule_is_found_by_vmap_which_is_the_culprit():
    x = numbers(3, 2)
    result = check(lambda x: WrongUnderTransforms.apply(x).square().sum(), x, runners=("autograd", "vmap"))
    assert set(whole(result, "autograd")["verdict"]) == {"agree"}
    assert set(whole(result, "vmap", "value")["verdict"]) == {"mismatch"}
    row = whole(result, "vmap").iloc[0]
    assert row["verdict"] == "mismatch" and row["culprit"] == "vmap" and result.culprit.operation == "vmap"
    at = tuple(json.loads(row["entry"]))
    assert row["reference_value"] == pytest.approx(float((2 * x[at]).sin()), rel=1e-12)  # d sin²x / dx


def test_per_sample_gradients_of_parameters_are_compared_sample_by_sample():
    model = torch.nn.Linear(4, 2).double()
    result = check(model, numbers(3, 4), runners="vmap", modes=("R", "F", "RR"))
    rows = whole(result, "vmap")
    assert set(rows["verdict"]) == {"agree"}
    assert set(rows["wrt"][rows["mode"] == "R"]) == {"input", "weight", "bias"}
    assert all(entry.count(",") == 2 for entry in rows["entry"][rows["wrt"] == "weight"])  # sample, row, column


@pytest.mark.parametrize("inputs", [torch.tensor(2.0), torch.empty(0, 3)])
def test_vmap_needs_a_batch_in_the_first_input(inputs):
    result = check(lambda x: x.sin().sum(), inputs, runners="vmap")
    assert list(result.frame["verdict"]) == ["unsupported"] and "axis" in result.frame["message"].iloc[0]


def test_vmap_refuses_random_numbers_and_the_refusal_is_the_reason():
    result = check(lambda x: torch.nn.functional.dropout(x, 0.5), numbers(3, 4), runners="vmap")
    assert list(result.frame["verdict"]) == ["unsupported"] and "random" in result.frame["message"].iloc[0]


def test_vmap_over_the_tokens_of_an_embedding_differentiates_its_table_per_sample():
    table = torch.nn.Embedding(5, 3).double()
    result = check(table, torch.tensor([[0, 1], [1, 1], [4, 0]]), runners="vmap")
    assert list(whole(result, "vmap")["verdict"]) == ["agree"]


@pytest.mark.parametrize("runner", ["checkpoint", "checkpoint_reentrant"])
def test_dropout_under_a_checkpoint_is_drawn_again_alike(runner):
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1)).double()
    result = check(model, numbers(3, 4), runners=runner)
    assert result.verdict == "agree"
    assert {"0.weight", "2.bias"} <= set(whole(result, runner)["wrt"])


def masked_by_numpy(x: torch.Tensor) -> torch.Tensor:
    """A mask from a generator that no checkpoint puts back."""
    return (x * torch.from_numpy(np.random.uniform(size=x.shape))).sin().sum()


@pytest.mark.parametrize("runner", ["checkpoint", "checkpoint_reentrant"])
def test_numbers_that_a_checkpoint_draws_anew_are_found_and_the_checkpoint_is_the_culprit(runner):
    result = check(masked_by_numpy, numbers(4), runners=("autograd", runner))
    assert set(whole(result, "autograd")["verdict"]) == {"agree"}
    assert set(whole(result, runner)["culprit"]) == {runner}
    assert result.culprit.operation == runner and result.culprit.kind == "checkpoint"


def test_a_device_copy_that_changes_a_saved_tensor_is_found_and_named(monkeypatch):
    def scaled():
        return torch.autograd.graph.saved_tensors_hooks(lambda t: t * FACTOR, lambda t: t)

    monkeypatch.setattr(torch.autograd.graph, "save_on_cpu", scaled)
    result = check(lambda x: x.square().sum(), numbers(3), runners=("autograd", "save_on_cpu"))
    assert set(whole(result, "autograd")["verdict"]) == {"agree"}
    assert set(whole(result, "save_on_cpu")["verdict"]) == {"mismatch"}
    assert result.culprit.operation == "save_on_cpu"


class WrongWithGraph(torch.autograd.Function):
    """The sine; its derivative is off where a graph of it is made."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos() * (FACTOR if torch.is_grad_enabled() else 1.0)


def test_a_backward_that_is_wrong_only_where_its_graph_is_made_is_found_by_create_graph():
    result = check(lambda x: WrongWithGraph.apply(x).sum(), numbers(3), runners=("autograd", "create_graph"))
    assert set(whole(result, "autograd")["verdict"]) == {"agree"}
    assert list(whole(result, "create_graph")["culprit"]) == ["create_graph"]


class Rounded(torch.autograd.Function):
    """Rounding with the derivative of the identity, as its author means it."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g


def test_an_intended_other_derivative_is_the_function_s_own_and_not_the_runner_s():
    result = check(lambda x: Rounded.apply(x).sum(), numbers(3), runners=("checkpoint",))
    assert result.culprit.operation == "RoundedBackward"


def test_batch_norm_in_train_mode_runs_under_transforms_and_checkpoints_and_is_left_as_it_was():
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5)).double()
    model[0].weight.grad = torch.ones(3, 4, dtype=torch.float64)
    grad, before = model[0].weight.grad, copy.deepcopy(model.state_dict())
    drawn = torch.get_rng_state()
    runners = ("func", "checkpoint", "checkpoint_reentrant", "save_on_cpu", "create_graph")
    result = check(model, numbers(5, 4), runners=runners)
    assert result.verdict == "agree"
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert model[0].weight.grad is grad and torch.equal(grad, torch.ones_like(grad))
    assert model[2].training and torch.equal(drawn, torch.get_rng_state())


def test_a_known_issue_of_one_runner_covers_its_rows_alone(monkeypatch):
    issue = KnownIssue("masks", ("checkpoint",), ("R",), "a mask from NumPy", "drawn anew", runners=("checkpoint",))
    monkeypatch.setattr(naming, "load", lambda: (issue,))
    result = check(masked_by_numpy, numbers(4), runners=("checkpoint", "checkpoint_reentrant"))
    assert list(whole(result, "checkpoint")["known"]) == ["masks: drawn anew"]
    assert whole(result, "checkpoint_reentrant")["known"].isna().all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_mode_r_of_every_runner_is_compared_in_short_precisions_too(dtype):
    runners = ("func", "vmap", "checkpoint", "checkpoint_reentrant", "save_on_cpu", "create_graph")
    result = check(layer, (numbers(3, 4), numbers(4, 2, seed=1)), runners=runners, dtypes=dtype)
    assert result.verdict == "agree" and set(result.frame["dtype"]) == {dtype}


def test_complex_gradients_are_compared_through_every_tape_and_transform():
    z = torch.complex(numbers(3), numbers(3, seed=1))
    runners = ("func", "checkpoint", "checkpoint_reentrant", "save_on_cpu", "create_graph")
    result = check(lambda z: (z * z.conj()).real.sum(), z, runners=runners)
    assert set(result.frame["verdict"]) <= {"agree", "unsupported"}


def without_random_state(x: torch.Tensor, reentrant: bool = False) -> torch.Tensor:
    """Dropout under a checkpoint that was told not to keep the random state."""
    how = {"use_reentrant": reentrant, "preserve_rng_state": False}
    return checkpoint(lambda y: torch.nn.functional.dropout(y * y, 0.5), x, **how)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_told_not_to_keep_the_random_state_is_a_convention(reentrant):
    result = check(lambda x: without_random_state(x, reentrant), torch.ones(8, dtype=torch.float64))
    assert result.verdict == "convention" and result.culprit is None
    assert result.frame["message"].str.contains("as documented").any()


def test_a_wrong_backward_within_such_a_checkpoint_stays_a_mismatch():
    def both(x):
        return without_random_state(x) + OffSine.apply(x)

    result = check(both, torch.ones(8, dtype=torch.float64))
    assert result.verdict == "mismatch" and result.culprit.operation == "OffSineBackward"


@pytest.mark.parametrize("mode", ["F", "FR", "RF", "FF"])
def test_a_mode_that_a_function_does_not_offer_is_unsupported_for_the_tape_too(mode):
    result = check(lambda x: OffSine.apply(x).sum(), numbers(3), modes=mode)
    assert list(result.frame["verdict"]) == ["unsupported"]


def test_a_callable_that_runs_on_batches_alone_is_not_one_for_vmap():
    result = check(torch.nn.BatchNorm2d(2).double(), numbers(2, 2, 3, 3), runners="vmap")
    assert list(result.frame["verdict"]) == ["unsupported"]
    assert "one sample, of shape (2, 3, 3)" in result.frame["message"].iloc[0]


Cube = with_every_rule("Cube", lambda x: x * x * x, lambda x: 3 * x**2)


def test_known_faults_of_nested_tangents_and_of_tangents_written_in_place_are_called_known():
    runners = ("autograd", "func", "save_on_cpu")
    result = check(lambda x: Cube.apply(x), numbers(3), modes=("RF", "FF"), runners=runners)
    wrong = result.frame[result.frame["verdict"] == "mismatch"]
    assert set(wrong["mode"]) == {"FF"} and set(wrong["runner"]) == set(runners)
    assert set(wrong["known"]) == {"pytorch/pytorch#197867"}
    result = check(lambda x: x.softmax(-1), numbers(3), modes="RF", runners=("autograd", "save_on_cpu"))
    wrong = result.frame[result.frame["verdict"] == "mismatch"]
    assert set(wrong["runner"]) == {"save_on_cpu"} and set(wrong["known"]) == {"pytorch/pytorch#162350"}


def test_a_model_with_a_reentrant_checkpoint_of_its_own_is_compared_and_a_fault_in_it_is_found():
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Dropout(0.5)).double()
    result = check(lambda x: checkpoint(model, x, use_reentrant=True), numbers(2, 4), modes=("R", "RR"))
    assert list(result.table().iloc[0]) == ["agree", "unsupported"]
    assert {"0.weight", "0.bias"} <= {str(w).split(" ")[0].removeprefix("model.") for w in result.frame["wrt"]}
    assert all(p.grad is None for p in model.parameters())


TAPE = ("autograd", "checkpoint", "checkpoint_reentrant", "save_on_cpu", "create_graph")


def nested(fn, outer: bool, inner: bool):
    """A callable in a checkpoint in a checkpoint, each of the one kind or the other."""
    return lambda x: checkpoint(
        lambda y: checkpoint(fn, y.sin(), use_reentrant=inner).exp(), x, use_reentrant=outer
    ).sum()


@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize("inner", [True, False])
def test_a_checkpoint_of_the_user_s_own_runs_by_every_runner_of_the_tape_and_a_fault_inside_is_named(outer, inner):
    x = numbers(3)
    x.requires_grad_()  # the reentrant checkpoint warns of inputs that do not
    right = check(nested(lambda y: (2 * y).tanh(), outer, inner), x, runners=TAPE)
    assert right.verdict == "agree" and right.culprit is None
    wrong = check(nested(lambda y: OffSine.apply(2 * y), outer, inner), x, runners=TAPE)
    assert wrong.culprit.operation == "OffSineBackward" and wrong.culprit.file == custom_functions.__file__
    for runner in TAPE:
        rows = whole(wrong, runner)
        assert list(rows["verdict"]) == ["mismatch"], runner
    assert set(wrong.frame["culprit"].dropna()) == {"OffSineBackward"}
    assert x.grad is None


def test_a_fault_that_reaches_the_parameters_of_a_reentrant_checkpoint_alone_is_named():
    layer = torch.nn.Linear(3, 3).double()
    inside = lambda y: y @ OffSine.apply(layer.weight)  # noqa: E731
    result = check(lambda x: checkpoint(inside, x, use_reentrant=True), numbers(2, 3))
    assert result.verdict == "mismatch" and result.culprit.operation == "OffSineBackward"


def test_dropout_inside_a_wrong_reentrant_checkpoint_is_drawn_alike_when_it_is_looked_into():
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.5)).double()
    result = check(lambda x: checkpoint(lambda y: OffSine.apply(model(y)), x, use_reentrant=True), numbers(2, 3))
    assert result.culprit.operation == "OffSineBackward"


def test_what_is_detached_inside_a_reentrant_checkpoint_is_held_constant():
    result = check(lambda x: checkpoint(lambda y: y.detach().exp() * y, x, use_reentrant=True), numbers(3))
    assert result.verdict == "agree"


def test_what_a_reentrant_checkpoint_returns_detached_is_held_constant():
    def fn(x):
        y, z = checkpoint(lambda x: (x.sin(), x.detach()), x, use_reentrant=True)
        return y * z

    result = check(fn, numbers(3))
    assert result.verdict == "agree", result.explain()


def scaled_by_its_greatest(x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        greatest = x.abs().max()
    return (x / greatest).sin()


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("runner", ["autograd", "checkpoint", "checkpoint_reentrant"])
def test_what_is_under_no_grad_inside_a_reentrant_checkpoint_is_held_constant(depth, runner):
    def fn(x):
        y = x.requires_grad_().exp()  # the reentrant checkpoint warns of inputs that do not require a gradient
        if depth == 1:
            return checkpoint(scaled_by_its_greatest, y, use_reentrant=True)
        return checkpoint(lambda z: fn_inside(z.cos()).tan(), y, use_reentrant=True)

    def fn_inside(x):
        return checkpoint(scaled_by_its_greatest, x, use_reentrant=True)

    assert check(scaled_by_its_greatest, numbers(5)).verdict == "agree"
    assert check(fn, numbers(5), runners=(runner,)).verdict == "agree"


def test_a_fault_beside_no_grad_inside_a_reentrant_checkpoint_is_found():
    def fn(x):
        return checkpoint(lambda y: OffSine.apply(scaled_by_its_greatest(y)), x, use_reentrant=True)

    result = check(fn, numbers(5))
    assert result.verdict == "mismatch" and result.culprit.operation == "OffSineBackward"


def test_second_derivatives_through_a_reentrant_checkpoint_are_refused_in_pytorch_s_words():
    result = check(lambda x: checkpoint(torch.sin, x, use_reentrant=True), numbers(3), modes=("RR", "F"), runners=TAPE)
    assert set(result.frame["verdict"]) == {"unsupported"}
    said = result.frame[result.frame["runner"] != "checkpoint_reentrant"].set_index(["runner", "mode"])["message"]
    assert len(said) == 8
    assert said.xs("RR", level="mode").str.contains("When use_reentrant=True, torch.utils.checkpoint").all()
    forward = said.xs("F", level="mode").drop("create_graph")
    assert forward.str.contains("setup_context staticmethod|implement the jvp function").all()
