"""Calibrate the judge: generated programs, right answers and planted faults; writes docs/calibration.md.

python benchmarks/calibrate_judge.py --programs 30000 --seed 0
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

import numpy as np
from gradwitness.harness.calibrating import BINS, BLOCK, FAULT, KINDS, Tally, calibrate_block
from gradwitness.harness.judging import SAMPLES, SCREENING, THRESHOLD
from gradwitness.harness.strategies import steps

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "calibration.md"
QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)


def run(programs: int, seed: int, workers: int) -> Tally:
    """The tally of all blocks, merged in their order."""
    blocks = range((programs + BLOCK - 1) // BLOCK)
    total = Tally()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), max_tasks_per_child=60) as pool:
        for done, tally in enumerate(pool.map(calibrate_block, blocks, [seed] * len(blocks)), 1):
            total.add(tally)
            if done % 20 == 0:
                print(f"{done}/{len(blocks)} blocks, {len(total.alarms)} alarms, {100 * total.good:.3f} % good", flush=True)
    return total


def median(counts: Counter[int]) -> float:
    """The median of a histogram."""
    return statistics.median(sorted(counts.elements()))


def quantile(histogram: np.ndarray, share: float) -> float:
    """The upper edge of the bin in which the quantile lies."""
    k = int(np.searchsorted(np.cumsum(histogram), share * histogram.sum()))
    return float(BINS[min(k + 1, len(BINS) - 1)])


def table(head: list[str], rows: list[list[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(str(c).replace("|", "\\|") for c in r) + " |" for r in rows)])


def document(total: Tally, arguments: argparse.Namespace, seconds: float) -> str:
    """The text of docs/calibration.md."""
    import hypothesis
    import torch

    dtypes = sorted(total.z)
    count = sum(total.programs.values())
    rarest = sorted(((total.primitives[n], n) for n in steps()))
    checks = [
        ["programs", f"{count:,} (median {median(total.operations):g} operations)", ">= 30,000 (>= 6)"],
        ["rarest primitive", f"{rarest[0][1]}: {rarest[0][0]} times", ">= 100"],
        ["gradient entries", ", ".join(f"{total.entries[d]:,} {d}" for d in dtypes), ">= 10,000,000"],
        ["false alarms", len(total.alarms), "0"],
        ["comparisons that agree, convention, inaccurate", f"{100 * total.good:.3f} %", ">= 99 %"],
        *[[f"planted faults seen, {d}, {FAULT[d]:g} relative", f"{100 * total.caught(d):.2f} %", ">= 99 %"] for d in dtypes],
    ]
    ends = Counter[tuple[str, str]]()
    for (d, _, v), n in total.comparisons.items():
        ends[d, v] += n
    verdicts = sorted({v for _, v in ends}, key=lambda v: -sum(ends[d, v] for d in dtypes))
    parts = [
        "# Calibration of the judge",
        "Written by `python benchmarks/calibrate_judge.py "
        f"--programs {arguments.programs} --seed {arguments.seed}` on {datetime.date.today()}, in {seconds:.0f} s on "
        f"{arguments.workers} processes: Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}, "
        f"hypothesis {hypothesis.__version__}, {platform.system()} {platform.machine()}.",
        f"**Threshold {THRESHOLD:g}**, in units of the spread that Monte Carlo rounding gives the witness's own program ({SCREENING} disturbed "
        f"runs to screen, {SAMPLES} for what the screen suspects). Slack at the ends of a set of generalised derivatives: the "
        "threshold times the spread, plus the threshold times one rounding of the ends.",
        "## What was asked and what came out\n\n" + table(["quantity", "found", "wanted"], checks),
        "Programs by kind: " + ", ".join(f"{n:,} {k}" for k, n in sorted(total.programs.items())) + f" (blocks of {BLOCK} in the order "
        f"{', '.join(KINDS)}; programs alternate between float64 and float32).",
        "## Distribution of z\n\nz of the worst entry of every array that agrees (values, nodes and whole programs), upper edges of bins:\n\n"
        + table(
            ["dtype", "arrays", "z = 0 or below 0.016", *[f"{100 * q:g} %" for q in QUANTILES], "greatest"],
            [
                [d, f"{int(total.z[d].sum()):,}", f"{100 * total.z[d][0] / total.z[d].sum():.1f} %"]
                + [f"{quantile(total.z[d], q):.3g}" for q in QUANTILES]
                + [f"{total.greatest[d][0]:.3g} ({total.greatest[d][1]})"]
                for d in dtypes
            ],
        ),
        "## Verdicts\n\n" + table(["verdict", *dtypes], [[v, *[f"{ends[d, v]:,}" for d in dtypes]] for v in verdicts]),
        "## All others, by operation and reason\n\n"
        + table(["operation", "verdict", "reason", "times"], [[*k, n] for k, n in total.others.most_common()]),
        "## Planted faults\n\n" + table(["dtype", "outcome", "times"], [[*k, n] for k, n in sorted(total.planted.items())]),
        "Missed, by operation (at a kink a changed weight is itself a legitimate choice; a value whose spread is wider than the fault hides it):\n\n"
        + table(["operation", "dtype", "times"], [[*k, n] for k, n in total.missed.most_common()]),
        "## Left out while drawing\n\n"
        + table(["operation: reason", "times"], [[k, n] for k, n in total.left_out.most_common(40)])
        + f"\n\nand {sum(n for _, n in total.left_out.most_common()[40:])} of {max(0, len(total.left_out) - 40)} rarer reasons.",
    ]
    if total.alarms:
        parts.append("## False alarms\n\n" + "\n".join(f"- {a}" for a in total.alarms[:200]))
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Run, write the document, and return 0 if everything that was asked came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=DOCUMENT)
    parser.add_argument("--alarms", type=Path, help="write the programs of false alarms here, as JSON")
    arguments = parser.parse_args()
    start = time.perf_counter()
    total = run(arguments.programs, arguments.seed, arguments.workers)
    text = document(total, arguments, time.perf_counter() - start)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(text, encoding="utf-8")
    if arguments.alarms is not None:
        arguments.alarms.write_text(json.dumps(total.cases), encoding="utf-8")
    print(text[:3000])
    return 0 if not total.alarms and total.good >= 0.99 and all(total.caught(d) >= 0.99 for d in total.z) else 1


if __name__ == "__main__":
    sys.exit(main())
