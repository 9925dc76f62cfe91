"""Writing and reading back: round trips, numbers JSON lacks, refusals, damaged files, size."""

import io
import json
import math
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gradwitness.reports import (
    ReportDataError,
    ReportPathError,
    frame_from_rows,
    read_report,
    rebuild_report,
    write_report,
)
from gradwitness.reports.jsontext import from_json, to_json
from gradwitness.reports.tables import from_parquet, to_csv, to_parquet
from hypothesis import given, settings
from hypothesis import strategies as st

FILES = {"report.html", "report.md", "comparisons.parquet", "comparisons.csv", "summary.json"}
SECONDS_FOR_100K_ROWS = 30.0
"""Twelve times the 2.5 s measured alone on one core: the test catches a quadratic step, not a busy machine."""


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def reject_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def test_every_promised_file_is_there_and_nothing_else(written: Path) -> None:
    out = written
    scripts = {f"findings/f{i}-op/{name}" for i in range(12) for name in ("case.json", "repro.py")}
    assert set(snapshot(out)) == FILES | scripts


def test_a_report_read_back_writes_the_same_bytes_again(written: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(written, tmp_path / "out"))
    (out / "report.html").unlink()
    (out / "report.md").write_text("")
    assert rebuild_report(out) == out
    assert snapshot(out) == snapshot(written)


def test_the_pieces_come_back_as_they_were(fake: SimpleNamespace, written: Path) -> None:
    pieces, found = fake.pieces(300), read_report(written)
    pd.testing.assert_frame_equal(found["frame"], pieces["frame"])
    assert found["metadata"] == pieces["metadata"]
    assert found["lockstep"] == pieces["lockstep"]
    scripts = {item["id"]: item["script"] for item in found["findings"]}
    assert scripts == {item["id"]: item["script"] for item in pieces["findings"]}
    assert math.isinf(next(item["z"] for item in found["findings"] if item["id"] == "f0-op"))


def test_the_summary_holds_what_the_design_promises(fake: SimpleNamespace, written: Path) -> None:
    pieces, out = fake.pieces(300), written
    summary = json.loads((out / "summary.json").read_text("utf-8"), parse_constant=reject_constant)
    assert summary["comparisons"] == 300 == sum(summary["verdicts"].values())
    assert summary["programs"] == pieces["frame"]["case"].nunique()
    assert (summary["seed"], summary["seconds"], summary["versions"]["torch"]) == (7, 312.4, "2.13.0")
    promised = "id op culprit mode runner dtype verdict z known equations elements repro".split()
    assert len(summary["findings"]) == 12
    for finding in summary["findings"]:
        assert set(promised) <= set(finding)
        assert (out / finding["repro"]).is_file()
        float(finding["z"])
    assert summary["coverage_counts"]["opinfo"] == {"compared": 240, "not covered": 300}


def test_an_empty_run_still_gives_a_whole_report(tmp_path: Path) -> None:
    out = write_report(frame_from_rows([]), tmp_path / "out")
    assert set(snapshot(out)) == FILES
    assert "Nothing was compared" in (out / "report.html").read_text("utf-8")
    assert len(read_report(out)["frame"]) == 0


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="ascii", min_codepoint=32)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="ascii")), inner, max_size=3)
    ),
)


@given(VALUES)
def test_json_is_strict_and_reads_back(data: Any) -> None:
    text = to_json(data, "data")
    json.loads(text, parse_constant=reject_constant)
    assert to_json(from_json(text, "data"), "data") == text


def test_numbers_json_lacks_are_texts_that_float_reads() -> None:
    text = to_json({"z": [np.float32("nan"), np.inf, -math.inf], "c": 1 + 2j, "n": np.int8(3), "b": np.True_}, "data")
    assert json.loads(text) == {"z": ["NaN", "Infinity", "-Infinity"], "c": [1.0, 2.0], "n": 3, "b": True}
    assert [float(item) for item in json.loads(text)["z"]][1:] == [math.inf, -math.inf]


def test_what_json_cannot_hold_is_named_with_its_place() -> None:
    with pytest.raises(ReportDataError, match=r"case\.inputs\[1\] holds .*object"):
        to_json({"inputs": [1, object()]}, "case")
    with pytest.raises(ReportDataError, match=r"has the key 3 \(int\)"):
        to_json({3: 1}, "case")


