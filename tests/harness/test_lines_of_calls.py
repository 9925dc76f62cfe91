"""Of several calls of one custom Function the one that is wrong is named by the line of its `apply`, told apart from
the others."""

import inspect
import threading

import pytest
import torch
from custom_functions import with_backward
from gradwitness.harness import capture, check
from gradwitness.harness.recorder.applied import placed
from gradwitness.harness.recorder.source_lines import told_apart

POINT = torch.tensor([0.3, 0.7, 1.2], dtype=torch.float64)


class Cube(torch.autograd.Function):
    """x³, whose backward is wrong where it is told to be, and where x is above 2."""

    @staticmethod
    def forward(ctx, x, wrong=False):
        ctx.save_for_backward(x)
        ctx.factor = 3.3 if wrong else 3.0
        y = x * x
        return y * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return torch.where(x > 2, 3.3, ctx.factor) * x**2 * g, None


class CubeOfTransforms(torch.autograd.Function):
    """The same in the newer form, which transforms take too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, wrong=False):
        return x * x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])
        ctx.factor = 3.3 if inputs[1] else 3.0

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return ctx.factor * x**2 * g, None

    @staticmethod
    def jvp(ctx, t, _):
        (x,) = ctx.saved_tensors
        return ctx.factor * x**2 * t


class OnceCube(Cube):
    """Its backward leaves no graph."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return Cube.backward(ctx, g)


class NumpyCube(Cube):
    """Its forward leaves torch."""

    @staticmethod
    def forward(ctx, x, wrong=False):
        ctx.save_for_backward(x)
        ctx.factor = 3.3 if wrong else 3.0
        return torch.from_numpy(x.detach().numpy() ** 3)


class Around(torch.autograd.Function):
    """(x³ + x) by another Function, that runs inside of its forward."""

    @staticmethod
    def forward(ctx, x, wrong=False):
        ctx.save_for_backward(x)
        ctx.factor = 1.1 if wrong else 1.0
        return Cube.apply(x, False) + x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return ctx.factor * (3.0 * x**2 + 1.0) * g, None


class WithGraph(torch.autograd.Function):
    """x³ with a graph of its own, that its backward goes through: a part that the recording does not follow."""

    @staticmethod
    def forward(ctx, x, wrong=False):
        with torch.enable_grad():
            ctx.x = x.detach().requires_grad_()
            ctx.y = Cube.apply(ctx.x, wrong)
        return ctx.y.detach()

    @staticmethod
    def backward(ctx, g):
        return torch.autograd.grad(ctx.y, ctx.x, g, retain_graph=True)[0], None


def lines(fn):
    """Text of a line of a function -> its place."""
    text, first = inspect.getsourcelines(fn)
    return {line.strip(): f"{__file__}:{first + i}" for i, line in enumerate(text)}


@pytest.mark.parametrize("function", [Cube, CubeOfTransforms, OnceCube, Around], ids=lambda f: f.__name__)
@pytest.mark.parametrize("wrong", ["first", "second"])
def test_of_two_calls_the_wrong_one_is_named_by_the_line_of_its_apply(function, wrong):
    def fn(x):
        a = function.apply(x, wrong == "first")
        b = function.apply(x.sin(), wrong == "second")
        return a * b

    result = check(fn, POINT)
    text = f"{'a' if wrong == 'first' else 'b'} = function.apply("
    place = next(place for line, place in lines(fn).items() if line.startswith(text))
    assert result.verdict == "mismatch" and result.culprit.called == place
    assert result.culprit.file == __file__ and result.culprit.operation == f"{function.__name__}Backward"
    assert f"in {function.__name__}Backward at {place}, argument 0" in result.explain()
    assert f"called at {place}" in result.explain()
    f = result.frame
    assert set(f.loc[f["culprit"].notna(), "wrt"]) <= {f"{place}, argument 0", "x"}


def test_right_calls_are_not_accused():
    assert check(lambda x: Cube.apply(x) * Cube.apply(x.sin()), POINT).verdict == "agree"


def test_a_call_that_is_wrong_at_its_numbers_alone_is_told_from_one_at_others():
    def fn(x):
        small = Cube.apply(x)
        large = Cube.apply(x + 2.0)
        return small * large

    assert check(fn, POINT).culprit.called == lines(fn)["large = Cube.apply(x + 2.0)"]
    assert check(fn, POINT - 3.0).verdict == "agree"


@pytest.mark.parametrize("mode", ["F", "RR", "FR", "RF"])
def test_the_line_is_named_in_other_modes_too(mode):
    def fn(x):
        a = CubeOfTransforms.apply(x, False)
        b = CubeOfTransforms.apply(x.sin(), True)
        return a * b

    place = lines(fn)["b = CubeOfTransforms.apply(x.sin(), True)"]
    for runner in ("autograd", "func"):
        result = check(fn, POINT, modes=[mode], runners=[runner])
        assert result.verdict == "mismatch" and result.culprit.called == place, runner


