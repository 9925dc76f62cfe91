"""Reported wrong gradients of eager code: the wrong ones are found, the right ones pass, and the page says the same."""

import re
from pathlib import Path

import pytest
from gradwitness.harness.campaigns.opinfo import entries
from gradwitness.harness.campaigns.units import run_unit
from gradwitness.harness.campaigns.work import Unit
from gradwitness.harness.evidence.public_cases import CASES, WRONG
from gradwitness.harness.evidence.reported_cases import ALLOWED, EAGER_CASES, ENTRIES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "census.md"


def told():
    """The cells of each case on the page."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {r[0]: r for r in rows if len(r) == 9 and re.fullmatch(r"\[\S+#\d+\]\(\S+\)", r[1])}


TOLD = told()


def test_the_page_has_every_case_once_and_no_other():
    names = [c.name for c in EAGER_CASES]
    assert len(set(names)) == len(names) and not {c.name for c in CASES} & set(names)
    assert set(TOLD) == set(names)


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in EAGER_CASES])
def test_what_is_wrong_is_found_and_what_is_right_passes_as_the_page_tells(case):
    verdict = case.checked().verdict
    assert verdict in ALLOWED[case.status]
    _, report, status, mode, on_page, found, *_ = TOLD[case.name]
    assert (status, mode, on_page) == (case.status, case.mode, verdict) and case.source in report
    assert found == ("yes" if case.status == WRONG else "no fault")


def test_cases_that_name_an_entry_of_op_db_name_one():
    names = {c.name for c in EAGER_CASES}
    assert set(ENTRIES) <= names and set(ENTRIES.values()) <= {e.name for e in entries()}
    assert {c.status for c in EAGER_CASES if c.name in ENTRIES} == {WRONG}


@pytest.mark.parametrize(
    "name", ["exp2-at-its-range", "rows-renormed-to-nothing", "NaN-in-the-tail-of-hardtanh", "bag-by-frequency"]
)
def test_a_run_meets_a_fault_where_the_page_says(name):
    entry, sample, variation = re.fullmatch(r"`(\S+)`, sample (\d+), (.+)", TOLD[name][-1]).groups()
    rows = run_unit(Unit("variations", entry, ("R",), 0)).rows
    met = [r for r in rows if r["case"] == f"variations/{entry}/{sample}/{variation}"]
    assert any(r["verdict"] in ("mismatch", "inaccurate") for r in met), [r["verdict"] for r in met]
