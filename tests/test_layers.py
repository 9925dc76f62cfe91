"""The architecture as tests: who may import whom, file names and sizes, public names that survive a second import."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("reference_engine", "harness", "scenarios", "reports")
OTHER_FOLDERS = ("tests", "benchmarks", "examples")

# Which of our packages each package may import; itself is always allowed.
ALLOWED = {
    "reference_engine": set(),
    "reports": set(),
    "scenarios": {"reference_engine"},
    "harness": {"reference_engine", "scenarios", "reports"},
}
WITHOUT_TORCH = ("reference_engine", "reports")

# The order inside the engine, lowest first; every other module there is a reading and stands above all of them. Imports
# inside a function may go upwards: they run after every module is complete (a tracer's methods call `ops`).
ENGINE_ORDER = ("errors", "program", "registry", "tracing", "primitives")

FORBIDDEN_NAMES = {"utils.py", "misc.py", "helpers.py", "common.py"}
MOST_LINES = 400  # house rule R7: beyond it a file holds more than one idea


def files_of(*folders: str) -> list[Path]:
    """Every Python file of these folders, relative to the root."""
    return sorted(path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports_of(path: Path, source: str, *, deferred: bool = True) -> Iterator[tuple[int, str]]:
    """(line, full dotted name) of each import; relative ones are resolved, with gradwitness as the root's name.

    deferred: also the imports inside functions.
    """
    package = ["gradwitness", *path.parent.parts]
    pending: list[ast.AST] = [ast.parse(source)]
    while pending:
        node = pending.pop()
        if not deferred and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, node.module] if node.module else base
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))


def layer_faults(path: Path, source: str) -> list[str]:
    """What breaks the layering in one file of a package, one sentence each."""
    own = path.parts[0]
    faults = []
    for line, name in imports_of(path, source):
        parts = name.split(".")
        where = f"{path}:{line}"
        if parts[0] == "gradwitness":
            target = parts[1] if len(parts) > 1 else ""
            if target != own and target not in ALLOWED[own]:
                accepted = ", ".join(sorted(ALLOWED[own])) or "nothing of ours"
                faults.append(f"{where}: {own} imports {name}; accepted is {accepted}. Move it, or pass the value in.")
        if parts[0] == "torch" and own in WITHOUT_TORCH:
            faults.append(f"{where}: {own} imports {name}; it must work without torch. Move the code into harness.")
    return faults


def engine_order_faults(path: Path, source: str) -> list[str]:
    """What breaks errors < program < registry < tracing < primitives < readings in one file of the engine."""

    def rank(module: str) -> int:
        return ENGINE_ORDER.index(module) if module in ENGINE_ORDER else len(ENGINE_ORDER)

    own = Path(path.parts[1]).stem
    if own == "__init__":
        return []
    faults = []
    for line, name in imports_of(path, source, deferred=False):
        parts = name.split(".")
        if parts[:2] == ["gradwitness", "reference_engine"] and len(parts) > 2 and rank(parts[2]) > rank(own):
            faults.append(f"{path}:{line}: {own} imports {parts[2]}, which is above it in {ENGINE_ORDER} < readings.")
    return faults


def top_level_faults(path: Path, source: str) -> list[str]:
    """Imports of our folders as top-level packages: `python -m pytest` makes them work, with a second copy of all."""
    return [
        f"{path}:{line}: imports {name} from the top level; write gradwitness.{name}, or import relatively."
        for line, name in imports_of(path, source)
        if name.split(".")[0] in PACKAGES
    ]


def read(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_each_package_imports_only_the_layers_it_may() -> None:
    assert [fault for path in files_of(*PACKAGES) for fault in layer_faults(path, read(path))] == []


def test_the_engine_is_ordered_from_errors_to_readings() -> None:
    assert [fault for path in files_of("reference_engine") for fault in engine_order_faults(path, read(path))] == []


def test_nothing_imports_our_folders_as_top_level_packages() -> None:
    assert [fault for path in files_of(*PACKAGES, *OTHER_FOLDERS) for fault in top_level_faults(path, read(path))] == []


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert [str(path) for path in files_of(*PACKAGES, *OTHER_FOLDERS) if path.name in FORBIDDEN_NAMES] == []


def test_no_file_is_longer_than_one_idea() -> None:
    lengths = {str(path): len(read(path).splitlines()) for path in files_of(*PACKAGES, *OTHER_FOLDERS)}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


def test_every_file_says_in_its_first_line_what_it_is_for() -> None:
    starts = {str(path): read(path).split("\n", 1)[0] for path in files_of(*PACKAGES, *OTHER_FOLDERS)}
    assert {path: first for path, first in starts.items() if not first.startswith(('"""', 'r"""', "# "))} == {}


IMPORT_EVERY_MODULE = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print("torch" in sys.modules)
"""