def test_a_module_whose_forward_applies_is_told_by_that_line():
    class Two(torch.nn.Module):
        def forward(self, x):
            a = Cube.apply(x)
            b = Cube.apply(x.sin(), True)
            return a * b

    assert check(Two(), POINT).culprit.called == lines(Two.forward)["b = Cube.apply(x.sin(), True)"]


def cube(x, wrong=False):
    return Cube.apply(x, wrong)


IN_CUBE = lines(cube)["return Cube.apply(x, wrong)"]


def test_calls_by_way_of_one_function_are_told_apart_by_the_lines_that_call_it():
    def fn(x):
        a = cube(x)
        b = cube(x.sin(), True)
        return a * b

    assert check(fn, POINT).culprit.called == f"{IN_CUBE}, from {lines(fn)['b = cube(x.sin(), True)']}"
    assert check(lambda x: cube(x, True), POINT).culprit.called == IN_CUBE


def test_calls_of_one_loop_are_counted():
    def fn(x):
        for i in range(4):
            x = cube(x, i == 2)
        return x

    result = check(fn, POINT)
    assert result.culprit.called == f"{IN_CUBE}, call 3 of 4 there"
    assert check(fn, POINT, modes=["RR"]).culprit.called == result.culprit.called


def test_lines_further_out_are_said_only_where_they_differ():
    ways = [("f", ("a:1", "b:2", "c:3", "d:4")), ("f", ("a:1", "b:2", "c:9", "d:4")), ("f", ("a:1", "b:7", "c:3"))]
    others = [("g", ("a:1",)), ("f", ("a:2", "b:2")), ("f", ("x:5",)), ("f", ("x:5",)), ("h", ())]
    assert told_apart([*ways, *others]) == [
        "a:1, from b:2, from c:3",
        "a:1, from b:2, from c:9",
        "a:1, from b:7",
        "a:1",
        "a:2",
        "x:5, call 1 of 2 there",
        "x:5, call 2 of 2 there",
        "",
    ]
    assert placed([]) == []


def test_many_calls_of_one_loop_are_told_apart_in_linear_time():
    count = 100_000  # a comparison of each with each would take hours
    said = told_apart([("f", ("a:1", "b:2", "c:3"))] * count)
    assert said[7] == f"a:1, call 8 of {count} there" and len(set(said)) == count


def test_an_apply_that_is_itself_checked_is_placed_where_the_check_is_asked_for():
    result = check(Cube.apply, (POINT, True))
    assert (
        result.culprit.called
        == lines(test_an_apply_that_is_itself_checked_is_placed_where_the_check_is_asked_for)[
            "result = check(Cube.apply, (POINT, True))"
        ]
    )


def test_a_function_within_a_transform_is_placed_where_it_is_applied():
    def fn(x):
        a = torch.func.vmap(lambda v: CubeOfTransforms.apply(v, False))(x)
        b = torch.func.vmap(lambda v: CubeOfTransforms.apply(v, True))(x.sin())
        return a * b

    result = check(fn, POINT)
    place = lines(fn)["b = torch.func.vmap(lambda v: CubeOfTransforms.apply(v, True))(x.sin())"]
    assert result.verdict == "mismatch" and result.culprit.called == place


@pytest.mark.parametrize("function", [NumpyCube, WithGraph], ids=lambda f: f.__name__)
def test_a_function_whose_forward_cannot_be_read_has_the_line_of_its_apply_in_its_row(function):
    def fn(x):
        return function.apply(x.sin(), True)

    f = check(fn, POINT).frame
    rows = f[f["program"] == f"{function.__name__}Backward"]
    assert list(rows["wrt"]) == [f"{lines(fn)['return function.apply(x.sin(), True)']}, argument 0"]


def test_a_form_that_pytorch_makes_fit_is_placed_too():
    sums = with_backward("Sums", lambda x: x + 1.0, lambda x: torch.ones(2, 3, dtype=torch.float64))

    def fn(x):
        return sums.apply(x)

    assert check(fn, POINT).culprit.called == lines(fn)["return sums.apply(x)"]


def test_calls_of_other_threads_are_not_taken_for_those_of_the_run():
    def fn(x):
        thread = threading.Thread(target=lambda: [Cube.apply(POINT) for _ in range(50)])
        thread.start()
        thread.join()
        return Cube.apply(x)

    recording = capture(fn, POINT.clone().requires_grad_())
    assert [found[1][0] for found in recording.applied.values()] == [lines(fn)["return Cube.apply(x)"]]
