"""Known issues and the grouping of findings."""

from dataclasses import replace

import pytest
from gradwitness.harness.errors import UsageError
from gradwitness.harness.evidence.findings import Candidate, grouped, identifier
from gradwitness.harness.evidence.known import KnownIssue, load, match, repaired
from gradwitness.harness.evidence.proofs import Proof


def candidate(**changes):
    values = {
        "op": "cumprod",
        "culprit": "aten::cumprod.default",
        "mode": "FF",
        "runner": "autograd",
        "dtype": "float64",
        "verdict": "mismatch",
        "z": 1e9,
        "equations": 1,
        "elements": 3,
        "torch_value": 0.0,
        "right_value": 8.0,
        "note": "",
        "case": {},
        "script": "import torch",
    }
    return Candidate(**{**values, **changes})


ISSUE = KnownIssue("cumprod-zero", ("aten::cumprod*",), ("FF", "RF"), "an entry is zero", "8 in closed form")


def test_every_shipped_entry_has_a_public_issue_or_a_closed_form_and_the_version_it_was_seen_on():
    issues = load()
    assert issues
    for issue in issues:
        assert issue.condition and len(issue.reason) > 20, issue.id
        assert issue.seen, issue.id
        assert issue.issue == "" or issue.issue.startswith("pytorch/pytorch#"), issue.id
        assert issue.operations and "*" not in issue.operations, issue.id


def test_a_known_issue_covers_its_operation_in_its_modes_only():
    assert match([ISSUE], ["aten::cumprod.default"], "FF", "autograd", "float64", "mismatch") is ISSUE
    assert match([ISSUE], ["aten::cumprod.default"], "R", "autograd", "float64", "mismatch") is None
    assert match([ISSUE], ["aten::cumsum.default"], "FF", "autograd", "float64", "mismatch") is None
    assert match([ISSUE], ["aten::cumprod.default"], "FF", "autograd", "float64", "crashed") is None


def test_an_entry_about_nan_covers_no_other_number():
    special = replace(ISSUE, answer="nan")
    nan, finite = candidate(torch_value=float("nan")), candidate(torch_value=0.5, elements=1)
    assert [f["fails"] for f in grouped([nan], [special])] == [False]
    assert [f["fails"] for f in grouped([finite], [special])] == [True]
    both = grouped([nan, finite], [special])
    assert sorted(f["fails"] for f in both) == [False, True]
    assert len({f["id"] for f in both}) == 2


def test_a_finding_without_a_single_culprit_is_known_by_its_kind():
    kind = KnownIssue("sum", ("legitimate choices, wrong sum",), (), "kinks that cancel", "relu(x) - relu(-x) = x")
    assert not grouped([candidate(op="composition", kind="legitimate choices, wrong sum")], [kind])[0]["fails"]
    assert grouped([candidate(op="composition", culprit="composition")], [kind])[0]["fails"]


def test_a_group_keeps_its_smallest_case_that_has_a_script():
    found = grouped([candidate(elements=9), candidate(elements=2), candidate(elements=1, script="")], [])
    assert [(f["elements"], f["fails"], f["known"]) for f in found] == [(2, True, None)]


def test_findings_that_are_known_are_reported_and_do_not_fail():
    (found,) = grouped([candidate()], [ISSUE])
    assert not found["fails"]
    assert "8 in closed form" in found["known"]


def test_ids_are_unique_folder_names_whatever_the_operation_is_called():
    found = grouped([candidate(op="a::b c"), candidate(op="a b::c"), candidate(op="A::B C")], [])
    ids = [f["id"].lower() for f in found]
    assert len(set(ids)) == 3
    assert identifier("::", "") == "finding"


def test_a_known_issue_whose_proof_is_answered_rightly_is_repaired():
    right = Proof("x * x", (3.0,), "R", "6")
    wrong = Proof("x * x", (3.0,), "R", "7")
    assert repaired([replace(ISSUE, proof=right)]) == ["cumprod-zero"]
    assert repaired([replace(ISSUE, proof=wrong)]) == []
    assert repaired([ISSUE]) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[issue", "could not be read"),
        ('[[issue]]\nid = "a"\n', "lacks \\['condition', 'operations', 'reason'\\]"),
        ('[[issue]]\nid="a"\noperations=["b"]\ncondition="c"\nreason="d"\ncolour="red"\n', "unknown \\['colour'\\]"),
    ],
)
def test_a_damaged_file_is_refused_naming_the_entry(tmp_path, text, sentence):
    path = tmp_path / "known.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=sentence):
        load(path)
