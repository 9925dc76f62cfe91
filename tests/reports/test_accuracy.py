"""The accuracy section: sorted, tied to verdicts, exact in CSV, and nothing but text on the pages."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Any

from gradwitness.reports import frame_from_rows, read_report, write_report
from gradwitness.reports.accuracy import ULP_KEYS, entries, to_csv
from gradwitness.reports.content import Report
from gradwitness.reports.html_page import render_html
from gradwitness.reports.markdown_page import render_markdown

NASTY = "<script>alert(1)</script>|`a`\n# h"


def record(call: str, dtype: str, quantity: str, ulp: float | None, **more: Any) -> dict[str, Any]:
    base = {
        **{"op": call.split("(")[0], "call": call, "primitive": "p", "dtype": dtype, "quantity": quantity, "ulp": ulp},
        **{
            "wrt": "" if quantity == "value" else "x",
            "points": 100_000,
            "input": [0.1],
            "torch_value": 0.30000001192092896,
        },
        **{"right_value": 0.25, "digits": "0.25", "rel_error": 0.2, "halved": False, "confirmed": 40, "message": ""},
    }
    return {**dict.fromkeys(ULP_KEYS), **base, **more}


ROWS = [
    record("torch.exp(x)", "float64", "value", 0.52),
    record("torch.exp(x)", "float64", "derivative", 0.52),
    record("torch.tanh(x)", "float32", "value", 0.51),
    record("torch.tanh(x)", "float32", "derivative", 1.7e7, halved=True),
    record("torch.sign(x)", "float64", "value", 0.0),
    record("torch.hypot(x, y)", "float64", "value", 0.9, input=[1.0, math.inf]),
    record("torch.hypot(x, y)", "float64", "derivative", 3.0, wrt="x"),
    record(
        *("torch.hypot(x, y)", "float64", "derivative", 7.0),
        **{"wrt": "y", "input": [3.0, 4.0], "not_finite": 12, "not_finite_input": [0.0, 0.0]},
        **{"not_finite_torch": math.nan, "not_finite_right": 0.0},
    ),
]


def frame(*ops: tuple[str, str]) -> Any:
    return frame_from_rows([{"case": "c", "verdict": "inaccurate", "op": op, "dtype": dtype} for op, dtype in ops])


def test_the_worst_derivative_comes_first_and_each_operation_once_a_precision() -> None:
    found = entries(ROWS, frame())
    assert [e.call for e in found] == ["tanh(x)", "hypot(x, y)", "exp(x)", "sign(x)"]
    assert found[1].derivative == "7" and found[1].at == "3.0, 4.0"
    assert found[3].derivative == "—" and found[3].value_ulp == 0.0


def test_numbers_are_the_shortest_of_their_precision() -> None:
    tanh = entries(ROWS, frame())[0]
    assert tanh.torch_value == "0.3"  # 0.30000001192092896 is the float32 nearest to 0.3
    assert entries(ROWS, frame())[2].torch_value == "0.30000001192092896"


def test_lost_digits_are_tied_to_the_comparisons_they_explain() -> None:
    seen = frame(
        ("aten::tanh.default", "float32"), ("torch.tanh", "float32"), ("tanh", "float64"), ("atanh", "float32")
    )
    assert [e.explains for e in entries(ROWS, seen)] == ["yes, 2 comparisons of this run", "no", "no", "no"]
    assert entries(ROWS, frame())[0].explains == "yes"


def test_infinities_are_told_with_their_example() -> None:
    assert entries(ROWS, frame())[1].not_finite == "12 points, derivative at 0.0, 0.0: PyTorch NaN, right 0.0"


def test_an_operation_without_a_derivative_says_why() -> None:
    rows = [ROWS[0], record("torch.exp(x)", "float64", "derivative", None, message="PyTorch raised RuntimeError: no")]
    (found,) = entries(rows, frame())
    assert found.derivative == "PyTorch raised RuntimeError: no"


def test_csv_holds_every_number_exactly() -> None:
    found = list(csv.DictReader(io.StringIO(to_csv(ROWS).decode())))
    assert list(found[0]) == list(ULP_KEYS)
    assert [float(r["torch_value"]) for r in found] == [r["torch_value"] for r in ROWS]
    assert found[7]["input"] == "3.0;4.0" and found[2]["dtype"] == "float32"


def test_the_table_is_written_read_back_and_removed_with_its_report(tmp_path: Path) -> None:
    out = write_report(frame(), tmp_path / "out", ulp=ROWS)
    again = read_report(out)["ulp"]
    assert [r["ulp"] for r in again] == [r["ulp"] for r in ROWS]
    before = {name: (out / name).read_bytes() for name in ("ulp.csv", "report.html", "report.md")}
    write_report(out=out, **read_report(out))
    assert {name: (out / name).read_bytes() for name in before} == before
    write_report(frame(), out)
    assert not (out / "ulp.csv").exists()
    assert "Accuracy of elementwise" not in (out / "report.html").read_text("utf-8")


def test_a_run_of_the_table_alone_says_so() -> None:
    report = Report.of(frame(), ulp=ROWS)
    assert "<h1>Accuracy of 4 operations measured" in render_html(report)
    assert render_markdown(report).startswith("# gradwitness: Accuracy of 4 operations measured")


def test_text_of_a_row_is_only_ever_text() -> None:
    row = record(NASTY, NASTY, "derivative", 3.0, message=NASTY, not_finite=1, not_finite_input=[1.0])
    report = Report.of(frame(), ulp=[row, record(NASTY, NASTY, "value", 1.0)])
    page, text = render_html(report), render_markdown(report)
    assert "<script" not in page
    lines = [line for line in text.splitlines() if line.startswith("| \\<script")]
    assert len(lines) == 1
    assert len(re.findall(r"(?<!\\)\|", lines[0])) == 9
