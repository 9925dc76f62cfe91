"""A campaign: units of work on worker processes with time limits, collected into one frame, findings and a report."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ...reports.schema import frame_from_rows
from ..errors import UsageError
from ..evidence.findings import Candidate, grouped
from ..evidence.known import KnownIssue, load, repaired
from ..evidence.three_numbers import by_closed_forms
from ..judgement.modes import UNASKED, accepted_mode
from .coverage import uncounted
from .otherwise import accepted_ways
from .unfinished import Unfinished, name_of
from .units import BLOCK, run_unit, shrink_record
from .work import Unit, UnitResult
from .workers import in_workers

SOURCES = ("generated", "opinfo", "variations", "referee", "all")
UNIT_SECONDS = 240.0  # time limit of one unit; the slowest takes about 20 s
SHRINK_SECONDS = 30.0  # time limit for cutting one finding down
DEFAULT_CASES = 300
TESTED = ("2.13",)  # series of torch that the whole suite is run against


@dataclass(frozen=True)
class Options:
    """What a campaign runs. cases: generated programs. samples: per op_db entry and mode, None for all at order 1 and
    two above. runners: the ways in which samples of op_db are run, names of `otherwise.WAYS`.
    """

    source: str = "all"
    modes: tuple[str, ...] = UNASKED
    cases: int = DEFAULT_CASES
    samples: int | None = None
    seed: int = 0
    workers: int = 2
    only: tuple[str, ...] = ()
    runners: tuple[str, ...] = ("autograd",)

    def checked(self) -> Options:
        """Itself. Raises UsageError for a value that is not accepted."""
        if self.source not in SOURCES:
            raise UsageError(f"run: --source {self.source!r}; accepted are {', '.join(SOURCES)}. Choose one of them.")
        for mode in self.modes:
            accepted_mode(mode)
        accepted_ways(self.runners)
        for name in ("cases", "workers"):
            if getattr(self, name) < (1 if name == "workers" else 0):
                raise UsageError(
                    f"run: --{name} {getattr(self, name)}; accepted are whole numbers from "
                    f"{1 if name == 'workers' else 0}. Correct the number."
                )
        if self.samples is not None and self.samples < 1:
            raise UsageError(
                f"run: --samples {self.samples}; accepted are whole numbers from 1. Correct the number, or leave it "
                f"out for the default."
            )
        return self


@dataclass
class Campaign:
    """What a campaign found. `fails`: findings that are not in the known issues."""

    options: Options
    frame: pd.DataFrame
    findings: list[dict[str, Any]]
    coverage: list[dict[str, Any]]
    metadata: dict[str, Any]
    filtered: dict[str, int] = field(default_factory=dict)
    ulp: list[dict[str, Any]] = field(default_factory=list)

    @property
    def fails(self) -> list[dict[str, Any]]:
        return [f for f in self.findings if f["fails"]]


def units(options: Options) -> list[Unit]:
    """The work, in a fixed order that does not depend on the number of workers. Raises UsageError where it is none."""
    work: list[Unit] = []
    if options.source in ("opinfo", "variations", "all"):
        from .opinfo import entries

        names = [e.name for e in entries()]
        unknown = [n for n in options.only if n not in names]
        if unknown:
            raise UsageError(
                f"run: --only {', '.join(unknown)}: not among the {len(names)} entries of op_db; accepted are names "
                f"such as {names[0]} and {names[-1]}. Check the spelling."
            )
        source = "variations" if options.source == "variations" else "opinfo"
        work += [
            Unit(source, n, options.modes, options.seed, samples=options.samples, runners=options.runners)
            for n in names
            if not options.only or n in options.only
        ]
    if options.source in ("generated", "all") and not options.only:
        for number in range((options.cases + BLOCK - 1) // BLOCK):
            work.append(
                Unit(
                    "generated",
                    f"block {number}",
                    options.modes,
                    options.seed,
                    number,
                    min(BLOCK, options.cases - number * BLOCK),
                )
            )
    if options.source in ("referee", "all") and not options.only:
        from ..arbitration.ulp_table import measured

        work += [Unit("referee", name, (), options.seed) for name in measured()]
    if not work:
        raise UsageError(
            f"run: nothing to do with source {options.source!r}, {options.cases} cases, only {options.only or 'all'}; "
            "accepted is at least one generated program or op_db entry (--only chooses among entries, and leaves out "
            "generated programs and the accuracy table). Leave one of them out."
        )
    return work


def run_campaign(
    options: Options,
    progress: Callable[[int, int, str], None] | None = None,
    known: Sequence[KnownIssue] | None = None,
    kept: Unfinished | None = None,
) -> Campaign:
    """Run every unit on worker processes; a unit that crashes its worker or exceeds its time ends in one row that says
    so.

    progress: called with (done, total, name). Counts do not depend on `workers`. kept: what keeps each result as soon
    as it is there; those it holds already are taken from it.
    """
    options.checked()
    issues = load() if known is None else known
    start = time.perf_counter()
    work = units(options)
    results = _run(work, options.workers, progress, kept)
    rows = [r for result in results for r in result.rows]
    candidates: list[Candidate] = [c for result in results for c in result.candidates]
    findings = by_closed_forms(_shrunk(grouped(candidates, issues), options.workers, progress, kept), issues)
    new_last = sorted(findings, key=lambda f: f["known"] is None)  # the record that fails speaks for its rows
    place = {(f["op"], f["mode"], f["runner"], f["verdict"]): f for f in new_last}
    for r in rows:
        f = place.get((r.get("op"), r.get("mode"), r.get("runner"), r["verdict"]))
        if f is not None:
            r["finding"], r["known"] = f["id"], f["known"]
    frame = frame_from_rows(rows)
    filtered = Counter[str]()
    for result in results:
        filtered.update(result.filtered)
    metadata = {
        **environment(),
        "seed": options.seed,
        "seconds": time.perf_counter() - start if kept is None else kept.elapsed,
        "programs": sum(r.programs for r in results),
        "workers": options.workers,
        "repaired": repaired(issues),
        "filtered while drawing": dict(filtered),
    }
    coverage = [c for r in results for c in r.coverage]
    ulp = [row for r in results for row in r.ulp]
    return Campaign(options, frame, findings, coverage, metadata, dict(filtered), ulp)


def _run(
    work: list[Unit],
    workers: int,
    progress: Callable[[int, int, str], None] | None,
    kept: Unfinished | None,
) -> list[UnitResult]:
    results: dict[int, UnitResult] = {}
    if kept is not None:
        results = {i: kept.done[name_of(unit)] for i, unit in enumerate(work) if name_of(unit) in kept.done}
    waiting = [i for i in range(len(work)) if i not in results]

    def finished(i: int, future: Any) -> None:
        results[i] = _result(work[i], future)
        if kept is not None:
            kept.keep(name_of(work[i]), results[i])
        if progress is not None:
            progress(len(results), len(work), work[i].name)

    in_workers(run_unit, {i: work[i] for i in waiting}, workers, UNIT_SECONDS, finished)
    return [results[i] for i in range(len(work))]


def _shrunk(
    findings: list[dict[str, Any]],
    workers: int,
    progress: Callable[[int, int, str], None] | None,
    kept: Unfinished | None,
) -> list[dict[str, Any]]:
    """Every finding cut to its smallest case; as it was where that takes too long or the worker dies."""
    cut: dict[int, dict[str, Any]] = {}
    names = [f"finding/{f['id']}" for f in findings]
    if kept is not None:
        # what makes a finding known may have changed since; the case has not
        told = ("known", "fails", "note")
        cut = {
            i: {**kept.done[n], **{k: f[k] for k in told}}
            for i, (n, f) in enumerate(zip(names, findings, strict=True))
            if n in kept.done
        }

    def finished(i: int, future: Any) -> None:
        try:
            cut[i] = future.result()
        except Exception as error:  # cutting down is a courtesy: the finding itself is kept
            why = f"not cut down: {type(error).__name__}"
            cut[i] = {**findings[i], "note": why, "arbiter_value": None, "arbiter": why}
        if kept is not None:
            kept.keep(names[i], cut[i])
        if progress is not None:
            progress(len(cut), len(findings), "cutting findings down")

    waiting = {i: f for i, f in enumerate(findings) if i not in cut}
    in_workers(shrink_record, waiting, workers, SHRINK_SECONDS, finished)
    return [cut[i] for i in range(len(findings))]


def _result(unit: Unit, future: Any) -> UnitResult:
    """The unit's own result, or one row for a worker that died or ran out of time."""
    from pebble import ProcessExpired

    try:
        result: UnitResult = future.result()
        return result
    except TimeoutError:
        verdict, message = "timeout", f"no result within {UNIT_SECONDS:.0f} s"
    except ProcessExpired as error:
        verdict, message = "crashed", f"the worker process ended with exit code {error.exitcode}"
    except Exception as error:  # a fault of our own inside the worker: a row that fails the run, so that it is seen
        verdict, message = "crashed", f"{type(error).__name__}: {error}"[:300]
    row = {
        "case": f"{unit.source}/{unit.name}",
        "source": unit.source,
        "op": unit.name,
        "runner": "autograd",
        "dtype": "float64",
        "mode": "R",
        "verdict": verdict,
        "message": message,
    }
    case = {"format": 1, "kind": unit.source, "entry": unit.name, "sample": 0, "mode": "R", "seed": unit.seed}
    candidate = Candidate(
        unit.name,
        unit.name,
        "R",
        "autograd",
        "float64",
        verdict,
        float("nan"),
        0,
        0,
        float("nan"),
        float("nan"),
        message,
        case,
    )
    coverage = [uncounted(unit.name, verdict, message)] if unit.source == "opinfo" else []
    return UnitResult(unit, [row], [candidate], coverage)


