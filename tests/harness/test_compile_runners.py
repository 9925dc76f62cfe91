"""Runners under torch.compile: small functions, right and with a fault planted through the caller's configuration."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from custom_functions import with_every_rule
from gradwitness.harness import check
from gradwitness.harness.runners.compiling import FOLDER, apart, missing_compiler
from torch._dynamo import convert_frame
from torch._dynamo.backends.common import aot_autograd
from torch._functorch import config as functorch
from torch._functorch.aot_autograd import make_boxed_func
from torch._inductor import config as inductor

needs_compiler = pytest.mark.skipif(missing_compiler() is not None, reason=f"{missing_compiler()}")
COMPILED = ("compile", "compile_grad", "compile_jvp", "compile_vmap_grad")


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rows_of(result, runner: str, mode: str):
    f = result.frame
    return f[(f["runner"] == runner) & (f["mode"] == mode) & (f["program"] == "whole")]


@contextmanager
def cosines_compiled_as_sines() -> Iterator[None]:
    """A graph pass of the caller's that puts a sine where a graph has a cosine."""

    def swap(graph: torch.fx.Graph) -> None:
        for node in graph.nodes:
            if node.target is torch.ops.aten.cos.default:
                node.target = torch.ops.aten.sin.default

    with inductor.patch(post_grad_custom_post_pass=swap):
        yield


@needs_compiler
def test_each_compiled_runner_has_the_modes_of_its_outermost_derivative_and_agrees():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh()).double()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    result = check(model, numbers(2, 3), modes=("R", "FR"), runners=COMPILED)
    expressed = {("compile", "R"), ("compile_grad", "R"), ("compile_vmap_grad", "R"), ("compile_jvp", "FR")}
    for mode in ("R", "FR"):
        for runner in COMPILED:
            rows = rows_of(result, runner, mode)
            if (runner, mode) in expressed:
                assert set(rows["verdict"]) == {"agree"}, (runner, mode)
            else:
                assert list(rows["verdict"]) == ["unsupported"] and rows["message"].iloc[0]
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@needs_compiler
def test_a_second_derivative_outside_of_compiled_code_is_refused_in_pytorch_s_words():
    result = check(lambda x: torch.tanh(x).square().sum(), numbers(3), modes="RR", runners="compile")
    assert list(result.frame["verdict"]) == ["unsupported"]


@needs_compiler
@pytest.mark.parametrize(("runner", "mode"), [("compile", "R"), ("compile_grad", "R"), ("compile_jvp", "F")])
def test_a_graph_pass_that_spoils_the_derivative_is_found_and_the_compiler_is_the_culprit(runner, mode):
    x = numbers(3)
    with cosines_compiled_as_sines():
        result = check(lambda x: x.sin().sum(), x, modes=mode, runners=("autograd", runner))
    assert set(rows_of(result, "autograd", mode)["verdict"]) == {"agree"}
    wrong = rows_of(result, runner, mode).iloc[-1]
    assert wrong["verdict"] == "mismatch" and wrong["culprit"] == runner
    assert result.culprit.operation == runner and result.culprit.kind == "compiler"
    if mode == "R":
        assert wrong["torch_value"] == pytest.approx(float(x[result.culprit.entry].sin()), rel=1e-12)


@needs_compiler
def test_a_graph_pass_that_spoils_per_sample_gradients_is_found():
    with cosines_compiled_as_sines():
        result = check(lambda x: x.sin().sum(), numbers(3, 2), runners="compile_vmap_grad")
    assert list(result.frame["culprit"]) == ["compile_vmap_grad"]


class Straight(torch.autograd.Function):
    """Rounding with the tangent of the identity."""

    @staticmethod
    def forward(x):
        return x.round()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, g):
        return g

    @staticmethod
    def jvp(ctx, t):
        return t * 1


@needs_compiler
def test_compiled_code_that_drops_a_function_s_own_forward_rule_is_a_mismatch():
    result = check(lambda x: Straight.apply(x), torch.tensor([0.3, 1.7]).double(), modes="F", runners="compile_jvp")
    assert result.verdict == "mismatch" and result.culprit.operation == "compile_jvp"
    assert "drops that rule" in result.frame["message"].iloc[0]


