"""Time `Value` against micrograd on micrograd's own network, and weigh a node of each; print and record a table.

`python benchmarks/value_against_micrograd.py [--pairs N] [--out FILE]`, N at least 15. micrograd's own network,
`nn.MLP(3, [16, 16, 1])`, runs unchanged on both, 20 inputs, one process: forward, zero, backward. Exits with 1 if a
loss differs in a single bit or a ratio is missed.
"""

from __future__ import annotations

import argparse
import gc
import platform
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import micrograd.engine
from gradwitness.reference_engine import Value
from micrograd import nn

FEWEST_PAIRS = 15
WANTED_SPEED = 6.0  # times as fast as micrograd, the garbage collector running as Python ships it
WANTED_MEMORY = 0.5  # bytes a node, at most this share of micrograd's
RECORD = Path(__file__).resolve().parents[1] / "docs" / "value_against_micrograd.md"
INPUTS, SIZES = 20, (3, [16, 16, 1])
ENGINES: dict[str, Any] = {"ours": Value, "micrograd": micrograd.engine.Value}


class Work:
    """The network on one engine: the same weights and data for both, from one seed."""

    def __init__(self, value: Any) -> None:
        self.value = value
        nn.Value = value
        draw = random.Random(0)
        random.seed(0)
        self.model = nn.MLP(*SIZES)
        self.rows = [[value(draw.uniform(-1, 1)) for _ in range(SIZES[0])] for _ in range(INPUTS)]
        self.targets = [draw.choice([-1.0, 1.0]) for _ in range(INPUTS)]

    def forward(self) -> Any:
        return sum((self.model(row) - target) ** 2 for row, target in zip(self.rows, self.targets, strict=True))

    def step(self) -> float:
        """Forward, zero, backward; the loss. The graph is gone when it returns."""
        loss = self.forward()
        self.model.zero_grad()
        loss.backward()
        return float(loss.data)


def count_nodes(root: Any) -> int:
    """How many nodes a result stands on, itself among them."""
    seen, stack = {root}, [root]
    while stack:
        for operand in stack.pop()._prev:
            if operand not in seen:
                seen.add(operand)
                stack.append(operand)
    return len(seen)


def bytes_a_node(work: Work) -> float:
    """Bytes that a graph holds after its backward pass, by tracemalloc, over its number of nodes."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    loss = work.forward()
    loss.backward()
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return held / count_nodes(loss)


def paired(works: dict[str, Work], pairs: int) -> dict[str, list[float]]:
    """Seconds of each step, wall clock, in turns; two rounds before them warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(pairs + 2):
        for name, work in works.items():
            start = time.perf_counter()
            work.step()
            times[name].append(time.perf_counter() - start)
    return {name: values[2:] for name, values in times.items()}


def without_collector(measure: Callable[[], dict[str, list[float]]]) -> dict[str, list[float]]:
    gc.collect()
    gc.disable()
    try:
        return measure()
    finally:
        gc.enable()
        gc.collect()


def row(label: str, times: dict[str, list[float]]) -> tuple[str, float]:
    ratio = median(theirs / ours for ours, theirs in zip(times["ours"], times["micrograd"], strict=True))
    ours, theirs = (1e3 * median(times[name]) for name in ("ours", "micrograd"))
    return f"| {label} | {ours:.1f} ms | {theirs:.1f} ms | **{ratio:.1f} times as fast** |", ratio


EXPLANATION = """# Value against micrograd

Written by `python benchmarks/value_against_micrograd.py`. micrograd's own `nn.MLP(3, [16, 16, 1])`, 20 inputs, runs
unchanged on both classes, in one process and in turns; a step is forward, zero, backward, and the graph is given back.
The losses are equal to the last bit.

micrograd's nodes hold themselves in a cycle (each node's closure refers to the node), so that only Python's garbage
collector can free them, and its work is part of a step. Our nodes have no cycle and go at once. The second line is with
the collector switched off: micrograd's graphs then pile up in memory, and what is left is the work on the nodes alone.

"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=31, help=f"alternating pairs, at least {FEWEST_PAIRS}")
    parser.add_argument("--out", type=Path, default=RECORD, help="where the table is written")
    options = parser.parse_args()
    if options.pairs < FEWEST_PAIRS:
        parser.error(f"--pairs: found {options.pairs}; accepted are {FEWEST_PAIRS} or more. Raise it.")
    works = {name: Work(value) for name, value in ENGINES.items()}
    losses = {name: work.step() for name, work in works.items()}
    same = losses["ours"].hex() == losses["micrograd"].hex()
    nodes = count_nodes(works["ours"].forward())
    usual, speed = row("step", paired(works, options.pairs))
    bare, _ = row("step, collector off", without_collector(lambda: paired(works, options.pairs)))
    weights = {name: bytes_a_node(work) for name, work in works.items()}
    share = weights["ours"] / weights["micrograd"]
    lines = [
        "| | ours | micrograd | |",
        "|---|---:|---:|---|",
        usual,
        bare,
        f"| memory a node | {weights['ours']:.0f} bytes | {weights['micrograd']:.0f} bytes | **{share:.2f} of it** |",
    ]
    text = "\n".join(lines) + (
        f"\n\nMeasured on {platform.machine()}, Python {platform.python_version()}, micrograd {version('micrograd')}; "
        f"{nodes:,} nodes; medians of {options.pairs} alternating pairs; loss {losses['ours'].hex()} on both.\n"
    )
    print(text)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(EXPLANATION + text, encoding="utf-8")
    missed = [
        name
        for name, holds in (
            ("equal losses", same),
            ("speed", speed >= WANTED_SPEED),
            ("memory", share <= WANTED_MEMORY),
        )
        if not holds
    ]
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
