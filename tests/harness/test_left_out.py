"""A leaf in several places, modules in a list, and a leaf that is out of reach, which is said to be left out."""

import contextvars

import pytest
import torch
from gradwitness.harness import check
from torch import nn

F64 = torch.float64


def leaf():
    return torch.tensor([0.5, -1.5, 2.0], dtype=F64, requires_grad=True)


class Twice(nn.Module):
    """A module that keeps a registered parameter in a list and in a tuple too."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(leaf().detach())
        self.rows, self.pair = [self.w], (self.w, 1)

    def forward(self, x):
        return x * self.rows[0] * self.w * self.pair[0]


def test_a_parameter_is_moved_in_every_place_of_it():
    model = Twice()
    pair = model.pair
    result = check(
        model,
        torch.tensor([1.0, 2.0, 3.0], dtype=F64),
        modes=("R", "F", "RF", "FF"),
        runners=("autograd", "func"),
        dtypes=("float64", "float32"),
    )
    assert result.verdict == "agree", result.explain()
    whole = result.frame[(result.frame["program"] == "whole") & (result.frame["runner"] == "autograd")]
    assert set(whole["wrt"][whole["mode"] == "R"]) == {"x", "w"}
    assert model.rows[0] is model.w and model.pair is pair


def test_one_leaf_in_two_places_is_moved_in_both():
    w = leaf()
    one, other = (w,), [w]
    result = check(lambda x: x * one[0] * other[0], torch.tensor([1.0, 2.0, 3.0], dtype=F64), modes=("R", "F", "RR"))
    assert result.verdict == "agree", result.explain()
    assert one[0] is w and other[0] is w


def test_modules_in_a_list_that_no_module_registers_are_differentiated():
    class Stacked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(3, 2, dtype=F64)]

        def forward(self, x):
            return self.layers[0](x)

    result = check(Stacked(), torch.tensor([1.0, 2.0, 3.0], dtype=F64), modes=("R", "F"))
    assert result.verdict == "agree", result.explain()
    assert {"module_layers_item0.weight", "module_layers_item0.bias"} <= set(result.frame["wrt"].dropna())


CONTEXT = contextvars.ContextVar("w")


def test_a_leaf_out_of_reach_is_said_to_be_left_out():
    CONTEXT.set(leaf())
    result = check(lambda x: x * CONTEXT.get(), torch.tensor([1.0, 2.0, 3.0], dtype=F64), modes=("R", "F"))
    assert result.verdict == "unsupported"
    ((name, text),) = result.unsupported.items()
    assert name.startswith("a leaf tensor of shape (3,), first used at ") and "test_left_out.py" in name
    assert "pass it as an argument" in text
    assert (result.frame["verdict"] == "unsupported").sum() == 1


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x * CONTEXT.get().detach(),
        lambda x: x * torch.tensor([1.0, 2.0, 3.0], dtype=F64, requires_grad=True),
        lambda x: x * nn.Parameter(torch.ones(3, dtype=F64)),
        lambda x: nn.Linear(3, 2, dtype=F64)(x),
        lambda x: torch.func.grad(lambda a: (a**3).sum())(x),
    ],
    ids=["detached", "made inside", "a parameter made inside", "a module made inside", "a derivative inside"],
)
def test_what_is_made_inside_or_gathers_no_gradient_is_not_left_out(fn):
    CONTEXT.set(leaf())
    result = check(fn, torch.tensor([1.0, 2.0, 3.0], dtype=F64))
    assert result.verdict == "agree", result.explain()


def test_parameters_that_wrt_leaves_out_are_not_said_to_be_out_of_reach():
    result = check(nn.Linear(3, 2, dtype=F64), torch.tensor([1.0, 2.0, 3.0], dtype=F64), wrt=["weight"])
    assert result.verdict == "agree" and not result.unsupported


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: torch.jit.script(nn.Linear(3, 2, dtype=F64)), {"weight", "bias"}),
        (lambda: nn.RNN(3, 2, bias=False, dtype=F64), {"weight_ih_l0", "weight_hh_l0"}),
    ],
    ids=["script", "flat weights"],
)
def test_what_pytorch_s_own_modules_note_of_their_parameters_gives_no_further_names(make, names):
    result = check(make(), torch.ones(4, 3, dtype=F64))
    whole = result.frame[result.frame["program"] == "whole"]
    assert set(whole["wrt"]) == {"input", *names}
