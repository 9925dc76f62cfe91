"""Findings of one ATen call, cut down: to the entries at fault, wherever they lie, with a script that proves it."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from gradwitness.harness.campaigns.units import run_unit, shrink_record
from gradwitness.harness.campaigns.work import Unit
from gradwitness.harness.evidence.cases import call_to_json
from gradwitness.harness.evidence.findings import grouped
from gradwitness.harness.evidence.shrinking_calls import same_words, smallest_call
from gradwitness.harness.judgement.comparing import compare_reverse
from gradwitness.harness.judgement.rows import Rows
from gradwitness.harness.judgement.subject import Subject


def records(name: str, mode: str):
    return grouped(run_unit(Unit("opinfo", name, (mode,), 0, samples=2)).candidates, [])


def wrong_hardsigmoid(x: torch.Tensor):
    """The finding of torch's slope of hardsigmoid, 1/6 in single precision, at x."""
    subject = Subject(torch.nn.functional.hardsigmoid, [x.requires_grad_()], [], ["x"], None, 0)
    rows = Rows("hardsigmoid")
    recording = compare_reverse(subject, rows).recording
    worst = max((r for r in rows.rows if r["verdict"] == "mismatch"), key=lambda r: r["z"])
    case = call_to_json(recording, recording.calls[0], {0}, "R", 0)
    numbers = {"torch_value": worst["torch_value"], "right_value": worst["reference_value"], "z": worst["z"]}
    given = {"verdict": "mismatch", "case": case, "script": "", "culprit": "aten::hardsigmoid.default"}
    return {**given, "elements": x.numel(), **numbers}


@pytest.mark.parametrize("place", [0, 7, 10])
def test_the_entry_at_fault_is_kept_wherever_it_lies(place):
    x = np.full(11, 5.0)  # beyond 3 the slope is 0, and torch has 0
    x[place] = 1.0
    cut = smallest_call(wrong_hardsigmoid(torch.from_numpy(x)))
    assert cut["elements"] == 1
    assert cut["torch_value"] != cut["right_value"] == pytest.approx(cut["torch_value"], rel=1e-6)
    assert "hardsigmoid" in cut["script"]


def test_a_long_axis_is_cut_by_its_halves():
    x = np.full(1000, 5.0)
    x[700:] = 1.0
    assert smallest_call(wrong_hardsigmoid(torch.from_numpy(x)))["elements"] == 1


def test_places_in_an_axis_are_cut_with_it():
    for record in records("scatter_reduce.prod", "F"):
        cut = shrink_record(record)
        assert cut["elements"] <= 4 and cut["culprit"] == "aten::scatter_reduce.two"


def test_a_call_that_raises_is_named_cut_down_and_proved_by_a_script_with_the_right_value(tmp_path):
    (record,) = records("nn.functional.huber_loss", "FF")
    assert (record["verdict"], record["culprit"]) == ("raised", "aten::huber_loss.default")
    cut = shrink_record(record)
    assert cut["elements"] <= 2
    script = tmp_path / "repro.py"
    script.write_text(cut["script"], encoding="utf-8")
    ran = subprocess.run([sys.executable, "-I", str(script)], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stdout.startswith("raises, right=")


def test_two_exceptions_say_the_same_whatever_their_numbers():
    assert same_words("size 3 at dim 0 (line 17)", "size 1 at dim 2 (line 9)")
    assert not same_words("size 3 at dim 0", "length 3 at dim 0")
