"""Time `check` beside PyTorch's gradcheck and beside a training step, and measure its memory; print and record tables.

`python benchmarks/check_cost.py [--rounds N] [--out FILE]`, N at least 5; about two minutes. What is compared runs in
turns in one process on one thread; ratios are medians over neighbouring runs. Peak memory is measured in fresh
processes. Exits with 1 if a ratio that the project promises is missed.
"""

from __future__ import annotations

import os
import sys

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before NumPy and PyTorch load their libraries

import argparse  # noqa: E402
import platform  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from importlib.metadata import version  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import median  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402
from gradwitness.harness import capture, check  # noqa: E402
from gradwitness.harness.judgement import judgement_of_array, judging  # noqa: E402
from gradwitness.harness.recorder.nodes import nodes_of, run_backward  # noqa: E402
from torch import nn  # noqa: E402

RECORD = Path(__file__).resolve().parents[1] / "docs" / "check_cost.md"
FEWEST_ROUNDS = 5
FEATURES, CLASSES = 64, 10  # digits of 8 × 8 pixels
SMALL, LARGE = 69, 963  # widths of the two hidden layers: 10,015 and 1,000,567 parameters
BATCHES = (32, 128)
# The judge as users have it; a screen alone, 4 disturbed runs of everything; the full judge, 32 of everything.
CONSTANTS = ((judging, "_settles"), (judging, "SCREENING"), (judging, "SUSPECT"), (judgement_of_array, "THRESHOLD"))
USUAL = tuple(getattr(module, name) for module, name in CONSTANTS)
NEVER = float("inf")
JUDGES = {
    "check": USUAL,
    "screen": (False, judging.SCREENING, NEVER, NEVER),
    "full": (False, judging.SAMPLES, *USUAL[2:]),
}


@dataclass
class Task:
    """A network, its loss as a function of the inputs, and one training step of it."""

    model: nn.Module
    inputs: torch.Tensor
    loss: Callable[[torch.Tensor], torch.Tensor]
    step: Callable[[], None]

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())


def task(model: nn.Module, inputs: torch.Tensor, loss: Callable[[torch.Tensor], torch.Tensor]) -> Task:
    """With plain stochastic gradient descent: clear the gradients, loss, backward, update."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss(inputs).backward()
        optimizer.step()

    return Task(model, inputs, loss, step)


def mlp(width: int, batch: int) -> Task:
    """Two hidden tanh layers in float64, mean squared error against one-hot classes."""
    torch.manual_seed(0)
    layers = nn.Linear(FEATURES, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, CLASSES)
    model = nn.Sequential(*layers).to(torch.float64)
    x = torch.randn(batch, FEATURES, dtype=torch.float64)
    target = nn.functional.one_hot(torch.randint(CLASSES, (batch,)), CLASSES).double()
    return task(model, x, lambda x: ((model(x) - target) ** 2).mean())


def transformer() -> Task:
    """12 encoder layers in float32 with dropout: width 64, 4 heads, 8 sequences of 32."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True)
    model = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
    return task(model, torch.randn(8, 32, 64), lambda x: model(x).square().mean())


def gradcheck(t: Task, fast: bool) -> bool:
    """PyTorch's gradcheck of the loss in every parameter."""
    named = dict(t.model.named_parameters())

    def loss(*values: torch.Tensor) -> torch.Tensor:
        with nn.utils.stateless._reparametrize_module(t.model, dict(zip(named, values, strict=True))):
            return t.loss(t.inputs)

    return torch.autograd.gradcheck(loss, tuple(named.values()), fast_mode=fast)


@contextmanager
def judge_of(name: str) -> Iterator[None]:
    """A judge out of JUDGES."""
    try:
        for (module, constant), value in zip(CONSTANTS, JUDGES[name], strict=True):
            setattr(module, constant, value)
        yield
    finally:
        for (module, constant), value in zip(CONSTANTS, USUAL, strict=True):
            setattr(module, constant, value)


def checked(t: Task, judge: str = "check") -> None:
    """`check` of the loss; it has to agree."""
    with judge_of(judge):
        result = check(t.loss, t.inputs)
    assert result.verdict == "agree", result.explain()


