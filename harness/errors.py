"""Errors of the harness: misuse, disagreement and internal faults are three families with three exit codes."""

from __future__ import annotations

import os
import traceback
from typing import Any


class HarnessError(Exception):
    """Misuse of the harness (exit code 2)."""

    exit_code = 2


class UsageError(HarnessError, ValueError):
    """An argument, flag, file, mode or dtype that is not accepted."""


class NothingReturned(UsageError):
    """A callable returned no floating tensor, so that there is nothing to differentiate."""


class CannotRecord(HarnessError):
    """The run of a callable cannot be recorded; `operation` is what in it cannot."""

    def __init__(self, operation: str, message: str) -> None:
        super().__init__(message)
        self.operation = operation


class CaseError(HarnessError, ValueError):
    """A `case.json` that cannot be read or does not hold a case."""


class UnsupportedOperation(HarnessError, LookupError):
    """The code under test uses operations that have no rule in the witness."""

    def __init__(self, operations: dict[str, str], message: str) -> None:
        super().__init__(message)
        self.operations = operations


class GradientMismatch(AssertionError):
    """PyTorch and the witness differ (exit code 1). `result` is the whole CheckResult."""

    exit_code = 1

    def __init__(self, message: str, result: object = None) -> None:
        super().__init__(message)
        self.result = result


class TheirsRaised(Exception):
    """The code under test, or PyTorch while running it, raised `original`; internal to the harness, never seen by
    users. culprit: what is at fault, where that is known.
    """

    def __init__(self, original: BaseException, culprit: Any = None) -> None:
        super().__init__(str(original))
        self.original = original
        self.culprit = culprit

    @property
    def text(self) -> str:
        """The exception on one line, shown as theirs, with the line of their code that it comes from."""
        said = f"{type(self.original).__name__}: {' '.join(str(self.original).split())}"[:500]
        where = place_of(self.original)
        return f"{said} (raised at {where})" if where else said


def place_of(error: BaseException) -> str:
    """file:line of the innermost frame of an exception that is neither PyTorch's nor ours; "" where there is none."""
    ours = os.path.dirname(os.path.abspath(__file__)) + os.sep
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.startswith((ours, "<frozen")) and TORCH not in f.filename]
    return f"{theirs[-1].filename}:{theirs[-1].lineno}" if theirs else ""


TORCH = f"{os.sep}torch{os.sep}"
