"""Cut one recorded ATen call that differs to a smaller one: shorter axes, simpler numbers. Works on its case.json."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...reference_engine.errors import EngineError
from ...reference_engine.program import array_from_json, array_to_json
from ..errors import CaseError, TheirsRaised, UsageError
from ..judgement.comparing import Found, Subject, compare_forward_modes, compare_reverse
from ..judgement.rows import Rows
from .cases import call_from_json, elements
from .scripts import script_of_row

COMPARISONS = 200  # how many smaller calls are tried
WORDS = re.compile(r"[A-Za-z_]+")
SINGLY = 12  # an axis of at most this length is cut to each of its entries, a longer one to its halves first


def smallest_call(record: dict[str, Any]) -> dict[str, Any]:
    """A finding of one ATen call cut down: its case, script and numbers; unchanged where nothing smaller is as wrong.

    record: a finding as `findings.grouped` makes it, plain data in and out.
    """
    data = record["case"]
    verdict = record["verdict"]
    if data.get("kind") != "call" or verdict not in ("mismatch", "raised"):
        return record
    first = _compared(data, verdict)
    if first is None:
        return record
    best, spent = data, 0
    progress = True
    while progress and spent < COMPARISONS:
        progress = False
        for changed in _smaller(best):
            spent += 1
            found = _compared(changed, verdict)
            if found is not None and _as_wrong(found[2], first[2]):
                best, progress = changed, True
                break
            if spent >= COMPARISONS:
                break
    final = _compared(best, verdict)
    if best is data or final is None:
        return record
    subject, found_, row = final
    script = ""
    if found_.recording is not None and found_.seen is not None:
        script = script_of_row(found_.recording, found_.seen, subject, data["mode"], row, record["culprit"])
    if not script and record["script"]:
        return record
    numbers = {"torch_value": "torch_value", "right_value": "reference_value", "z": "z"}
    told = {name: row[column] for name, column in numbers.items() if column in row}
    return {**record, "elements": elements(subject), **told, "script": script, "case": best}


def same_words(a: str, b: str) -> bool:
    """Whether two exceptions say the same, whatever the numbers in them."""
    return WORDS.findall(a) == WORDS.findall(b)


def _as_wrong(row: dict[str, Any], first: dict[str, Any]) -> bool:
    """Whether a smaller call still is as wrong: by its first digits, or by a tenth of the error of the whole one; or
    raises the same.
    """
    if first["verdict"] == "raised":
        return same_words(row["message"], first["message"])
    return _badness(row) >= min(0.1 * _badness(first), 1e-3)


def _compared(data: dict[str, Any], verdict: str) -> tuple[Subject, Found, dict[str, Any]] | None:
    """The subject, what was found and the worst row, if the call still has that verdict."""
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
    wrong = [r for r in rows.rows if r["verdict"] == verdict]
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
    """Calls that are simpler than `data`: each axis length in turn cut to some of its entries, then arrays of simpler
    numbers.
    """
    lengths = sorted({n for t in _tensors(data) for n in t["shape"] if n > 1}, reverse=True)
    for n in lengths:
        for kept in _kept(n):
            yield _resized(data, n, kept)
    for i, t in enumerate(_tensors(data)):
        if t["dtype"] not in ("float64", "float32"):
            continue
        x = array_from_json(t["tensor"], "float64", t["shape"])
        for simpler in _simpler(x):
            if not np.array_equal(simpler, x) and _text(simpler) < _text(x):
                changed = copy.deepcopy(data)
                _tensors(changed)[i]["tensor"] = array_to_json(simpler)
                yield changed


def _kept(n: int) -> Iterator[range]:
    """Which entries of an axis of length n are kept, fewest first; of a long one its halves come first."""
    if n > SINGLY:
        yield from (range(1), range(2), range(n // 2), range(n // 2, n))
    else:
        yield from (range(k, k + m) for m in (1, 2) if m < n for k in range(n + 1 - m))


def _simpler(x: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    yield np.ones_like(x)
    yield np.arange(1.0, x.size + 1.0).reshape(x.shape)
    for digits in (0, 1):
        with np.errstate(all="ignore"):
            yield np.where(np.isfinite(x), np.round(x, digits), x)


def _text(x: np.ndarray[Any, Any]) -> int:
    return sum(len(repr(v)) for v in x.ravel().tolist())


def _resized(data: dict[str, Any], n: int, kept: range) -> dict[str, Any]:
    """Every axis of length n cut to the entries `kept`, and every whole number n in a list (a shape) made as long;
    places in an axis (tensors of whole numbers) are taken modulo that length.
    """
    changed = copy.deepcopy(data)
    m = len(kept)
    for t in _tensors(changed):
        kind = {"bool": "bool", "int64": "int64", "int32": "int64"}.get(t["dtype"], "float64")
        x = array_from_json(t["tensor"], kind, t["shape"])
        for axis, length in enumerate(x.shape):
            if length == n:
                x = x.take(kept, axis=axis)
        x = x % m if kind == "int64" and x.size and 0 <= x.min() and m <= x.max() < n else x
        t["tensor"], t["shape"] = array_to_json(x), list(x.shape)

    def shapes(a: Any, inside: bool) -> Any:
        if isinstance(a, list):
            return [shapes(v, True) for v in a]
        return m if inside and type(a) is int and a == n else a

    changed["args"] = [shapes(a, False) for a in changed["args"]]
    return changed