def environment() -> dict[str, Any]:
    """Versions, platform, threads, the threshold; a warning for a torch that the suite was not run against."""
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from ..judgement.judging import THRESHOLD

    def found(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "not installed"

    data: dict[str, Any] = {
        "torch_version": torch.__version__,
        "versions": {n: found(n) for n in ("gradwitness", "torch", "numpy", "scipy", "pandas", "hypothesis")}
        | {"python": platform.python_version()},
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "threshold": THRESHOLD,
    }
    text = untested(torch.__version__)
    if text:
        data["warning"] = text
    return data


def untested(torch_version: str) -> str:
    """The sentence that an untested version of torch prints, or ""."""
    if torch_version.startswith(tuple(f"{series}." for series in TESTED)):
        return ""
    return (
        f"torch {torch_version} is not a version gradwitness was tested against (tested: "
        f"{', '.join(f'{s}.x' for s in TESTED)}). Comparisons run as usual; "
        "known issues and documented conventions were written for the tested versions, so look at each new finding "
        "before you report it."
    )


def write(
    campaign: Campaign, out: Path, lockstep: dict[str, Any] | None, pitfalls: Sequence[dict[str, Any]], command: str
) -> Path:
    """Write the report of a campaign into `out`."""
    from ...reports import write_report

    metadata = {**campaign.metadata, "command": command}
    return Path(
        write_report(
            campaign.frame,
            out,
            metadata=metadata,
            findings=campaign.findings,
            coverage=campaign.coverage,
            lockstep=lockstep,
            pitfalls=pitfalls,
            ulp=campaign.ulp,
        )
    )
