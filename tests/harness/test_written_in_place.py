"""Backwards that write into what is not their own: named where somebody else met the numbers, mentioned where nobody
did; their siblings that write into a clone of their own are right."""

import pytest
import torch
from gradwitness.harness import GradientMismatch, assert_gradients, check
from torch.utils.checkpoint import checkpoint

POINT = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
MATRIX = torch.tensor([[0.5, 1.0, 2.0], [0.3, -0.1, 0.7]], dtype=torch.float64)
WROTE = "written in place:"


def function(name, forward, backward):
    """A custom Function of one tensor, which it saves."""

    class Made(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return forward(x)

    Made.backward = staticmethod(backward)
    return type(name, (Made,), {})


def doubling_in_place(ctx, g):
    return g.mul_(2)


def doubling_a_clone(ctx, g):
    return g.clone().mul_(2)


def line_of(written):
    return __file__, written.__code__.co_firstlineno


def said(result):
    """What the rows say of writes."""
    return [m for m in result.frame["message"].dropna() if m.startswith(WROTE)]


Doubled = function("Doubled", lambda x: 2 * x, doubling_in_place)
Cloning = function("Cloning", lambda x: 2 * x, doubling_a_clone)


def beside_a_leaf(f):
    return lambda x: f.apply(x) + x


def beside_an_operation(f):
    return lambda x: x.sin() + f.apply(x.exp())


def beside_a_sum(f):
    def fn(x):
        s = x.sin()
        c = s.cos()  # sends its part to s after f has written into the other one
        return (s + f.apply(x.exp())) * x + c

    return fn


def behind_a_view(f):
    return lambda x: x.sin() + f.apply(x.exp().reshape(3, 1)).reshape(3)


def in_a_part(f):
    def fn(x):
        ends = torch.cat([x.sin(), f.apply(x.cos())])
        return torch.stack([x.exp(), x.tanh()]).reshape(ends.shape) + ends

    return fn


SHARING = [beside_a_leaf, beside_an_operation, beside_a_sum, behind_a_view]


@pytest.mark.parametrize("graph", SHARING, ids=lambda g: g.__name__)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.complex128], ids=str)
def test_a_backward_that_writes_into_a_gradient_that_others_are_given_is_named(graph, dtype):
    result = check(graph(Doubled), POINT.to(dtype))
    c = result.culprit
    assert result.verdict == "mismatch" and c.kind == "custom Function" and c.operation == "DoubledBackward"
    assert (c.file, c.line) == line_of(doubling_in_place)
    assert c.torch_value == 2 * c.reference_value  # what it left there, and what it was given
    assert len(c.entry) == (2 if graph is behind_a_view else 1) and bool(c.part) == dtype.is_complex
    assert any("another part of the graph was given the same tensor" in m for m in said(result))
    whole = result.frame[result.frame["program"] == "whole"]
    assert set(whole["verdict"]) == {"mismatch"}
    rules = result.frame[result.frame["program"].str.startswith("aten::")]
    assert set(rules["verdict"]) == {"agree"}  # no rule is accused
    text = result.explain()
    assert "Return a new tensor, or write into a clone" in text and f"called at {c.called}" in text


@pytest.mark.parametrize("graph", [*SHARING, in_a_part], ids=lambda g: g.__name__)
def test_a_backward_that_writes_into_a_clone_is_right(graph):
    result = check(graph(Cloning), POINT)
    assert result.verdict == "agree" and not said(result)


def test_a_part_of_a_gradient_that_others_are_given_is_enough():
    assert check(in_a_part(Doubled), POINT).verdict == "agree"  # what is given the whole comes first

    def fn(x):
        ends = torch.stack([x.exp(), x.tanh()]).reshape(-1)
        return ends + torch.cat([x.sin(), Doubled.apply(x.cos())])

    result = check(fn, POINT)
    assert result.verdict == "mismatch" and result.culprit.operation == "DoubledBackward"


def test_a_gradient_in_another_layout_is_the_same_tensor():
    result = check(lambda x: x.sin() + Doubled.apply(x.exp().t()).t(), MATRIX)
    assert result.verdict == "mismatch" and result.culprit.operation == "DoubledBackward"


def test_another_leaf_that_is_given_the_same_gradient_is_enough():
    result = check(lambda a, b: Doubled.apply(a) + b, (POINT, POINT.clone()))
    f = result.frame[result.frame["program"] == "whole"].set_index("wrt")["verdict"]
    assert f["a"] == "agree" and f["b"] == "mismatch" and result.culprit.operation == "DoubledBackward"


@pytest.mark.parametrize(
    "fn",
    [Doubled.apply, lambda x: Doubled.apply(x).sin().sum(), lambda x: Doubled.apply(x.exp()) + x.sin()],
    ids=["alone", "in a chain", "after the others"],
)
def test_a_write_that_nobody_meets_is_right_here_and_said(fn):
    result = check(fn, POINT)
    assert result.verdict == "agree" and result.culprit is None
    (message,) = said(result)
    assert "nothing else met these numbers here" in message and message in result.explain()


def test_of_two_that_write_the_one_that_others_met_is_named():
    def fn(x):
        harmless = Doubled.apply(1.5 * x) * x
        b = x.sin()
        harmful = Doubled.apply(x.exp())
        return (b + harmful) * harmless

    result = check(fn, POINT)
    assert result.culprit.called == f"{__file__}:{fn.__code__.co_firstlineno + 3}"
    f = result.frame[result.frame["program"] == "DoubledBackward"]
    writes = f[f["message"].str.startswith(WROTE).fillna(False)].set_index("wrt")["verdict"]
    assert dict(writes) == {result.culprit.called: "mismatch", f"{__file__}:{fn.__code__.co_firstlineno + 1}": "agree"}


