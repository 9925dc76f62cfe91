"""The pytest plugin: one project is run in one process and in two, and all that it leaves is looked at."""

import inspect
import json
import re

import pandas as pd
import pytest
from gradwitness.harness import check
from gradwitness.harness.judgement.modes import MODES
from gradwitness.harness.judgement.precisions import DTYPES
from gradwitness.harness.plugin.fixture import GradientCheck
from gradwitness.harness.plugin.options import QUICK
from gradwitness.harness.runners import RUNNERS
from plugin_project import PROJECT, TABLE, TARGETS, failure, properties, run

pytest_plugins = "pytester"

FAILED = {"wrong", "raising", "unsupported", "misuse", "some_example_is_wrong"}
FAILED |= {"asserted_wrong", "asserted_raising", "asserted_misuse", "no_derivative"}


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


def short(nodeid):
    return re.sub(r"^test_it.py::(Test\w+::)?test_", "", nodeid)


def rows(folder):
    frame = pd.read_parquet(folder / "comparisons.parquet").drop(columns=["seconds"])
    return frame.sort_values([*frame.columns], key=lambda c: c.astype(str)).reset_index(drop=True)


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
    assert len(told) == 23 and {*FAILED} - {"misuse", "asserted_misuse"} <= {*told}, told
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
    said = "NotImplementedError: the derivative for 'zeta' is not implemented"
    assert told["no_derivative"] == f"unsupported, 1 comparison, {said}"


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
    groups = {(short(f["program"]), f["group"]) for f in said[0]["findings"] if f["verdict"] != "unsupported"}
    told = {short(name): line for name, line in section(alone.stdout).items()}
    not_ok = {name for name, line in told.items() if not line.startswith("agree")}
    unjudged = {(short(f["program"]), f["group"]) for f in said[0]["findings"] if f["verdict"] == "unsupported"}
    assert unjudged == {(name, "open") for name in ("unsupported", "no_derivative", "targets.py::wrong")}
    judged = not_ok - {"unsupported", "no_derivative"}  # of targets.py::wrong, mode R was judged
    assert groups == {(name, "yours" if name == "known" else "new") for name in judged}
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
