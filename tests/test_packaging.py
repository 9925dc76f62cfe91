"""What is shipped: the wheel holds every file, installs alone, and runs without the development dependencies."""

import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from fnmatch import fnmatch
from importlib.metadata import Distribution, distribution
from io import BytesIO
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("reference_engine", "harness", "scenarios", "reports")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run(*command: str | Path, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """Standard output of a command that must end with exit code 0, run in `cwd`."""
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def folders_with_python_files() -> set[str]:
    """Dotted package names of every folder below the four packages that holds a Python file."""
    files = (path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {".".join(("gradwitness", *path.parent.parts)) for path in files}


def test_the_package_list_names_every_folder_that_holds_python_files() -> None:
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == folders_with_python_files()


def test_every_package_has_an_init_file() -> None:
    folders = [Path(*name.split(".")[1:]) for name in folders_with_python_files()]
    assert [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").is_file()] == []


def test_every_file_that_is_not_python_is_declared_as_package_data() -> None:
    tracked = run("git", "ls-files", *PACKAGES, cwd=ROOT).split()
    data = PYPROJECT["tool"]["setuptools"]["package-data"]
    patterns = [PurePosixPath(*name.split(".")[1:]) / glob for name, globs in data.items() for glob in globs]
    others = [name for name in tracked if not name.endswith(".py")]
    assert [name for name in others if not any(fnmatch(name, str(pattern)) for pattern in patterns)] == []


def installed_closure(extra: str | None) -> dict[str, Distribution]:
    """Every installed distribution that gradwitness needs, itself left out: canonical name -> distribution.

    extra: also what this extra of gradwitness asks for. Requirements whose marker is false here are left out.
    """
    found: dict[str, Distribution] = {}
    pending = [("gradwitness", {extra} if extra else set())]
    seen: set[tuple[str, str]] = set()
    while pending:
        name, extras = pending.pop()
        dist = distribution(name)
        if name != "gradwitness":
            found[canonicalize_name(name)] = dist
        for line in dist.requires or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": wanted}) for wanted in (extras or {""})):
                continue
            if (key := (canonicalize_name(requirement.name), ",".join(sorted(requirement.extras)))) not in seen:
                seen.add(key)
                pending.append((requirement.name, set(requirement.extras)))
    return found


# The CUDA build of torch asks for these on Linux, by exact versions of its own, so ours need not repeat them.
PINNED_BY_TORCH = ("nvidia-", "cuda-", "triton")


def test_every_dependency_is_pinned_in_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(line.split("==")[0]) for line in lines if "==" in line and not line.startswith("#")}
    needed = {name for name in installed_closure("dev") if not name.startswith(PINNED_BY_TORCH)}
    assert needed - pins == set()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of HEAD, built from `git archive` in an empty folder: a stale build/ would be shipped otherwise."""
    if not (ROOT / ".git").exists():
        pytest.skip("the wheel is built from `git archive HEAD`, and this is no git checkout")
    folder = tmp_path_factory.mktemp("wheel")
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder / "source", filter="data")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, "source", cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_tracked_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    names = run("git", "ls-tree", "-r", "--name-only", "HEAD", *PACKAGES, cwd=ROOT).split()
    tracked = {f"gradwitness/{name}" for name in names}
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert shipped == tracked


def link_site_packages(target: Path, distributions: dict[str, Distribution]) -> None:
    """Make installed distributions visible in another site-packages folder, by links: no network, no second copy."""
    for dist in distributions.values():
        for top in {file.parts[0] for file in dist.files or ()} - {"..", "__pycache__"}:
            if not (target / top).exists():
                (target / top).symlink_to(str(dist.locate_file(top)))


def bare_environment(folder: Path, wheel: Path, distributions: dict[str, Distribution]) -> Path:
    """The bin folder of a new environment that holds these distributions and the wheel, and nothing else."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    link_site_packages(site, distributions)
    pip = [sys.executable, "-m", "pip", "--python", python]
    run(*pip, "install", "--no-deps", "--no-index", "--quiet", "--no-warn-script-location", wheel, cwd=folder)
    return folder / "bin"


def test_the_wheel_installs_without_dependencies_and_finds_its_own_files(wheel: Path, tmp_path: Path) -> None:
    commands = bare_environment(tmp_path / "env", wheel, installed_closure(None))
    script = f"import importlib as i; [print(i.import_module('gradwitness.' + p).__file__) for p in {PACKAGES}]"
    places = run(commands / "python", "-I", "-c", script, cwd=tmp_path).split()
    assert [place for place in places if not place.startswith(str(tmp_path))] == []
    assert "run" in run(commands / "gradwitness", "--help", cwd=tmp_path)


@pytest.mark.campaign
def test_a_small_campaign_runs_without_the_development_dependencies(wheel: Path, tmp_path: Path) -> None:
    commands = bare_environment(tmp_path / "env", wheel, installed_closure(None))
    for absent in ("xdist", "ruff", "autograd", "build"):
        script = f"import importlib.util as u; print(u.find_spec({absent!r}))"
        assert run(commands / "python", "-I", "-c", script, cwd=tmp_path).strip() == "None"
    options = ["--source", "generated", "--cases", "20", "--seed", "1", "--out", "out"]
    run(commands / "gradwitness", "run", *options, cwd=tmp_path, environment={**os.environ, "OMP_NUM_THREADS": "1"})
    assert (tmp_path / "out" / "summary.json").is_file()
