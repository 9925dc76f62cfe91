"""A check leaves no trace on a model: tensors, gradients, flags, hooks, attributes and random state, bit for bit."""

import random

import numpy as np
import pytest
import torch
from families import families
from gradwitness.harness import check

FAMILIES = families()
HOOKS_OF_MODULE = (
    "_forward_hooks _forward_pre_hooks _forward_hooks_with_kwargs _forward_hooks_always_called _backward_hooks "
    "_backward_pre_hooks _forward_pre_hooks_with_kwargs _state_dict_hooks"
).split()


def hooks_of(t):
    names = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return [list((getattr(t, name, None) or {}).items()) for name in names]


def bits(t):
    return None if t is None else (t.dtype, tuple(t.shape), t.stride(), t.detach().contiguous().numpy().tobytes())


def state_of(model):
    """Everything of a model that a check could change, with identities."""
    modules = [
        (
            id(m),
            type(m),
            m.training,
            sorted(m.__dict__),
            [(name, id(getattr(m, name)), list(getattr(m, name).items())) for name in HOOKS_OF_MODULE],
            [(name, id(part)) for name, part in (*m._parameters.items(), *m._buffers.items(), *m._modules.items())],
            [(k, v) for k, v in sorted(m.__dict__.items()) if isinstance(v, (int, float, str, bool, type(None)))],
        )
        for m in model.modules()
    ]
    tensors = [
        (name, id(t), bits(t), t.requires_grad, id(t.grad), bits(t.grad), hooks_of(t))
        for name, t in (*model.named_parameters(), *model.named_buffers())
    ]
    return modules, tensors


def random_state():
    name, keys, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), (name, keys.tolist(), rest), random.getstate()


def surroundings():
    """What belongs to no model: modes of gradients, autocast and determinism, default dtype, hooks for all modules."""
    hooks = torch.nn.modules.module
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.is_autocast_cache_enabled(),
        torch.is_anomaly_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch._C._autograd._saved_tensors_hooks_is_enabled(),
        len(torch.utils._python_dispatch._get_current_dispatch_mode_stack()),
        len(torch.overrides._get_current_function_mode_stack()),
        [(name, list(getattr(hooks, name).items())) for name in sorted(vars(hooks)) if name.endswith("_hooks")],
        torch.autograd.Function.apply,
        torch._functorch.utils.unwrap_dead_wrappers,
    )


def everything(model):
    """The state of a model, random numbers and surroundings."""
    return state_of(model), random_state(), surroundings()


def in_the_middle_of_training(model):
    """Gradients from a step, a frozen parameter, a part in eval mode, hooks of every kind; returns what hooks saw."""
    seen = []
    parameters = [p for p in model.parameters() if p.requires_grad]
    for i, p in enumerate(parameters):
        p.grad = torch.full_like(p, 0.5 + i)
    parameters[-1].grad = None
    if len(parameters) > 2:
        parameters[1].requires_grad_(False)
    list(model.modules())[-1].eval()
    parameters[0].register_hook(lambda g: seen.append(g.shape))
    parameters[0].register_post_accumulate_grad_hook(lambda p: None)
    model.register_forward_hook(lambda m, given, result: None)
    next(iter(model.children())).register_forward_pre_hook(lambda m, given: None)
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_a_check_leaves_no_trace_on_a_model(family):
    model, inputs = FAMILIES[family]()
    in_the_middle_of_training(model)
    given = [bits(x) if isinstance(x, torch.Tensor) else x for x in inputs]
    torch.manual_seed(3), np.random.seed(4), random.seed(5)
    model_before, random_before, around = state_of(model), random_state(), surroundings()
    result = check(model, inputs, dtypes=("float32", "float64"))
    assert result.verdict in ("agree", "inaccurate"), result.explain()
    assert random_state() == random_before and surroundings() == around
    for before, after in zip(model_before, state_of(model), strict=True):
        for was, now in zip(before, after, strict=True):
            assert was == now
    assert [bits(x) if isinstance(x, torch.Tensor) else x for x in inputs] == given


@pytest.mark.parametrize("modes", [("F",), ("RR", "FR"), ("RF", "FF")])
@pytest.mark.parametrize("family", ["mlp", "cnn", "u_net", "lstm", "transformer_encoder"])
def test_other_modes_leave_no_trace_either(family, modes):
    model, inputs = FAMILIES[family]()
    in_the_middle_of_training(model)
    before = everything(model)
    check(model, inputs, dtypes=("float64",), modes=modes)
    assert everything(model) == before


@pytest.mark.parametrize("runner", ["func", "checkpoint", "checkpoint_reentrant", "save_on_cpu", "create_graph"])
@pytest.mark.parametrize("family", ["mlp", "cnn", "transformer_encoder"])
def test_other_runners_leave_no_trace_either(family, runner):
    model, inputs = FAMILIES[family]()
    in_the_middle_of_training(model)
    before = everything(model)
    check(model, inputs, dtypes=("float64", "autocast"), runners=(runner,))
    assert everything(model) == before


@pytest.mark.campaign  # the compiler takes half a minute
def test_a_compiled_run_leaves_no_trace_either():
    model, inputs = FAMILIES["mlp"]()
    in_the_middle_of_training(model)
    before = everything(model)
    check(model, inputs, runners=("compile",))
    assert everything(model) == before


@pytest.mark.parametrize("mode", ["R", "F", "RR"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_raises_after_its_pass_is_put_back(family, mode):
    model, inputs = FAMILIES[family]()
    in_the_middle_of_training(model)
    model.register_forward_hook(raising)
    before = everything(model)
    result = check(model, inputs, dtypes=("float64",), modes=(mode,))
    assert result.verdict == "raised" and "after its pass" in result.explain(), result.explain()
    assert everything(model) == before


def raising(*args, **kwargs):
    raise RuntimeError("after its pass")


def test_a_backward_that_raises_leaves_no_trace():
    model, inputs = FAMILIES["mlp"]()
    in_the_middle_of_training(model)
    next(p for p in model.parameters() if p.requires_grad).register_hook(raising)
    before = everything(model)
    result = check(model, inputs)
    assert result.verdict == "raised" and everything(model) == before


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu")])
def test_what_the_caller_switched_stays_switched(around):
    model, inputs = FAMILIES["mlp"]()
    with around():
        before = everything(model)
        check(model, inputs)
        assert everything(model) == before


def test_a_model_whose_forward_leaves_traces_and_then_raises_is_put_back():
    class Leaving(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls, self.history = torch.nn.BatchNorm1d(3), 0, []
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x):
            self.calls += 1
            self.history.append(x)
            self.last = self.layer(x)
            self.mean.add_(1)
            self.eval()
            with torch.no_grad():
                self.layer.weight.mul_(2)
            self.layer.weight.register_hook(lambda g: g)
            if self.calls > 1:
                raise RuntimeError("a second call")
            return self.last

    model = Leaving()
    before = state_of(model)
    result = check(model, torch.randn(4, 3))
    assert state_of(model) == before and model.calls == 0 and model.history == [] and not hasattr(model, "last")
    assert result.frame is not None
