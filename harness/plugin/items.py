"""Tests that nobody wrote: `pytest --gradwitness FILE.py:NAME` checks what the function NAME returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..errors import GradientMismatch, HarnessError
from ..targets import load_target
from ..tracebacks import is_hidden, without_ours


class TargetFile(pytest.File):
    """A file named in --gradwitness, with the functions named in it. It is not imported before they run."""

    def __init__(self, *, names: list[str], **given: Any) -> None:
        super().__init__(**given)
        self.names = names

    def collect(self) -> Iterator[pytest.Item]:
        for name in self.names:
            yield TargetItem.from_parent(self, name=name)


class TargetItem(pytest.Item):
    """Checks `(fn, inputs)` of one function."""

    def runtest(self) -> None:
        from .fixture import GradientCheck

        try:
            fn, inputs, kwargs = load_target(f"{self.path}:{self.name}")
        except HarnessError as error:
            if error.__cause__ is None:
                raise
            theirs = error.__cause__  # their file or function raised: theirs is what is shown
            raise theirs.with_traceback(without_ours(theirs.__traceback__)) from None
        GradientCheck(self.config)(fn, inputs, kwargs)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Our own errors in their words; of anything else, what is shown begins at the user's own first frame."""
        if isinstance(excinfo.value, (GradientMismatch, HarnessError)):
            return str(excinfo.value)
        ours = [i for i, entry in enumerate(excinfo.traceback) if entry.path == Path(__file__)]
        theirs = excinfo.traceback[ours[-1] + 1 if ours else 0 :].filter(lambda e: not is_hidden(str(e.path)))
        if not theirs:
            return excinfo.exconly()
        excinfo.traceback = theirs
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"gradwitness {self.path.name}:{self.name}"


def target_items(session: pytest.Session, targets: Iterable[tuple[Path, str]]) -> list[pytest.Item]:
    """One test for each target, in the order given, files together."""
    names: dict[Path, list[str]] = {}
    for path, name in targets:
        names.setdefault(path, []).append(name)
    return [
        item
        for path, of_file in names.items()
        for item in session.genitems(TargetFile.from_parent(session, path=path, names=of_file))
    ]
