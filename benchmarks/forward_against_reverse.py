"""Time forward against reverse mode and against differences, in one run; print and record two tables.

`python benchmarks/forward_against_reverse.py [--repeats N] [--largest N] [--out FILE]`. Float64, one thread, wall
clock. Exits with 1 if both Jacobians of a shape differ by more than rounding explains, or a counted cost is not what
theory says.
"""

from __future__ import annotations

import os
import sys

# Before NumPy loads its libraries: one thread each.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse  # noqa: E402
import platform  # noqa: E402
from importlib.metadata import version  # noqa: E402
from pathlib import Path  # noqa: E402

from gradwitness.reference_engine import evaluation_counts, jacobian_costs  # noqa: E402
from gradwitness.reference_engine.evaluation_counts import FULL_UP_TO, SAMPLE, Evaluation  # noqa: E402
from gradwitness.reference_engine.jacobian_cost import JacobianCosts  # noqa: E402

RECORD = Path(__file__).resolve().parents[1] / "docs" / "forward_against_reverse.md"

EXPLANATION = """# Forward against reverse mode

Written by `python benchmarks/forward_against_reverse.py`. Float64, one thread, wall clock. Passes and calls are counted
while they happen, never taken from theory.

"""


def jacobian_table(costs: JacobianCosts) -> str:
    lines = [
        "| inputs n | outputs m | forward passes | reverse passes | forward, ms | reverse, ms | forward / reverse "
        "| difference | rounding explains |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in costs.rows:
        lines.append(
            f"| {r.inputs:,} | {r.outputs:,} | {r.forward_passes:,} | {r.reverse_passes:,} "
            f"| {1e3 * r.forward_seconds:.2f} | {1e3 * r.reverse_seconds:.2f} "
            f"| **{r.forward_seconds / r.reverse_seconds:.3g}** | {r.difference:.0e} "
            f"| {r.bound:.0e} |"
        )
    return "\n".join(lines)


def crossing_sentence(costs: JacobianCosts) -> str:
    def told(crossings: tuple[float, ...]) -> str:
        return ", ".join(f"{c:.2f}" for c in crossings) or "nowhere"

    return (
        f"Inputs per output at which both modes cost the same: {told(costs.pass_crossings)} by passes, "
        f"{told(costs.time_crossings)} by seconds (on the line between neighbouring shapes, in log-log)."
    )


def evaluation_table(rows: list[Evaluation]) -> str:
    lines = [
        "| parameters n | method | function calls | derivative passes | seconds | times reverse | how | difference |",
        "|---:|---|---:|---:|---:|---:|---|---:|",
    ]
    reverse = {r.parameters: r.seconds for r in rows if r.method == "reverse"}
    for r in rows:
        how = "measured" if r.measured else f"scaled up from {r.coordinates} coordinates"
        lines.append(
            f"| {r.parameters:,} | {r.method} | {r.calls:,} | {r.passes:,} | {r.seconds:.3g} "
            f"| {r.seconds / reverse[r.parameters]:,.3g} | {how} | {r.difference:.0e} |"
        )
    return "\n".join(lines)


def faults(costs: JacobianCosts, rows: list[Evaluation]) -> list[str]:
    """What is not as it must be, one sentence each."""
    found = []
    for r in costs.rows:
        if not r.difference <= r.bound:
            found.append(f"{r.inputs} -> {r.outputs}: the modes differ by {r.difference:.1e}, allowed is {r.bound:.1e}")
        if (r.forward_passes, r.reverse_passes) != (r.inputs, r.outputs):
            found.append(f"{r.inputs} -> {r.outputs}: {r.forward_passes} forward, {r.reverse_passes} reverse passes")
    for e in rows:
        n = e.parameters
        expected = {"one_sided": (n + 1, 0), "central": (2 * n, 0), "forward": (1, n), "reverse": (1, 1)}[e.method]
        if (e.calls, e.passes) != expected:
            found.append(f"{e.method} with {n} parameters: {e.calls} calls and {e.passes} passes, not {expected}")
    return found


def setting() -> str:
    return (
        f"Measured on {platform.machine()}, Python {platform.python_version()}, numpy {version('numpy')}; load average "
        f"at the end {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=11, help="alternating runs a Jacobian")
    parser.add_argument("--largest", type=int, default=1_000_000, help="most parameters; sizes are powers of ten")
    parser.add_argument("--out", type=Path, default=RECORD, help="where the tables are written")
    options = parser.parse_args()
    if options.repeats < 1 or options.largest < 1:
        parser.error(
            f"found --repeats {options.repeats} --largest {options.largest}; accepted are 1 or more. Raise them."
        )
    costs = jacobian_costs(repeats=options.repeats)
    sizes = [10**k for k in range(len(str(options.largest)))]
    rows = evaluation_counts(sizes)
    text = (
        "## The Jacobian of y = tanh(A tanh(B x)), n inputs, m outputs\n\n"
        "Forward mode pushes one column a pass, reverse mode pulls one row a pass. Least of "
        f"{options.repeats} alternating runs.\n\n{jacobian_table(costs)}\n\n{crossing_sentence(costs)}\n\n"
        "## One gradient of n parameters: Σ tanh(wᵢ xᵢ)\n\n"
        f"Up to {FULL_UP_TO:,} parameters every coordinate is run. Beyond, {SAMPLE} coordinates are run, and calls, "
        "passes and seconds scaled up to n; those rows say so. The difference is the greatest from reverse mode over "
        f"the coordinates that were run.\n\n{evaluation_table(rows)}\n\n{setting()}\n"
    )
    print(text)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(EXPLANATION + text, encoding="utf-8")
    wrong = faults(costs, rows)
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
