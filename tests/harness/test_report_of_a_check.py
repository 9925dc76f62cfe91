"""The report of a check: every comparison that is not fine is listed, told apart by who knows of it; pages agree."""

import json
import re

import pandas as pd
import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.cli import main
from gradwitness.harness.evidence.checked import YOURS, findings_of
from gradwitness.reports import content

X = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)

TARGET = """import torch

X = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)

class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, g):
        return g * 2.001

class Slope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 3
    @staticmethod
    def backward(ctx, g):
        return g * 3.001

def wrong():
    return lambda x: Wrong.apply(x).sin(), X

def two():
    def both(x):
        y = Wrong.apply(x)
        return Slope.apply(y)
    return both, X

def right():
    return torch.sin, X

def raising():
    def mine(x):
        raise KeyError("mine")
    return mine, X

def theirs():
    return lambda x: torch.cholesky_inverse(x), (torch.eye(2, dtype=torch.float64) + 0.5,)

def chain():
    return lambda x: x.sin().exp(), X

def no_line():
    return torch.nn.functional.hardsigmoid, X

def without_rule():
    return lambda x: torch.sinc(x).to_sparse().to_dense() + torch.special.bessel_j0(x), X
"""

OWN = '[[tool.gradwitness.known]]\noperation = "{0}"\nreason = "as we want it"\n'


@pytest.fixture
def asked(tmp_path, monkeypatch, capsys):
    """asked(name, *options, own=""): exit code, summary.json, report.html, report.md and frame of one check."""
    (tmp_path / "models.py").write_text(TARGET)
    monkeypatch.chdir(tmp_path)

    def ask(name, *options, own=""):
        (tmp_path / "pyproject.toml").write_text(own)
        with pytest.raises(SystemExit) as left:
            main(["check", f"models.py:{name}", "--out", "out", *options])
        capsys.readouterr()
        out = tmp_path / "out"
        html, md = ((out / f"report.{kind}").read_text() for kind in ("html", "md"))
        frame = pd.read_parquet(out / "comparisons.parquet")
        return left.value.code, json.loads((out / "summary.json").read_text()), html.replace("<wbr>", ""), md, frame

    return ask


def line_of(text, after=""):
    lines = TARGET.splitlines()
    start = next(i for i, line in enumerate(lines) if after in line)
    return next(i for i, line in enumerate(lines, 1) if i > start and text in line)


def test_every_comparison_that_differs_is_listed_with_culprit_line_and_both_numbers(asked, tmp_path):
    code, said, html, md, frame = asked("wrong")
    line = line_of("@staticmethod", "return x * 2")
    assert code == 1 and len(said["findings"]) == said["verdicts"]["mismatch"] == 2
    assert said["headline"] == f"2 mismatches in 1 program: WrongBackward at models.py:{line}"
    assert f"<h1>{said['headline']}</h1>" in html and md.startswith(f"# gradwitness: {said['headline']}\n")
    assert "Nothing new" not in html + md and "No comparison differed" not in html
    place = f"{tmp_path}/models.py:{line}, called at {tmp_path}/models.py:{line_of('Wrong.apply(x).sin')}"
    cards = html.split("<article ")[1:]
    assert len(cards) == 2
    for finding, card in zip(said["findings"], cards, strict=True):
        row = frame[frame["finding"] == finding["id"]].iloc[0]
        assert (finding["line"], finding["culprit"], finding["group"]) == (place, "WrongBackward", "new")
        names = ("verdict", "op", "mode", "runner", "dtype", "wrt", "entry", "z", "torch_value")
        assert [finding[name] for name in names] == [row[name] for name in names]
        shown = row["torch_value"], row["reference_value"], row["entry"], row["wrt"], place, "WrongBackward"
        assert all(str(text).replace("<", "&lt;").replace(">", "&gt;") in card for text in shown)
        assert all(text in md for text in (str(row["torch_value"]), str(row["reference_value"])))
    assert place.replace("_", r"\_") in md


