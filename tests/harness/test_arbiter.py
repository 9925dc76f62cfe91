"""The arbiter's numbers against closed forms, its refusals, and the three numbers of every finding of a campaign."""

import json
import subprocess
import sys
from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gradwitness.harness.arbitration.arbiter import PROMISED, arbitrate
from gradwitness.harness.campaigns.campaign import Options, run_campaign, write
from gradwitness.harness.evidence.three_numbers import by_closed_forms, nearer
from gradwitness.harness.recorder.recorded_source import of_recording
from gradwitness.harness.recorder.recording import capture
from gradwitness.reference_engine import PRIMITIVES, grad, ops, trace
from gradwitness.reference_engine.registry import Primitive

X = np.array([[2.0, 0.5], [0.25, 3.0]])
FAULTY = ("logcumsumexp", "nn.functional.layer_norm", "linalg.eig")  # in torch 2.13
ONES = [np.ones((2, 2))]


def asked(f, x, mode, entry, directions=(ONES, ONES)):
    program = trace(f, x)
    c = [np.ones(v.shape) for v in program.outputs]
    return arbitrate(program, [x], c, directions, mode, 0, entry)


def assert_digits(ruling, right):
    with mp.workdps(PROMISED + 20):
        right = right()
        assert abs(mp.mpf(ruling.value) - right) <= abs(right) * mp.mpf(10) ** (1 - PROMISED)


def test_a_number_lost_beside_numbers_that_are_too_large_is_not_called_zero():
    x = np.array([0.0, 700.0])
    found = [asked(lambda x: ops.sum(ops.exp(x)), x, "R", (k,), ([np.ones(2)],)) for k in (0, 1)]
    assert found[0].value is None and "lost" in found[0].source
    assert_digits(found[1], lambda: mp.exp(700))


SCALARS = {
    "sin": (ops.sin, mp.sin, [mp.cos, lambda x: -mp.sin(x), lambda x: -mp.cos(x)]),
    "exp": (ops.exp, mp.exp, [mp.exp, mp.exp, mp.exp]),
    "log": (ops.log, mp.log, [lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3]),
}


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("mode", ["", "R", "F", "RR", "FR", "RF", "FF", "RRR", "RFR", "FFF"])
def test_fifty_digits_of_value_slope_and_curvature(name, mode):
    f, value, slopes = SCALARS[name]
    ruling = asked(f, np.array(0.7), mode, (), ([np.array(1.0)],) * 3)
    assert_digits(ruling, lambda: (value, *slopes)[len(mode)](mp.mpf(0.7)))
    assert "differences" in ruling.source


@pytest.mark.parametrize(
    ("f", "right"),
    [
        (ops.det, lambda: mp.mpf(3)),  # the cofactor of entry (0, 0)
        (ops.logabsdet, lambda: mp.mpf(3) / (mp.mpf(6) - mp.mpf("0.125"))),
        (lambda a: ops.cholesky(ops.matmul(a, ops.swap_last(a)))[0, 0], lambda: 2 / mp.sqrt(mp.mpf("4.25"))),
        (lambda a: ops.solve(a, np.array([1.0, 0.0]))[0], lambda: -mp.mpf(9) / mp.mpf("5.875") ** 2),
        (lambda a: ops.sum(ops.eigh(a)[0]), lambda: mp.mpf(1)),
        (lambda a: ops.logcumsumexp(a, axis=0)[0, 0], lambda: mp.mpf(1)),
        (lambda a: ops.scatter_add(a, np.zeros((2, 2), int), a, axis=0)[0, 0], lambda: mp.mpf(2)),
        (lambda a: ops.binary_cross_entropy(a * 0.25, np.ones((2, 2))), lambda: -mp.mpf(1) / 2),
        (lambda a: ops.take_flat(a, np.array([0, 0, 3])), lambda: mp.mpf(2)),
    ],
)
def test_fifty_digits_of_gradients_of_matrix_functions(f, right):
    assert_digits(asked(f, X, "R", (0, 0)), right)


def test_the_arbiter_asks_no_rule_of_the_witness(monkeypatch):
    right = PRIMITIVES["sin"]
    monkeypatch.setitem(PRIMITIVES._table, "sin", Primitive(**{**vars(right), "rules": (lambda y, x: 2.0 * x,)}))
    assert grad(ops.sin)(np.array(0.7)) == 1.4  # the witness itself would be wrong
    assert_digits(asked(ops.sin, np.array(0.7), "R", ()), lambda: mp.cos(mp.mpf(0.7)))