@needs_compiler
def test_dropout_in_compiled_code_is_not_called_right_unless_the_caller_asks_for_eager_numbers():
    def masked(x):
        return torch.nn.functional.dropout(x.sin(), 0.5).sum()

    own = check(masked, numbers(8), runners=("compile", "compile_grad"))
    assert list(own.frame["verdict"]) == ["unsupported", "unsupported"]
    assert own.frame["message"].str.contains("random numbers of its own").all()
    with inductor.patch(fallback_random=True):
        assert check(masked, numbers(8), runners="compile").verdict == "agree"


@needs_compiler
def test_a_draw_whose_law_depends_on_the_input_has_no_gradient_along_its_path_to_contradict():
    result = check(lambda m: torch.normal(m, torch.ones_like(m)), numbers(4), runners="compile")
    assert list(result.frame["verdict"]) == ["unsupported"]
    assert "difference quotient" not in result.frame["message"].iloc[0]


@needs_compiler
@pytest.mark.parametrize("fn", [torch.nn.functional.soft_margin_loss, lambda x, t: torch.round(x, decimals=3) * t])
def test_a_formula_of_the_compiler_that_rounds_otherwise_than_the_kernel_is_no_mismatch(fn):
    x, t = torch.tensor([30.0, 5.5763]).double(), torch.tensor([1.0, -1.0]).double()
    assert check(fn, (x, t), wrt=[0], runners="compile").verdict in ("agree", "inaccurate")


@needs_compiler
def test_a_mask_drawn_anew_in_the_compiled_backward_contradicts_the_difference_quotient():
    with functorch.patch(activation_memory_budget=0.0):
        result = check(lambda x: torch.nn.functional.dropout(x.sin().exp(), 0.5), numbers(256), runners="compile")
    assert result.verdict == "mismatch" and result.culprit.operation == "compile"


TWINS = torch.tensor([-1e-30, 1e-30])  # inductor sums their squares to 0: pytorch/pytorch#197089


class Spread(torch.nn.Module):
    def forward(self, x):
        return x.std()


@needs_compiler
@pytest.mark.parametrize("how", ["function", "module", "compiled in place", "called by another"])
def test_what_the_caller_has_compiled_is_judged_compiled_too_and_stays_compiled(how):
    module, compiled = Spread(), torch.compile(lambda x: x.std())
    module.compile()
    fn = {
        "function": compiled,
        "module": torch.compile(Spread()),
        "compiled in place": module,
        "called by another": lambda x: compiled(x) * 1.0,
    }[how]
    result = check(fn, TWINS)
    assert dict(zip(result.frame["runner"], result.frame["verdict"], strict=True))["compile"] == "mismatch"
    assert set(result.frame.loc[result.frame["runner"] == "autograd", "verdict"]) == {"agree"}
    if how != "called by another":
        x = TWINS.clone().requires_grad_()
        assert float(torch.autograd.grad(fn(x), x)[0][1]) == 0.0  # eager code gives 0.7071


def cosines_become_sines(graph, inputs):
    """A backend for aot_autograd that is wrong."""
    for node in graph.graph.nodes:
        if node.target is torch.ops.aten.cos.default:
            node.target = torch.ops.aten.sin.default
    graph.recompile()
    return make_boxed_func(graph.forward)


@pytest.mark.parametrize("how", ["whole", "called by another", "a module's part"])
def test_a_part_with_a_backend_of_its_own_is_judged_as_that_backend_runs_it(how):
    backend = aot_autograd(fw_compiler=cosines_become_sines, bw_compiler=cosines_become_sines)
    part = torch.compile(lambda x: x.sin(), backend=backend)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Sequential(Sine()), torch.nn.Linear(2, 1)).double()
    model[1].compile(backend=backend)
    fn = {"whole": part, "called by another": lambda x: part(x) * 1.0, "a module's part": model}[how]
    result = check(fn, numbers(4, 3))
    assert result.verdict == "mismatch" and result.culprit.kind == "compiler"
    assert set(result.frame.loc[result.frame["runner"] == "autograd", "verdict"]) == {"agree"}


class Sine(torch.nn.Module):
    def forward(self, x):
        return x.sin()


@needs_compiler
def test_where_runners_are_named_what_is_compiled_is_said_to_have_run_as_written():
    result = check(torch.compile(lambda x: x.sin()), numbers(3), runners="autograd")
    assert result.verdict == "agree" and set(result.frame["runner"]) == {"autograd"}
    assert result.frame["message"].str.contains("ran as it is written").sum() == 1
    assert not check(torch.sin, numbers(3), runners="autograd").frame["message"].str.contains("as it is written").any()


