"""What the commands do: campaign with progress and closing table, the user's own target, replay of one case."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..reports.formatting import noun
from ..reports.views import sample_counts
from .campaigns.campaign import DEFAULT_CASES, Campaign, Options, environment, run_campaign, units, untested, write
from .campaigns.unfinished import Unfinished, name_of, plan_of
from .errors import UsageError
from .judgement.judging import ORDER
from .targets import load_target

if TYPE_CHECKING:
    from .judgement.subject import Subject

SHOWN = 40  # rows of a table that `diff` prints


def run_and_report(
    source: str,
    modes: tuple[str, ...],
    samples: int | None,
    cases: int | None,
    only: tuple[str, ...],
    seed: int,
    workers: int,
    out: Path,
    command: str,
    fresh: bool = False,
    runners: tuple[str, ...] = ("autograd",),
) -> int:
    """Run the campaign, write the report, print the closing table. Returns the exit code.

    An unfinished run of the same arguments and versions in `out` goes on where it was; fresh: it is dropped.
    """
    import torch

    cases = DEFAULT_CASES if cases is None else cases
    options = Options(source, modes, cases, samples, seed, workers, only, runners).checked()
    _writable(out)
    console = Console(stderr=True)
    warning = untested(torch.__version__)
    if warning:
        console.print(f"[yellow]warning:[/] {warning}", highlight=False)
    work = units(options)
    kept = Unfinished(out, plan_of(options, work, environment()), fresh=fresh)
    finished = False
    try:
        if kept.done:
            there = sum(name_of(unit) in kept.done for unit in work)
            text = f"going on with the unfinished run in {out}: {there} of {len(work)} units are done"
            console.print(f"{text} (--fresh starts over)", highlight=False)
        campaign, lockstep, pitfalls = _with_progress(options, kept, console)
        page = write(campaign, out, lockstep, pitfalls, command)
        finished = True
    finally:
        kept.close(finished=finished)
    _closing(campaign, page)
    return 1 if campaign.fails else 0


def _with_progress(options: Options, kept: Unfinished, console: Console) -> tuple[Campaign, Any, list[dict[str, Any]]]:
    """The campaign, the network in lock step, the pitfalls, while a bar shows how far it is."""
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=not console.is_terminal, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("starting workers", total=None)

        def show(done: int, total: int, name: str) -> None:
            progress.update(task, completed=done, total=total, description=name[:34])
            if not console.is_terminal and (done % 50 == 0 or done == total):
                console.print(f"{done} of {total} units done", highlight=False)

        campaign = run_campaign(options, show, kept=kept)
        lockstep, pitfalls = None, []
        if options.source == "all" and not options.only:
            progress.update(task, description="network in lock step")
            lockstep = _lockstep(campaign)
            progress.update(task, description="pitfalls")
            pitfalls = _pitfalls()
    return campaign, lockstep, pitfalls


def _writable(out: Path) -> None:
    """Refuse an `out` that cannot be written before any work is done, and leave nothing behind."""
    nearest = next(p for p in (out, *out.absolute().parents) if p.exists())
    try:
        tempfile.TemporaryDirectory(dir=nearest).cleanup()
    except OSError as error:
        raise UsageError(
            f"run: --out {out} cannot be written ({nearest} is "
            f"{'not a folder' if not nearest.is_dir() else 'read-only'}); accepted is a folder that can be made. "
            f"Choose another."
        ) from error


def _lockstep(campaign: Campaign) -> dict[str, Any]:
    import pandas as pd

    from ..reports.schema import frame_from_rows
    from .campaigns import lockstep
    from .judgement.rows import Rows

    rows = Rows("lockstep/digits", op="two-layer classifier", source="lockstep", seed=campaign.options.seed)
    result = lockstep.run(seed=campaign.options.seed, rows=rows)
    campaign.frame = pd.concat([campaign.frame, frame_from_rows(rows.rows)], ignore_index=True)
    return result.as_plot()


def _pitfalls() -> list[dict[str, Any]]:
    from ..scenarios import catalogue, record

    return [record(s) for s in catalogue().values()]


MOST_INACCURATE = 5  # operations that the closing lines name; all are in ulp.csv


def _accuracy(console: Console, campaign: Campaign) -> None:
    """The elementwise operations with the greatest measured errors of a derivative."""
    worst: dict[str, dict[str, Any]] = {}
    for row in campaign.ulp:
        if row["quantity"] == "derivative" and row.get("ulp") is not None:
            kept = worst.setdefault(row["op"], row)
            if row["ulp"] > kept["ulp"]:
                worst[row["op"]] = row
    if not worst:
        return
    table = Table(title=None, box=None, pad_edge=False)
    for name in ("least accurate derivative", "dtype", "ulp", "at"):
        table.add_column(name)
    for row in sorted(worst.values(), key=lambda r: -r["ulp"])[:MOST_INACCURATE]:
        table.add_row(row["op"], row["dtype"], f"{row['ulp']:.3g}", ", ".join(f"{x:.6g}" for x in row["input"]))
    console.print(table)


def _closing(campaign: Campaign, page: Path) -> None:
    console = Console()
    counts = Counter(campaign.frame["verdict"])
    table = Table(title=None, box=None, pad_edge=False)
    table.add_column("verdict")
    table.add_column("comparisons", justify="right")
    for verdict in reversed(ORDER):
        if counts[verdict]:
            table.add_row(verdict, str(counts[verdict]))
    if counts or not campaign.ulp:
        console.print(table)
    _accuracy(console, campaign)
    compared = [c for c in campaign.coverage if c["source"] == "opinfo"]
    plainly = "autograd" in campaign.options.runners
    if compared and plainly and "R" in campaign.options.modes:
        covered = sum(c["status"] == "compared" for c in compared)
        console.print(f"op_db entries compared in mode R, every sample: {covered} of {len(compared)}", highlight=False)
    for c in sample_counts(compared):
        by = c.source.removeprefix("opinfo")
        if by or plainly:
            console.print(f"op_db samples compared in mode {c.mode}{by}: {c.compared} of {c.samples}", highlight=False)
    groups: dict[str, list[dict[str, Any]]] = {}
    for f in campaign.findings:
        groups.setdefault(f["culprit"], []).append(f)
    if groups:
        found = Table(title=None, box=None, pad_edge=False)
        for name in ("wrong operation", "modes", "known"):
            found.add_column(name)
        for culprit, parts in groups.items():
            modes = ", ".join(
                sorted({f"{f['mode']}" + ("" if f["verdict"] == "mismatch" else f" ({f['verdict']})") for f in parts})
            )
            known = next((f["known"] for f in parts if f["known"]), None)
            new = sum(f["fails"] for f in parts)
            found.add_row(
                culprit,
                modes,
                ("NEW" if new else "") + ("" if not known else (" and " if new else "") + str(known)[:60]),
            )
        console.print(found)
    new = len(campaign.fails)
    console.print(
        f"{noun(len(campaign.findings), 'finding')}, {new} of them new; the report is {page / 'report.html'}",
        highlight=False,
        soft_wrap=True,
    )


def check_target(
    target: str, modes: str | None, dtypes: str | None, runners: str | None, seed: int | None, out: Path | None
) -> int:
    """Check FILE.py:NAME; what is None comes from [tool.gradwitness]. Returns 0 if the result is ok, 1 if not."""
    from .checking import check
    from .configuration import LEFT_OUT

    fn, inputs, kwargs = load_target(target)
    wanted = LEFT_OUT if dtypes is None else dtypes
    result = check(fn, inputs, kwargs, modes=modes, dtypes=wanted, runners=runners, seed=seed)
    print(result.explain())
    if out is not None:
        from ..reports import write_report
        from .evidence.checked import findings_of

        used = {"seed": int(result.frame["seed"].iloc[0]), "command": f"gradwitness check {target}", "kind": "check"}
        frame, findings = findings_of(result.frame, result.culprits)
        print(write_report(frame, out, metadata={**environment(), **used}, findings=findings))
    return 0 if result.ok else 1


def tell_difference(old: Path, new: Path, out: Path | None) -> int:
    """Print what changed between two runs, and write it to `out`. Returns 1 if something is new, worse or lost."""
    from ..reports.difference import compare_runs, tables, to_markdown

    found = compare_runs(old, new)
    if out is not None:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(to_markdown(found), encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"diff: --out {out} cannot be written ({error}); accepted is the path of a file. Choose another."
            ) from error
    console = Console()
    for name, (before, after) in found.settings.items():
        console.print(f"{name}: {before} → {after}", highlight=False)
    for heading, frame in tables(found).items():
        if len(frame):
            shown = frame.drop(columns=[c for c in ("worse", "id") if c in frame])
            table = Table(*shown.columns, title=f"{heading}: {len(frame)}", title_justify="left")
            for row in shown.head(SHOWN).astype(str).values.tolist():
                table.add_row(*row)
            console.print(table)
            if len(frame) > SHOWN:
                console.print(f"and {len(frame) - SHOWN} more: --out FILE.md writes all", highlight=False)
    counts = ", ".join(f"{len(frame)} {heading.lower()}" for heading, frame in tables(found).items())
    console.print(counts, highlight=False)
    return 1 if found.fails else 0


def _of_op_db(data: dict[str, Any], path: Path) -> Subject:
    """The sample of op_db that a case names, varied or as it is. Raises CaseError where this torch has none."""
    from .campaigns.varying import of_case
    from .errors import CaseError

    found = of_case(data)
    if found is None:
        varied = f" under {data['variation']!r}" if "variation" in data else ""
        raise CaseError(
            f"replay: {path} asks for sample {data['sample']} of the op_db entry {data.get('entry')!r}{varied}, which "
            f"this torch does not have; accepted are its own entries and samples. Use the torch the case was found "
            f"with."
        )
    return found


def replay_case(path: Path) -> int:
    """Run one case again. Returns 0 if it agrees or is a known issue, 1 if it differs and is not known."""
    from .campaigns.otherwise import named
    from .errors import TheirsRaised
    from .evidence.cases import call_from_json, read_case
    from .evidence.known import load, match
    from .judgement.rows import Rows
    from .runners.comparing_runs import compare_with

    data = read_case(path)
    runner = named("", str(data.get("way", "autograd")))[1]
    mode = data["mode"]
    rows = Rows(path.parent.name, source="user")
    if data["kind"] == "generated":
        from .campaigns.blocks import replay as replay_generated

        replay_generated(data, rows)
        names = [str(data.get("culprit", ""))]
    else:
        if data["kind"] == "call":
            subject = call_from_json(data)
            names = [f"{data['operation']}.{data['overload']}"]
        else:
            subject = _of_op_db(data, path)
            names = [str(data["entry"])]
        try:
            compare_with(runner, subject, rows, mode)
        except TheirsRaised as error:
            rows.add(mode=mode, verdict="raised", dtype=subject.dtype, message=error.text)
    worst = min(rows.rows, key=lambda r: (ORDER.index(r["verdict"]), -(r.get("z") or 0.0)))
    issue = match(
        load(),
        [*names, str(worst.get("program", ""))],
        mode,
        runner,
        worst.get("dtype", "float64"),
        worst["verdict"],
        worst.get("torch_value"),
        note=worst.get("message") or "",
    )
    print(f"{worst['verdict']}: {', '.join(names)} in mode {mode}")
    if "torch_value" in worst:
        print(
            f"  entry {worst['entry']}: torch={worst['torch_value']!r} right={worst['reference_value']!r}, error "
            f"{worst['z']:.6g} times what rounding explains"
        )
    if worst.get("message"):
        print(f"  {worst['message']}")
    if issue is not None:
        print(f"  known: {issue.reference}")
    shows = worst["verdict"] not in ("agree", "convention", "inaccurate")
    print(f"  {'it still shows' if shows else 'it no longer shows'}")
    return 0 if not shows or issue is not None else 1
