"""The pytest plugin: one project is run in one process and in two, and all that it leaves is looked at."""

import inspect
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest
from gradwitness.harness import check
from gradwitness.harness.judgement.modes import MODES
from gradwitness.harness.judgement.precisions import DTYPES
from gradwitness.harness.plugin.fixture import GradientCheck
from gradwitness.harness.plugin.options import QUICK
from gradwitness.harness.runners import RUNNERS

pytest_plugins = "pytester"

TABLE = """
[tool.gradwitness]
modes = ["F"]
dtypes = ["float64"]
seed = 3

[[tool.gradwitness.known]]
operation = "Known*"
reason = "as we want it"
"""

TARGETS = '''
"""Functions that return (fn, inputs), and some that do not."""
import torch

X = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)

class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return 4 * ctx.saved_tensors[0] ** 2 * g

class KnownCube(Cube):
    pass

def right():
    return torch.sin, X

def module():
    return torch.nn.Linear(3, 2).double(), (X,)

def with_keywords():
    return lambda x, *, beta: torch.nn.functional.softplus(x, beta), X, {"beta": 2.0}

def wrong():
    return Cube.apply, X

def raising():
    raise RuntimeError("of mine")

def fn_raising():
    def of_mine(x):
        return x @ torch.ones(7, dtype=torch.float64)
    return of_mine, X

def garbage():
    return X

def needing(size):
    return torch.sin, X

number = 3
'''

PROJECT = '''
import pytest, torch, unittest
from gradwitness.harness import assert_gradients, check
from hypothesis import given, settings, strategies as st
from targets import Cube, KnownCube

X = torch.tensor([0.5, -1.0, 2.0])
few = settings(deadline=None, database=None, derandomize=True, max_examples=15)

def columns(result, *names):
    return tuple({*result.frame[name]} for name in names)

def test_options_come_before_the_table(gradient_check):
    result = gradient_check(torch.sin, X)
    assert columns(result, "mode", "dtype", "seed", "runner") == ({"R", "F"}, {"float64"}, {3}, {"autograd"})

def test_arguments_come_before_options(gradient_check):
    result = gradient_check(torch.sin, X, modes="R", dtypes=None, seed=4)
    assert columns(result, "mode", "dtype", "seed") == ({"R"}, {"float32"}, {4})

def test_every_argument(gradient_check):
    result = gradient_check(torch.add, (X, X.clone()), {"alpha": 2.0}, modes="R", runners=("autograd", "func"), wrt=[1],
                            dtypes=("float64", "float32"), layouts=("sliced",), devices=("cpu",), seed=5)
    assert columns(result, "layout", "device", "seed", "dtype") == ({"sliced"}, {"cpu"}, {5}, {"float64", "float32"})
    derivatives = result.frame.query("program == 'whole' and quantity == 'derivative'")
    assert {*derivatives["wrt"]} == {"input1"}
    assert {"autograd", "func"} == {*result.frame["runner"]}

def test_in_place(gradient_check):
    result = gradient_check(torch.relu, X, modes="R", inplace=True)
    assert {"aten::relu.default", "aten::relu_.default"} <= {*result.frame["program"]}

def test_wrong(gradient_check):
    gradient_check(Cube.apply, X, modes="R")

def test_known(gradient_check):
    assert gradient_check(KnownCube.apply, X, modes="R").known

def test_raising(gradient_check):
    def of_mine(x):
        raise KeyError("mine")
    gradient_check(of_mine, X)

def test_unsupported(gradient_check):
    gradient_check(lambda x: torch.special.bessel_j0(x) + torch.sinc(x).to_sparse().to_dense(), X, modes="R")

def test_misuse(gradient_check):
    gradient_check(torch.sin, [X])

def test_asserted():
    assert_gradients(torch.sin, X, modes="R")

def test_asserted_wrong():
    assert_gradients(Cube.apply, X, modes="R")

def test_asserted_raising():
    def of_mine(x):
        raise KeyError("mine")
    assert_gradients(of_mine, X)

def test_asserted_misuse():
    assert_gradients(torch.sin, [X])

def test_checked_by_all_three(gradient_check):
    results = [gradient_check(torch.sin, X, modes="R"), assert_gradients(torch.sin, X, modes="R")]
    assert all(r.ok for r in [*results, check(torch.sin, X, modes="R")])

class TestOfUnittest(unittest.TestCase):
    def test_in_unittest(self):
        assert_gradients(torch.cos, X, modes="R")

@few
@given(st.floats(-2, 2))
def test_asserted_for_every_example(scale):
    assert_gradients(lambda x: scale * x, X, modes="R")

def test_twice(gradient_check, request):
    request.node.user_properties.append(("verdict", "the author's own"))
    gradient_check(torch.sin, X, modes="R")
    gradient_check(torch.cos, X, modes="R")

@pytest.mark.parametrize("f", [torch.exp, torch.tanh], ids=["exp", "tanh"])
def test_parametrised(gradient_check, f):
    gradient_check(f, X, modes="R")

@few
@given(st.floats(-2, 2))
def test_all_examples_agree(gradient_check, scale):
    gradient_check(lambda x: scale * x, X, modes="R")

@few
@given(st.integers(0, 100))
def test_some_example_is_wrong(gradient_check, n):
    gradient_check(torch.sin if n < 11 else Cube.apply, X, modes="R")

@pytest.fixture
def checked(gradient_check):
    return gradient_check(torch.sin, X, modes="R")

def test_checked_by_its_fixture(checked):
    assert checked.ok

class TestInAClass:
    def test_method(self, gradient_check):
        gradient_check(torch.cos, X, modes="R")

def test_without_a_check():
    pass
'''

