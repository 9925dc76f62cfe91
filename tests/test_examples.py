"""Every example runs, and prints numbers that are known in closed form; the notebook is stored without outputs."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from gradwitness.scenarios.lessons import lesson
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "examples"
SCRIPTS = ("backprop_by_hand.py", "train_a_neuron.py", "check_your_layer.py", "teach_an_operator.py")
NOTEBOOK = "course.ipynb"
MOST_LINES = 60  # a page to hand out
SECONDS = 300.0  # for one cell, importing torch on a busy machine included; no speed is tested


def printed(script: str, folder: Path) -> str:
    """Standard output of an example, run in another folder; it must end with exit code 0."""
    done = subprocess.run(
        [sys.executable, FOLDER / script], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_every_file_of_the_folder_is_run_here_and_told_in_its_readme() -> None:
    files = {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert files == {*SCRIPTS, NOTEBOOK, "README.md"}
    links = re.findall(r"\]\(([^)]+)\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(links) == sorted([*SCRIPTS, NOTEBOOK])


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_fits_on_a_page_and_says_how_to_run_it(script: str) -> None:
    text = (FOLDER / script).read_text(encoding="utf-8")
    assert len(text.splitlines()) < MOST_LINES
    assert f"Run: python examples/{script}\n" in text
    assert f"`python examples/{script}`" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_backprop_by_hand_prints_the_closed_forms(tmp_path: Path) -> None:
    """loss = (x y + x)² at (2, -3): d/dx = 2 (x y + x)(y + 1) = 16, d/dy = 2 (x y + x) x = -16."""
    text = printed("backprop_by_hand.py", tmp_path)
    assert re.search(r"d loss/dx +16 +16\n", text)
    assert re.search(r"d loss/dy +-16 +-16\n", text)
    # Two ways from x: through the product 2 (x y + x) y = 24, through the sum 2 (x y + x) = -8.
    assert re.search(r"x → product → total → loss .*= 24\n", text)
    assert re.search(r"x → total → loss .*= -8\n", text)
    assert re.search(r"total = product \+ x +value -4 +gradient -8\n", text)


def test_train_a_neuron_prints_the_closed_form_of_every_step_for_both_engines(tmp_path: Path) -> None:
    """w = 2 (1 - 0.8ᵏ), b = 1 - 0.8ᵏ, loss = 5 · 0.64ᵏ after k steps."""
    rows = [line.split() for line in printed("train_a_neuron.py", tmp_path).splitlines()[1:]]
    assert [int(row[0]) for row in rows] == [0, 5, 10, 15, 20]
    for step, *numbers in rows:
        w, b = 2 * (1 - 0.8 ** int(step)), 1 - 0.8 ** int(step)
        loss = 5 * 0.64 ** int(step)
        assert numbers == [f"{number:.9f}" for number in (w, w, b, b, loss, loss)]


def test_check_your_layer_names_the_wrong_backward_with_both_numbers_and_then_agrees(tmp_path: Path) -> None:
    """The forgotten term makes σ(x) of σ(x)(1 + x (1 - σ(x)))."""
    wrong, right, module = printed("check_your_layer.py", tmp_path).strip().split("\n\n")
    assert wrong.startswith("mismatch: ")
    found = re.search(
        r"culprit: ForgetfulBackward at (.+):(\d+), entry \[(\d)\]: PyTorch (\S+), witness (\S+)", wrong
    )
    x = (-1.0, 0.0, 2.0)[int(found.group(3))]
    assert math.isclose(float(found.group(4)), sigmoid(x), rel_tol=1e-12)  # printed to 16 digits
    assert math.isclose(float(found.group(5)), sigmoid(x) * (1 + x * (1 - sigmoid(x))), rel_tol=1e-12)
    lines = Path(found.group(1)).read_text(encoding="utf-8").splitlines()
    assert "def backward" in "".join(lines[int(found.group(2)) - 1 : int(found.group(2)) + 1])
    assert right.startswith("agree: ")
    assert module.startswith("assert_gradients: mismatch: ")


def test_teach_an_operator_names_the_wrong_backward_by_its_line_and_then_agrees(tmp_path: Path) -> None:
    """u = x / ‖x‖ at (3, 4), loss u₀ + ‖x‖: (1 - 0.6²) / 5 + 0.6 = 0.728 and -0.6 · 0.8 / 5 + 0.8 = 0.704; with ‖x‖
    constant in u 1 / 5 + 0.6 = 0.8 and 0.8.
    """
    without, wrong, right = printed("teach_an_operator.py", tmp_path).strip().split("\n\n")
    assert without.startswith("unsupported: ") and "examples::unit.default: no rule in the witness" in without
    found = re.search(r"culprit: \S+ at (.+):(\d+), entry \[(\d)\]: PyTorch (\S+), witness (\S+)\n", wrong)
    assert math.isclose(float(found.group(4)), 0.8, rel_tol=1e-12)  # printed to 17 digits, a few roundings off
    assert math.isclose(float(found.group(5)), (0.728, 0.704)[int(found.group(3))], rel_tol=1e-12)
    lines = Path(found.group(1)).read_text(encoding="utf-8").splitlines()
    assert lines[int(found.group(2)) - 1].startswith("def forgetful(")
    assert right.startswith("agree: ")


def test_the_notebook_is_valid_and_stored_without_outputs() -> None:
    notebook = nbformat.read(FOLDER / NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The notebook, executed: source of each code cell -> what it shows as text, pictures by their MIME type."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(FOLDER / NOTEBOOK, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
            patch.setenv(variable, os.fspath(folder / variable.lower()))
        NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}}
        ).execute()
    return {cell.source: _text(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"}


def _text(outputs: list[nbformat.NotebookNode]) -> str:
    parts = []
    for output in outputs:
        if output.output_type == "stream":
            assert output.name == "stdout", output.text  # a warning would be part of the lesson
            parts.append(output.text)
        else:
            parts += [f"{kind}\n{data if 'png' not in kind else ''}" for kind, data in output.data.items()]
    return "\n".join(parts)


def cell(shown: dict[str, str], fragment: str) -> str:
    """What the one cell whose source holds this fragment shows."""
    (text,) = (text for source, text in shown.items() if fragment in source)
    return text


def test_the_thirty_lines_of_the_notebook_differentiate_a_product(shown: dict[str, str]) -> None:
    assert "(-2.0, 2.0)" in cell(shown, "(x * y + x).backward()")


def test_the_notebook_draws_its_graph_and_its_training_inline(shown: dict[str, str]) -> None:
    graph = cell(shown, "SVG(to_svg(f, names))")
    assert "image/svg+xml\n<svg" in graph and "gradient -2.0" in graph
    assert "image/png" in cell(shown, ".plot(")


def test_the_notebook_learns_xor_in_as_many_steps_as_the_lesson_states(shown: dict[str, str]) -> None:
    stated = lesson("xor-network").stated
    outputs = " ".join(f"{number:.4f}" for number in stated["outputs at the end"])
    (steps,) = stated["steps until all are within 0.1"]
    assert f"learned in {steps:.0f} steps; outputs {outputs}" in cell(shown, "learned in")


def test_the_gradients_of_the_notebook_are_equal_up_to_rounding(shown: dict[str, str]) -> None:
    farthest = float(re.search(r"farther apart than (\S+)", cell(shown, "farthest")).group(1))
    # Sums of four terms below 0.1, each right to 64 roundings of 2^-53.
    assert farthest <= 4 * 0.1 * 64 * 2.0**-53
    # The bias of the output is the number that the lesson's answer works out.
    assert re.search(r"\nc( +0\.017991){4}", cell(shown, '"thirty lines": by_nodes'))


def test_the_notebook_tells_a_pitfall_and_shows_who_adds_up(shown: dict[str, str]) -> None:
    assert "<- 3 times the right value" in cell(shown, "forgotten-zeroing")
    assert "(12.0, 6.0)" in cell(shown, "mine, theirs = Number(3.0), Value(3.0)")  # 2 x at 3, twice and once


def test_the_notebook_checks_a_module_and_finds_a_wrong_tanh(shown: dict[str, str]) -> None:
    assert cell(shown, "print(assert_gradients(model").startswith("agree: ")
    wrong = cell(shown, "class MyTanh")
    found = re.search(r"culprit: MyTanhBackward .*: PyTorch (\S+), witness (\S+)\n", wrong)
    assert float(found.group(1)) == 1 - 0.5**2
    assert math.isclose(float(found.group(2)), 1 - math.tanh(0.5) ** 2, rel_tol=1e-12)  # printed to 16 digits


def test_the_notebook_ends_with_the_course(shown: dict[str, str]) -> None:
    assert "kinks-and-nan" in cell(shown, "print(contents())")
    assert "0.55" in cell(shown, "print(tell_lesson(")
