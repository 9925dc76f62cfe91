"""Time the engine against HIPS autograd, PyTorch and hand-written NumPy on three networks; print and record a table.

`python benchmarks/engine_against_autograd.py [--pairs N] [--out FILE]`, N at least 15. Forward and backward, float64,
one thread. Ours is the public `grad(fn, argnums)` called anew each time. Exits with 1 if a gradient differs or a ratio
is missed.
"""

from __future__ import annotations

import os
import sys

# Before NumPy and PyTorch load their libraries: one thread each, and OpenBLAS as it is shipped.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
for _variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_variable, None)

import argparse  # noqa: E402
import platform  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from importlib.metadata import version  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import median  # noqa: E402

import autograd  # noqa: E402
import by_hand  # noqa: E402
import by_torch  # noqa: E402
import networks  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from gradwitness.reference_engine import grad  # noqa: E402
from records import write_section  # noqa: E402
from threadpoolctl import threadpool_info  # noqa: E402

FEWEST_PAIRS = 15
DIFFERENCE = 1e-12  # greatest absolute difference between two gradients; their entries are at most about 1
WANTED = {"mlp": 1.5, "cnn": 1.0, "transformer": 1.0}  # how many times as fast as HIPS
RECORD = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


@dataclass
class Row:
    """One network: seconds (wall clock, medians), times as long as ours (medians of ratios), the worst difference."""

    name: str
    wanted: float
    ours: float
    hips: float
    ratio: float
    again: float  # the ratio once more, after all contenders have run
    torch: float  # times as long as ours
    hand: float  # times as long as ours
    spelling: str
    difference: float

    @property
    def holds(self) -> bool:
        return self.ratio >= self.wanted and self.difference <= DIFFERENCE


def seconds(fn: Callable[[], object]) -> float:
    start = time.perf_counter()
    fn()
    return time.perf_counter() - start


def fastest_spelling(network: networks.Network, argnums: tuple[int, ...]) -> str:
    """The HIPS spelling with the least median of 5 runs after one that warms up."""
    times = {}
    for name, loss in network.hips.items():
        gradient = autograd.grad(loss, argnums)
        times[name] = median([seconds(lambda g=gradient: g(*network.parameters)) for _ in range(6)][1:])
    return min(times, key=times.__getitem__)


@dataclass
class Pair:
    """One network, ours and HIPS timed in turns while nothing else has run: the two contenders and their seconds."""

    network: networks.Network
    spelling: str
    contenders: dict[str, Callable[[], object]]
    times: dict[str, list[float]]


def time_pair(key: str, pairs: int) -> Pair:
    """Alternate ours and HIPS `pairs` times."""
    network = getattr(networks, key)()
    p, argnums = network.parameters, tuple(range(len(network.parameters)))
    spelling = fastest_spelling(network, argnums)
    contenders: dict[str, Callable[[], object]] = {
        "ours": lambda: grad(network.ours, argnums)(*p),
        "hips": lambda: autograd.grad(network.hips[spelling], argnums)(*p),
    }
    return Pair(network, spelling, contenders, alternate(contenders, pairs))


def measure(key: str, pair: Pair, pairs: int) -> Row:
    """Compare the gradients of all four contenders, time the other two beside ours, and HIPS once more."""
    network, contenders = pair.network, dict(pair.contenders)
    contenders["torch"], contenders["hand"] = getattr(by_torch, key)(network), getattr(by_hand, key)(network)
    difference = worst_difference(contenders)
    others = alternate({name: contenders[name] for name in ("ours", "torch", "hand")}, pairs)
    return Row(
        network.name,
        WANTED[key],
        median(pair.times["ours"]),
        median(pair.times["hips"]),
        ratio(pair.times, "hips"),
        ratio(alternate(pair.contenders, pairs), "hips"),
        ratio(others, "torch"),
        ratio(others, "hand"),
        pair.spelling,
        difference,
    )


def worst_difference(contenders: dict[str, Callable[[], object]]) -> float:
    """The greatest absolute difference between an entry of our gradients and any other contender's."""
    gradients = {name: fn() for name, fn in contenders.items()}
    return max(
        float(np.abs(a - b).max())
        for name in gradients.keys() - {"ours"}
        for a, b in zip(gradients["ours"], gradients[name], strict=True)
    )


def alternate(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round; two rounds before them fill caches and buffers."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(2 + rounds):
        for name, fn in contenders.items():
            times[name].append(seconds(fn))
    return {name: values[2:] for name, values in times.items()}


def ratio(times: dict[str, list[float]], name: str) -> float:
    """How many times as long as ours: the median over neighbouring runs."""
    return median(other / ours for other, ours in zip(times[name], times["ours"], strict=True))


def table(rows: list[Row]) -> str:
    lines = [
        "| network | ours, ms | HIPS, ms | HIPS / ours | wanted | the same after all have run | torch / ours "
        "| NumPy by hand / ours | HIPS spelling | greatest difference |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    for r in rows:
        lines.append(
            f"| {r.name} | {1e3 * r.ours:.2f} | {1e3 * r.hips:.2f} | **{r.ratio:.2f}** | {r.wanted:.1f} "
            f"| {r.again:.2f} | {r.torch:.2f} | {r.hand:.2f} | {r.spelling} | {r.difference:.0e} |"
        )
    return "\n".join(lines)


def setting(pairs: int) -> str:
    libraries = ", ".join(
        f"{info['internal_api']} {info.get('version') or ''} ({info.get('architecture') or ''}, {info['num_threads']} "
        f"thread)"
        for info in threadpool_info()
        if info["user_api"] == "blas"
    )
    names = ("numpy", "autograd", "torch")
    return (
        f"Measured on {platform.machine()}, Python {platform.python_version()}, "
        f"{', '.join(f'{name} {version(name)}' for name in names)}; BLAS: {libraries}. Medians of {pairs} alternating "
        f"pairs; load average at the "
        f"end {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    )


EXPLANATION = """# Engine against HIPS autograd

Written by `python benchmarks/engine_against_autograd.py`. Forward and backward, float64, one thread, wall clock. Ours
is the public `grad(fn, argnums)` called anew each time: `fn` is traced again, and its plan is found again by its
structure. The gradients of all four contenders agree within the difference in the last column. HIPS is timed with the
fastest of the spellings of a convolution in `benchmarks/networks.py`.

Ours and HIPS are timed in turns on all three networks before PyTorch and the hand-written gradients run, as in a
process that does nothing else. What the others leave behind in the allocator spares HIPS most of its page faults (it
takes fresh memory for every result, ours computes in buffers that it keeps): the column "the same after all have run"
times both once more at the end.

Most of the MLP's time is 11 matrix products that every contender makes; the difference lies in what is done between
them.

"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=31, help=f"alternating pairs a network, at least {FEWEST_PAIRS}")
    parser.add_argument("--out", type=Path, default=RECORD, help="where the table is written")
    options = parser.parse_args()
    if options.pairs < FEWEST_PAIRS:
        parser.error(f"--pairs: found {options.pairs}; accepted are {FEWEST_PAIRS} or more. Raise it.")
    torch.set_num_threads(1)
    timed = {key: time_pair(key, options.pairs) for key in WANTED}
    rows = [measure(key, pair, options.pairs) for key, pair in timed.items()]
    text = f"{table(rows)}\n\n{setting(options.pairs)}\n"
    print(text)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_section(EXPLANATION + text, options.out)
    missed = [r.name for r in rows if not r.holds]
    if missed:
        print(f"missed: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
