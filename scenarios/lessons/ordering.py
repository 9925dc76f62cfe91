"""Collects the lessons: one file each in this folder, `READING_ORDER` in its `__init__` gives their order."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from ..errors import EssayError, UnknownScenario
from .lesson import Lesson

__all__ = ["course", "lesson"]

MACHINERY = ("lesson", "ordering", "telling")
"""The files of this folder that are no lessons."""


@functools.cache
def course() -> Mapping[str, Lesson]:
    """Every lesson by its id, in reading order; read-only. Nothing is run, and PyTorch is not imported.

    Raises EssayError where a file is not in the reading order, or an essay is incomplete.
    """
    package = importlib.import_module(__package__)
    listed = package.READING_ORDER
    files = [module.name for module in pkgutil.iter_modules(package.__path__) if module.name not in MACHINERY]
    if sorted(listed) != sorted(files):
        raise EssayError(
            f"course: the folder has files={sorted(files)} but READING_ORDER={listed}; every lesson must be listed "
            "exactly once. Add or remove the name in scenarios/lessons/__init__.py."
        )
    found: dict[str, Lesson] = {}
    for name in listed:
        one: Lesson = importlib.import_module(f"{__package__}.{name}").LESSON
        found[one.id] = one
    return MappingProxyType(found)


def lesson(wanted: str) -> Lesson:
    """The lesson with this id; UnknownScenario, with near matches, where there is none."""
    lessons = course()
    if wanted not in lessons:
        raise UnknownScenario(wanted, lessons)
    return lessons[wanted]
