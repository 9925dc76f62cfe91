"""The command line. Exit codes: 0 nothing new, 1 something new differs, 2 misuse, 3 an internal fault."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

EXAMPLES = """
Examples:

  gradwitness run --out out                      the whole campaign, with a report in out/report.html

  gradwitness check train.py:example             your own code; example() returns (fn, inputs)

  gradwitness learn forgotten-zeroing            one pitfall, step by step, with the numbers of this run

  gradwitness replay out/findings/ID/case.json   one finding again

  gradwitness report out                         write the pages of a report again

  gradwitness diff last-night out                what is new, repaired, changed or no longer covered
"""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="An independent witness for PyTorch gradients." + EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _named(only: str | None) -> tuple[str, ...]:
    """The entries of --only. Raises UsageError where it is given and names none."""
    from .errors import UsageError

    if only is not None and not _listed(only):
        raise UsageError("run: --only names no entry; accepted are names of op_db entries. Name one, or leave it out.")
    return _listed(only)


def _modes(modes: str | None, orders: str | None) -> tuple[str, ...]:
    """--modes and --orders as mode strings; both given: those that fit both."""
    from .errors import UsageError
    from .judgement.modes import MODES, ORDERS, UNASKED, accepted_mode

    chosen = tuple(accepted_mode(m) for m in _listed(modes)) or (MODES if orders else UNASKED)
    if orders:
        for o in _listed(orders):
            if o not in map(str, ORDERS):
                raise UsageError(
                    f"run: --orders {o!r}; accepted are 1, 2 and 3, separated by commas. Correct the orders."
                )
        chosen = tuple(m for m in chosen if str(len(m)) in _listed(orders))
    if not chosen:
        raise UsageError(
            f"run: --modes {modes} and --orders {orders} have nothing in common; accepted are modes of the orders "
            f"asked for. Widen one of them."
        )
    return chosen


@app.command()
def run(
    source: Annotated[str, typer.Option(help="generated, opinfo, variations, referee or all")] = "all",
    modes: Annotated[
        str | None, typer.Option(help="mode strings, outermost first, e.g. R,F,RR; default all of orders 1 and 2")
    ] = None,
    orders: Annotated[str | None, typer.Option(help="orders of the derivative, e.g. 1,2,3; default 1,2")] = None,
    samples: Annotated[
        int | None, typer.Option(help="samples per op_db entry and mode; default all at order 1 and two above")
    ] = None,
    cases: Annotated[int | None, typer.Option(help="number of generated programs; default 300")] = None,
    only: Annotated[str | None, typer.Option(help="only these op_db entries, separated by commas")] = None,
    runners: Annotated[
        str,
        typer.Option(help="what runs op_db samples: autograd, create_graph, vmap, ..., and in_place for that variant"),
    ] = "autograd",
    seed: Annotated[int, typer.Option(min=0, help="what everything is drawn from")] = 0,
    workers: Annotated[int, typer.Option(help="worker processes; the counts do not depend on it")] = min(
        2, os.cpu_count() or 1
    ),
    out: Annotated[Path, typer.Option(help="folder for the report")] = Path("out"),
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="go on with an unfinished run in the folder, or drop it")
    ] = True,
) -> None:
    """Run the campaign and leave a report.

    A run that was stopped, even by SIGKILL, goes on where it was when the same command is given again.

    Example: gradwitness run --source opinfo --only cholesky_inverse,as_strided_scatter --out out
    """
    from .running import run_and_report

    raise typer.Exit(
        run_and_report(
            source,
            _modes(modes, orders),
            samples,
            cases,
            _named(only),
            seed,
            workers,
            out,
            " ".join(["gradwitness", *sys.argv[1:]]),
            not resume,
            _named(runners),
        )
    )


@app.command()
def check(
    target: Annotated[
        str,
        typer.Argument(metavar="FILE.py:NAME", help="NAME() returns (fn, inputs) or (fn, inputs, kwargs)"),
    ],
    modes: Annotated[str | None, typer.Option(help="mode strings, outermost first; default R")] = None,
    dtypes: Annotated[str | None, typer.Option(help="float64,float32; default the dtypes given")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="seed of random cotangents; default 0")] = None,
    runners: Annotated[str | None, typer.Option(help="ways of running it; default autograd")] = None,
    out: Annotated[Path | None, typer.Option(help="write a report of this check into a folder")] = None,
) -> None:
    """Check your own code: is the gradient right, and if not, which line is wrong?

    [tool.gradwitness] in your pyproject.toml may set modes, dtypes, runners, seed and known issues of yours.

    Example: gradwitness check train.py:example
    """
    from .running import check_target

    raise typer.Exit(check_target(target, modes, dtypes, runners, seed, out))


@app.command()
def replay(
    case: Annotated[Path, typer.Argument(metavar="CASE.json", help="a case.json of a report's findings folder")],
) -> None:
    """Run one finding again and say whether it still shows. Exits with 1 if it does and is no known issue.

    Example: gradwitness replay out/findings/cholesky-inverse-F/case.json
    """
    from .running import replay_case

    raise typer.Exit(replay_case(case))


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a folder that `gradwitness run` wrote")],
) -> None:
    """Write report.html and report.md again from the numbers in a report folder.

    Example: gradwitness report out
    """
    from ..reports import rebuild_report

    typer.echo(f"{rebuild_report(folder)}")


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="the folder of an earlier run")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="the folder of a later run")],
    out: Annotated[Path | None, typer.Option(help="write the tables into a Markdown file")] = None,
) -> None:
    """Compare two runs: findings that are new, changed or repaired, and coverage that was lost or gained.

    Exits with 1 if a finding is new or worse, or coverage was lost.

    Example: gradwitness diff last-night out
    """
    from .running import tell_difference

    raise typer.Exit(tell_difference(old, new, out))


@app.command()
def faults(
    only: Annotated[str | None, typer.Option(help="names of faults, separated by commas; default all")] = None,
    classes: Annotated[str | None, typer.Option(help="classes of faults, a part of the name is enough")] = None,
    sizes: Annotated[str | None, typer.Option(help="relative sizes, e.g. 1e-1,1e-6; default some of six")] = None,
    elements: Annotated[
        str | None, typer.Option(help="entries of the tensors, e.g. 10,1e6; default few are large")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="what inputs are drawn from")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="one case for every fault")] = False,
    out: Annotated[Path | None, typer.Option(help="folder for faults.csv, scoreboard.csv and scoreboard.md")] = None,
) -> None:
    """Plant wrong rules into PyTorch and count who finds them: gradwitness, gradcheck, a comparison of precisions.

    Example: gradwitness faults --classes conjugation,duplicate --elements 10,1000
    """
    from .faults.command import run_faults

    raise typer.Exit(run_faults(_listed(only), _listed(classes), _listed(sizes), _listed(elements), seed, quick, out))


@app.command()
def learn(
    part: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="which lesson or pitfall; leave out to list them")
    ] = None,
    quiz: Annotated[
        bool, typer.Option("--quiz", help="ask for each number before it is shown; without an ID the whole course")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="DIR", help="write all lessons and pitfalls as a static site into a folder")
    ] = None,
) -> None:
    """List the course and the pitfalls, or tell one step by step with the numbers of this very run.

    Example: gradwitness learn forgotten-zeroing
    """
    from .learning import learn as learn_part

    raise typer.Exit(learn_part(part, quiz, html))


def _misuse() -> tuple[type[BaseException], ...]:
    from ..reference_engine.errors import EngineError
    from ..reports.errors import ReportError
    from ..scenarios.errors import UnknownScenario
    from .errors import HarnessError

    return HarnessError, ReportError, UnknownScenario, EngineError


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `gradwitness` command; exits with one of the four codes."""
    try:
        app(args=arguments, prog_name="gradwitness", standalone_mode=True)
    except KeyboardInterrupt:
        typer.echo("gradwitness: interrupted", err=True)
        sys.exit(130)
    except Exception as error:  # the last line of defence: one sentence for misuse, a traceback for our own faults
        if isinstance(error, _misuse()):
            typer.echo(f"gradwitness: {_sentence(error)}", err=True)
            sys.exit(2)
        traceback.print_exc()
        text = "internal fault; no report was written. Please report it with the lines above."
        typer.echo(f"gradwitness: {text}", err=True)
        sys.exit(3)


def _sentence(error: BaseException) -> Any:
    return str(error)


if __name__ == "__main__":
    main()
