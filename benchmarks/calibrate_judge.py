"""Calibrate the judge: generated programs, right answers and planted faults; writes docs/calibration.md.

python benchmarks/calibrate_judge.py --programs 30000 --seed 0

With --half the same in bfloat16, float16 and under autocast, and every spread is measured, so that the slack (what is
allowed over the error observed) is known; writes docs/calibration_half.md.
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
from gradwitness.harness.campaigns.calibrating import (  # noqa: E402
    BINS,
    BLOCK,
    CONDITION,
    EVERY,
    FAULT,
    KINDS,
    Tally,
    calibrate_block,
)
from gradwitness.harness.judgement.judging import SAMPLES, SCREENING, THRESHOLD  # noqa: E402
from gradwitness.harness.strategies import steps  # noqa: E402
from pebble import ProcessPool  # noqa: E402

DOCUMENTS = Path(__file__).resolve().parent.parent / "docs"
SPINE, HALVES = ("float64", "float32"), ("bfloat16", "float16", "autocast")
SLACK = 100  # median wanted at most
QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)


def run(programs: int, seed: int, workers: int, alarms: Path | None = None, half: bool = False) -> Tally:
    """The tally of all blocks, merged in their order; programs of false alarms go to `alarms` as they come."""
    blocks = range((programs + BLOCK - 1) // BLOCK)
    total = Tally()
    with ProcessPool(max_workers=workers, max_tasks=60, context=get_context("spawn")) as pool:
        n = len(blocks)
        given = [seed] * n, [BLOCK] * n, [HALVES if half else SPINE] * n, [half] * n, [1 if half else EVERY] * n
        for done, tally in enumerate(pool.map(calibrate_block, blocks, *given).result(), 1):
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


def checks(total: Tally, dtypes: list[str], half: bool) -> str:
    """What was asked of the judge, and what came out."""
    rarest, name = min((total.primitives[n], n) for n in steps())
    rows: list[list[object]] = [
        ["programs", f"{sum(total.programs.values()):,}", f">= {12_000 if half else 30_000:,}"],
        ["median number of operations", f"{median(total.operations):g}", ">= 6"],
        ["rarest primitive", f"{name}, {rarest} times", ">= 100"],
        ["gradient entries", ", ".join(f"{total.entries[d]:,} {d}" for d in dtypes), "" if half else ">= 10,000,000"],
        ["false alarms", len(total.alarms), "0"],
        ["agree, convention or inaccurate", f"{100 * total.good:.3f} % of comparisons", ">= 99 %"],
    ]
    for d in dtypes:
        size = SIZE.get(d) or f"{FAULT[d]:g}"
        seen, well = f"{100 * total.caught(d):.2f} %", f"{100 * total.caught(d, True):.2f} %"
        count = sum(n for (e, _), n in total.well.items() if e == d)
        rows.append([f"planted faults seen, {d}, {size}", seen, "" if half else ">= 99 %"])
        rows.append([f"the same in {count} well conditioned entries", well, ">= 99 %"])
    rows += [[f"median slack, {d}", f"{statistics.median(found):.3g}", f"<= {SLACK}"] for d, found in _slacks(total)]
    return table(["quantity", "found", "wanted"], rows)


SIZE = {
    "bfloat16": "128 unit roundoffs (0.5)",
    "float16": "128 unit roundoffs (0.0625)",
    "autocast": "128 unit roundoffs of bfloat16 where a node holds it, else 0.001",
}


def _slacks(total: Tally) -> list[tuple[str, list[float]]]:
    return sorted(total.slack.items())


def slack(total: Tally) -> str:
    """Quantiles of what is allowed over the error observed."""
    rows: list[list[object]] = []
    for d, found in _slacks(total):
        rows.append([d, f"{len(found):,}", *[f"{np.quantile(found, q):.3g}" for q in (0.01, 0.1, 0.5, 0.9, 0.99)]])
    return table(["dtype", "arrays", "1 %", "10 %", "median", "90 %", "99 %"], rows)


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


SLACK_IS = (
    "What is allowed, the threshold times the spread, over the error observed, of the worst entry of each array that "
    "agrees and is not exactly right. Every spread was measured, none bounded."
)
HOW = (
    "How a kernel rounds is declared in `harness/judgement/precisions.py` for whole families: it computes in float32 "
    "and stores once, unless it adds in the half precision (overlapping places, convolutions in float16, the rows of "
    "a layer norm), holds statistics in it (normalisations), or stores results between its stages (attention, "
    "recurrent layers, grid samplers); a backward pass that is a formula of several kernels stores each of their "
    "results.",
)


def document(total: Tally, arguments: argparse.Namespace, seconds: float) -> str:
    """The text of docs/calibration.md."""
    dtypes, half = sorted(total.z), arguments.half
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy", "hypothesis"))
    kinds = ", ".join(f"{n:,} {k}" for k, n in sorted(total.programs.items()))
    common = total.left_out.most_common(40)
    rest = sum(total.left_out.values()) - sum(n for _, n in common)
    refused: list[list[object]] = [[*k, n] for k, n in total.refused.most_common(20)]
    parts = [
        "# Calibration of the judge" + (" in half precision" if half else ""),
        f"`python benchmarks/calibrate_judge.py{' --half' if half else ''} --programs {arguments.programs} --seed "
        f"{arguments.seed}`, "
        f"{datetime.date.today()}, {seconds:.0f} s on {arguments.workers} processes; Python "
        f"{platform.python_version()}, {versions}, {platform.system()} {platform.machine()}.",
        f"**Threshold {THRESHOLD:g}**, in units of the spread that Monte Carlo rounding gives the witness's own "
        f"program ({SCREENING} disturbed runs to screen, {SAMPLES} for what the screen suspects). Slack at the ends of "
        "a set of generalised derivatives: the threshold times the spread plus one rounding of the ends.",
        f"Programs: {kinds}, in blocks of {BLOCK} in the order {', '.join(KINDS)}; they take "
        f"{', '.join(HALVES if half else SPINE)} in turn. Every {'one' if half else 'tenth'} is run again with one "
        "entry of what a random autograd node sends "
        "multiplied by 1 + fault; where that is one more choice at a kink, nothing is wrong and another place "
        "is drawn. An entry is well conditioned where it moves, by the exact rule, by at most so many of its unit "
        "roundoffs when each number that the node was given or had saved moves by one: "
        f"{', '.join(f'{CONDITION[d]:.4g} in {d}' for d in dtypes if d in CONDITION)}"
        f"{' (autocast: by what the node holds)' if half else ''}. That is the fault over threshold times 0.4, the "
        "spread of one rounding: in other entries a fault of that size cannot be told from a kernel that rounds its "
        "operands once.",
        *(HOW if half else ()),
        "## What was asked and what came out",
        checks(total, dtypes, half),
        "## Distribution of z",
        "Of the worst entry of every array that agrees by its spread (values, nodes, whole programs); upper edges of "
        "bins.",
        distribution(total, dtypes),
        *(("## Slack", SLACK_IS, slack(total)) if half else ()),
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
        *(("## Refused by PyTorch", table(["dtype", "message", "times"], refused)) if half else ()),
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
    parser.add_argument("--half", action="store_true", help="bfloat16, float16 and autocast, with the slack")
    parser.add_argument("--programs", type=int, help="30000, or 12000 with --half")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--alarms", type=Path, help="write the programs of false alarms here, as JSON")
    arguments = parser.parse_args()
    half = arguments.half
    arguments.programs = arguments.programs or (12_000 if half else 30_000)
    out = arguments.out or DOCUMENTS / ("calibration_half.md" if half else "calibration.md")
    start = time.perf_counter()
    total = run(arguments.programs, arguments.seed, arguments.workers, arguments.alarms, half)
    text = document(total, arguments, time.perf_counter() - start)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    print(text[:4000])
    good = not total.alarms and total.good >= 0.99 and all(total.caught(d, half) >= 0.99 for d in total.z)
    return 0 if good and all(statistics.median(found) <= SLACK for found in total.slack.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
