"""What a run has finished so far, kept in its folder, so that a run that was killed goes on where it was.

Every finished unit is a file of its own, written beside its place, flushed to the disk and renamed: a file is there
whole or not at all. A plan says what the run is; a run that differs in anything that the results depend on is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import UsageError
from .work import Unit

FOLDER = ".unfinished"
FORMAT = 1
LISTED = 3  # differences between two runs that an error names


class Unfinished:
    """The folder of one run. done: what was found there. seconds: how long earlier sessions of the run took."""

    def __init__(self, out: Path, plan: Mapping[str, Any], *, fresh: bool = False) -> None:
        """Take the folder of `out`, made where it is not there. fresh: drop an unfinished run that is in it.

        Raises UsageError where another process has it, or an unfinished run of another plan is in it.
        """
        self.folder = out / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held = _hold(self.folder, out)
        path = self.folder / "plan.json"
        if path.exists() and not fresh:
            _refuse_other(json.loads(path.read_text("utf-8")), json.loads(json.dumps(plan)), out)
        else:
            for old in self.folder.glob("*"):
                if old.name != "lock":
                    old.unlink()
            _write(path, json.dumps(plan, indent=1).encode())
        self.done: dict[str, Any] = {}
        self.seconds = 0.0
        for file in sorted(self.folder.glob("*.pickle")):
            try:
                with file.open("rb") as stream:
                    name, seconds, result = _Plain(stream).load()
            except (EOFError, pickle.UnpicklingError, ValueError):  # a disk that lied: the unit is run again
                file.unlink()
                continue
            self.done[name] = result
            self.seconds = max(self.seconds, seconds)
        self._start = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds, wall clock, of all sessions of the run."""
        return self.seconds + time.perf_counter() - self._start

    def keep(self, name: str, result: Any) -> None:
        """Keep what was found under a name; it is on the disk when this returns."""
        place = hashlib.sha256(name.encode()).hexdigest()[:24]
        _write(self.folder / f"{place}.pickle", pickle.dumps((name, self.elapsed, result)))
        self.done[name] = result

    def close(self, *, finished: bool) -> None:
        """Let go of the folder; with its report written, remove it."""
        if finished:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._held.close()


def name_of(unit: Unit) -> str:
    """The name under which the result of a unit is kept."""
    return f"{unit.source}/{unit.name}"


def plan_of(options: Any, work: Sequence[Unit], environment: Mapping[str, Any]) -> dict[str, Any]:
    """All that the results of a run depend on. The number of workers is not among it."""
    chosen = {k: v for k, v in dataclasses.asdict(options).items() if k != "workers"}
    units = hashlib.sha256(repr(work).encode()).hexdigest()
    versions = {**environment["versions"], "code of gradwitness": _code()}
    return {"format": FORMAT, "arguments": chosen, "versions": versions, "units": units}


def _code() -> str:
    """A digest of our own source and tables, which may change within a version."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for package in ("harness", "reference_engine"):
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".toml"):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _refuse_other(old: Mapping[str, Any], new: Mapping[str, Any], out: Path) -> None:
    if old == new:
        return
    told = []
    for part in ("arguments", "versions"):
        before, after = old.get(part, {}), new[part]
        names = [k for k in {**before, **after} if before.get(k) != after.get(k)]
        told += [f"{k} was {_shown(before.get(k))}, is {_shown(after.get(k))}" for k in names]
    text = "; ".join(told[:LISTED]) + (f" and {len(told) - LISTED} more" if len(told) > LISTED else "")
    raise UsageError(
        f"run: --out {out} holds an unfinished run that was another one ({text or 'its units differ'}); accepted is "
        "the same run, which goes on. Give its arguments, add --fresh to drop it, or choose another folder."
    )


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) or "none" if isinstance(value, (list, tuple)) else str(value)


def _write(path: Path, content: bytes) -> None:
    """The file, whole or not at all, on the disk."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _hold(folder: Path, out: Path) -> BinaryIO:
    """A lock that ends with the process, however it ends."""
    held = (folder / "lock").open("wb")
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return held
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise UsageError(
            f"run: another run is at work in --out {out}; accepted is a folder of its own for each run. Wait for it, "
            f"or choose another folder."
        ) from error
    return held


class _Plain(pickle.Unpickler):
    """Reads our own records and numbers, and refuses whatever else a file may ask for."""

    ALLOWED = frozenset(
        "builtins.complex builtins.set builtins.frozenset builtins.slice collections.Counter numpy.dtype numpy.ndarray "
        "numpy._core.multiarray.scalar numpy._core.multiarray._reconstruct numpy.core.multiarray.scalar "
        "numpy.core.multiarray._reconstruct".split()
    )

    def find_class(self, module: str, name: str) -> Any:
        """A class of ours, or one of those allowed."""
        if f"{module}.{name}" in self.ALLOWED or (module, name) in _OURS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a result")


def _ours() -> set[tuple[str, str]]:
    from ..evidence.findings import Candidate
    from .work import UnitResult

    return {(c.__module__, c.__qualname__) for c in (Candidate, Unit, UnitResult)}


_OURS = _ours()
