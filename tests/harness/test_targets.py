"""FILE.py:NAME where the file is a module of a package: it is loaded as that, on the command line and under pytest."""

import re
import subprocess
import sys

import pytest
import torch
from gradwitness.harness import UsageError
from gradwitness.harness.targets import load_target
from plugin_project import run

FILES = {
    "{0}/__init__.py": "SCALE = 3.0",
    "{0}/layers.py": "import torch\nclass Layer(torch.nn.Linear): pass",
    "{0}/deep/__init__.py": "",
    "{0}/deep/beside.py": "FACTOR = 2.0",
    "{0}/deep/train.py": """
import torch
from beside import FACTOR
from .. import SCALE
from ..layers import Layer
X = torch.ones(4, 3)
def example(): return Layer(3, 2), SCALE * X
def scaled(): return lambda x: FACTOR * x, X
""",
    "{0}/deep/broken.py": "from ..layers import Missing",
    "alone.py": "import torch\ndef example(): return torch.sin, torch.ones(2)",
}


@pytest.fixture
def package(tmp_path, monkeypatch, request):
    """The folder that holds the package, and its name, another in each test: Python keeps what it has loaded."""
    name = "pkg_" + re.sub(r"\W", "_", request.node.name)
    for path, text in FILES.items():
        file = tmp_path / path.format(name)
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(text)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}
    yield tmp_path, name
    for loaded in {*sys.modules} - before:
        if loaded.partition(".")[0] in (name, "beside"):
            del sys.modules[loaded]


@pytest.mark.parametrize("where", [".", "..", "deep"])
def test_a_module_of_a_package_may_import_relatively_from_whatever_folder_it_is_named(package, monkeypatch, where):
    folder, name = package
    monkeypatch.chdir(folder / name / where)
    path = {".": "deep/train.py", "..": f"{name}/deep/train.py", "deep": "train.py"}[where]
    layer, inputs, kwargs = load_target(f"{path}:example")
    assert type(layer).__module__ == f"{name}.layers" and torch.equal(inputs, torch.full((4, 3), 3.0))
    assert kwargs == {} and load_target(f"{path}:scaled")[0](1.0) == 2.0


def test_a_file_that_is_no_module_of_a_package_is_loaded_by_itself(package):
    folder, _ = package
    assert load_target(f"{folder}/alone.py:example")[0] is torch.sin


def test_what_a_module_raises_is_told_with_the_command_that_runs_it(package):
    folder, name = package
    with pytest.raises(UsageError, match=r"ImportError: cannot import name 'Missing'") as error:
        load_target(f"{folder}/{name}/deep/broken.py:example")
    command = re.search(r"Run `python -m (\S+)` in (\S+) first", str(error.value))
    done = subprocess.run([sys.executable, "-m", command[1]], cwd=command[2], capture_output=True, text=True)
    assert "cannot import name 'Missing'" in done.stderr


def test_a_package_of_the_same_name_from_elsewhere_is_told_of(package, monkeypatch):
    folder, name = package
    load_target(f"{folder}/{name}/deep/train.py:example")
    other = folder / "other" / name
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("")
    (other / "layers.py").write_text("")
    with pytest.raises(UsageError, match=f"Python has one of that name from {folder}/{name}/layers.py"):
        load_target(f"{other}/layers.py:example")


def test_pytest_checks_it_too_and_shows_the_users_own_lines_where_it_cannot_be_loaded(package):
    folder, name = package
    targets = [f"--gradwitness={name}/deep/{target}:example" for target in ("train.py", "broken.py")]
    done = run(folder, *targets)
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    places = re.findall(r"^(\S+\.py):\d+: ", done.stdout, re.MULTILINE)
    assert {*places} == {f"{name}/deep/broken.py"}
