"""Hooks that write into a gradient that they are given: named; their siblings that write into a clone are right."""

import pytest
import torch
from gradwitness.harness import check

POINT = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)


def line_of(written):
    return __file__, written.__code__.co_firstlineno


def writing(g):
    g.mul_(2)


def writing_and_handing_on(g):
    g.mul_(2)
    return g / 2


def on_a_tensor(hook):
    def fn(x):
        b = x.sin()
        a = x.exp()
        a.register_hook(hook)
        return (a + b) * 3

    return fn


@pytest.mark.parametrize("hook", [writing, writing_and_handing_on], ids=lambda h: h.__name__)
def test_a_tensor_hook_that_writes_into_what_it_is_given_is_named(hook):
    result = check(on_a_tensor(hook), POINT)
    c = result.culprit
    assert result.verdict == "mismatch" and c.kind == "hook" and c.operation == f"hook {hook.__name__}"
    assert (c.file, c.line) == line_of(hook) and c.torch_value == 2 * c.reference_value
    assert "it wrote into what it was given" in result.explain()
    assert (result.frame.query("program == 'whole'")["verdict"] == "mismatch").all()


def writing_into_a_clone(g):
    g.clone().mul_(2)


def handing_on_a_clone(g):
    return g.clone().mul_(2) / 2


@pytest.mark.parametrize("hook", [writing_into_a_clone, handing_on_a_clone], ids=lambda h: h.__name__)
def test_a_tensor_hook_that_writes_into_a_clone_is_right(hook):
    assert check(on_a_tensor(hook), POINT).verdict == "agree"


def writing_to_input(module, to_input, to_output):
    to_input[0].mul_(2)


def writing_to_output(module, to_input, to_output):
    to_output[0].mul_(2)


def writing_to_a_clone(module, to_input, to_output):
    to_output[0].clone().mul_(2)
    return tuple(g.clone().mul_(2).div_(2) for g in to_input)


def writing_before(module, to_output):
    to_output[0].mul_(2)


class Residual(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Tanh()

    def forward(self, x):
        y = x.sin()
        return y + self.inner(x.exp())


@pytest.mark.parametrize("hook", [writing_to_input, writing_to_output], ids=lambda h: h.__name__)
def test_a_module_hook_that_writes_into_a_gradient_is_named(hook):
    model = Residual()
    model.inner.register_full_backward_hook(hook)
    c = check(model, POINT).culprit
    assert (c.kind, c.operation) == ("hook", f"hook {hook.__name__}") and (c.file, c.line) == line_of(hook)
    assert c.torch_value == 2 * c.reference_value


def test_a_module_hook_on_arrival_that_writes_is_named_and_one_on_clones_is_right():
    model = Residual()
    handle = model.inner.register_full_backward_pre_hook(writing_before)
    assert check(model, POINT).culprit.operation == "hook writing_before"
    handle.remove()
    model.inner.register_full_backward_hook(writing_to_a_clone)
    assert check(model, POINT).verdict == "agree"


def test_a_hook_of_a_node_that_writes_into_what_the_node_received_is_named():
    def on_the_node(sent, received):
        received[0].mul_(2)

    def fn(x):
        b = x.sin()
        a = x.exp()
        a.grad_fn.register_hook(on_the_node)
        return (a + b) * 3

    c = check(fn, POINT).culprit
    assert c.kind == "hook" and c.operation.endswith("on_the_node") and c.torch_value == 2 * c.reference_value