FAILED = {"wrong", "raising", "unsupported", "misuse", "some_example_is_wrong"}
FAILED |= {"asserted_wrong", "asserted_raising", "asserted_misuse"}


def run(folder, *options):
    """`python -m pytest` in a folder, in a process of its own; it finds the same gradwitness as this one."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_", "GRADWITNESS"))}
    folders = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    env["PYTHONPATH"] = os.pathsep.join(str(Path(p).absolute()) for p in folders)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(TABLE, encoding="utf-8")
    (folder / "targets.py").write_text(TARGETS, encoding="utf-8")
    (folder / "test_it.py").write_text(PROJECT, encoding="utf-8")
    return folder


def whole_project(folder, name, *options):
    given = ("--gradwitness", "targets.py:wrong", "--gradwitness-modes=R,F", "test_it.py", "--junitxml", f"{name}.xml")
    return run(folder, *given, "--gradwitness-out", name, *options)


@pytest.fixture(scope="module")
def alone(project):
    """The project in one process, with warnings as errors."""
    return whole_project(project, "alone", "-W", "error")


@pytest.fixture(scope="module")
def shared(project, alone):
    """The project in two workers of xdist."""
    return whole_project(project, "shared", "-n", "2")


def section(printed):
    """The lines of the summary of the plugin: test -> what is said of it."""
    lines = re.search(r"^=+ gradwitness =+\n(.*?)^=", printed, re.DOTALL | re.MULTILINE).group(1).splitlines()
    return dict(line.partition(": ")[::2] for line in lines if not line.startswith(("the report", "  ")))


def failure(printed, name):
    """What is printed of one test that failed."""
    return re.search(rf"^__+ {re.escape(name)} __+\n(.*?)(?=^__+ |^[=-]+ )", printed, re.DOTALL | re.MULTILINE).group(1)


def short(nodeid):
    return re.sub(r"^test_it.py::(Test\w+::)?test_", "", nodeid)


def rows(folder):
    frame = pd.read_parquet(folder / "comparisons.parquet").drop(columns=["seconds"])
    return frame.sort_values([*frame.columns], key=lambda c: c.astype(str)).reset_index(drop=True)


def properties(path):
    """Test -> its properties in the XML, as pairs."""
    return {
        case.get("name"): [(p.get("name"), p.get("value")) for p in case.iter("property")]
        for case in ET.parse(path).iter("testcase")
    }


def test_the_fixture_takes_what_check_takes():
    of_fixture = [*inspect.signature(GradientCheck.__call__).parameters.values()][1:]
    assert [(p.name, p.kind, repr(p.default)) for p in of_fixture] == [
        (p.name, p.kind, repr(p.default)) for p in inspect.signature(check).parameters.values()
    ]


def test_the_names_that_need_no_torch_are_those_that_check_accepts():
    assert QUICK == {"modes": MODES, "runners": RUNNERS, "dtypes": tuple(DTYPES)}


def test_a_test_passes_exactly_where_the_check_is_ok(alone):
    failed = {short(name) for name in re.findall(r"^FAILED (\S+)", alone.stdout, re.MULTILINE)}
    assert failed == {*FAILED, "targets.py::wrong"}, alone.stdout
    assert alone.returncode == 1
    assert "warnings summary" not in alone.stdout


def test_a_failure_shows_the_text_of_explain_and_no_frame_of_ours(alone):
    text = failure(alone.stdout, "test_wrong")
    assert re.search(r"GradientMismatch: mismatch: \d+ comparisons", text)
    assert re.search(r"culprit: CubeBackward at \S+targets.py:\d+, entry \[\d\]: PyTorch", text)
    assert re.search(r"called at \S+test_it.py:\d+$", text, re.MULTILINE)
    for name in FAILED - {"some_example_is_wrong"}:  # hypothesis adds the lines that its failing examples ran
        places = re.findall(r"^(\S+\.py):\d+: ", failure(alone.stdout, f"test_{name}"), re.MULTILINE)
        assert {*places} == {"test_it.py"}, places
    for by in ("", "asserted_"):
        assert "KeyError: 'mine'" in failure(alone.stdout, f"test_{by}raising")
        assert "inputs is a list; accepted is a tensor or a tuple" in failure(alone.stdout, f"test_{by}misuse")
    assert "CheckResult(" not in alone.stdout
    assert "the witness has no rule for" in failure(alone.stdout, "test_unsupported")


def test_hypothesis_shrinks_to_the_smallest_failing_example(alone):
    assert re.search(r"n=11,", failure(alone.stdout, "test_some_example_is_wrong"))


def test_the_summary_has_one_line_for_each_test_that_compared(alone):
    told = {short(name): line for name, line in section(alone.stdout).items()}
    assert {"without_a_check", "misuse", "asserted_misuse"}.isdisjoint(told)
    assert len(told) == 22 and {*FAILED} - {"misuse", "asserted_misuse"} <= {*told}, told
    assert re.match("agree, 3 checks, 9 comparisons", told["checked_by_all_three"])
    assert re.match("agree, 3 comparisons", told["asserted"]) and re.match("agree, 3 comp", told["in_unittest"])
    assert re.match(r"agree, 15 examples, \d+ comparisons", told["asserted_for_every_example"])
    assert re.match(r"mismatch, 3 comparisons, .* culprit CubeBackward", told["asserted_wrong"])
    wrong = r"mismatch, 3 comparisons, greatest z \S+, culprit CubeBackward at targets.py:\d+, .*, called at "
    line = re.fullmatch(rf"{wrong}test_it.py:(\d+)", told["wrong"]).group(1)
    assert PROJECT.splitlines()[int(line) - 1].strip() == 'gradient_check(Cube.apply, X, modes="R")'
    assert re.fullmatch(r"mismatch, .*, known issues of yours cover it", told["known"])
    assert re.fullmatch(r"agree, 2 checks, 6 comparisons, greatest z \S+", told["twice"])
    assert re.match(r"agree, 15 examples, \d+ comparisons", told["all_examples_agree"])
    assert re.match(r"mismatch, \d+ examples, .* culprit CubeBackward", told["some_example_is_wrong"])
    assert told["raising"].startswith("raised, ")
    assert re.match(r"unsupported, .*, no rule for aten::", told["unsupported"])


def test_the_report_holds_the_rows_of_every_test_and_one_example_of_hypothesis(alone, project):
    assert {"comparisons.csv", "comparisons.parquet", "report.html", "report.md", "summary.json"} == {
        path.name for path in (project / "alone").iterdir()
    }
    frame = rows(project / "alone")
    told = section(alone.stdout)
    cases = frame["case"].str.partition(" #")[0]
    assert {*cases} == {*told}
    counted = {name: int(re.search(r"(\d+) comparison", line).group(1)) for name, line in told.items()}
    for name, count in cases.value_counts().items():
        assert count == counted[name] if "_example" not in name else count < counted[name], name
    of_hypothesis = frame[cases.str.contains("some_example")]
    assert len(of_hypothesis) == 3 and "mismatch" in {*of_hypothesis["verdict"]}
    assert json.loads((project / "alone" / "summary.json").read_text())["comparisons"] == len(frame)
    assert "test_it.py::test_twice #2" in {*frame["case"]}


def test_the_report_lists_every_comparison_that_differs_with_its_test(alone, shared, project):
    frame = rows(project / "alone")
    failing = frame[frame["verdict"].isin(["mismatch", "raised", "unsupported", "indeterminate"])]
    said = [json.loads((project / name / "summary.json").read_text()) for name in ("alone", "shared")]
    assert said[0]["findings"] == said[1]["findings"] and said[0]["headline"] == said[1]["headline"]
    assert sorted(f["id"] for f in said[0]["findings"]) == sorted(failing["finding"])
    groups = {(short(f["program"]), f["group"]) for f in said[0]["findings"]}
    told = {short(name): line for name, line in section(alone.stdout).items()}
    not_ok = {name for name, line in told.items() if not line.startswith("agree")}
    assert groups == {(name, "yours" if name == "known" else "new") for name in not_ok}
    assert re.match(rf"\d+ mismatches, \d+ raised, .* in {len(not_ok) - 1} tests: ", said[0]["headline"])
    page = (project / "alone" / "report.html").read_text().replace("<wbr>", "")
    assert all(f["line"] in page and f["program"] in page for f in said[0]["findings"] if f["line"])
    lines = {short(f["program"]): f["line"] for f in said[0]["findings"] if f["op"] == "CubeBackward"}
    written = TARGETS.splitlines().index("    def backward(ctx, g):")
    assert re.fullmatch(rf"\S+targets.py:{written}, called at \S+test_it.py:\d+", lines["wrong"])
    assert f"at {lines['wrong']}".replace("_", r"\_") in (project / "alone" / "report.md").read_text()
    assert "called at" not in lines["targets.py::wrong"]  # that Function is called by no line of a test


def test_the_properties_in_the_xml_are_those_of_the_summary(alone, project):
    found = properties(project / "alone.xml")
    told = {name.rpartition("::")[2]: line for name, line in section(alone.stdout).items()}
    names = ["gradwitness_verdict", "gradwitness_comparisons", "gradwitness_z", "gradwitness_culprit"]
    for name, pairs in found.items():
        ours = [pair for pair in pairs if pair[0].startswith("gradwitness")]
        assert [pair[0] for pair in ours] == (names if name in told else []), name
        if ours:
            assert told[name].startswith(f"{ours[0][1]}, ") and f" {ours[1][1]} comparison" in told[name]
    assert ("verdict", "the author's own") in found["test_twice"]
    assert dict(found["test_wrong"])["gradwitness_culprit"].startswith("CubeBackward at ")


def test_two_workers_leave_what_one_process_leaves(alone, shared, project):
    assert shared.returncode == alone.returncode == 1
    assert section(shared.stdout) == section(alone.stdout)
    pd.testing.assert_frame_equal(rows(project / "shared"), rows(project / "alone"))
    ours = [
        {name: [pair for pair in pairs if pair[0].startswith("gradwitness")] for name, pairs in found.items()}
        for found in (properties(project / "shared.xml"), properties(project / "alone.xml"))
    ]
    assert ours[0] == ours[1]


TARGET_LINES = {
    "targets.py:right": None,
    "targets.py:module": None,
    "targets.py:with_keywords": None,
    "targets.py:wrong": "culprit: CubeBackward at ",
    "targets.py:raising": "E       RuntimeError: of mine",
    "targets.py:fn_raising": "return x @ torch.ones(7, dtype=torch.float64)",
    "targets.py:garbage": "accepted is a pair (fn, inputs)",
    "targets.py:needing": "accepted is a function without arguments",
    "targets.py:number": "accepted is a function without arguments",
    "targets.py:rigth": "has no 'rigth'; it has ",
    "broken.py:right": "SyntaxError: invalid syntax",
}


def test_targets_alone_are_tests_that_fail_with_the_reason(project):
    (project / "broken.py").write_text("def (\n", encoding="utf-8")
    inner = project / "inner"
    inner.mkdir()
    options = [text for name in TARGET_LINES for text in ("--gradwitness", f"../{name}")]
    done = run(inner, "-v", *options, "--gradwitness", "../targets.py:right", "--gradwitness-modes", "R")
    results = dict(re.findall(r"^(?:\.\./)?(\S+?) (PASSED|FAILED)", done.stdout, re.MULTILINE))
    assert done.returncode == 1, done.stdout
    assert {name.replace("::", ":"): verdict for name, verdict in results.items()} == {
        name: "FAILED" if line else "PASSED" for name, line in TARGET_LINES.items()
    }
    for name, line in TARGET_LINES.items():
        if line:
            text = failure(done.stdout, f"gradwitness {name}")
            assert line in text and not re.search(r"(targets|items|runner|fixture)\.py:\d+: in ", text), text


OTHERS = '''
import sys

def test_loads_nothing():
    assert [name for name in ("torch", "numpy", "pandas", "scipy") if name in sys.modules] == []

def test_fails():
    assert 1 == 2

def test_has_a_property(request):
    request.node.user_properties.append(("gradwitness", "of another"))
'''


def test_a_project_that_compares_nothing_is_as_without_the_plugin(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.gradwitness]\nrunners = ["compile", "func"]\nmodes = ["FF"]\n')
    (tmp_path / "test_others.py").write_text(OTHERS, encoding="utf-8")
    strict = ("-W", "error", "--strict-config", "--strict-markers", "--junitxml")
    runs = [run(tmp_path, *strict, "a.xml"), run(tmp_path, *strict, "b.xml", "-p", "no:gradwitness")]
    varying = re.compile(r"in [\d.]+s|[ab]\.xml|^plugins: .*$|0x\w+", re.MULTILINE)
    with_it, without = (varying.sub("", r.stdout) for r in runs)
    assert with_it == without
    assert [r.returncode for r in runs] == [1, 1] and "1 failed, 2 passed" in with_it
    assert properties(tmp_path / "a.xml") == properties(tmp_path / "b.xml")
