"""The command line: help, exit codes, and one clear sentence for every kind of misuse."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gradwitness.harness.campaigns.campaign import DEFAULT_CASES
from gradwitness.harness.cli import main


def run(capsys, *arguments):
    """(exit code, standard output, standard error) of one command, in this process."""
    with pytest.raises(SystemExit) as left:
        main(list(map(str, arguments)))
    captured = capsys.readouterr()
    code = left.value.code
    return (0 if code is None else code), captured.out, captured.err


TARGET = """
import torch

class Faulty(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, g):
        return g * 2.001

def right():
    return torch.nn.Linear(3, 2).double(), torch.ones(4, 3, dtype=torch.float64)

def faulty():
    return Faulty.apply, torch.ones(3, dtype=torch.float64)

def alone():
    return torch.sin

def raising():
    raise ValueError("no data here")

def needing(x, y=2):
    return torch.sin, x

number = 3

def scaled():
    return lambda x, *, scale: scale * x, torch.ones(3, dtype=torch.float64), {"scale": 2.0}
"""


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "target.py"
    path.write_text(TARGET)
    return path


def test_help_shows_an_example_of_every_command(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for command in ("run", "check", "learn", "replay", "report"):
        assert f"gradwitness {command}" in out
        code, out_of_command, _ = run(capsys, command, "--help")
        assert code == 0
        assert f"Example: gradwitness {command}" in out_of_command


def test_check_is_0_for_a_right_gradient_and_1_with_the_line_for_a_wrong_one(capsys, target):
    code, out, _ = run(capsys, "check", f"{target}:right")
    assert (code, out.split(":")[0]) == (0, "agree")
    code, out, _ = run(capsys, "check", f"{target}:faulty")
    assert code == 1
    assert f"culprit: FaultyBackward at {target}:8" in out
    assert "called at" not in out  # a command calls it, no line of the user's


def test_a_target_may_return_named_arguments_too(capsys, target):
    code, out, _ = run(capsys, "check", f"{target}:scaled")
    assert (code, out.split(":")[0]) == (0, "agree")


def test_learn_lists_the_pitfalls_and_tells_one(capsys):
    code, out, _ = run(capsys, "learn")
    assert code == 0 and "forgotten-zeroing" in out
    code, out, _ = run(capsys, "learn", "forgotten-zeroing")
    assert code == 0 and "Read next:" in out


CASE = {"format": 1, "kind": "call", "mode": "R", "seed": 0, "operation": "aten::sin", "overload": "default"}
TENSOR = {"tensor": [0.5, 1.0], "shape": [2], "dtype": "float64", "active": True}


def test_replay_runs_a_case_again(capsys, tmp_path):
    path = tmp_path / "case.json"
    path.write_text(json.dumps({**CASE, "args": [TENSOR], "kwargs": {}}))
    code, out, _ = run(capsys, "replay", path)
    assert code == 0
    assert out.startswith("agree: aten::sin.default in mode R")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[1, 2]", "has kind 'list'"),
        ('{"kind": "picture"}', "has kind 'picture'"),
        (json.dumps({**CASE, "mode": "Q"}), "has mode 'Q'"),
        (json.dumps({**CASE, "args": [TENSOR]}), "the call could not be read"),
        (
            json.dumps({**CASE, "operation": "aten::no_such", "args": [TENSOR], "kwargs": {}}),
            "the call could not be read",
        ),
        (json.dumps({**CASE, "args": [{**TENSOR, "shape": [7]}], "kwargs": {}}), "the call could not be read"),
    ],
)
def test_a_damaged_case_is_refused_in_one_sentence(capsys, tmp_path, text, sentence):
    path = tmp_path / "case.json"
    path.write_text(text)
    code, _, err = run(capsys, "replay", path)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--no-such-flag"], "No such option"),
        (["walk"], "No such command"),
        (["run", "--source", "moon"], "--source 'moon'; accepted are generated, opinfo, variations, referee, all"),
        (["run", "--modes", "R,XY"], "mode 'XY': accepted are R, F"),
        (["run", "--orders", "9"], "--orders '9'; accepted are 1, 2 and 3"),
        (["run", "--modes", "R", "--orders", "2"], "have nothing in common"),
        (["run", "--cases", "-1"], "--cases -1; accepted are whole numbers from 0"),
        (["run", "--workers", "0"], "--workers 0; accepted are whole numbers from 1"),
        (["run", "--samples", "0"], "--samples 0; accepted are whole numbers from 1"),
        (["run", "--source", "opinfo", "--only", "no_such_entry"], "--only no_such_entry"),
        (["replay", "nowhere.json"], "could not be read"),
        (["report", "nowhere"], "nowhere"),
        (["learn", "forgoten-zeroing"], "near matches: forgotten-zeroing"),
        (["check", "nowhere.py:f"], "is not a file"),
        (["check", "nowhere"], "accepted is FILE.py:NAME"),
    ],
)
def test_misuse_is_one_clear_sentence_and_exit_code_2(capsys, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nothing", "has no 'nothing'"),
        ("number", "is a int"),
        ("alone", "accepted is a pair"),
        ("needing", "needs an argument (x) (target.py, line 24); accepted is a function"),
    ],
)
def test_a_target_that_is_not_a_pair_of_function_and_inputs_is_explained(capsys, target, name, sentence):
    code, _, err = run(capsys, "check", f"{target}:{name}")
    assert code == 2
    assert sentence in err


def test_an_unknown_mode_or_dtype_of_check_is_refused(capsys, target):
    code, _, err = run(capsys, "check", f"{target}:right", "--dtypes", "float12")
    assert code == 2 and "dtype 'float12': accepted are float64, float32" in err
    code, _, err = run(capsys, "check", f"{target}:right", "--modes", "S")
    assert code == 2 and "mode 'S'" in err


def test_an_out_that_cannot_be_written_is_refused_before_any_work(capsys, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("kept")
    code, _, err = run(capsys, "run", "--cases", "1", "--source", "generated", "--out", blocked / "out")
    assert code == 2
    assert "cannot be written" in err
    assert blocked.read_text() == "kept"


def test_an_internal_fault_is_exit_code_3(capsys, monkeypatch):
    import gradwitness.harness.running as running

    monkeypatch.setattr(running, "replay_case", lambda path: 1 / 0)
    code, _, err = run(capsys, "replay", "x.json")
    assert code == 3
    assert "ZeroDivisionError" in err and "internal fault" in err


def test_the_installed_command_starts_from_any_folder(tmp_path):
    script = Path(sys.executable).with_name("gradwitness")
    command = [script] if script.exists() else [sys.executable, "-m", "gradwitness.harness.cli"]
    done = subprocess.run(
        [*command, "learn"], cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"}
    )
    assert done.returncode == 0, done.stderr
    assert "pitfalls of automatic differentiation" in done.stdout


def test_what_the_users_own_file_raises_is_shown_as_theirs(capsys, target, tmp_path):
    code, _, err = run(capsys, "check", f"{target}:raising")
    assert code == 2 and "raised ValueError: no data here (target.py, line" in err and "Traceback" not in err
    broken = tmp_path / "broken.py"
    broken.write_text("x = 1\ndef f(:\n")
    code, _, err = run(capsys, "check", f"{broken}:f")
    assert code == 2 and "raised SyntaxError" in err and "broken.py, line 2" in err


@pytest.mark.parametrize(
    "options",
    [("--only", ""), ("--source", "generated", "--cases", 0), ("--source", "generated", "--only", "hypot")],
)
def test_a_run_that_would_do_nothing_is_refused(capsys, tmp_path, options):
    code, _, err = run(capsys, "run", "--out", tmp_path / "out", *options)
    assert code == 2 and "accepted" in err and not (tmp_path / "out").exists()


def test_a_negative_seed_is_refused_and_help_says_how_many_programs_are_run(capsys, target):
    assert run(capsys, "check", f"{target}:right", "--seed", -1)[0] == 2
    assert f"default {DEFAULT_CASES}" in " ".join(run(capsys, "run", "--help")[1].split())
