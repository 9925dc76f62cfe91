"""The accuracy table: how many units in the last place each elementwise operation is off, worst derivative first."""

import io
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from . import formatting as fmt

TITLE = "Accuracy of elementwise operations"

ULP_KEYS: tuple[str, ...] = (
    *("op", "call", "primitive", "dtype", "quantity", "wrt", "points", "ulp", "input", "torch_value", "right_value"),
    *("digits", "rel_error", "halved", "confirmed", "not_finite", "not_finite_input", "not_finite_torch"),
    *("not_finite_right", "kinks", "message"),
)
"""One record a quantity: op (torch's function), call (how it was called), dtype, quantity (value or derivative), wrt,
points (how many were searched); ulp: the greatest error in units in the last place of the right number in dtype, at
`input`, where torch gave torch_value and right_value is right (`digits`: to 20 digits); rel_error there; halved: more
than half of the digits are lost there; confirmed: points computed with 50 digits; not_finite: points where one of the
two numbers is infinite or NaN and the other is another, with an example; kinks: points without a derivative, left
out."""

_MODULE = re.compile(r"torch\.(nn\.functional\.|special\.)?")


@dataclass(frozen=True)
class Entry:
    """One operation in one precision, ready to be shown.

    call: without torch's module, which the CSV has. value_ulp: of its value. derivative: the greatest error of any
    derivative in ulp, or why there is none; at, torch_value, right_value: where that happens (the value's where there
    is no derivative). explains: whether it accounts for verdicts `inaccurate`. not_finite: count and example.
    """

    call: str
    dtype: str
    value_ulp: float | None
    derivative: str
    at: str
    torch_value: str
    right_value: str
    explains: str
    not_finite: str


def entries(rows: Sequence[Mapping[str, Any]], frame: pd.DataFrame) -> list[Entry]:
    """One entry an operation and precision, the worst derivative first; `frame` is the run's comparisons."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((str(row["call"]), str(row["dtype"])), []).append(row)
    counts = _inaccurate(frame)
    ranked = sorted(groups.items(), key=lambda item: (-_ulp(_worst(item[1])), -_ulp(_value(item[1])), item[0]))
    return [_entry(call, dtype, group, counts) for (call, dtype), group in ranked]


def _entry(call: str, dtype: str, group: Sequence[Mapping[str, Any]], counts: Mapping[tuple[str, str], int]) -> Entry:
    value, worst = _value(group), _worst(group)
    shown = value if worst is None or worst["message"] else worst
    halved = any(row["halved"] for row in group)
    n = sum(count for (op, kind), count in counts.items() if kind == dtype and _names(op, str(group[0]["op"])))
    apart = max(group, key=lambda row: row["not_finite"] or 0)
    return Entry(
        _MODULE.sub("", call),
        dtype,
        None if value is None else value["ulp"],
        fmt.DASH if worst is None else worst["message"] or fmt.score(worst["ulp"]),
        fmt.DASH if shown is None else _numbers(shown["input"], dtype),
        fmt.DASH if shown is None else _number(shown["torch_value"], dtype),
        fmt.DASH if shown is None else _number(shown["right_value"], dtype),
        "no" if not halved else f"yes, {fmt.noun(n, 'comparison')} of this run" if n else "yes",
        _apart(apart, dtype) if apart["not_finite"] else fmt.DASH,
    )


def _apart(row: Mapping[str, Any], dtype: str) -> str:
    """How often a number is not finite where the other is another, with the example."""
    found, right = (_number(row[key], dtype) for key in ("not_finite_torch", "not_finite_right"))
    where = _numbers(row["not_finite_input"], dtype)
    return f"{fmt.noun(row['not_finite'], 'point')}, {row['quantity']} at {where}: PyTorch {found}, right {right}"


def _value(group: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return next((row for row in group if row["quantity"] == "value"), None)


def _worst(group: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    derivatives = [row for row in group if row["quantity"] == "derivative"]
    return max(derivatives, key=_ulp, default=None)


def _ulp(row: Mapping[str, Any] | None) -> float:
    return -1.0 if row is None or row["ulp"] is None else float(row["ulp"])


def _inaccurate(frame: pd.DataFrame) -> dict[tuple[str, str], int]:
    """How many comparisons ended in `inaccurate`, by operation and precision."""
    lost = frame[frame["verdict"] == "inaccurate"]
    return dict(Counter(zip(map(str, lost["op"]), map(str, lost["dtype"]), strict=True)))


def _names(op: str, function: str) -> bool:
    """Whether the `op` of a comparison (aten::special_i0e.default, special.i0e, torch.special.i0e) is this function."""
    parts = re.split(r"[.:]+", op.replace("special_", "").replace("log_sigmoid_forward", "logsigmoid"))
    return function.rsplit(".", 1)[-1] in parts


def _numbers(xs: Any, dtype: str) -> str:
    return fmt.DASH if xs is None else ", ".join(_number(x, dtype) for x in xs)


def _number(x: Any, dtype: str) -> str:
    """The shortest text that reads back as the same number of its precision."""
    if x is None:
        return fmt.DASH
    if dtype == "float32" and math.isfinite(x):
        return str(np.float32(x))
    return fmt.value(float(x))


def to_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The records as UTF-8 CSV, one a line, floats in their shortest form, several inputs with a semicolon between."""
    cells = [
        {key: ";".join(map(repr, item)) if isinstance(item, (list, tuple)) else item for key, item in row.items()}
        for row in rows
    ]
    buffer = io.StringIO()
    pd.DataFrame(cells, columns=list(ULP_KEYS), dtype=object).to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue().encode()
