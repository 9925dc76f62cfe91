"""Leaf tensors that no module has registered are differentiated too, wherever the callable reaches them."""

import collections
import dataclasses
import functools
import types
from typing import NamedTuple

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


class Pair(NamedTuple):
    """A callable named tuple."""

    w: torch.Tensor
    factor: float = 1.0

    def __call__(self, x):
        return TwiceInTheSecond.apply(x, self.w)


class Slotted:
    """A callable object without a dictionary."""

    __slots__ = ("__private", "empty")

    def __init__(self):
        self.__private = leaf()

    def __call__(self, x):
        return TwiceInTheSecond.apply(x, self.__private)


@dataclasses.dataclass
class Record:
    w: torch.Tensor


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    w: torch.Tensor


class OfTheClass:
    """Callable objects with a tensor of all of them, which a method of theirs takes."""

    w = leaf()

    def __call__(self, x):
        return self.times(x)

    def times(self, x):
        return TwiceInTheSecond.apply(x, self.w)


class ByHelp(nn.Module):
    """A module whose forward calls a method that takes a global tensor inside a generator."""

    def forward(self, x):
        return self.help(x)

    def help(self, x):
        return sum(TwiceInTheSecond.apply(x, w) for w in (GLOBAL,))


class Keeping(nn.Module):
    """A module with a value as a plain attribute, and how it takes a tensor from it."""

    def __init__(self, value, take):
        super().__init__()
        self.value, self.take = value, take

    def forward(self, x):
        return TwiceInTheSecond.apply(x, self.take(self.value))


def holding(value, take):
    return lambda x: TwiceInTheSecond.apply(x, take(value))


def first(value):
    return next(iter(value))


def attribute(value):
    return value.w


VALUES = {
    "tuple": (lambda: (leaf(), 2.0), first, "item0"),
    "list": (lambda: [leaf()], first, "item0"),
    "set": (lambda: {leaf()}, first, "item0"),
    "frozen set": (lambda: frozenset({leaf()}), first, "item0"),
    "deque": (lambda: collections.deque([leaf()]), first, "item0"),
    "dictionary": (lambda: {"w": leaf()}, lambda v: v["w"], "w"),
    "read-only dictionary": (lambda: types.MappingProxyType({"w": leaf()}), lambda v: v["w"], "w"),
    "named tuple": (lambda: Pair(leaf()), attribute, "w"),
    "what torch.max returns": (lambda: torch.return_types.max((leaf(), torch.tensor(0))), first, "item0"),
    "dataclass": (lambda: Record(leaf()), attribute, "w"),
    "frozen dataclass with slots": (lambda: Frozen(leaf()), attribute, "w"),
    "nested": (lambda: ({"rows": [(leaf(),)]},), lambda v: v[0]["rows"][0][0], "item0"),
    "object in a list": (lambda: [Frozen(leaf())], lambda v: v[0].w, "w"),
}


def only_one_is_wrong(fn, modes=("R",)):
    """The name of the one leaf whose gradient is wrong, beside x, whose gradient is right."""
    result = check(fn, torch.tensor([1.0, 2.0, 3.0], dtype=F64), modes=modes)
    rows = result.frame[(result.frame["program"] == "whole") & (result.frame["mode"] == "R")].set_index("wrt")
    assert rows["verdict"].to_dict().pop("x") == "agree"
    ((name, verdict),) = [(n, v) for n, v in rows["verdict"].items() if n != "x"]
    assert verdict == "mismatch"
    return name


@pytest.mark.parametrize("kind", list(VALUES))
@pytest.mark.parametrize("holder", [holding, Keeping])
def test_a_leaf_in_a_container_or_an_object_is_differentiated(kind, holder):
    make, take, name = VALUES[kind]
    assert only_one_is_wrong(holder(make(), take)).endswith(name)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Pair(leaf()), "w"),
        (lambda: Pair(leaf()).__call__, "w"),
        (Slotted, "_Slotted__private"),
        (lambda: Slotted().__call__, "_Slotted__private"),
        (OfTheClass, "w"),
        (ByHelp, "module_GLOBAL"),
        (lambda: functools.partial(lambda v, x: TwiceInTheSecond.apply(x, v[0]), (leaf(),)), "item0"),
    ],
    ids=["named tuple", "its method", "slots", "method with slots", "class", "forward", "tuple in a partial"],
)
def test_a_leaf_of_a_callable_object_is_differentiated_wherever_it_keeps_it(make, name):
    assert only_one_is_wrong(make()) == name


@pytest.mark.parametrize("kind", list(VALUES))
def test_every_mode_moves_it_there_and_puts_back_what_was_there(kind):
    make, take, _ = VALUES[kind]
    value = make()
    w = take(value)

    def fn(x):
        return (x * take(value)).sin()

    cell = fn.__closure__[fn.__code__.co_freevars.index("value")]
    result = check(fn, torch.tensor([1.0, 2.0, 3.0], dtype=F64), modes=("R", "F", "RF"), runners=("autograd", "func"))
    assert result.verdict == "agree", result.explain()
    assert cell.cell_contents is value and take(value) is w
