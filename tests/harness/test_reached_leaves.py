"""Leaf tensors that no module has registered are differentiated too, wherever the callable reaches them."""

import functools

import pytest
import torch
from gradwitness.harness import check
from torch import nn

F64 = torch.float64


class TwiceInTheSecond(torch.autograd.Function):
    """a b, with a backward that doubles the gradient of b."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return g * b, 2 * g * a


def leaf():
    return torch.tensor([0.5, -1.5, 2.0], dtype=F64, requires_grad=True)


GLOBAL = leaf()


def by_global(x):
    return TwiceInTheSecond.apply(x, GLOBAL)


def by_closure():
    w = leaf()
    return lambda x: TwiceInTheSecond.apply(x, w)


def by_default():
    def fn(x, w=leaf()):  # noqa: B008 - a default that is a tensor is what is tried
        return TwiceInTheSecond.apply(x, w)

    return fn


class Holder:
    """A callable object with a tensor of its own."""

    def __init__(self):
        self.w = leaf()

    def __call__(self, x):
        return TwiceInTheSecond.apply(x, self.w)


class Listed(nn.Module):
    """A module that keeps a parameter in a list, where it is not registered."""

    def __init__(self):
        super().__init__()
        self.rows = [nn.Parameter(leaf().detach())]
        self.linear = nn.Linear(3, 3, dtype=F64)

    def forward(self, x):
        return TwiceInTheSecond.apply(self.linear(x), self.rows[0])


class Plain(nn.Module):
    """A module with a leaf tensor as a plain attribute."""

    def __init__(self):
        super().__init__()
        self.w = leaf()

    def forward(self, x):
        return TwiceInTheSecond.apply(x, self.w)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: by_global, "GLOBAL"),
        (by_closure, "w"),
        (by_default, "default"),
        (Holder, "w"),
        (lambda: Holder().__call__, "w"),
        (Listed, "module_rows_item0"),
        (Plain, "module_w"),
    ],
    ids=["global", "closure", "default", "object", "method", "list", "attribute"],
)
def test_a_wrong_gradient_of_a_leaf_that_is_not_registered_is_found(make, name):
    result = check(make(), torch.tensor([1.0, 2.0, 3.0], dtype=F64))
    assert result.verdict == "mismatch"
    assert result.culprit.operation == "TwiceInTheSecondBackward"
    rows = result.frame[result.frame["program"] == "whole"]
    assert rows.set_index("wrt")["verdict"].to_dict()[name] == "mismatch"
    assert (rows["verdict"] == "mismatch").sum() == 1


def test_a_leaf_that_a_partial_holds_is_differentiated_and_put_back():
    w = leaf()
    fn = functools.partial(torch.mul, w)
    result = check(fn, torch.tensor([1.0, 2.0, 3.0], dtype=F64), modes=("R", "F", "RR", "FR", "RF", "FF"))
    assert result.verdict == "agree", result.explain()
    assert set(result.frame["wrt"][result.frame["program"] == "whole"]) >= {"input0", "argument0"}
    assert fn.args[0] is w and w.grad is None


def test_every_mode_moves_a_leaf_in_a_closure_and_puts_it_back():
    w = leaf()

    def fn(x):
        return (x * w).sin() * w

    cell = fn.__closure__[0]
    result = check(
        fn,
        torch.tensor([1.0, 2.0, 3.0], dtype=F64),
        modes=("R", "F", "RR", "FR", "RF", "FF"),
        runners=("autograd", "func", "checkpoint", "vmap"),
    )
    assert set(result.frame["verdict"]) == {"agree"}, result.explain()
    assert cell.cell_contents is w


def test_a_name_that_is_only_an_attribute_is_no_global():
    result = check(Holder(), torch.tensor([1.0, 2.0, 3.0], dtype=F64))
    assert list(result.frame["wrt"][result.frame["program"] == "whole"]) == ["x", "w"]


w = leaf()  # Holder names it as an attribute alone


def by_dictionary():
    parameters = {"layer.weight": leaf(), "layer_weight": leaf()}
    return lambda x: x * parameters["layer.weight"] + parameters["layer_weight"]


def beside_a_module():
    w = nn.Linear(3, 3, dtype=F64)
    inner = by_product(leaf())
    return lambda x: inner(w(x))


def by_product(w):
    return lambda x: x * w


def by_the_name_of_an_attribute_of_ours():
    places = leaf()
    return lambda x: x * places


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (by_dictionary, {"layer_weight", "layer_weight_1"}),
        (beside_a_module, {"w", "w_1.weight", "w_1.bias"}),
        (by_the_name_of_an_attribute_of_ours, {"places"}),
    ],
    ids=["dots", "module", "places"],
)
def test_a_leaf_may_bear_any_name_and_that_of_another_part(make, names):
    result = check(make(), torch.tensor([1.0, 2.0, 3.0], dtype=F64), modes=("R", "F", "RR"))
    assert set(result.frame["verdict"]) == {"agree"}, result.explain()
    whole = result.frame[(result.frame["program"] == "whole") & (result.frame["mode"] == "R")]
    assert set(whole["wrt"]) == {"x", *names}
