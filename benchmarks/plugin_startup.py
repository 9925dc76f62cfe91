"""Time what the pytest plugin adds to the start of a project that does not use it; print and record a line.

`python benchmarks/plugin_startup.py [--pairs N] [--out FILE]`, N at least 15. A project with one test that compares
nothing, in a temporary folder; `python -m pytest` on it with and without `-p no:gradwitness`, alternating, each in its
own process. Exits with 1 if the median of the paired differences in processor time is above the limit: on a machine
that does nothing else that is the time one waits, and a busy one changes it little.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import NamedTuple

from records import write_section

FEWEST_PAIRS = 15
WANTED_MS = 50.0  # at most this much more
RECORD = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
TEST = """import sys


def test_nothing():
    assert "torch" not in sys.modules and "numpy" not in sys.modules
"""


class Run(NamedTuple):
    """One run of pytest, in milliseconds: wall clock, and processor time of the process, user and system."""

    wall: float
    processor: float


def run(folder: Path, *options: str) -> Run:
    """Raises RuntimeError where the test fails."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    with open(os.devnull, "wb") as nowhere:
        start = time.perf_counter()
        moved = [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1)]
        process = os.posix_spawn(sys.executable, [*command, str(folder)], os.environ, file_actions=moved)
        _, status, used = os.wait4(process, 0)
        wall = time.perf_counter() - start
    if status:
        raise RuntimeError(f"plugin_startup: {' '.join(command)} left with status {status}; run it by hand")
    return Run(1e3 * wall, 1e3 * (used.ru_utime + used.ru_stime))


def pairs(count: int) -> list[tuple[Run, Run]]:
    """(with, without), each pair in the other order than the one before."""
    without = ("-p", "no:gradwitness")
    taken = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")  # the folder is the root, nothing above it
        (folder / "test_nothing.py").write_text(TEST, encoding="utf-8")
        run(folder), run(folder, *without)  # byte code is written, files are in the cache of the system
        for k in range(count):
            if k % 2:
                plain = run(folder, *without)
                ours = run(folder)
            else:
                ours = run(folder)
                plain = run(folder, *without)
            taken.append((ours, plain))
    return taken


def row(name: str, taken: list[tuple[float, float]]) -> str:
    differences = [ours - plain for ours, plain in taken]
    low, _, high = quantiles(differences, n=4)
    ours, plain = (median(side) for side in zip(*taken, strict=True))
    return f"| {name} | {ours:.0f} | {plain:.0f} | **{median(differences):.0f}** | {low:.0f} to {high:.0f} |"


def told(taken: list[tuple[Run, Run]]) -> str:
    """The section of the record."""
    return f"""## The pytest plugin in a project that does not use it

Written by `python benchmarks/plugin_startup.py`. One test that compares nothing, `python -m pytest` in a process of its
own, with the plugin and with `-p no:gradwitness`, alternating. torch and NumPy are not loaded, which the test asserts.
Wanted are at most {WANTED_MS:.0f} ms of processor time more.

| | with, ms | without, ms | difference in pairs, ms | middle half of the pairs, ms |
|---|---:|---:|---:|---:|
{row("processor time", [(ours.processor, plain.processor) for ours, plain in taken])}
{row("wall clock", [(ours.wall, plain.wall) for ours, plain in taken])}

Measured on {platform.machine()}, Python {platform.python_version()}, pytest {version("pytest")}. Medians of \
{len(taken)} alternating pairs; load average at the end {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=31, help="alternating pairs of runs, at least 15")
    parser.add_argument("--out", type=Path, default=RECORD, help="file whose section is written")
    given = parser.parse_args()
    if given.pairs < FEWEST_PAIRS:
        parser.error(f"--pairs {given.pairs}: at least {FEWEST_PAIRS} are needed for a median that means something")
    taken = pairs(given.pairs)
    section = told(taken)
    print(section)
    write_section(section, given.out)
    return int(median(ours.processor - plain.processor for ours, plain in taken) > WANTED_MS)


if __name__ == "__main__":
    sys.exit(main())
