"""Draws that depend on their seed alone, so that every worker draws the same programs whatever it did before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis.internal.conjecture import providers

CACHED = 1024  # entries of the table of permitted constants, as hypothesis has it


@contextmanager
def without_constants_of_modules() -> Iterator[None]:
    """Within it, hypothesis draws no constants from the source of the modules that happen to be loaded.

    Hypothesis mixes the numbers and strings it finds in the user's loaded modules into its draws, and has no setting
    against it. A version that does not do so is left alone.
    """
    if not hasattr(providers, "_get_local_constants"):
        yield
        return
    internals: Any = providers
    kept = internals._get_local_constants, internals.CONSTANTS_CACHE
    internals._get_local_constants = _none
    internals.CONSTANTS_CACHE = type(kept[1])(CACHED)
    try:
        yield
    finally:
        internals._get_local_constants, internals.CONSTANTS_CACHE = kept


def _none() -> Any:
    constants: Any = providers
    return constants.Constants()
