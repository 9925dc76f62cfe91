"""Writes versions.md: what another version of torch repairs and breaks, by two campaigns and their difference.

python docs/write_versions.py 2.14.1                       makes a virtual environment for it in out/versions
python docs/write_versions.py --python PATH/TO/python      takes one that has this gradwitness and another torch
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from gradwitness.reports.difference import Difference, compare_runs, tables

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "versions.md"
OUT = ROOT / "out" / "versions"
CAMPAIGN = ("run", "--source", "opinfo", "--orders", "1,2", "--samples", "2")
WITHOUT = {"Coverage lost": "new", "Coverage gained": "old"}
HEAD = """# One version of torch against another

<!-- Written by `python docs/write_versions.py {new}`. -->

`gradwitness {campaign}` with torch {old} and with torch {new},
on the CPU, and `gradwitness diff` of the two: the derivatives of PyTorch's own operator samples that changed. A finding
is an operator in a mode; those of both versions are in [findings.md](findings.md).

| | operators and modes |
|---|---|
"""


def environment(version: str) -> Path:
    """The interpreter of a virtual environment with that torch and this checkout, made where there is none."""
    place = OUT / f"torch-{version}"
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"torch=={version}"], check=True)
    own = ("torch==", "triton==", "nvidia-", "cuda-")
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    kept = place / "constraints.txt"
    kept.write_text("\n".join(p for p in pins if not p.lower().startswith(own)) + f"\ntorch=={version}\n")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "gradwitness.tar.gz"
        command = ["git", "archive", "--format=tar.gz", "--prefix=gradwitness/", "-o", str(archive), "HEAD"]
        subprocess.run(command, cwd=ROOT, check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-c", str(kept), str(archive)], check=True)
    return python


def campaign(python: str | Path, out: Path) -> str:
    """Run the campaign with an interpreter; returns its version of torch. Raises RuntimeError where it broke off."""
    version = subprocess.run(
        [python, "-c", "import torch; print(torch.__version__.partition('+')[0])"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    command = [str(python), "-m", "gradwitness.harness.cli", *CAMPAIGN, "--out", str(out / version)]
    done = subprocess.run(command, cwd=out, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}; expected 0, or 1 for new findings.")
    return version


def page(difference: Difference, old: str, new: str) -> str:
    """The page: a count for each part, then a table for each that is not empty."""
    text = HEAD.format(old=old, new=new, campaign=" ".join(CAMPAIGN))
    parts = tables(difference)
    text += "".join(f"| {name.lower()} | {len(frame)} |\n" for name, frame in parts.items())
    for name, frame in parts.items():
        if len(frame):
            shown = frame.drop(columns=[c for c in ("worse", "id", "source", "layout", "dtype") if c in frame])
            if name in WITHOUT:  # what the version that lacks the comparison says of it
                shown = shown.rename(columns={"verdict": f"in torch {old if WITHOUT[name] == 'old' else new}"})
            rows = [list(shown.columns), ["---"] * shown.shape[1], *shown.astype(str).values.tolist()]
            lines = ("| " + " | ".join(" ".join(c.split()).replace("|", "\\|") for c in row) + " |" for row in rows)
            text += f"\n## {name}\n\n" + "\n".join(lines) + "\n"
    return text


def main() -> None:
    """Run both campaigns and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", nargs="?", default="2.14.1")
    parser.add_argument("--python", type=Path, help="an interpreter that has another torch and this gradwitness")
    given = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    other = given.python or environment(given.version)
    old, new = campaign(sys.executable, OUT), campaign(other, OUT)
    PAGE.write_text(page(compare_runs(OUT / old, OUT / new), old, new), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
