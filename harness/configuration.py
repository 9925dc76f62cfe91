"""`[tool.gradwitness]` of the user's pyproject.toml: what `check` is asked for, and the user's own known issues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import UsageError
from .evidence.own_issues import OwnIssue

TABLE = "[tool.gradwitness]"
NAMES = ("modes", "dtypes", "runners")
KEYS = (*NAMES, "seed", "known")
ISSUE_KEYS = ("operation", "mode", "reason", "expires")
LEFT_OUT: Any = type("LeftOut", (), {"__repr__": lambda _: "<left out>"})()
"""Default of an argument for which None has a meaning of its own."""


@dataclass(frozen=True)
class Configuration:
    """The table as read. path: its file, None where there is none. modes, dtypes, runners, seed: None where not set."""

    path: Path | None = None
    modes: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] | None = None
    runners: tuple[str, ...] | None = None
    seed: int | None = None
    known: tuple[OwnIssue, ...] = ()

    def filled(self, modes: Any, runners: Any, dtypes: Any, seed: Any) -> tuple[Any, Any, Any, Any]:
        """The arguments of `check`; those left out (None, for dtypes LEFT_OUT) come from the table, then from the
        defaults: mode R, runner autograd, the dtypes given, seed 0.
        """
        return (
            (self.modes or ("R",)) if modes is None else modes,
            (self.runners or ("autograd",)) if runners is None else runners,
            self.dtypes if dtypes is LEFT_OUT else dtypes,
            (self.seed or 0) if seed is None else seed,
        )

    def hold(self, accept: Callable[[Sequence[str], Sequence[str], Sequence[str]], None]) -> None:
        """Let `accept(modes, runners, dtypes)` look at the names of the table; what it refuses is told with the file's
        name.
        """
        try:
            accept(self.modes or (), self.runners or (), self.dtypes or ())
        except UsageError as error:
            raise UsageError(f"{TABLE} in {self.path}: {error}") from error


_CHOSEN: ContextVar[Configuration | None] = ContextVar("gradwitness configuration", default=None)


@contextmanager
def using(configuration: Configuration) -> Iterator[None]:
    """Within it, `check` uses this configuration and not the one of the current directory."""
    token = _CHOSEN.set(configuration)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def in_effect() -> Configuration:
    """What `check` uses now: that of `using`, else the one found upwards from the current directory."""
    return _CHOSEN.get() or find(Path.cwd())


def find(start: Path) -> Configuration:
    """The table of the nearest pyproject.toml that has one, from the folder `start` upwards.

    Files without the table are passed over. Raises UsageError for a table that is not accepted, naming file and key.
    """
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        try:
            stamp = path.stat()
        except OSError:
            continue
        found = _read(path, stamp.st_mtime_ns, stamp.st_size)
        if found is not None:
            return found
    return Configuration()


@lru_cache(maxsize=64)
def _read(path: Path, changed: int, size: int) -> Configuration | None:
    """The table of one file, None where it has none. `changed` and `size` make an edited file be read again."""
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return None  # another's file that we may not read says nothing about us
    if "gradwitness" not in text:
        return None
    import tomllib

    try:
        tool = tomllib.loads(text).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML ({error}); accepted is a TOML file. Correct it.") from error
    if not isinstance(tool, dict) or "gradwitness" not in tool:
        return None
    return _from_table(tool["gradwitness"], path)


def _from_table(table: Any, path: Path) -> Configuration:
    where = f"{TABLE} in {path}"
    if not isinstance(table, dict):
        raise UsageError(f"{where} is {table!r}; accepted is a table with {', '.join(KEYS)}. Write it as a table.")
    _only(table, KEYS, where)
    names = {key: _names(table[key], key, where) for key in NAMES if key in table}
    seed = table.get("seed")
    if "seed" in table and (type(seed) is not int or seed < 0):
        raise UsageError(f"{where}: seed = {seed!r}; accepted are whole numbers from 0. Correct seed.")
    known = table.get("known", [])
    if not isinstance(known, list) or not all(isinstance(entry, dict) for entry in known):
        raise UsageError(
            f"{where}: known = {known!r}; accepted are [[tool.gradwitness.known]] tables with "
            f"{', '.join(ISSUE_KEYS)}. Write one table for each known issue."
        )
    return Configuration(path, **names, seed=seed, known=tuple(_issue(e, i, path) for i, e in enumerate(known, 1)))


def _only(table: dict[str, Any], keys: Sequence[str], where: str) -> None:
    unknown = [key for key in table if key not in keys]
    if unknown:
        raise UsageError(
            f"{where} has the unknown key {', '.join(map(repr, unknown))}; accepted are {', '.join(keys)}. "
            f"Correct the spelling or remove it."
        )


def _names(value: Any, key: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise UsageError(
            f"{where}: {key} = {value!r}; accepted is a list of at least one text, such as "
            f'{key} = ["{ {"modes": "R", "dtypes": "float64", "runners": "autograd"}[key] }"]. Correct {key}.'
        )
    return tuple(value)


def _issue(entry: dict[str, Any], number: int, path: Path) -> OwnIssue:
    where = f"[[tool.gradwitness.known]] number {number} in {path}"
    _only(entry, ISSUE_KEYS, where)
    for key in ("operation", "reason"):
        if key not in entry:
            raise UsageError(f'{where} has no {key}; a known issue needs operation and reason. Write {key} = "...".')
    for key in ("operation", "mode", "reason"):
        if key in entry and not (isinstance(entry[key], str) and entry[key].strip()):
            raise UsageError(f"{where}: {key} = {entry[key]!r}; accepted is a text that is not empty. Correct {key}.")
    mode = entry.get("mode", "")
    if set(mode) - set("RF"):
        raise UsageError(
            f'{where}: mode = {mode!r}; accepted are mode strings of R and F, such as "R" or "FR", or no mode for '
            f"all. Correct mode."
        )
    return OwnIssue(entry["operation"], entry["reason"], mode, _day(entry.get("expires"), where))


def _day(value: Any, where: str) -> date | None:
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        shown = repr(value) if isinstance(value, str) else str(value)
        raise UsageError(
            f"{where}: expires = {shown}; accepted is a date, such as expires = 2031-12-31. Correct expires."
        ) from None
