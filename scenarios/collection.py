"""Collects the pitfalls: each family is a folder, each pitfall a file in it, each folder lists its reading order."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from .errors import EssayError, UnknownScenario
from .scenario import Scenario

__all__ = ["FAMILIES", "catalogue", "family_introduction", "find"]

FAMILIES = ("accumulation", "detach", "inplace")
"""The families, in reading order. Each is a package whose `READING_ORDER` names its modules."""


@functools.cache
def catalogue() -> Mapping[str, Scenario]:
    """Every pitfall by its id, in reading order; read-only.

    PyTorch is not imported here, only when a scenario runs.
    Raises EssayError where an id occurs twice, where a file is in no reading order, or where an essay is incomplete.
    """
    found: dict[str, Scenario] = {}
    for family in FAMILIES:
        package = importlib.import_module(f"{__package__}.{family}")
        listed, files = package.READING_ORDER, [module.name for module in pkgutil.iter_modules(package.__path__)]
        if sorted(listed) != sorted(files):
            raise EssayError(
                f"catalogue: family {family!r} has files={sorted(files)} but READING_ORDER={listed}; every file must "
                f"be listed exactly once. Add or remove the name in scenarios/{family}/__init__.py."
            )
        for name in listed:
            scenario: Scenario = importlib.import_module(f"{package.__name__}.{name}").SCENARIO
            if scenario.id in found:
                raise EssayError(
                    f"catalogue: id={scenario.id!r} occurs in {found[scenario.id].family} and in {family}; an id must "
                    "be unique. Rename one of the two files."
                )
            found[scenario.id] = scenario
    return MappingProxyType(found)


def find(wanted: str) -> Scenario:
    """The pitfall with this id; UnknownScenario, with near matches, where there is none."""
    scenarios = catalogue()
    if wanted not in scenarios:
        raise UnknownScenario(wanted, scenarios)
    return scenarios[wanted]


def family_introduction(family: str) -> tuple[str, str]:
    """Title and introduction of a family: the first line and the rest of its package's docstring."""
    text = importlib.import_module(f"{__package__}.{family}").__doc__ or ""
    title, _, rest = text.strip().partition("\n")
    return title.strip().rstrip("."), " ".join(rest.split())
