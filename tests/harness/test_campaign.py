"""Campaigns: every case ends in rows, counts do not depend on the workers, findings are proved by their scripts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from gradwitness.harness.campaigns import campaign, lockstep, units
from gradwitness.harness.campaigns.campaign import Campaign, Options, run_campaign
from gradwitness.harness.campaigns.units import run_unit
from gradwitness.harness.campaigns.work import Unit
from gradwitness.harness.running import _closing
from gradwitness.reports import frame_from_rows, read_report

FAULTY = ("nn.functional.layer_norm", "logcumsumexp")  # wrong second and forward derivatives in torch 2.13


@pytest.fixture(scope="module")
def found():
    return run_campaign(Options("opinfo", ("R", "F", "FF"), 0, 3, 0, 2, FAULTY), known=[])


def test_live_faults_are_found_with_their_culprit(found):
    culprits = {(f["culprit"], f["mode"]) for f in found.findings if f["verdict"] == "mismatch"}
    assert ("aten::native_layer_norm.default", "FF") in culprits
    assert ("aten::logcumsumexp.default", "F") in culprits
    assert all(f["fails"] for f in found.findings)


def test_every_script_proves_its_finding_with_torch_alone(found, tmp_path):
    scripts = [f for f in found.findings if f["verdict"] == "mismatch"]
    assert scripts
    for f in scripts:
        path = tmp_path / "repro.py"
        path.write_text(f["script"])
        imports = {line.split()[1] for line in f["script"].splitlines() if line.startswith(("import ", "from "))}
        assert imports <= {"torch", "math"}
        done = subprocess.run([sys.executable, "-I", path], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1, done.stderr + done.stdout
        assert "torch=" in done.stdout and "right=" in done.stdout


def test_findings_are_cut_down(found):
    smallest = min(f["elements"] for f in found.findings if f["culprit"] == "aten::native_layer_norm.default")
    assert smallest <= 8


def test_a_report_holds_every_row_and_finding(found, tmp_path):
    campaign.write(found, tmp_path / "out", None, [], "gradwitness run")
    again = read_report(tmp_path / "out")
    assert len(again["frame"]) == len(found.frame)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {f["id"] for f in summary["findings"]} == {f["id"] for f in found.findings}
    assert summary["comparisons"] == len(found.frame)
    for f in summary["findings"]:
        assert (tmp_path / "out" / f["repro"]).exists()


def test_counts_do_not_depend_on_the_number_of_workers():
    one = run_campaign(Options("generated", ("R", "F"), 24, None, 3, 1))
    two = run_campaign(Options("generated", ("R", "F"), 24, None, 3, 2))
    columns = ["case", "op", "program", "mode", "dtype", "wrt", "verdict"]
    assert one.frame[columns].equals(two.frame[columns])
    assert one.metadata["programs"] == two.metadata["programs"] == 24


def test_every_sample_of_an_entry_ends_in_a_row():
    result = run_unit(Unit("opinfo", "cumsum", ("R", "FF"), 0))
    cases = {r["case"] for r in result.rows}
    assert len(cases) == result.programs
    assert {r["mode"] for r in result.rows} == {"R", "FF"}
    (record,) = result.coverage
    assert record["status"] == "compared"
    assert record["modes"]["R"]["compared"] == record["samples"] == result.programs
    assert record["modes"]["FF"]["compared"] == units.SECOND_ORDER_SAMPLES
    (left,) = record["modes"]["FF"]["left_out"]
    assert left["reason"] == f"only the first {units.SECOND_ORDER_SAMPLES} samples were asked for"
    assert left["samples"] == record["samples"] - units.SECOND_ORDER_SAMPLES
    assert left["numbers"] == f"{units.SECOND_ORDER_SAMPLES}-{record['samples'] - 1}"


def test_a_sample_that_was_not_compared_counts_as_left_out_with_its_reason(monkeypatch):
    monkeypatch.setattr(units, "LARGEST_SAMPLE", 10)
    (record,) = run_unit(Unit("opinfo", "exp", ("R", "F"), 0)).coverage
    large, other = (sum(left["samples"] for left in record["modes"][m]["left_out"]) for m in ("R", "F"))
    assert large == other > 0 and record["status"] == "not covered"
    for mode in ("R", "F"):
        found = record["modes"][mode]
        assert found["compared"] + large == record["samples"]
        assert all("compared are samples of up to 10" in left["reason"] for left in found["left_out"])
    monkeypatch.setattr(units, "LARGEST_SAMPLE", 1000)
    monkeypatch.setattr(units, "compare_reverse", lambda subject, rows: 1 / 0)
    (record,) = run_unit(Unit("opinfo", "sin", ("R",), 0, samples=1)).coverage
    assert record["modes"]["R"]["compared"] == 0
    assert record["modes"]["R"]["left_out"][0]["reason"].startswith("crashed: ZeroDivisionError")


def test_a_mode_that_pytorch_declares_it_does_not_have_is_asked_all_the_same():
    # scatter_reduce of products has no forward rule, and answers 0 instead of refusing
    result = run_unit(Unit("opinfo", "scatter_reduce.prod", ("F",), 0, samples=2))
    assert [r["verdict"] for r in result.rows] == ["mismatch", "mismatch"]
    # huber_loss refuses: that is no row, and each of its samples counts as left out with the reason
    refused = run_unit(Unit("opinfo", "nn.functional.huber_loss", ("FR",), 0, samples=1))
    (record,) = refused.coverage
    (left,) = record["modes"]["FR"]["left_out"]
    assert refused.rows == [] and left["samples"] == record["samples"] > 0
    assert left["reason"] == "PyTorch declares no mixed forward and reverse derivative"


def test_coverage_by_sample_is_told_on_every_page(found, tmp_path):
    out = campaign.write(found, tmp_path / "out", None, [], "gradwitness run")
    counted = {c["mode"]: c for c in json.loads((out / "summary.json").read_text())["sample_coverage"]}
    assert set(counted) == {"R", "F", "FF"}
    samples = sum(c["samples"] for c in found.coverage)
    assert all(c["samples"] == samples for c in counted.values())
    for c in counted.values():
        assert c["compared"] + sum(left["samples"] for left in c["left_out"]) == samples
        assert {e for left in c["left_out"] for e in left["entries"]} <= set(FAULTY)
    for page in ("report.html", "report.md"):
        assert "only the first 3 samples were asked for" in (out / page).read_text()


def die(unit):
    import os

    os._exit(7)


def sleep(unit):
    import time

    time.sleep(60)


@pytest.mark.parametrize(("does", "verdict"), [(die, "crashed"), (sleep, "timeout")])
def test_a_unit_that_kills_its_worker_or_hangs_ends_in_one_row(monkeypatch, does, verdict):
    monkeypatch.setattr(campaign, "run_unit", does)
    monkeypatch.setattr(campaign, "UNIT_SECONDS", 2.0)
    result = run_campaign(Options("opinfo", ("R",), 0, 1, 0, 1, ("exp",)), known=[])
    assert list(result.frame["verdict"]) == [verdict]
    assert [f["fails"] for f in result.findings] == [True]


def test_a_fault_of_our_own_is_a_row_that_fails_the_run(monkeypatch):
    monkeypatch.setattr(units, "compare_reverse", lambda subject, rows: 1 / 0)
    result = run_unit(Unit("opinfo", "exp", ("R",), 0, samples=1))
    assert [r["verdict"] for r in result.rows] == ["crashed"]
    assert "ZeroDivisionError" in result.rows[0]["message"]


def test_an_untested_torch_is_warned_about_by_name():
    assert campaign.untested("2.13.0+cpu") == ""
    assert "torch 9.1.0 is not a version gradwitness was tested against" in campaign.untested("9.1.0")


def test_the_network_in_lock_step_stays_within_rounding_and_learns():
    result = lockstep.run(steps=30)
    assert len(result.z) == 30
    assert max(result.z) < lockstep.THRESHOLD
    assert result.loss_torch[-1] < 0.5 * result.loss_torch[0]
    # rounding of 30 steps: each adds at most some hundred roundings of weights of size 1
    assert max(result.apart) < 30 * 200 * 2.0**-53
    assert {j.verdict for step in result.judgements for j in step} == {"agree"}


@pytest.mark.parametrize("count, said", [(0, "0 findings, 0"), (1, "1 finding, 1"), (2, "2 findings, 2")])
def test_the_closing_line_counts_its_findings_in_the_right_number(count, said, capsys):
    finding = {"culprit": "aten::tanh", "mode": "R", "verdict": "mismatch", "known": None, "fails": True}
    campaign = Campaign(Options(), frame_from_rows([]), [finding] * count, [], {})
    _closing(campaign, Path("out"))
    assert f"{said} of them new; the report is out/report.html" in capsys.readouterr().out
