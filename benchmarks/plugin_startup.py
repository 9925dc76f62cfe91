"""Time what the installed pytest plugin adds to the start of a pytest run that does not use it; print and record it.

`python benchmarks/plugin_startup.py [--pairs N] [--out FILE]`, N at least 5. One test that does nothing is run with the
plugin and without (`-p no:gradwitness`), in turns, each in a fresh process; the test also tells whether torch was
imported. Exits with 1 if the plugin adds 50 ms or more, or imports torch.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

RECORD = Path(__file__).resolve().parents[1] / "docs" / "plugin_startup.md"
FEWEST_PAIRS = 5
WANTED = 0.050  # seconds, wall clock
LOADED = "gradwitness.harness.pytest_plugin"
TEST = f"""
import sys

def test_nothing(request):
    print("\\nFOUND", "torch" in sys.modules, {LOADED!r} in sys.modules)
"""


def run(folder: Path, *options: str) -> tuple[float, bool, bool, float]:
    """Seconds of one pytest run (wall clock), whether torch was imported in it, whether the plugin was, and seconds of
    the processor, which another program at work on the machine disturbs less.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *options, str(folder)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = next(line for line in done.stdout.splitlines() if line.startswith("FOUND")).split()
    return seconds, found[1] == "True", found[2] == "True", busy


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=21, help=f"alternating pairs, at least {FEWEST_PAIRS}")
    parser.add_argument("--out", type=Path, default=RECORD, help="where the record is written")
    options = parser.parse_args()
    if options.pairs < FEWEST_PAIRS:
        parser.error(f"--pairs: found {options.pairs}; accepted are {FEWEST_PAIRS} or more. Raise it.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_nothing.py").write_text(TEST)
        (folder / "pytest.ini").write_text("[pytest]\n")
        pairs = [(run(folder), run(folder, "-p", "no:gradwitness")) for _ in range(1 + options.pairs)][1:]
    if not all(a[2] and not b[2] for a, b in pairs):
        print("the plugin is not installed here: install the package first (make venv)", file=sys.stderr)
        return 2
    added = median(a[0] - b[0] for a, b in pairs)
    busy = median(a[3] - b[3] for a, b in pairs)
    torch = any(a[1] for a, _ in pairs)
    text = (
        f"# What the pytest plugin adds to a start\n\n"
        f"Written by `python benchmarks/plugin_startup.py`. One test that does nothing, in a fresh process each time, "
        f"with the\ninstalled plugin and with `-p no:gradwitness`, in turns.\n\n"
        f"| | with the plugin | without | added (median of pairs) | wanted |\n|---|---:|---:|---:|---:|\n"
        f"| wall clock, ms | {1e3 * median(a[0] for a, _ in pairs):.0f} "
        f"| {1e3 * median(b[0] for _, b in pairs):.0f} "
        f"| **{1e3 * added:.1f}** | < {1e3 * WANTED:.0f} |\n"
        f"| processor, ms | {1e3 * median(a[3] for a, _ in pairs):.0f} "
        f"| {1e3 * median(b[3] for _, b in pairs):.0f} "
        f"| **{1e3 * busy:.1f}** | < {1e3 * WANTED:.0f} |\n\n"
        f"torch was {'' if torch else 'not '}imported. {options.pairs} pairs on {platform.machine()}, Python "
        f"{platform.python_version()}, pytest {version('pytest')}; load average at the end {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores.\n"
    )
    print(text)
    options.out.write_text(text, encoding="utf-8")
    return 0 if max(added, busy) < WANTED and not torch else 1


if __name__ == "__main__":
    sys.exit(main())
