"""What fails and was recorded by nobody: every page says it, and a report written again says the same."""

import json
from pathlib import Path
from typing import Any

import pytest
from gradwitness.reports import VERDICTS, frame_from_rows, read_report, rebuild_report, write_report
from gradwitness.reports.comparisons import FAILING
from gradwitness.reports.content import Report
from gradwitness.reports.headline import headline
from gradwitness.reports.markdown_page import render_markdown

ROW: dict[str, Any] = {"case": "net", "op": "tanh", "mode": "R", "runner": "autograd", "dtype": "float64", "wrt": "x"}
NUMBERS = {"z": 1e9, "torch_value": 0.5625, "reference_value": 0.8125, "entry": "[2]", "message": "a slope too small"}
FINDING = {"id": "of-campaign", "op": "tanh", "mode": "R", "runner": "autograd", "verdict": "mismatch", "fails": True}


def pages(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text("utf-8") for name in ("report.html", "report.md", "summary.json")}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_row_that_fails_is_in_every_page_though_nobody_recorded_it(verdict: str, tmp_path: Path) -> None:
    written = pages(write_report(frame_from_rows([{**ROW, **NUMBERS, "verdict": verdict}]), tmp_path / "out"))
    said = json.loads(written["summary.json"])
    fails = verdict in FAILING
    assert said["headline"] == ("1 new finding" if fails else "Nothing new")
    assert [f["verdict"] for f in said["findings"]] == [verdict] * fails
    assert said["headline"] in written["report.html"] and said["headline"] in written["report.md"]
    nothing = "No comparison differed in a way that"
    assert (nothing in written["report.html"]) is not fails
    if fails:
        assert all("0.5625" in text and "0.8125" in text for text in written.values())
        card = written["report.html"].split('<article class="finding')[1].split("</article>")[0]
        assert all(text in card for text in ("tanh", "R", "autograd", "float64", "[2]", "a slope too small"))


def test_what_a_finding_of_a_campaign_stands_for_is_not_recorded_again() -> None:
    kinds: tuple[dict[str, str], ...] = ({}, {"case": "other"}, {"mode": "F"}, {"mode": "F", "source": "lockstep"})
    rows = [{**ROW, **NUMBERS, "verdict": "mismatch", **more} for more in kinds]
    report = Report.of(frame_from_rows(rows), findings=[FINDING])
    assert [(f["id"], f["mode"]) for f in report.findings] == [("tanh-F-mismatch", "F"), ("of-campaign", "R")]
    assert report.frame["finding"].isna().tolist() == [True, True, True, False]


def test_a_row_with_a_known_issue_is_no_new_finding() -> None:
    report = Report.of(frame_from_rows([{**ROW, **NUMBERS, "verdict": "mismatch", "known": "pytorch/pytorch#1"}]))
    assert headline(report) == ("Nothing new", "1 known")


@pytest.mark.parametrize("kind", ["check", "tests"])
def test_the_headline_of_a_check_counts_by_verdict_and_names_what_is_at_fault(kind: str) -> None:
    rows = [{**ROW, **NUMBERS, "verdict": "mismatch", "culprit": f"f{i}", "case": f"c{i % 2}"} for i in range(5)]
    rows += [{**ROW, "verdict": "raised", "message": "KeyError: 'mine'"}, {**ROW, "verdict": "agree"}]
    title, aside = headline(Report.of(frame_from_rows(rows), {"kind": kind}))
    unit = {"check": "programs", "tests": "tests"}[kind]
    assert (title, aside) == (f"5 mismatches, 1 raised in 3 {unit}: f0, f1, f2 and 3 more", "")
    good = Report.of(frame_from_rows([{**ROW, "verdict": "agree"}]), {"kind": kind})
    assert headline(good) == ("Nothing wrong found", "")


def test_a_report_with_such_findings_is_written_again_as_it_was(tmp_path: Path) -> None:
    rows = [{**ROW, **NUMBERS, "verdict": "mismatch"}, {**ROW, "verdict": "raised"}, {**ROW, "verdict": "raised"}]
    out = write_report(frame_from_rows(rows), tmp_path / "out", metadata={"kind": "check"})
    before = pages(out)
    assert len({f["id"] for f in read_report(out)["findings"]}) == 3
    assert pages(rebuild_report(out)) == before


def test_of_many_comparisons_every_page_says_how_many_it_left_out(tmp_path: Path) -> None:
    rows = [{**ROW, **NUMBERS, "verdict": "mismatch", "wrt": f"net.py:{i}, argument 0"} for i in range(300)]
    written = pages(write_report(frame_from_rows(rows), tmp_path / "out", metadata={"kind": "check"}))
    assert len(json.loads(written["summary.json"])["findings"]) == 300
    assert written["report.html"].count("<article class=") == 200 and "100 more comparisons" in written["report.html"]
    shown = written["report.md"].count("net.py:")
    assert f"… and {300 - shown} more rows, see report.html." in written["report.md"]


@pytest.mark.parametrize("line", ["", None])
def test_a_culprit_without_a_line_has_no_place(line: str | None) -> None:
    found = {**FINDING, "culprit": "aten::tanh", "line": line}
    rows = frame_from_rows([{**ROW, **NUMBERS, "verdict": "mismatch"}])
    assert "| **aten::tanh** |" in render_markdown(Report.of(rows, findings=[found]))
    there = render_markdown(Report.of(rows, findings=[{**found, "line": "net.py:3"}]))
    assert "| **aten::tanh** at net.py:3 |" in there


def test_what_is_unsupported_is_no_new_finding_of_a_check_nor_of_a_run() -> None:
    rows = frame_from_rows([{**ROW, **NUMBERS, "verdict": "mismatch"}, {**ROW, "op": "exp", "verdict": "unsupported"}])
    findings = [FINDING, {**FINDING, "id": "open", "op": "exp", "verdict": "unsupported"}]
    assert headline(Report.of(rows, findings=findings)) == ("1 new finding", "1 unsupported")
    report = Report.of(rows, {"kind": "check"}, findings)
    assert headline(report) == ("1 mismatch, 1 unsupported in 1 program: tanh, exp", "")
    new, rest = render_markdown(report).split("## New findings")[1].split("## Not judged: unsupported")
    assert "tanh" in new and "exp" not in new and "exp" in rest