def run_fresh(script: str, *arguments: str) -> str:
    """Standard output of a script in a fresh process that sees the installed package and not the working folder."""
    done = subprocess.run([sys.executable, "-I", "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_loading_all_of_engine_and_reports_loads_no_torch() -> None:
    assert run_fresh(IMPORT_EVERY_MODULE, *(f"gradwitness.{package}" for package in WITHOUT_TORCH)) == "False"


def test_loading_the_harness_package_alone_loads_no_torch() -> None:
    assert run_fresh("import sys, gradwitness.harness; print('torch' in sys.modules)") == "False"


# A lazy package (PEP 562) loses a public function to a submodule of the same name as soon as that submodule is
# imported. So each name is taken, every submodule imported, and the name taken again.
NAMES_TWICE = """
import importlib, pkgutil, sys
name = sys.argv[1]
package = importlib.import_module(name)
first = {public: getattr(package, public) for public in package.__all__}
for module in pkgutil.walk_packages(package.__path__, name + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(*(public for public in first if getattr(package, public) is not first[public]))
"""


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_the_same_when_imported_twice(package: str) -> None:
    assert run_fresh(NAMES_TWICE, f"gradwitness.{package}") == ""


Checker = Callable[[Path, str], list[str]]

PLANTED_FAULTS = [
    (layer_faults, "reference_engine/evaluate.py", "def f():\n    import torch.nn as nn\n"),
    (layer_faults, "reports/html.py", "from torch import Tensor\n"),
    (layer_faults, "reports/html.py", "from ..harness import check\n"),
    (layer_faults, "reports/writers/html.py", "from ...harness.check import x\n"),
    (layer_faults, "scenarios/detach.py", "from .. import harness\n"),
    (layer_faults, "reference_engine/ops.py", "import gradwitness.reports\n"),
    (engine_order_faults, "reference_engine/program.py", "from .registry import PRIMITIVES\n"),
    (engine_order_faults, "reference_engine/primitives/linear.py", "from ..reverse import reverse\n"),
    (top_level_faults, "tests/harness/test_check.py", "import harness.check\n"),
    (top_level_faults, "harness/check.py", "from reports import write_report\n"),
]


@pytest.mark.parametrize(("checker", "path", "source"), PLANTED_FAULTS)
def test_a_planted_import_is_caught(checker: Checker, path: str, source: str) -> None:
    assert len(checker(Path(path), source)) == 1


ACCEPTED_IMPORTS = [
    (layer_faults, "harness/check.py", "import torch\nfrom ..reports import write_report\n"),
    (layer_faults, "scenarios/detach.py", "import torch\nfrom ..reference_engine import ops\nfrom . import schema\n"),
    (engine_order_faults, "reference_engine/reverse.py", "from .primitives.linear import matmul\n"),
    (engine_order_faults, "reference_engine/tracing.py", "def f():\n    from . import ops\n"),
    (top_level_faults, "tests/harness/test_check.py", "from gradwitness.harness import check\n"),
]


@pytest.mark.parametrize(("checker", "path", "source"), ACCEPTED_IMPORTS)
def test_a_legitimate_import_passes(checker: Checker, path: str, source: str) -> None:
    assert checker(Path(path), source) == []