def recorded(t: Task) -> None:
    """The forward pass, recorded."""
    capture(t.loss, t.inputs)


def recorded_both(t: Task) -> None:
    """The forward pass recorded, and the backward pass with what every node receives and sends."""
    recording = capture(t.loss, t.inputs)
    leaves = list(t.model.parameters())
    run_backward(recording, nodes_of(recording), leaves, [torch.ones_like(recording.torch_outputs[0])])


def alternate(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round (wall clock); one round before them fills caches."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(1 + rounds):
        for name, fn in contenders.items():
            start = time.perf_counter()
            fn()
            times[name].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in times.items()}


@dataclass
class Line:
    """One promise: what is measured, the ratio found (dimensionless), and the bound on it."""

    what: str
    figures: str
    ratio: float
    bound: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.ratio >= self.bound if self.at_least else self.ratio <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"| {self.what} | {self.figures} | **{self.ratio:.1f}** | {sign} {self.bound:g} |"


def paired(times: dict[str, list[float]], over: str, under: str) -> float:
    """How many times as long `over` took as `under`: the median over neighbouring runs."""
    return median(a / b for a, b in zip(times[over], times[under], strict=True))


def milliseconds(times: dict[str, list[float]], *names: str) -> str:
    return ", ".join(f"{name} {1e3 * median(times[name]):.1f} ms" for name in names)


def against_gradcheck(rounds: int) -> list[Line]:
    """10,015 parameters: `check` against gradcheck, slow and fast."""
    t = mlp(SMALL, BATCHES[0])
    contenders = {"check": lambda: checked(t), "slow": lambda: gradcheck(t, False), "fast": lambda: gradcheck(t, True)}
    times = alternate(contenders, rounds)
    what = f"{t.parameters:,} parameters, batch {BATCHES[0]}: gradcheck"
    return [
        Line(f"{what}, slow / check", milliseconds(times, "slow", "check"), paired(times, "slow", "check"), 50, True),
        Line(f"{what}, fast / check", milliseconds(times, "fast", "check"), paired(times, "fast", "check"), 0, True),
    ]


def against_step(batch: int, rounds: int) -> list[Line]:
    """1,000,567 parameters: `check`, the screen and the full judge against one training step."""
    t = mlp(LARGE, batch)
    contenders: dict[str, Callable[[], Any]] = {}
    for name in JUDGES:  # a step beside each: the ratio is of neighbours
        contenders |= {f"step before {name}": t.step, name: lambda name=name: checked(t, name)}
    times = alternate(contenders, rounds)
    bounds = {"check": 40, "screen": 40, "full": 150}
    names = {"check": "check", "screen": "with 4 disturbed runs of everything", "full": "with 32 of everything"}
    return [
        Line(
            f"{t.parameters:,} parameters, batch {batch}: {names[name]} / step",
            milliseconds(times, name, f"step before {name}").replace(f"step before {name}", "step"),
            paired(times, name, f"step before {name}"),
            bound,
        )
        for name, bound in bounds.items()
    ]


def recording_against_step(rounds: int) -> list[Line]:
    """12 transformer layers: the recorded run against the bare training step."""
    t = transformer()
    contenders = {"step": t.step, "forward": lambda: recorded(t), "both passes": lambda: recorded_both(t)}
    times = alternate(contenders, rounds)
    calls = len(capture(t.loss, t.inputs).calls)
    what = f"12 transformer layers, {calls} calls: recorded"
    return [
        Line(f"{what} {name} / step", milliseconds(times, name, "step"), paired(times, name, "step"), 5)
        for name in ("forward", "both passes")
    ]