def test_what_it_cannot_decide_it_says():
    kink = asked(lambda x: ops.abs(x - 0.5) ** 1.5, np.array(0.5), "RR", (), ([np.array(1.0)],) * 2)
    assert kink.value is None and "kink" in kink.source
    other = asked(lambda a: ops.pinv(a), X, "R", (0, 0))
    assert other.value is None and other.source == "no value in mpmath: pinv: not at hand"


@pytest.fixture(scope="module")
def found():
    return run_campaign(Options("opinfo", ("F", "FF", "RF"), 0, 2, 0, 1, FAULTY))


def test_every_mismatch_of_a_campaign_has_three_numbers_of_one_entry(found, tmp_path):
    wrong = [f for f in found.findings if f["verdict"] == "mismatch"]
    assert {f["op"] for f in wrong} == set(FAULTY)
    for f in wrong:
        assert f["arbiter_value"] is not None and f["arbiter"]
        arbiter = float(mp.mpf(f["arbiter_value"]))
        if "closed form" in f["arbiter"]:
            assert f["op"] == "linalg.eig"  # its outputs are complex: the issue's own smallest call speaks for it
            continue
        assert f["arbiter"].endswith("nearer to the witness")
        assert f"right = {f['right_value']!r}" in f["script"]
        assert abs(arbiter - f["right_value"]) <= 1e-12 * max(1.0, abs(arbiter))  # a few roundings of 2^-53
        assert not abs(arbiter - f["torch_value"]) <= 1e-7 * abs(arbiter)
    out = write(found, tmp_path / "out", None, [], "gradwitness run")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["without_arbiter"] == {}
    assert sorted(i for ids in summary["culprits"].values() for i in ids) == sorted(f["id"] for f in found.findings)
    number = next(f["arbiter_value"] for f in wrong if "differences" in f["arbiter"] and f["arbiter_value"] != "0")
    for page in ("report.html", "report.md"):
        text = (out / page).read_text().replace("<wbr>", "").replace("\\", "")
        assert number in text
        assert all(f["op"] in text for f in wrong)


def test_where_a_case_has_none_the_known_issue_s_call_has_all_three(found):
    (f,) = [f for f in found.findings if f["op"] == "linalg.eig"]  # its outputs are complex: no script compares them
    assert np.isnan(f["torch_value"]) and f["right_value"] == 0.0 and mp.mpf(f["arbiter_value"]) == 0
    assert "of the known issue's smallest call, torch.linalg.eig(x)[1].abs() at [[[2.0]]]" in f["arbiter"]


def test_a_script_of_an_operation_that_torch_registers_late_runs_by_itself(tmp_path):
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=1)
    w = torch.tensor([[1.0], [0.0]], dtype=torch.float64)

    def loss(x):
        return F.linear_cross_entropy(x, w, torch.tensor([0]), reduction="none", options=options)

    x = torch.tensor([[0.5]], dtype=torch.float64, requires_grad=True)
    recording = capture(loss, x)
    source = of_recording(recording, recording.inputs, recording.outputs)
    path = tmp_path / "alone.py"
    path.write_text(f"import torch\n\n\n{source}\nprint(f(torch.tensor([[0.5]], dtype=torch.float64))[0].item())\n")
    done = subprocess.run([sys.executable, "-I", path], capture_output=True, text=True)
    assert abs(float(done.stdout) - np.log1p(np.exp(-0.5))) < 1e-15, done.stderr


def test_a_finding_without_an_arbiter_is_listed_with_its_reason(found, tmp_path):
    without = [{**f, "arbiter_value": None, "arbiter": "told so"} for f in found.findings]
    out = write(replace(found, findings=without), tmp_path / "out", None, [], "gradwitness run")
    listed = json.loads((out / "summary.json").read_text())["without_arbiter"]
    assert set(listed) == {f["id"] for f in found.findings if f["verdict"] == "mismatch"}
    assert set(listed.values()) == {"told so"}
    for page in ("report.html", "report.md"):
        assert "told so" in (out / page).read_text()


def test_a_witness_that_is_wrong_is_told():
    assert nearer("0.5", 0.5, 0.25) == "PyTorch"
    assert nearer("0.5", float("nan"), 0.25) == "the witness"
    assert nearer("0.5", 0.75, 0.25) == "neither"


def test_what_no_known_issue_covers_gets_no_closed_form():
    unknown = {"id": "a", "verdict": "mismatch", "known": None, "arbiter_value": None, "arbiter": "why"}
    assert by_closed_forms([unknown], []) == [unknown]
