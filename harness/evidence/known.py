"""Known issues: findings that are understood, still compared and reported; only new ones fail a run."""

from __future__ import annotations

import fnmatch
import functools
import math
import tomllib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..judgement.modes import lower
from .proofs import Proof

FIELDS = set(
    "id operations modes runners dtypes verdicts answer says together condition reason issue seen instead".split()
    + ["proof", "workaround"]
)

CUSTOM = "torch.autograd.Function"


@dataclass(frozen=True)
class KnownIssue:
    """One entry of known_issues.toml.

    operations: patterns over ATen operations or op names ("aten::native_layer_norm*"). modes, runners, dtypes: where
    it shows (empty: everywhere); a mode of order 2 stands for those of order 3 that hold it in a row too, since what is
    wrong there enters them. answer: "nan" where torch's number is NaN or infinite, "nan or 0" where it may be 0
    too: no other is covered. says: a part of what the finding must say of itself. together: patterns all of which must
    be among what the run called; a fault of a runner has no operation of its own, and is known by these. "|" parts
    alternatives; CUSTOM stands for any autograd.Function. condition: when it shows, in words. reason: the closed form
    or argument that says what is right. issue: the public issue, or "".
    seen: versions of torch in which it was seen. proof: the smallest call that shows it, with the right value in closed
    form. instead: what to do until it is repaired, in words; workaround: the proof's question, asked so.
    """

    id: str
    operations: tuple[str, ...]
    modes: tuple[str, ...]
    condition: str
    reason: str
    issue: str = ""
    runners: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ("mismatch",)
    answer: str = ""
    says: str = ""
    together: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    instead: str = ""
    proof: Proof | None = None
    workaround: Proof | None = None

    def covers(
        self,
        operations: Iterable[str],
        mode: str,
        runner: str,
        dtype: str,
        verdict: str,
        torch_value: float | None = None,
        ran: Collection[str] = (),
        note: str = "",
    ) -> bool:
        """Whether a finding with these properties is this issue. `operations`: any of its names (culprit, op).
        torch_value: torch's number, None where it is not known. ran: all that the run called. note: what it says.
        """
        return (
            verdict in self.verdicts
            and (not self.answer or torch_value is None or _answered(self.answer, torch_value))
            and self.says in note
            and (not self.modes or any(m in self.modes for m in (mode, *lower(mode)) if len(m) > 1 or m == mode))
            and (not self.runners or runner in self.runners)
            and (not self.dtypes or dtype in self.dtypes)
            and any(fnmatch.fnmatchcase(o, p) for o in operations if o for p in self.operations)
            and all(any(fnmatch.fnmatchcase(o, p) for o in ran for p in ps.split("|")) for ps in self.together)
        )

    @property
    def reference(self) -> str:
        """What is written into the `known` column: the public issue, or the entry's id with its closed form."""
        return self.issue or f"{self.id}: {self.reason}"


def _answered(answer: str, torch_value: float) -> bool:
    return not math.isfinite(torch_value) or (answer == "nan or 0" and torch_value == 0.0)


def load(path: Path | None = None) -> tuple[KnownIssue, ...]:
    """The entries of `path`, by default of harness/known_issues.toml. Raises UsageError naming the entry that is not
    accepted.
    """
    return _shipped() if path is None else _read(path)


@functools.cache
def _shipped() -> tuple[KnownIssue, ...]:
    return _read(files("gradwitness.harness").joinpath("known_issues.toml"))


def _read(source: Any) -> tuple[KnownIssue, ...]:
    try:
        data = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"known issues: {source} could not be read ({error}); accepted is a TOML file of [[issue]] tables. "
            f"Correct the file."
        ) from error
    found = []
    for i, entry in enumerate(data.get("issue", [])):
        unknown = set(entry) - FIELDS
        missing = {"id", "operations", "condition", "reason"} - set(entry)
        if unknown or missing:
            raise UsageError(
                f"known issues: entry {i} ({entry.get('id', 'no id')}) has unknown {sorted(unknown)} and lacks "
                f"{sorted(missing)}; accepted are {sorted(FIELDS)}. Correct the entry."
            )
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in {"modes": [], **entry}.items()}
        if "proof" in entry:
            fields["proof"] = Proof.of(entry["proof"], entry["id"])
        if "workaround" in entry:
            asked = {**entry.get("proof", {}), **entry["workaround"]}
            if "right" in entry["workaround"]:
                asked.pop("raises", None)
            fields["workaround"] = Proof.of(asked, f"the workaround of {entry['id']}")
        found.append(KnownIssue(**fields))
    names = [k.id for k in found]
    if len(set(names)) != len(names):
        raise UsageError(
            f"known issues: ids are not unique: {sorted({n for n in names if names.count(n) > 1})}. Rename them."
        )
    return tuple(found)


def match(
    issues: Sequence[KnownIssue],
    operations: Iterable[str],
    mode: str,
    runner: str,
    dtype: str,
    verdict: str,
    torch_value: float | None = None,
    ran: Collection[str] = (),
    note: str = "",
) -> KnownIssue | None:
    """The first issue that covers a finding, or None."""
    names = list(operations)
    return next((k for k in issues if k.covers(names, mode, runner, dtype, verdict, torch_value, ran, note)), None)


def repaired(issues: Sequence[KnownIssue]) -> list[str]:
    """Ids of the entries whose proof no longer shows in this torch. Those of compiled code are left to the tests: they
    need a compiler, and seconds each.
    """
    return [k.id for k in issues if k.proof is not None and "compile" not in k.proof.runner and not k.proof.shows()]