@needs_compiler
def test_a_callable_that_dynamo_leaves_alone_is_not_called_compiled():
    result = check(torch._dynamo.disable(lambda x: x.sin().sum()), numbers(2), runners="compile")
    assert list(result.frame["verdict"]) == ["unsupported"]
    assert "compiled nothing" in result.frame["message"].iloc[0]


@needs_compiler
def test_the_caller_s_compiled_code_folder_and_settings_are_as_before():
    frames = []

    def backend(graph, inputs):
        frames.append(graph)
        return graph.forward

    def line(x):
        return (3.0 * x).sum()

    compiled = torch.compile(line, backend=backend)
    compiled(numbers(2))
    folder = os.environ.get(FOLDER)
    settings = inductor.fx_graph_cache, functorch.enable_autograd_cache, torch.is_grad_enabled()
    with torch.no_grad():
        assert check(line, numbers(2), runners="compile").verdict == "agree"
    compiled(numbers(2))
    assert len(frames) == 1  # nothing of theirs was compiled again
    assert os.environ.get(FOLDER) == folder
    assert (inductor.fx_graph_cache, functorch.enable_autograd_cache, torch.is_grad_enabled()) == settings


def test_without_a_compiler_there_is_one_row_a_mode_that_says_so(monkeypatch):
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        result = check(lambda x: x.sin().sum(), numbers(2), modes=("R", "F"), runners="compile")
    assert list(result.frame["verdict"]) == ["unsupported", "unsupported"]
    assert result.frame["message"].str.contains("C\\+\\+ compiler").all()


def test_a_folder_that_the_caller_named_is_left_in_place_and_another_is_used_where_none_was(monkeypatch):
    monkeypatch.setenv(FOLDER, "named-by-the-caller")
    with apart():
        assert os.environ[FOLDER] == "named-by-the-caller" and inductor.fx_graph_cache
    monkeypatch.delenv(FOLDER)
    with apart():
        assert os.path.isdir(os.environ[FOLDER]) and not inductor.fx_graph_cache
    assert FOLDER not in os.environ


# Dynamo breaks the graph at a `jvp`, and compiles what is around it function by function.
Halved = with_every_rule("Halved", lambda x: x / 2, lambda x: 0.5)


@needs_compiler
def test_a_verdict_does_not_depend_on_what_was_compiled_by_earlier_checks():
    def broken(x):
        return Halved.apply(x.sin()).sum()

    def asked(length: int, runner: str) -> list[str]:
        return list(check(broken, numbers(length), runners=runner).frame["verdict"])

    assert asked(3, "compile") == ["agree", "agree"]
    assert asked(3, "compile_grad") == ["agree"]  # a transform, within which nothing of the callable can be compiled
    with torch._dynamo.config.patch(recompile_limit=1):
        assert asked(4, "compile") == ["agree", "agree"]


@needs_compiler
def test_what_the_caller_has_compiled_stays_compiled_and_what_a_check_compiles_leaves_nothing_behind():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def cosine(x):
        return x.cos().sum()

    compiled = torch.compile(cosine, backend=backend)
    compiled(numbers(2))
    known = set(convert_frame.input_codes.seen_ids)
    for length in (3, 4):
        assert check(cosine, numbers(length), runners=("compile", "compile_grad")).verdict == "agree"
    assert convert_frame.input_codes.seen_ids == known
    compiled(numbers(2))
    assert len(graphs) == 1
    compiled(numbers(3))  # a second shape of the caller's, but the fourth for the check: dynamic is what they have seen
    assert len(graphs) == 2
    compiled(numbers(7))
    assert len(graphs) == 2


@needs_compiler
def test_deprecations_of_pytorch_s_own_code_are_no_errors_of_the_user_where_warnings_are():
    sine = with_every_rule("Sine", torch.sin, torch.cos)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as under pytest -W error; dynamo makes an instance of a custom Function
        result = check(sine.apply, numbers(3), runners=("compile", "compile_grad"))
    assert result.verdict == "agree"


@needs_compiler
def test_attention_without_dropout_draws_nothing_and_is_judged_where_it_is_compiled():
    x = numbers(2, 4, 8, 16)
    result = check(lambda x: torch.nn.functional.scaled_dot_product_attention(x, x, x), x, runners=("compile",))
    assert result.verdict == "agree"