def test_each_wrong_function_has_its_own_line(asked):
    _, said, *_ = asked("two")
    wrong = [f for f in said["findings"] if "Backward" in f["op"]]
    lines = {f["op"]: f["line"].partition(", ")[0].rpartition(":")[2] for f in wrong}
    assert lines == {
        "WrongBackward": str(line_of("@staticmethod", "return x * 2")),
        "SlopeBackward": str(line_of("@staticmethod", "return x * 3")),
    }


def test_issues_of_yours_and_of_pytorch_are_told_apart(asked):
    code, said, html, md, _ = asked("two", own=OWN.format("WrongBackward"))
    groups = {f["op"]: f["group"] for f in said["findings"]}
    assert code == 1 and groups["WrongBackward"] == "yours" and groups["SlopeBackward"] == "new"
    assert "known to you" in said["headline"] and "Known issues of yours" in html and "Known issues of yours" in md
    code, said, html, md, _ = asked("wrong", own=OWN.format("WrongBackward"))
    assert code == 0 and {f["group"] for f in said["findings"]} == {"yours"} and len(said["findings"]) == 2
    assert said["headline"] == "Nothing new · 2 known to you" and "yours: as we want it" in html
    code, said, html, md, _ = asked("theirs", "--modes", "F")
    assert code == 1 and {f["group"] for f in said["findings"]} == {"standing"}
    title = "Known issues of PyTorch, which fail all the same"
    assert title in html and title in md and "of them known of PyTorch" in said["headline"]
    assert "no known issue covers them" not in html + md


def test_what_raised_and_what_has_no_rule_is_listed_too(asked):
    code, said, html, md, _ = asked("raising")
    assert code == 1 and re.match(r"1 raised in 1 program: KeyError: 'mine'", said["headline"])
    assert "KeyError" in html.split("<article ")[1] and "KeyError" in md
    code, said, html, md, _ = asked("without_rule")
    assert code == 1 and " unsupported in 1 program: " in said["headline"]
    assert {(f["verdict"], f["group"]) for f in said["findings"]} == {("unsupported", "open")}
    for page in (html, md):
        assert "Not judged: unsupported, neither right nor wrong" in page and "New findings" not in page


def test_operations_are_counted_without_the_callable_and_a_place_that_is_not_known_leaves_no_trace(asked):
    md = asked("chain")[3]
    assert " · operations 2 · " in md  # sin and exp, not the lambda as a whole
    _, said, html, md, _ = asked("no_line")
    assert " · operations 1 · " in md and {f["wrt"] for f in said["findings"]} == {"argument 0", "input"}
    assert "| , argument" not in md and ">, argument" not in html
    assert " · operations " not in asked("raising")[3]


def test_where_nothing_is_wrong_the_headline_says_so(asked):
    code, said, html, md, _ = asked("right")
    assert (code, said["headline"], said["findings"]) == (0, "Nothing wrong found", [])
    assert "<h1>Nothing wrong found</h1>" in html


def saturated(x):
    return torch.tanh(x * 20)


@pytest.mark.parametrize("fn", [torch.sin, torch.relu, saturated, torch.cholesky_inverse], ids=lambda f: f.__name__)
@pytest.mark.parametrize("modes", [("R",), ("F",), ("R", "FF")], ids=str)
def test_a_result_is_ok_exactly_where_no_finding_fails(fn, modes):
    x = torch.tensor([[0.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    result = check(fn, x, modes=modes)
    assert len(result.culprits) == len(result.frame)
    frame, findings = findings_of(result.frame, result.culprits)
    assert result.ok is not any(f["fails"] for f in findings)
    assert [f["id"] for f in findings] == frame["finding"].dropna().tolist()


def test_reports_know_how_an_issue_of_yours_begins():
    assert content.YOURS == YOURS
