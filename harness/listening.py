"""Who is told of every check: nobody, unless something that runs around the checks, such as the pytest plugin, asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .result import CheckResult

LISTENERS: list[Callable[[CheckResult], None]] = []
"""The last one is told; those before it run around the one that added it, as a pytest within a test of pytest does."""


def tell(result: CheckResult) -> CheckResult:
    """`result`, after the listener has seen it."""
    if LISTENERS:
        LISTENERS[-1](result)
    return result
