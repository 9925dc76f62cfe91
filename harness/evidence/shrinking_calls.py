"""Cut one recorded ATen call that differs to a smaller one: shorter axes, simpler numbers. Works on its case.json."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...reference_engine.errors import EngineError
from ...reference_engine.program import array_from_json, array_to_json
from ..errors import CaseError, TheirsRaised, UsageError
from ..judgement.comparing import Found, Subject, compare_forward_modes, compare_reverse
from ..judgement.rows import Rows
from .cases import call_from_json, elements
from .scripts import script_of_call

COMPARISONS = 80  # how many smaller calls are tried


def smallest_call(record: dict[str, Any]) -> dict[str, Any]:
    """A finding of one ATen call cut down: its case, script and numbers; unchanged where nothing smaller is as wrong.

    record: a finding as `findings.grouped` makes it, plain data in and out.
    """
    data = record["case"]
    if data.get("kind") != "call" or record["verdict"] != "mismatch":
        return record
    first = _compared(data)
    if first is None:
        return record
    best, wrong, spent = data, _badness(first[2]), 0
    progress = True
    while progress and spent < COMPARISONS:
        progress = False
        for changed in _smaller(best):
            spent += 1
            found = _compared(changed)
            if found is not None and _badness(found[2]) >= min(wrong, 1e-3):
                best, progress = changed, True
                break
            if spent >= COMPARISONS:
                break
    final = _compared(best)
    if best is data or final is None:
        return record
    subject, found_, row = final
    script = (
        script_of_call(found_.recording, found_.seen, subject, data["mode"], row)
        if found_.seen and found_.recording
        else ""
    )
    if not script and record["script"]:
        return record
    return {
        **record,
        "elements": elements(subject),
        "torch_value": row["torch_value"],
        "right_value": row["reference_value"],
        "z": row["z"],
        "script": script,
        "case": best,
    }


def _compared(data: dict[str, Any]) -> tuple[Subject, Found, dict[str, Any]] | None:
    """The subject, what was found and the worst row, if the call still is a mismatch."""
    try:
        subject = call_from_json(data)
        rows = Rows(f"{data['operation']}.{data['overload']}", seed=subject.seed)
        found = (
            compare_reverse(subject, rows)
            if data["mode"] == "R"
            else compare_forward_modes(subject, rows, data["mode"])
        )
    except (
        CaseError,
        UsageError,
        TheirsRaised,
        EngineError,
    ):  # a smaller call that cannot be made or run is not smaller
        return None
    wrong = [r for r in rows.rows if r["verdict"] == "mismatch"]
    return (subject, found, max(wrong, key=_badness)) if wrong else None


def _badness(row: dict[str, Any]) -> float:
    """Relative error, at most 1; NaN against a number counts as 1."""
    error = row.get("rel_error", 1.0)
    return 1.0 if not error < 1.0 else float(error)


def _tensors(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The tensors among the arguments, as the very objects that a change has to be made in."""
    found: list[dict[str, Any]] = []

    def visit(a: Any) -> None:
        if isinstance(a, dict) and "tensor" in a:
            found.append(a)
        elif isinstance(a, list):
            for x in a:
                visit(x)

    visit(data["args"])
    visit(list(data["kwargs"].values()))
    return found


def _smaller(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Calls that are simpler than `data`: each axis length in turn cut to 1 or 2, then arrays of simpler numbers."""
    lengths = sorted({n for t in _tensors(data) for n in t["shape"] if n > 1}, reverse=True)
    for n in lengths:
        for m in (1, 2):
            if m < n:
                yield _resized(data, n, m)
    for i, t in enumerate(_tensors(data)):
        if t["dtype"] not in ("float64", "float32"):
            continue
        x = array_from_json(t["tensor"], "float64", t["shape"])
        for simpler in _simpler(x):
            if not np.array_equal(simpler, x) and _text(simpler) < _text(x):
                changed = copy.deepcopy(data)
                _tensors(changed)[i]["tensor"] = array_to_json(simpler)
                yield changed


def _simpler(x: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    yield np.ones_like(x)
    yield np.arange(1.0, x.size + 1.0).reshape(x.shape)
    for digits in (0, 1):
        with np.errstate(all="ignore"):
            yield np.where(np.isfinite(x), np.round(x, digits), x)


def _text(x: np.ndarray[Any, Any]) -> int:
    return sum(len(repr(v)) for v in x.ravel().tolist())


def _resized(data: dict[str, Any], n: int, m: int) -> dict[str, Any]:
    """Every axis of length n cut to its first m entries, and every whole number n in a list (a shape) made m."""
    changed = copy.deepcopy(data)
    for t in _tensors(changed):
        kind = {"bool": "bool", "int64": "int64", "int32": "int64"}.get(t["dtype"], "float64")
        x = array_from_json(t["tensor"], kind, t["shape"])
        for axis, length in enumerate(x.shape):
            if length == n:
                x = x.take(range(m), axis=axis)
        t["tensor"], t["shape"] = array_to_json(x), list(x.shape)

    def shapes(a: Any, inside: bool) -> Any:
        if isinstance(a, list):
            return [shapes(v, True) for v in a]
        return m if inside and type(a) is int and a == n else a

    changed["args"] = [shapes(a, False) for a in changed["args"]]
    return changed