def resident(key: str) -> float:
    """A line of /proc/self/status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key + ":"))


def peak(what: str, batch: int) -> float:
    """MiB that one training step or check adds to a process that has run a small one and holds the model already."""
    small, t = mlp(8, 4), mlp(LARGE, batch)
    small.step()
    checked(small)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    if what == "step":
        t.step()
    else:
        checked(t, what)
    return resident("VmHWM") - before


def memory(batch: int) -> list[Line]:
    """Peak memory of `check` and of the full judge against that of a training step, each in a fresh process."""
    here = [sys.executable, __file__, "--batch", str(batch), "--peak"]
    found = {w: float(subprocess.check_output([*here, w], text=True)) for w in ("step", "check", "full")}
    names = {"check": "check", "full": "with 32 disturbed runs of everything"}
    return [
        Line(
            f"{LARGE}-wide MLP, batch {batch}: peak memory, {text} / step",
            f"{found[w]:.0f} MiB, {found['step']:.0f} MiB",
            found[w] / found["step"],
            12,
        )
        for w, text in names.items()
    ]


class ZeroGradient(torch.autograd.Function):
    """The mean of squares, whose backward is wrong: 0."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return (x**2).mean()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return torch.zeros_like(ctx.saved_tensors[0])


def accepted_faults() -> str:
    """What gradcheck's fast mode and `check` say of a gradient of 0 that should not be, on a mean of 10⁶ numbers."""
    x = torch.randn(1_000_000, dtype=torch.float64)
    fast = torch.autograd.gradcheck(
        ZeroGradient.apply, x.clone().requires_grad_(), fast_mode=True, raise_exception=False
    )
    verdict = check(ZeroGradient.apply, x).verdict
    return (
        f"The mean of the squares of 10⁶ numbers with a backward that returns 0: gradcheck in fast mode says "
        f"{'right' if fast else 'wrong'}, `check` says `{verdict}`."
    )


EXPLANATION = f"""# What a check costs

Written by `python benchmarks/check_cost.py`. One thread, wall clock, on the CPU. The MLP has {FEATURES} inputs, two
tanh layers of equal width and {CLASSES} outputs, in float64, with the mean squared error; a step clears the gradients,
runs forward and backward, and updates by plain gradient descent. `check` is the public function as it is called in a
test: it records the run, judges every value, every autograd node and every gradient, and runs the callable once more.

Most outputs are settled without disturbed runs: their errors are small beside what their last roundings explain, and
the spread is never less. The rest is screened with 4 disturbed runs, and what these suspect is measured with 8, 16 and
32 until nothing is suspect. The rows "with 4" and "with 32 disturbed runs of everything" switch that off and measure
every array; they bound what data can cost at which nothing is settled. A check costs as much for each parameter
whatever the batch, a step does not: the smaller the batch, the larger the ratio. Memory is what the peak adds to a
process that holds the model already.

"""


def setting(rounds: int) -> str:
    return (
        f"Measured on {platform.machine()}, Python {platform.python_version()}, numpy {version('numpy')}, torch "
        f"{version('torch')}. Medians of {rounds} rounds in turns; load average at the end {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=7, help=f"rounds in turns, at least {FEWEST_ROUNDS}")
    parser.add_argument("--out", type=Path, default=RECORD, help="where the table is written")
    parser.add_argument("--peak", choices=["step", "check", "full"], help="print the peak memory of one, in MiB")
    parser.add_argument("--batch", type=int, default=BATCHES[0], help="with --peak: samples in a batch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        print(peak(options.peak, options.batch))
        return 0
    if options.rounds < FEWEST_ROUNDS:
        parser.error(f"--rounds: found {options.rounds}; accepted are {FEWEST_ROUNDS} or more. Raise it.")
    lines = against_gradcheck(options.rounds)
    for batch in BATCHES:
        lines += against_step(batch, options.rounds)
    lines += recording_against_step(options.rounds)
    for batch in BATCHES:
        lines += memory(batch)
    rows = ["| what | medians | ratio | promised |", "|---|---|---:|---:|", *map(str, lines)]
    rows = [r.replace("≥ 0 |", "none |") for r in rows]
    text = "\n".join(rows) + f"\n\n{accepted_faults()}\n\n{setting(options.rounds)}\n"
    print(text)
    options.out.write_text(EXPLANATION + text, encoding="utf-8")
    missed = [line.what for line in lines if not line.holds]
    if missed:
        print(f"missed: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
