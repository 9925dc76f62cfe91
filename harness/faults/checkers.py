"""The four checks of the scoreboard, each asked the same question: is the derivative of this loss right?

Each answers for the planted program and for the same program without a fault. A check that rejects both cannot tell the
one from the other: a false alarm, not a detection.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

import torch

from ..checking import check
from ..result import CheckResult
from .asking import Asked, answer, ask
from .fault import Fault

DETECTED, MISSED, ALARM = "detected", "missed", "false alarm"
NOT_AFFORDABLE = "not affordable ({0:,} forward passes)"
NOT_ASKED = "needs float64"
NO_MODE = "no such mode"
COUNTED = (DETECTED, MISSED, ALARM, NO_MODE)  # the outcomes that a share is a share of

# Central differences take two forward passes per entry of the input; where the derivative of a gradient is asked for,
# each of them is a forward and a backward pass. At 0.1 ms and 1 ms each, the most are 0.2 seconds.
MOST_PASSES = {1: 2000, 2: 200}


@dataclass(frozen=True)
class Seen:
    """What gradwitness says of one program. flagged: anything; local: an operation on its own; whole: end to end."""

    flagged: bool
    local: bool
    whole: bool
    named: str


def by_gradwitness(asked: Asked, mode: str, seed: int = 0) -> Seen:
    """`check` in the one mode. Flagged is what is not `ok`; the name is that of the culprit, without its namespace."""
    result = check(asked.loss, asked.inputs, modes=(mode,), runners=(asked.runner,), dtypes=None, seed=seed)
    wrong = _wrong_rows(result)
    return Seen(not result.ok, bool((wrong != "whole").any()), bool((wrong == "whole").any()), _named(result))


def _wrong_rows(result: CheckResult):  # type: ignore[no-untyped-def]  # a pandas Series of what each wrong row judged
    f = result.frame
    lost = (f["verdict"] == "inaccurate") & (f["dtype"] == "float64") & (f["rel_error"] > 0.5)
    return f.loc[(f["verdict"] == "mismatch") | lost, "program"]


def _named(result: CheckResult) -> str:
    if result.culprit is not None:
        name = result.culprit.operation
    else:  # `inaccurate` has no culprit, but its rows name the operation
        wrong = _wrong_rows(result)
        name = next((str(p) for p in wrong if p != "whole"), "")
    return name.rpartition("::")[2].partition(".")[0]


def by_gradcheck(asked: Asked, mode: str, fast: bool, seed: int = 0) -> str:
    """What `torch.autograd.gradcheck` or `gradgradcheck` says with the options for this mode and default tolerances.

    "accepted", "rejected", or why it was not asked. Slow mode perturbs each entry; fast mode compares one number.
    """
    if asked.inputs[0].dtype != torch.float64:
        return NOT_ASKED
    if mode not in ("R", "F", "RR", "FR"):
        return NO_MODE
    passes = 2 * asked.elements
    if not fast and passes > MOST_PASSES[len(mode)]:
        return NOT_AFFORDABLE.format(passes)
    leaves = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_() for x in asked.inputs]
    common = {"fast_mode": fast, "raise_exception": False}
    with _seeded(seed), _without_the_slow_text(), asked.running() as loss:
        try:
            if len(mode) == 1:
                options = {"check_forward_ad": mode == "F", "check_backward_ad": mode == "R"}
                accepted = torch.autograd.gradcheck(loss, leaves, **options, **common)
            else:
                options = {"check_fwd_over_rev": mode == "FR", "check_rev_over_rev": mode == "RR"}
                accepted = torch.autograd.gradgradcheck(loss, leaves, **options, **common)
        except Exception:  # it refuses a graph that is cut, or trips over a gradient it cannot perturb
            accepted = False
    return "accepted" if accepted else "rejected"


def by_precision(fault: Fault, asked: Asked, longer: Asked, mode: str) -> str:
    """`torch.testing.assert_close`, default tolerances: PyTorch's float32 derivative against its own in float64.

    Both by the same rule, so that only what differs between precisions can show.
    """
    short, long = answer(asked, mode), answer(longer, mode)
    try:
        for a, b in zip(short, long, strict=True):
            torch.testing.assert_close(a, b.to(a.dtype))
    except AssertionError:
        return "rejected"
    return "accepted"


def in_both_precisions(program: str, elements: int, loss: str, seed: int, runner: str) -> tuple[Asked, Asked]:
    """The same question in float32 and in float64."""
    short, long = (ask(program, elements, loss, d, seed, runner) for d in (torch.float32, torch.float64))
    return short, long


def outcome(planted: str, clean: str) -> str:
    """From what a check says with and without the fault."""
    if clean not in ("accepted", "rejected"):
        return clean
    if clean == "rejected":
        return ALARM
    return DETECTED if planted == "rejected" else MISSED


@contextlib.contextmanager
def _without_the_slow_text() -> Iterator[None]:
    """Fast mode, once it has rejected, runs the slow mode for the text of its message, which takes minutes at 100,000
    entries and changes no answer. Within this the text is left out."""
    module = sys.modules["torch.autograd.gradcheck"]
    with mock.patch.object(module, "_run_slow_mode_and_get_error", lambda *args, **kwargs: ""):
        yield


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """gradcheck draws its directions from the global generator; it is put back afterwards."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gradcheck warns of inputs it finds unusual; the outcome says what counts
        torch.manual_seed(seed)
        yield