def test_two_that_write_into_one_gradient_are_at_fault_together():
    def fn(x):
        b, c, d = x.sin(), Doubled.apply(x.exp()), Doubled.apply(x.cos())
        return b + c + d

    result = check(fn, POINT)
    assert result.verdict == "mismatch" and result.culprit.operation == "DoubledBackward"


def test_a_wrong_rule_stays_the_culprit_beside_a_write_that_nobody_meets():
    wrong = function("Wrong", torch.square, lambda ctx, g: 3 * ctx.saved_tensors[0] * g)
    result = check(lambda x: Doubled.apply(wrong.apply(x)), POINT)
    assert result.culprit.operation == "WrongBackward" and len(said(result)) == 1


@pytest.mark.parametrize("mode", ["RR", "RRR"])
def test_it_is_named_in_modes_of_higher_order_as_what_is_wrong_in_the_first(mode):
    result = check(beside_an_operation(Doubled), POINT, modes=[mode])
    assert result.verdict == "mismatch" and result.culprit.operation == "DoubledBackward"


@pytest.mark.parametrize("reentrant", [False, True])
def test_it_is_named_inside_a_checkpoint_too(reentrant):
    def fn(x, f=Doubled):
        s = x.sin()
        return s + checkpoint(lambda y: f.apply(y.exp()), x, use_reentrant=reentrant)

    result = check(fn, POINT)
    assert result.verdict == "mismatch" and result.culprit.operation == "DoubledBackward"
    assert result.culprit.line == line_of(doubling_in_place)[1]
    assert check(lambda x: fn(x, Cloning), POINT).verdict == "agree"


def tripling_what_it_saved(ctx, g):
    (x,) = ctx.saved_tensors
    slope = 2 * x
    x.mul_(3)
    return slope * g


def tripling_unseen(ctx, g):
    (x,) = ctx.saved_tensors
    slope = 2 * x
    x.data.mul_(3)
    return slope * g


def tripling_its_own(ctx, g):
    (x,) = ctx.saved_tensors
    slope = 2 * x
    x.clone().mul_(3)
    return slope * g


SAVED = [tripling_what_it_saved, tripling_unseen]


def squared(backward):
    return function("Squared", torch.square, backward)


def saved_by_its_maker(f):
    def fn(x):
        y = x.exp()  # whose rule needs its result
        return f.apply(y)

    return fn


def saved_by_another(f):
    def fn(x):
        y = 1.5 * x
        return y.sin() + f.apply(y)

    return fn


def saved_by_a_function(f):
    right = function("Right", torch.square, tripling_its_own)

    def fn(x):
        y = 1.5 * x
        return right.apply(y) + f.apply(y)

    return fn


def of_a_leaf(f):
    return lambda x: x.sin() + f.apply(x)


@pytest.mark.parametrize("backward", SAVED, ids=lambda b: b.__name__)
@pytest.mark.parametrize(
    "graph", [saved_by_its_maker, saved_by_another, saved_by_a_function, of_a_leaf], ids=lambda g: g.__name__
)
def test_a_backward_that_writes_into_what_it_saved_is_named_and_no_rule(graph, backward):
    x = POINT.clone()
    result = check(graph(squared(backward)), x)
    c = result.culprit
    assert result.verdict == "mismatch" and c.kind == "custom Function" and c.operation == "SquaredBackward"
    assert (c.file, c.line) == line_of(backward)
    assert c.torch_value == pytest.approx(3 * c.reference_value, rel=1e-15)  # one product
    assert "tensor 0 of those that it saved" in said(result)[0]
    assert torch.equal(x, POINT)
    with pytest.raises(GradientMismatch, match="SquaredBackward"):
        assert_gradients(graph(squared(backward)), x)


@pytest.mark.parametrize(
    "graph", [saved_by_its_maker, saved_by_another, saved_by_a_function, of_a_leaf], ids=lambda g: g.__name__
)
def test_a_backward_that_writes_into_a_clone_of_what_it_saved_is_right(graph):
    result = check(graph(squared(tripling_its_own)), POINT)
    assert result.verdict == "agree" and not said(result)


@pytest.mark.parametrize("backward", SAVED, ids=lambda b: b.__name__)
def test_a_write_into_what_nobody_else_needs_is_right_here_and_said(backward):
    result = check(lambda x: squared(backward).apply(1.5 * x), POINT)
    assert result.verdict == "agree" and len(said(result)) == 1


def test_a_gradient_that_is_returned_in_the_memory_of_what_was_saved_is_the_one_that_is_judged():
    class Exponential(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            return ctx.saved_tensors[0].data.mul_(g)

    result = check(lambda x: Exponential.apply(x), POINT)
    assert result.verdict == "agree" and len(said(result)) == 1
    result = check(lambda x: Exponential.apply(x).square(), POINT)  # whose rule runs before
    assert result.verdict == "agree"


def test_a_parameter_that_a_backward_writes_into_is_named_and_put_back():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(POINT.clone())

        def forward(self, x):
            return squared(tripling_what_it_saved).apply(self.weight) * x

    model = Scaled()
    result = check(model, POINT)
    assert result.verdict == "mismatch" and result.culprit.operation == "SquaredBackward"
    assert "the memory of weight" in said(result)[0] and torch.equal(model.weight, POINT)


def test_what_is_saved_by_way_of_hooks_is_asked_for_but_once():
    unpacked = []

    def fn(x):
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: unpacked.append(1) or t):
            return squared(tripling_its_own).apply(1.5 * x)

    assert check(fn, POINT).verdict == "agree"
    assert check(lambda x: checkpoint(fn, x, use_reentrant=False), POINT).verdict == "agree"
    assert unpacked
