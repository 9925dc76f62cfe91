"""The pytest plugin where no test was written, and where nothing is compared."""

import re

import pytest
from plugin_project import TABLE, TARGETS, failure, properties, run


@pytest.fixture
def project(tmp_path):
    (tmp_path / "pyproject.toml").write_text(TABLE, encoding="utf-8")
    (tmp_path / "targets.py").write_text(TARGETS, encoding="utf-8")
    return tmp_path


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


def test_without_the_plugin_a_check_is_told_to_nobody(project):
    """Where it is left out, `assert_gradients` in a test is what it is anywhere else."""
    text = "from gradwitness.harness import assert_gradients, listening\nfrom targets import X, torch\n"
    text += "def test_it():\n    assert_gradients(torch.sin, X)\n    assert len(listening.LISTENERS) == {0}\n"
    for options, listeners in (((), 1), (("-p", "no:gradwitness"), 0)):
        (project / "test_it.py").write_text(text.format(listeners), encoding="utf-8")
        done = run(project, "test_it.py", *options)
        assert done.returncode == 0, done.stdout
        assert ("= gradwitness =" in done.stdout) is bool(listeners)
