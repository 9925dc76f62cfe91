"""The pytest plugin: its options, the fixture `gradient_check`, and the hooks that gather what tests compared.

pytest loads this file at every start, in projects that never compare a gradient too. So it imports pytest and the
standard library alone; everything else is in `plugin/` and is loaded on first use.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .plugin.fixture import GradientCheck
    from .plugin.options import Chosen
    from .plugin.outcomes import Noted
    from .result import CheckResult

CHOSEN: pytest.StashKey[Chosen] = pytest.StashKey()
"""On the config: what the options and the user's pyproject.toml ask for."""
CURRENT: pytest.StashKey[pytest.Item | None] = pytest.StashKey()
"""On the config: the test that runs now. The fixture outlives a test, since hypothesis refuses one that does not."""
NOTED: pytest.StashKey[Noted | None] = pytest.StashKey()
"""On a test: what it compared so far, None where that is nothing."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gradwitness", "gradients held against an independent witness")
    group.addoption(
        "--gradwitness",
        action="append",
        default=[],
        metavar="FILE.py:NAME",
        help="check what the function NAME returns, a pair (fn, inputs), with no test written; may be given again",
    )
    group.addoption("--gradwitness-out", metavar="DIR", help="write a report of all comparisons into a folder")
    group.addoption("--gradwitness-modes", metavar="R,F,...", help="modes of gradient_check; default R")
    group.addoption("--gradwitness-dtypes", metavar="float64,...", help="dtypes; default the dtypes given")
    group.addoption("--gradwitness-runners", metavar="autograd,...", help="ways of running it; default autograd")


def pytest_configure(config: pytest.Config) -> None:
    from .errors import UsageError
    from .listening import LISTENERS
    from .plugin.options import chosen

    try:
        config.stash[CHOSEN] = found = chosen(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    if found.targets and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []  # the targets were asked for, and nothing else
    note = partial(_note, config)
    LISTENERS.append(note)
    config.add_cleanup(lambda: LISTENERS.remove(note))
    if not hasattr(config, "workerinput"):  # in a worker of xdist nobody reads what is said
        config.pluginmanager.register(Gatherer(config), "gradwitness-gatherer")


def _note(config: pytest.Config, result: CheckResult) -> None:
    """Note a check with the test that makes it: by the fixture, by assert_gradients or by check itself."""
    item = config.stash.get(CURRENT, None)
    if item is None:
        return  # called between tests, such as by a fixture of the session that ends
    noted = item.stash.get(NOTED, None)
    if noted is None:
        from .plugin.outcomes import Noted

        noted = item.stash[NOTED] = Noted(
            item.nodeid,
            made_by_hypothesis=getattr(getattr(item, "obj", None), "is_hypothesis_test", False),
            keeps_rows=config.stash[CHOSEN].out is not None,
        )
    noted.add(result)


class Gatherer:
    """In the process that reports, the controller of xdist: gathers what all tests compared, says it, and writes the
    report.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.received: dict[str, dict[str, Any]] = {}
        self.said: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if (plain := getattr(report, "gradwitness", None)) is not None:
            self.received[report.nodeid] = plain

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        out = self.config.stash[CHOSEN].out
        finished = exitstatus in (0, 1, 5)  # passed, failed, nothing collected; anything else broke off
        if out is not None and finished and not self.config.option.collectonly:
            from .plugin.outcomes import write

            said, failed = write(self.received, out, self.config.invocation_params.args)
            self.said.append(said)
            if failed:
                session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.received or self.said:
            from .plugin.outcomes import lines

            terminalreporter.section("gradwitness")
            for line in (*lines(self.received, self.config.rootpath), *self.said):
                terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def gradient_check(request: pytest.FixtureRequest) -> GradientCheck:
    """Hold PyTorch's gradients of `fn` at `inputs` against the witness: gradient_check(fn, inputs).

    Takes the arguments of gradwitness.harness.check, returns its CheckResult, and raises GradientMismatch, an
    AssertionError, unless it is ok. What is left out comes from the options --gradwitness-..., then from
    [tool.gradwitness]. It lives as long as the session, so hypothesis' @given takes it.
    """
    from .plugin.fixture import GradientCheck

    return GradientCheck(request.config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.stash[CHOSEN].targets:
        from .plugin.items import target_items

        items[:0] = target_items(session, config.stash[CHOSEN].targets)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    item.config.stash[CURRENT] = item
    item.stash[NOTED] = None  # a test that is run again starts afresh
    try:
        return (yield)
    finally:
        item.config.stash[CURRENT] = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    noted = item.stash.get(NOTED, None)
    if noted is not None:
        item.user_properties = noted.added_to(item.user_properties)
    report = yield
    if noted is not None and report.when == "teardown":
        report.gradwitness = noted.plain()  # plain data, which xdist hands to the controller
    return report
