"""Calibrate the judge: generated programs, right answers and planted faults; writes docs/calibration.md.

python benchmarks/calibrate_judge.py --programs 30000 --seed 0
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before NumPy and PyTorch load their libraries; worker processes inherit it

import argparse  # noqa: E402
import datetime  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from importlib.metadata import version  # noqa: E402
from multiprocessing import get_context  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from gradwitness.harness.campaigns.calibrating import BINS, BLOCK, FAULT, KINDS, Tally, calibrate_block  # noqa: E402
from gradwitness.harness.judgement.judging import SAMPLES, SCREENING, THRESHOLD  # noqa: E402
from gradwitness.harness.strategies import steps  # noqa: E402
from pebble import ProcessPool  # noqa: E402

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "calibration.md"
QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)


def run(programs: int, seed: int, workers: int, alarms: Path | None = None) -> Tally:
    """The tally of all blocks, merged in their order; programs of false alarms go to `alarms` as they come."""
    blocks = range((programs + BLOCK - 1) // BLOCK)
    total = Tally()
    with ProcessPool(max_workers=workers, max_tasks=60, context=get_context("spawn")) as pool:
        for done, tally in enumerate(pool.map(calibrate_block, blocks, [seed] * len(blocks)).result(), 1):
            total.add(tally)
            for alarm in tally.alarms:
                print(alarm, flush=True)
            if alarms is not None and tally.cases:
                alarms.write_text(json.dumps(total.cases), encoding="utf-8")
            if done % 20 == 0:
                print(
                    f"{done}/{len(blocks)} blocks, {len(total.alarms)} alarms, {100 * total.good:.3f} % good",
                    flush=True,
                )
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


def checks(total: Tally, dtypes: list[str]) -> str:
    """What was asked of the judge, and what came out."""
    rarest, name = min((total.primitives[n], n) for n in steps())
    rows: list[list[object]] = [
        ["programs", f"{sum(total.programs.values()):,}", ">= 30,000"],
        ["median number of operations", f"{median(total.operations):g}", ">= 6"],
        ["rarest primitive", f"{name}, {rarest} times", ">= 100"],
        ["gradient entries", ", ".join(f"{total.entries[d]:,} {d}" for d in dtypes), ">= 10,000,000"],
        ["false alarms", len(total.alarms), "0"],
        ["agree, convention or inaccurate", f"{100 * total.good:.3f} % of comparisons", ">= 99 %"],
    ]
    for d in dtypes:
        rows.append([f"planted faults seen, {d}, {FAULT[d]:g}", f"{100 * total.caught(d):.2f} %", ">= 99 %"])
    return table(["quantity", "found", "wanted"], rows)


def distribution(total: Tally, dtypes: list[str]) -> str:
    """Quantiles of z."""
    rows = []
    for d in dtypes:
        z, (greatest, operation) = total.z[d], total.greatest[d]
        row = [d, f"{int(z.sum()):,}", f"{100 * z[0] / z.sum():.1f} %"]
        rows.append([*row, *[f"{quantile(z, q):.3g}" for q in QUANTILES], f"{greatest:.3g} ({operation})"])
    return table(["dtype", "arrays", "below 1/64", *[f"{100 * q:g} %" for q in QUANTILES], "greatest"], rows)


def verdicts(total: Tally, dtypes: list[str]) -> str:
    """How many comparisons ended in each verdict."""
    ends = Counter[tuple[str, str]]()
    for (d, _, v), n in total.comparisons.items():
        ends[d, v] += n
    order = sorted({v for _, v in ends}, key=lambda v: -sum(ends[d, v] for d in dtypes))
    return table(["verdict", *dtypes], [[v, *[f"{ends[d, v]:,}" for d in dtypes]] for v in order])


def document(total: Tally, arguments: argparse.Namespace, seconds: float) -> str:
    """The text of docs/calibration.md."""
    dtypes = sorted(total.z)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy", "hypothesis"))
    kinds = ", ".join(f"{n:,} {k}" for k, n in sorted(total.programs.items()))
    common = total.left_out.most_common(40)
    rest = sum(total.left_out.values()) - sum(n for _, n in common)
    parts = [
        "# Calibration of the judge",
        f"`python benchmarks/calibrate_judge.py --programs {arguments.programs} --seed {arguments.seed}`, "
        f"{datetime.date.today()}, {seconds:.0f} s on {arguments.workers} processes; Python "
        f"{platform.python_version()}, {versions}, {platform.system()} {platform.machine()}.",
        f"**Threshold {THRESHOLD:g}**, in units of the spread that Monte Carlo rounding gives the witness's own "
        f"program ({SCREENING} disturbed runs to screen, {SAMPLES} for what the screen suspects). Slack at the ends of "
        "a set of generalised derivatives: the threshold times the spread plus one rounding of the ends.",
        f"Programs: {kinds}, in blocks of {BLOCK} in the order {', '.join(KINDS)}; they alternate between float64 "
        "and float32. Every tenth is run again with one entry of what a random autograd node sends "
        "multiplied by 1 + fault; where that is one more choice at a kink, nothing is wrong and another place "
        "is drawn.",
        "## What was asked and what came out",
        checks(total, dtypes),
        "## Distribution of z",
        "Of the worst entry of every array that agrees by its spread (values, nodes, whole programs); upper edges of "
        "bins.",
        distribution(total, dtypes),
        "## Verdicts",
        verdicts(total, dtypes),
        "## All others, by operation and reason",
        "A mismatch in this table is a fault of torch that `harness/known_issues.toml` names, with a closed form.",
        table(["operation", "verdict", "reason", "times"], [[*k, n] for k, n in total.others.most_common()]),
        "## Planted faults",
        table(["dtype", "outcome", "times"], [[*k, n] for k, n in sorted(total.planted.items())]),
        "Missed, by operation: a wide spread hides a small fault.",
        table(["operation", "dtype", "times"], [[*k, n] for k, n in total.missed.most_common()]),
        "Drawn anew, by operation: one more choice at a kink.",
        table(["operation", "dtype", "times"], [[*k, n] for k, n in total.legitimate.most_common()]),
        "## Left out while drawing",
        table(["operation: reason", "times"], [[k, n] for k, n in common]),
        f"and {rest} for {max(0, len(total.left_out) - len(common))} rarer reasons.",
    ]
    if total.alarms:
        parts += ["## False alarms", "\n".join(f"- {a}" for a in total.alarms[:200])]
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
    total = run(arguments.programs, arguments.seed, arguments.workers, arguments.alarms)
    text = document(total, arguments, time.perf_counter() - start)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(text, encoding="utf-8")
    print(text[:3000])
    return 0 if not total.alarms and total.good >= 0.99 and all(total.caught(d) >= 0.99 for d in total.z) else 1


if __name__ == "__main__":
    sys.exit(main())