@settings(max_examples=40)  # each example writes and reads two files
@given(st.lists(st.floats(), min_size=1, max_size=5), st.text(max_size=12))
def test_csv_and_parquet_give_back_every_float_and_text(numbers: list[float], text: str) -> None:
    rows = [{"case": "c", "verdict": "agree", "torch_value": number, "message": "<" + text + ">"} for number in numbers]
    frame = frame_from_rows(rows)
    pd.testing.assert_frame_equal(from_parquet(to_parquet(frame), "x"), frame)
    read = pd.read_csv(io.BytesIO(to_csv(frame)))
    np.testing.assert_array_equal(read["torch_value"].to_numpy(dtype=float), numbers)
    assert list(read["message"]) == list(frame["message"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"findings": [{"id": "../up", "op": "a", "verdict": "mismatch"}]}, "cannot name a folder"),
        ({"findings": [{"id": i, "op": "a", "verdict": "mismatch"} for i in ("Ab", "aB")]}, "two findings have the id"),
        ({"findings": [{"id": "a", "op": "a", "verdict": "mismatch", "right": 1}]}, "unknown keys \\['right'\\]"),
        ({"findings": [{"id": "a", "op": "a"}]}, "lacks \\['verdict'\\]"),
        ({"coverage": [{"name": "a", "status": "skipped"}]}, "accepted are compared, not covered"),
        ({"lockstep": {"step": [1], "z": [], "loss_torch": [1.0], "loss_witness": [1.0]}}, "len\\(z\\)=0"),
        ({"metadata": {"x": object()}}, "summary.metadata.x holds"),
    ],
)
def test_pieces_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ReportDataError, match=said):
        write_report(frame_from_rows([]), tmp_path / "out", **change)
    assert list(tmp_path.iterdir()) == []


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("damage", "kind", "said"),
    [
        (lambda out: (out / "summary.json").unlink(), ReportPathError, "cannot read summary.json"),
        (lambda out: _cut(out / "summary.json"), ReportDataError, "summary.json is not valid JSON"),
        (lambda out: (out / "summary.json").write_text("[]"), ReportDataError, "has format='list'"),
        (lambda out: (out / "summary.json").write_text('{"format": 99}'), ReportDataError, "has format=99"),
        (lambda out: (out / "summary.json").write_bytes(b"\xff"), ReportDataError, "not UTF-8"),
        (lambda out: (out / "comparisons.parquet").unlink(), ReportPathError, "cannot read comparisons.parquet"),
        (lambda out: _cut(out / "comparisons.parquet"), ReportDataError, "damaged or of another run"),
        (
            lambda out: (out / "findings/f1-op/repro.py").unlink(),
            ReportPathError,
            "cannot read findings/f1-op/repro.py",
        ),
        (lambda out: _cut(out / "findings/f1-op/case.json"), ReportDataError, "case.json is not valid JSON"),
    ],
)
def test_a_damaged_report_is_one_clear_error(
    written: Path, tmp_path: Path, damage: Any, kind: type[Exception], said: str
) -> None:
    out = Path(shutil.copytree(written, tmp_path / "out"))
    damage(out)
    with pytest.raises(kind, match=said):
        read_report(out)


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ReportPathError, match="is not a folder"):
        read_report(tmp_path / "nowhere")


def test_a_summary_cannot_make_the_reader_look_outside(written: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(written, tmp_path / "out"))
    path = out / "summary.json"
    path.write_text(path.read_text("utf-8").replace("findings/f1-op/repro.py", "../../../etc/hostname"), "utf-8")
    with pytest.raises(ReportDataError, match="lies outside the report"):
        read_report(out)


def test_a_hundred_thousand_rows_are_written_in_seconds(fake: SimpleNamespace, tmp_path: Path) -> None:
    frame = frame_from_rows(fake.rows(100_000))
    start = time.perf_counter()
    out = write_report(frame, tmp_path / "out")
    assert time.perf_counter() - start < SECONDS_FOR_100K_ROWS
    assert (out / "report.html").stat().st_size < 2_000_000  # a page that opens at once; the rows are in the CSV
