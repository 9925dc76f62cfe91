"""Reported cases in their cell of the matrix: what is wrong is found, what is right or documented is no mismatch."""

from pathlib import Path

import pytest
from gradwitness.harness.evidence.public_cases import CASES, CONVENTION, EAGER, FOUND, RIGHT, WRONG
from gradwitness.harness.runners.compiling import missing_compiler

PAGE = Path(__file__).resolve().parents[2] / "docs" / "matrix.md"
needs_compiler = pytest.mark.skipif(missing_compiler() is not None, reason=f"{missing_compiler()}")
# Compiling takes seconds each: these in the default run, all of them in the campaign.
QUICK = ("inductor-extremum-of-angles", "dynamo-function-with-its-own-tangent", "inductor-saved-input-written-into")


def named(cases):
    def marks(case):
        if not case.is_compiled:
            return ()
        return (needs_compiler,) if case.name in QUICK else (needs_compiler, pytest.mark.campaign)

    return [pytest.param(case, id=case.name, marks=marks(case)) for case in cases]


@pytest.mark.parametrize("case", named([c for c in CASES if c.made is not None]))
def test_a_reported_case_is_found_if_it_is_wrong_and_only_then(case):
    result = case.checked()
    own = result.table()[case.mode]
    assert set(own) <= set(FOUND[case.status]), result.explain()
    if case.status == WRONG and case.runner not in (EAGER, "func"):
        assert set(result.frame["culprit"].dropna()) == {case.runner}


@pytest.mark.parametrize("case", named([c for c in CASES if c.runner != EAGER and c.made is not None]))
def test_beside_a_runner_that_is_wrong_the_eager_run_is_not_accused(case):
    frame = case.checked(beside=(EAGER,)).frame
    eager = frame[frame["runner"] == EAGER]
    known = eager["known"].notna() & (eager["verdict"] == "mismatch")
    straight = case.name == "dynamo-function-with-its-own-tangent"  # a rule meant to be another
    assert straight or set(eager["verdict"][~known]) <= {"agree"}


@pytest.mark.parametrize("case", named([c for c in CASES if c.shows is not None]))
def test_what_is_no_function_of_tensors_still_shows(case):
    assert case.status == WRONG and case.shows()


def test_every_kind_has_cases_that_are_wrong_and_cases_that_are_not():
    kinds = {c.kind for c in CASES}
    assert kinds == {"compile", "transform", "checkpoint", "layout", "precision"}
    for kind in kinds - {"checkpoint"}:
        assert {WRONG, RIGHT} <= {c.status for c in CASES if c.kind == kind}, kind
    assert {c.status for c in CASES if c.kind == "checkpoint"} == {RIGHT, CONVENTION}
    assert len({c.name for c in CASES}) == len(CASES)


def test_the_page_has_every_case_with_a_verdict_that_its_status_allows():
    rows = [[w.strip() for w in line.strip("|").split("|")] for line in PAGE.read_text("utf-8").splitlines()]
    found = {row[0]: (row[2], row[7]) for row in rows if len(row) == 10}
    for case in CASES:
        status, verdict = found[case.name]
        assert status == case.status and verdict in FOUND[case.status], case.name
