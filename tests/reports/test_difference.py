"""Two runs held against each other: what is new, changed, repaired, lost and gained, and whether that fails."""

import pytest
from gradwitness.harness.cli import main
from gradwitness.reports import ReportPathError, compare_runs, frame_from_rows, write_report
from gradwitness.reports.difference import to_markdown


def run(folder, cells, findings=(), **metadata):
    """A report with one row for each (op, mode, verdict), and one finding for each (op, mode, verdict, known)."""
    rows = [
        {"case": f"{op}-{mode}", "source": "opinfo", "op": op, "program": "whole", "mode": mode, "runner": "autograd",
         "dtype": "float64", "layout": "strided", "verdict": verdict, "message": "no rule" if verdict == "unsupported"
         else None}
        for op, mode, verdict in cells
    ]  # fmt: skip
    found = [
        {"id": f"{op}-{mode}", "op": op, "culprit": f"aten::{op}", "mode": mode, "runner": "autograd",
         "dtype": "float64", "verdict": verdict, "z": 1e6, "known": known, "equations": 1, "elements": 1,
         "torch_value": 1.0, "right_value": 2.0, "note": "", "fails": known is None, "line": None, "script": None,
         "case": None}
        for op, mode, verdict, known in findings
    ]  # fmt: skip
    write_report(frame_from_rows(rows), folder, findings=found, metadata=metadata)
    return folder


def command(*arguments):
    """The exit code of the command line."""
    with pytest.raises(SystemExit) as left:
        main(["diff", *map(str, arguments)])
    return left.value.code


ALL = [("sin", "R", "agree"), ("det", "FF", "mismatch"), ("lu", "R", "agree")]
DET = ("det", "FF", "mismatch", "pytorch/pytorch#1")


@pytest.fixture
def old(tmp_path):
    return run(tmp_path / "old", ALL, [DET], versions={"torch": "2.13.0"})


def test_a_run_against_itself_has_nothing_to_tell(old, capsys):
    assert command(old, old) == 0
    assert "0 new findings" in capsys.readouterr().out
    assert "made alike" in to_markdown(compare_runs(old, old))


def test_a_new_finding_fails(old, tmp_path):
    cells = [("sin", "R", "mismatch"), *ALL[1:]]
    found = compare_runs(old, run(tmp_path / "new", cells, [DET, ("sin", "R", "mismatch", None)]))
    assert found.fails and found.new[["op", "mode", "verdict"]].values.tolist() == [["sin", "R", "mismatch"]]
    assert len(found.repaired) == len(found.changed) == len(found.coverage_lost) == 0


def test_a_repaired_finding_was_compared_again(old, tmp_path):
    cells = [("sin", "R", "agree"), ("det", "FF", "agree"), ("lu", "R", "agree")]
    found = compare_runs(old, run(tmp_path / "new", cells, versions={"torch": "2.14.1"}))
    assert list(found.repaired["op"]) == ["det"] and not found.fails
    assert found.settings["torch"] == ("2.13.0", "2.14.1")
    assert "- torch: 2.13.0 → 2.14.1" in to_markdown(found)


@pytest.mark.parametrize("gone", [("det", "FF", "unsupported"), ("det", "R", "agree")])
def test_a_finding_that_was_not_compared_again_is_not_called_repaired(old, tmp_path, gone):
    found = compare_runs(old, run(tmp_path / "new", [ALL[0], gone, ALL[2]]))
    assert len(found.repaired) == 0 and list(found.lost_findings["op"]) == ["det"]
    assert list(found.coverage_lost["op"]) == ["det"] and found.fails


def test_what_a_known_issue_no_longer_covers_is_worse_and_the_reverse_is_not(old, tmp_path):
    forgotten = run(tmp_path / "new", ALL, [("det", "FF", "mismatch", None)])
    assert compare_runs(old, forgotten).fails
    assert compare_runs(old, forgotten).changed["known"].tolist() == ["pytorch/pytorch#1 → —"]
    back = compare_runs(forgotten, old)
    assert not back.fails and len(back.changed) == 1


def test_coverage_that_is_lost_says_why_and_what_is_gained_does_not_fail(old, tmp_path):
    less = run(tmp_path / "new", [ALL[0], ALL[1], ("lu", "R", "unsupported")], [DET])
    lost = compare_runs(old, less).coverage_lost
    assert lost[["op", "verdict", "message"]].values.tolist() == [["lu", "unsupported", "no rule"]]
    gained = compare_runs(less, old)
    assert gained.coverage_gained[["op", "verdict", "message"]].values.tolist() == [["lu", "agree", ""]]
    assert not gained.fails


def test_the_command_writes_its_tables_and_exits_by_what_it_found(old, tmp_path, capsys):
    new = run(tmp_path / "new", [("sin", "R", "raised"), *ALL[1:]], [DET])
    assert command(old, new, "--out", tmp_path / "deep" / "diff.md") == 1
    said, written = capsys.readouterr().out, (tmp_path / "deep" / "diff.md").read_text(encoding="utf-8")
    assert "1 coverage lost" in said and "## Coverage lost: 1" in written and "| opinfo | sin | R |" in written


def test_a_folder_that_is_no_report_is_misuse(old, tmp_path, capsys):
    with pytest.raises(ReportPathError, match="not a folder"):
        compare_runs(old, tmp_path / "absent")
    assert command(old, tmp_path / "absent") == 2
    assert "not a folder" in capsys.readouterr().err
