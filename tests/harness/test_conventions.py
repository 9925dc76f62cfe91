"""Documented definitions: quoted word for word from the installed PyTorch; an answer that follows one says so."""

import importlib
import re

import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.judgement.conventions import conventions, follow
from gradwitness.harness.judgement.judging import Judgement
from gradwitness.harness.lowering import known_operations
from gradwitness.harness.lowering.table import functional_name

F = torch.nn.functional
PADDED, TWICE = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
SYMMETRIC, TRIANGLE = [[4.0, 1.0], [1.0, 3.0]], [[1.0, 0.0], [2.0, 3.0]]


def under_no_grad(x):
    with torch.no_grad():
        square = x * x
    return square * x


CASES = {
    "padding-idx": (lambda w: F.embedding(PADDED, w, padding_idx=0), [[1.0], [2.0], [3.0]], ("R", "F", "RR")),
    "gradient-by-frequency": (lambda w: F.embedding(PADDED, w, scale_grad_by_freq=True), [[1.0], [2.0]], ("R", "F")),
    "repeated-indices": (lambda s: torch.zeros(3, dtype=s.dtype).scatter(0, TWICE, s), [1.0, 2.0, 3.0], ("R", "F")),
    "symmetric-input": (torch.linalg.cholesky, SYMMETRIC, ("R", "F")),
    "triangular-input": (torch.cholesky_inverse, TRIANGLE, ("R",)),
    "normalised-log-probabilities": (
        lambda z: F.ctc_loss(z.log_softmax(-1).transpose(0, 1), torch.tensor([[1, 2]]), (3,), (2,)),
        [[[0.1, 0.7, -0.3], [0.5, 0.2, 0.1], [-0.4, 0.3, 0.2]]],
        ("R",),
    ),
    "tangents-through-no-grad": (under_no_grad, 2.0, ("F",)),
}


def documentation(c):
    module, name = c.where.rsplit(".", 1) if c.where.count(".") == 1 else c.where.split(".", 1)
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return re.sub(r"\s+", " ", found.__doc__.replace(":attr:`A`", "A"))


@pytest.mark.parametrize("c", conventions().values(), ids=list(conventions()))
def test_a_definition_is_quoted_word_for_word_from_the_documentation(c):
    assert c.quote in documentation(c)


def test_every_definition_has_a_case_here_and_names_operations_that_are_lowered():
    assert set(CASES) == set(conventions())
    known = {name.split(".")[0] for name in known_operations()}
    for c in conventions().values():
        assert {functional_name(o).split(".")[0] for o in c.operations} <= known, c.name


@pytest.mark.parametrize("name", CASES)
def test_an_answer_that_follows_a_documented_definition_is_a_convention_that_quotes_it(name):
    fn, x, modes = CASES[name]
    result = check(fn, torch.tensor(x, dtype=torch.float64), modes=modes)
    assert result.verdict == "convention", result.explain()
    notes = " ".join(str(m) for m in result.frame.loc[result.frame.verdict == "convention", "message"])
    assert conventions()[name].quote in notes


def test_a_call_that_needs_no_definition_is_plain_agreement():
    used = torch.tensor([2, 1, 1])
    w = torch.ones(3, 2, dtype=torch.float64)
    assert check(lambda w: F.embedding(used, w, padding_idx=0), w).verdict == "agree"
    assert check(torch.linalg.cholesky, torch.eye(2, dtype=torch.float64) * 4.0).verdict == "convention"


def test_log_probabilities_that_passed_no_log_softmax_get_the_derivative_of_ctc_loss():
    lp = torch.tensor([[[0.2, 0.5, 0.3]]], dtype=torch.float64).log()  # normalised, and yet a leaf

    def loss(lp):
        return F.ctc_loss(lp, torch.tensor([[1]]), (1,), (1,), reduction="sum")

    result = check(loss, lp)
    assert result.verdict == "mismatch" and "pytorch/pytorch#52241" in set(result.frame.known.dropna())
    for normalise in (lambda z: z.log_softmax(-1), lambda z: z.softmax(-1).log()):
        for dtype in (torch.float64, torch.float32):
            assert check(lambda z, n=normalise: loss(n(z)), lp.to(dtype)).verdict == "convention"
    assert check(lambda z: loss(z.log_softmax(-1) * 1.5), lp).verdict == "mismatch"


def test_a_definition_never_excuses_another_number():
    assert follow(Judgement("mismatch"), ["padding-idx"]).verdict == "mismatch"

    assert check(padded(0.0, 1.5), torch.ones(3, 1, dtype=torch.float64)).verdict == "mismatch"


def padded(share, of_others=1.0):
    """An embedding whose padding row gets a share of its derivative."""

    class Padded(torch.autograd.Function):
        @staticmethod
        def forward(ctx, w):
            return F.embedding(PADDED, w, padding_idx=0)

        @staticmethod
        def backward(ctx, g):
            return torch.stack([share * g[0], of_others * (g[1] + g[2]), 0.0 * g[0]])

    return Padded.apply


@pytest.mark.parametrize(("share", "verdict"), [(0.0, "convention"), (0.5, "mismatch"), (1.0, "mismatch")])
def test_the_padding_row_gets_nothing_in_reverse_mode(share, verdict):
    assert check(padded(share), torch.ones(3, 1, dtype=torch.float64)).verdict == verdict


def test_derivatives_of_nested_modes_through_no_grad_are_not_claimed():
    result = check(under_no_grad, torch.tensor(2.0, dtype=torch.float64), modes=("RF",))
    assert result.verdict == "unsupported" and "no_grad" in result.explain()


@pytest.mark.parametrize("mode", ["FR", "RF"])
@pytest.mark.parametrize(("variance", "verdict"), [(0.0, "unsupported"), (0.5, "agree")])
def test_derivatives_of_nested_modes_are_not_claimed_where_a_write_under_no_grad_changes_them(mode, variance, verdict):
    # the clamp to 1e-6 has the tangent 0 below it, and passes adjoints as they are; above it both have slope 1
    x, y = torch.tensor([1.0], dtype=torch.float64), torch.tensor([3.0], dtype=torch.float64)
    result = check(lambda v: F.gaussian_nll_loss(x, y, v), torch.tensor([variance], dtype=torch.float64), modes=(mode,))
    assert result.verdict == verdict, result.explain()


@pytest.mark.parametrize("c", conventions().values(), ids=list(conventions()))
def test_a_quote_ends_where_a_sentence_or_a_clause_ends(c):
    text = documentation(c)
    after = text[text.index(c.quote) + len(c.quote) :].lstrip()
    assert c.quote.endswith((".", "!")) or after[:1] in (".", ",", ";", ":"), after[:60]
    assert c.quote.count("(") == c.quote.count(")")
