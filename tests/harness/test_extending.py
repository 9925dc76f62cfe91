"""`register_lowering`: a custom operator judged by its own name and line, and every misuse refused in one sentence."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gradwitness.harness import UsageError, check, register_lowering
from gradwitness.harness.lowering import NotCovered, known_operations
from gradwitness.reference_engine import ops
from torch import Tensor

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
X = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)


@torch.library.custom_op("gradwitness_tests::cubed", mutates_args=())
def cubed(x: Tensor, scale: float = 1.0) -> Tensor:
    return scale * x**3


@torch.library.custom_op("gradwitness_tests::both", mutates_args=())
def both(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return x * y, x + y, (x > y).long()


@torch.library.custom_op("gradwitness_tests::joined", mutates_args=())
def joined(parts: list[Tensor], *, weight: float) -> Tensor:
    return weight * torch.stack(parts).sum(0)


@torch.library.custom_op("gradwitness_tests::filled", mutates_args=("x",))
def filled(x: Tensor) -> None:
    x.fill_(1.0)


@torch.library.custom_op("gradwitness_tests::affine", mutates_args=())
def affine(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    return x @ w if b is None else x @ w + b


@torch.library.custom_op("gradwitness_tests::halves", mutates_args=())
def halves(x: Tensor) -> list[Tensor]:
    return [x[:1].clone(), x[1:].clone()]


LIBRARY = torch.library.Library("gradwitness_tests_overloads", "DEF")
for _signature in ("power(Tensor x, int n) -> Tensor", "power.Tensor(Tensor x, Tensor n) -> Tensor"):
    LIBRARY.define(_signature)
    LIBRARY.impl(_signature.partition("(")[0], lambda x, n: x**n, "CPU")


def keep_inputs(ctx, inputs, output):
    ctx.save_for_backward(*[a for a in inputs if isinstance(a, Tensor)])
    ctx.others = [a for a in inputs if not isinstance(a, Tensor)]


def slope_of_cubed(ctx, g):
    return 3 * ctx.others[0] * ctx.saved_tensors[0] ** 2 * g, None


def slopes_of_both(ctx, g, h, _):
    x, y = ctx.saved_tensors
    return y * g + h, x * g + h


def count_parts(ctx, inputs, keyword_only_inputs, output):
    ctx.count, ctx.weight = len(inputs[0]), keyword_only_inputs["weight"]


def slope_of_joined(ctx, g):
    return [1.5 * ctx.weight * g for _ in range(ctx.count)]  # 1.5 for 1


cubed.register_autograd(slope_of_cubed, setup_context=keep_inputs)
def slopes_of_affine(ctx, g):
    x, w, *b = ctx.saved_tensors
    return g @ w.T, x.T @ g, g.sum(0) if b else None


def keep_base_and_exponent(ctx, inputs, output):
    ctx.x, ctx.n = inputs


affine.register_autograd(slopes_of_affine, setup_context=keep_inputs)
halves.register_autograd(lambda ctx, g: torch.cat(g))
torch.library.register_autograd(
    "gradwitness_tests_overloads::power",
    lambda ctx, g: (g * ctx.n * ctx.x ** (ctx.n - 1), None),
    setup_context=keep_base_and_exponent,
)
both.register_autograd(slopes_of_both, setup_context=keep_inputs)
joined.register_autograd(slope_of_joined, setup_context=count_parts)


def rule_of_cubed(x, scale):
    return scale * x**3


def rule_of_both(x, y):
    return x * y, x + y, None


def test_the_worked_example_of_the_page_prints_what_the_page_says(tmp_path):
    code, printed = (re.search(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL).group(1) for kind in ("python", "text"))
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace(f"{tmp_path}/", "") == printed


def test_an_operator_is_unsupported_without_a_rule_and_agrees_with_one_until_it_is_taken_back():
    before = known_operations()
    assert check(cubed, X).verdict == "unsupported"
    with register_lowering("gradwitness_tests::cubed", rule_of_cubed):
        result = check(lambda x: cubed(torch.sin(x), 2.0), X, modes=("R",))
        assert result.verdict == "agree"
        assert "gradwitness_tests::cubed.default" in {*result.frame["program"]}
        assert check(cubed, X).verdict == "agree"  # PyTorch leaves the default of scale out of the call
    assert check(cubed, X).verdict == "unsupported"
    assert known_operations() == before


def test_a_rule_taken_back_twice_leaves_a_later_one_alone():
    first = register_lowering("gradwitness_tests::cubed", rule_of_cubed)
    first.remove()
    with register_lowering("gradwitness_tests::cubed", rule_of_cubed):
        first.remove()
        assert check(cubed, X).verdict == "agree"


def test_a_wrong_backward_is_named_with_the_operator_and_the_line_it_is_written_in():
    with register_lowering("gradwitness_tests::joined", lambda parts, *, weight: weight * sum(parts)):
        result = check(lambda a, b: joined([a, b], weight=2.0).sum(), (X, X + 1))
    culprit = result.culprit
    assert (result.verdict, culprit.operation) == ("mismatch", "gradwitness_tests::joined.default")
    assert (culprit.file, culprit.line) == (__file__, slope_of_joined.__code__.co_firstlineno)
    assert (culprit.torch_value, culprit.reference_value) == (3.0, 2.0)  # 1.5 · 2 for 2, each of one rounding or none


def test_a_rule_with_another_meaning_is_found_by_its_value():
    with register_lowering("gradwitness_tests::cubed", lambda x, scale: scale * x**2):
        result = check(cubed, X)
    values = result.frame[result.frame["quantity"] == "value"]
    assert (result.verdict, {*values["verdict"]}) == ("mismatch", {"mismatch"})


def same_twice(x, y):
    z = x * y
    return z, z, None


@pytest.mark.parametrize(
    ("rule", "verdicts"),
    [
        (lambda x, y: (x, x + y, None), ["mismatch", "agree"]),
        (lambda x, y: (x * y, y, None), ["agree", "mismatch"]),
        (same_twice, ["agree", "mismatch"]),
    ],
    ids=["first argument", "second argument", "one result twice"],
)
def test_a_rule_that_returns_its_argument_or_a_result_twice_is_held_against_the_value(rule, verdicts):
    with register_lowering("gradwitness_tests::both", rule):
        result = check(lambda x, y: torch.sin(sum(both(x, y)[:2])), (X, 2 * X + 1))
    rows = result.frame[(result.frame["quantity"] == "value") & (result.frame["program"] == result.culprit.operation)]
    assert [*rows["verdict"]] == verdicts
    assert result.culprit.operation == "gradwitness_tests::both.default"


def test_a_rule_that_returns_its_argument_agrees_where_the_operator_does_and_its_derivative_is_judged():
    with register_lowering("gradwitness_tests::cubed", lambda x, scale: x):
        alone, inner = check(cubed, torch.ones_like(X)), check(lambda x: cubed(x).sin(), torch.ones_like(X))
    for result in (alone, inner):  # 1³ = 1 has the value of the identity, and the derivative 3
        values = result.frame[result.frame["quantity"] == "value"]
        assert {*values["verdict"]} == {"agree"}
        assert (result.culprit.operation, result.verdict) == ("gradwitness_tests::cubed.default", "mismatch")
    assert alone.culprit.torch_value == 3 * alone.culprit.reference_value != 0.0  # each rounded once, or not at all


def test_an_output_without_derivative_is_none_in_the_rule():
    with register_lowering("gradwitness_tests::both", rule_of_both):
        assert check(lambda x, y: both(x, y)[:2], (X, 2 * X)).verdict == "agree"


def test_a_rule_of_one_overload_is_for_that_overload():
    with register_lowering("gradwitness_tests::cubed.default", rule_of_cubed):
        assert check(cubed, X).verdict == "agree"


def test_a_tensor_that_may_be_left_out_is_none_in_the_rule():
    x, w, b = (torch.randn(shape, dtype=torch.float64) for shape in ((4, 3), (3, 2), (2,)))
    with register_lowering("gradwitness_tests::affine", lambda x, w, b: x @ w if b is None else x @ w + b):
        assert check(affine, (x, w)).verdict == "agree"
        assert check(affine, (x, w, b)).verdict == "agree"
        assert check(lambda x, w, b: affine(x, w, b=b), (x, w, b), modes=("R", "RR")).verdict == "agree"


def test_an_operator_that_returns_a_list_has_a_rule_with_a_tuple():
    with register_lowering("gradwitness_tests::halves", lambda x: (x[:1], x[1:])):
        assert check(lambda x: halves(x)[1] * 2, X).verdict == "agree"


def test_a_rule_of_an_operator_is_for_all_its_overloads():
    power = torch.ops.gradwitness_tests_overloads.power
    with register_lowering("gradwitness_tests_overloads::power", lambda x, n: x**n):
        assert check(lambda x: power(x, 3), X).verdict == "agree"


def test_the_tangent_that_pytorch_drops_in_a_custom_operator_is_a_mismatch_in_mode_f():
    """torch.library takes no forward derivative: d/dx x³ t is 3x² t, and PyTorch has 0."""
    with register_lowering("gradwitness_tests::cubed", rule_of_cubed):
        result = check(cubed, X, modes="F")
    assert (result.verdict, result.culprit.kind) == ("mismatch", "custom operator")
    assert (result.culprit.torch_value, result.culprit.mode) == (0.0, "F")
    assert "drops the tangent of such an operator" in result.explain()


def test_an_operator_of_pytorch_without_a_rule_can_be_given_one():
    """ζ(2, q) = ψ′(q) (DLMF 25.11.12)."""

    def of_two(x):
        return torch.special.zeta(2.0, x)

    assert check(of_two, X.abs()).verdict == "unsupported"
    with register_lowering("aten::special_zeta", lambda s, q: ops.polygamma(q, 1)):
        result = check(of_two, X.abs())
        assert "aten::special_zeta.self_scalar" in {*result.frame["program"]}
        assert result.ok, result.explain()


def test_a_rule_that_does_not_cover_its_arguments_says_why():
    def rule(x, scale):
        raise NotCovered("scale is not whole")

    with register_lowering("gradwitness_tests::cubed", rule):
        result = check(cubed, X)
    assert result.verdict == "unsupported"
    assert "scale is not whole" in result.explain()


REFUSED_NAMES = [
    ("cubed", "accepted is NAMESPACE::OPERATOR"),
    ("gradwitness_tests.cubed", "accepted is NAMESPACE::OPERATOR"),
    ("gradwitness_tests::cubed.", "accepted is NAMESPACE::OPERATOR"),
    (3, "accepted is NAMESPACE::OPERATOR"),
    ("gradwitness_tests::cubd", "PyTorch knows no such operator"),
    ("gradwitness_tests::cubed.Tensor", "its overloads are default"),
    ("gradwitness_tests::filled", "writes into its arguments"),
    ("aten::mul", "has a rule already"),
    ("aten::mul.Tensor", "has a rule already"),
]


@pytest.mark.parametrize(("name", "sentence"), REFUSED_NAMES)
def test_a_name_that_is_not_accepted_is_refused(name, sentence):
    with pytest.raises(UsageError, match=re.escape(sentence)):
        register_lowering(name, rule_of_cubed)


def test_a_second_rule_is_refused():
    with register_lowering("gradwitness_tests::cubed", rule_of_cubed):
        with pytest.raises(UsageError, match="has a rule already"):
            register_lowering("gradwitness_tests::cubed", rule_of_cubed)


REFUSED_SIGNATURES = [
    (lambda x: x, r"takes \(x\) .* accepted is \(x, scale\)"),
    (lambda x, scale, more: x, r"takes \(x, scale, more\) .* accepted is \(x, scale\)"),
    (None, "fn of .* is a NoneType; accepted is a function"),
]


@pytest.mark.parametrize(("rule", "sentence"), REFUSED_SIGNATURES)
def test_a_rule_that_cannot_take_the_operators_arguments_is_refused_at_once(rule, sentence):
    with pytest.raises(UsageError, match=sentence):
        register_lowering("gradwitness_tests::cubed", rule)


def raising(x, scale):
    return [][1]


REFUSED_RESULTS = [
    (lambda x, scale: torch.ones(3), "returned a torch.Tensor as output 0"),
    (lambda x, scale: 1.0, "returned a float as output 0"),
    (lambda x, scale: [x], "returned a list as output 0"),
    (lambda x, scale: (x, x), "returned 2 results; accepted is 1"),
    (lambda x, scale: ops.sum(x), r"returned shape \(\) as output 0; PyTorch returned \(3,\)"),
    (lambda x, scale: torch.sin(x), "raised TypeError: .* accepted is a rule that computes its result with"),
    (raising, rf"raised IndexError: .* \(test_extending.py, line {raising.__code__.co_firstlineno + 1}\)"),
]


@pytest.mark.parametrize(("rule", "sentence"), REFUSED_RESULTS)
def test_what_a_rule_may_not_return_is_refused_while_checking(rule, sentence):
    with register_lowering("gradwitness_tests::cubed", rule):
        with pytest.raises(UsageError, match=sentence):
            check(cubed, X)
