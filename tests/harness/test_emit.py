"""Programs as PyTorch source and as scripts: the same values, and exit codes that can be relied on."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from gradwitness.harness.campaigns.generated import draw_cases, torch_function
from gradwitness.harness.errors import UsageError
from gradwitness.harness.evidence.scripts import (
    Difference,
    ones,
    proves,
    script,
    script_of_program,
)
from gradwitness.harness.generation.emit import emit, function_of, number, tensor
from gradwitness.harness.recorder.recorded_source import of_recording
from gradwitness.harness.recorder.recording import capture
from gradwitness.harness.strategies import programs, steps
from gradwitness.reference_engine import ops
from gradwitness.reference_engine.errors import EngineError
from gradwitness.reference_engine.evaluate import evaluate
from gradwitness.reference_engine.program import Program
from gradwitness.reference_engine.tracing import bind, trace

# A different algorithm may lose half of the digits of an ill-conditioned value (a matrix inverse, a root near 0); a
# wrong spelling (another axis, padding, divisor) is off by parts of the value itself.
HALF_OF_THE_DIGITS = float(np.sqrt(np.finfo(np.float64).eps))


def tuple_of(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", sorted(steps()))
def test_the_emitted_function_has_the_value_of_the_program(name):
    for case in draw_cases(programs(only=[name], fewest=1, most=1), 6, seed=1):
        expected = tuple_of(evaluate(case.program, *case.inputs))
        got = function_of(case.program, always_tuple=True)(*[torch.tensor(x) for x in case.inputs])
        for y, t in zip(expected, got, strict=True):
            assert tuple(t.shape) == y.shape, case.source()
            scale = np.max(np.abs(y[np.isfinite(y)]), initial=0.0)
            close = np.isclose(t.numpy(), y, rtol=HALF_OF_THE_DIGITS, atol=HALF_OF_THE_DIGITS * scale, equal_nan=True)
            assert close.all(), f"{case.source()}\n{case.inputs}\n{t}\n{y}"


def test_constants_follow_the_dtype_of_the_inputs():
    program = trace(lambda x: ops.maximum(ops.multiply(x, 0.1), np.array([0.25, 3.0])), np.zeros(2))
    for dtype in (torch.float64, torch.float32):
        assert function_of(program)(torch.ones(2, dtype=dtype)).dtype == dtype


def test_source_is_readable():
    program = trace(lambda x, y: ops.sum(ops.exp(x) * 2.0 + y, axis=1), np.zeros((2, 3)), np.zeros(3))
    assert emit(program) == (
        "def f(x0, x1):\n"
        "    y0 = torch.exp(x0)\n"
        "    y1 = y0 * 2.0\n"
        "    y2 = y1 + x1\n"
        "    y3 = y2.sum(dim=(1,))\n"
        "    return y3\n"
    )


@pytest.mark.parametrize("x", [0.1, 1e-300, -0.0, math.inf, -math.inf, 5e-324, True, 3])
def test_literals_read_back_as_the_same_number(x):
    back = eval(number(x), {"math": math})
    assert back == x and math.copysign(1.0, back) == math.copysign(1.0, x)


def test_literals_of_arrays_keep_shape_and_kind():
    for x in (
        np.zeros((0, 3)),
        np.arange(6).reshape(2, 3),
        np.array([True, False]),
        np.full((3, 4), 0.5),
        np.array(2.0),
    ):
        back = eval(tensor(x, "torch.float64"), {"torch": torch, "math": math})
        assert tuple(back.shape) == x.shape and np.array_equal(back.numpy(), x)


def test_a_primitive_without_a_spelling_is_named():
    program = trace(lambda x: ops.relu(x), np.ones(2))
    from gradwitness.reference_engine.reverse import reverse

    with pytest.raises(UsageError, match="emit: choice has no PyTorch spelling; accepted are"):
        emit(reverse(program))


@pytest.fixture(scope="module")
def cumprod() -> Program:
    return trace(lambda x: ops.cumprod(x, axis=0), np.zeros(3))


def run(text: str, tmp_path) -> subprocess.CompletedProcess:
    file = tmp_path / "repro.py"
    file.write_text(text)
    return subprocess.run([sys.executable, "-I", str(file)], cwd="/", capture_output=True, text=True, timeout=120)


def test_a_script_proves_a_difference_alone_and_from_any_folder(cumprod, tmp_path):
    text = script_of_program(cumprod, [np.array([0.0, 2.0, 3.0])], "FF")
    imports = {line for line in text.split("\n") if line.startswith(("import", "from"))}
    assert imports == {"import math", "import torch"} and "gradwitness" not in text and "autograd" not in text
    done = run(text, tmp_path)
    # along ones D²(x₀x₁) = 2 and D²(x₀x₁x₂) = 2 (x₀ + x₁ + x₂) = 10
    right = done.stdout.strip().rpartition("right=")[2]
    assert done.returncode == 1 and done.stdout.startswith("torch=") and float(right) in (2.0, 10.0), done


@pytest.mark.parametrize("mode", ["R", "F", "RR", "FR", "RF", "FF", ""])
def test_a_script_exits_0_where_both_agree_in_every_mode(mode, tmp_path):
    program = trace(lambda x: ops.sin(x) * x, np.zeros(2))
    x, s, c = np.array([0.5, 1.0]), np.sin, np.cos
    right = {"": s(x) * x, "R": c(x) * x + s(x), "F": c(x) * x + s(x)}.get(mode, 2 * c(x) - s(x) * x)[1]
    right = float(right)
    at = Difference(0, (1,), right, 1e-14)
    text = script(emit(program, always_tuple=True), [x], ones(program), mode, at)
    assert not proves(text)
    assert run(text, tmp_path).returncode == 0
    assert proves(text.replace(f"right = {right!r}", f"right = {right + 1e-6!r}"))


def test_a_script_exits_2_where_torch_cannot_run_it(tmp_path):
    program = trace(lambda x: ops.sin(x), np.zeros(()))
    text = script(emit(program, always_tuple=True), [np.array(0.5)], ones(program), "R", Difference(0, (), 1.0, 0.0))
    done = run(text.replace("torch.sin", "torch.no_such_function"), tmp_path)
    assert done.returncode == 2 and "cannot run with torch" in done.stdout


def test_there_is_no_script_where_nothing_differs():
    program = trace(lambda x: ops.sin(x), np.zeros(()))
    assert script_of_program(program, [np.array(0.5)], "R") == ""


def test_another_mode_is_refused_by_name():
    program = trace(lambda x: ops.sin(x), np.zeros(()))
    with pytest.raises(UsageError, match="script: mode 'Q'; accepted are"):
        script(emit(program), [np.array(0.5)], ones(program), "Q", Difference(0, (), 1.0, 0.0))


def test_a_recorded_run_is_replayed_from_its_calls():
    w = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64)

    def fn(x):
        y = torch.nn.functional.linear(x, w)
        y.add_(1.0)
        return torch.relu(y).sum(dim=1)

    x = torch.tensor([[1.0, 2.0], [3.0, -4.0]], dtype=torch.float64)
    recording = capture(fn, x)
    source = of_recording(recording, recording.inputs, recording.outputs)
    namespace = {"torch": torch, "math": math}
    exec(source, namespace)
    assert torch.equal(namespace["f"](x)[0], fn(x))


def test_a_run_with_random_numbers_is_not_replayed():
    x = torch.ones(3, dtype=torch.float64)
    recording = capture(lambda x: torch.nn.functional.rrelu(x - 2.0, training=True), x)
    assert of_recording(recording, recording.inputs, recording.outputs) == ""


@pytest.mark.parametrize(
    "fn, name",
    [
        (lambda x: ops.cumprod(x, axis=0), "torch.cumprod"),
        (lambda x: ops.sum(x), "torch.sum"),
        (lambda x: x * x, "torch.mul"),
        (lambda x: ops.matmul(x, x), "torch.matmul"),
        (lambda x: bind("eigh", x, np.ones((2, 2))), "torch.linalg.eigh"),
        (lambda x: ops.where(x > 0.0, x, 2.0 * x), "torch.where"),
    ],
)
def test_operations_are_called_by_the_name_of_torchs_function(fn, name):
    assert torch_function(trace(fn, np.zeros((2, 2))).equations[-1]) == name


def test_engine_errors_are_not_hidden_by_scripts():
    with pytest.raises(EngineError):
        evaluate(trace(lambda x: ops.sin(x), np.zeros(2)), np.zeros(3))
