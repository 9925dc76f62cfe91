"""Strict JSON with a written rule for the numbers JSON lacks."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .errors import ReportDataError
from .formatting import clean

NON_FINITE: dict[str, float] = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
"""A number that JSON cannot hold is written as one of these texts, everywhere; Python's float() reads each. null means
'not known', never NaN. The three texts are reserved: reading turns them back into numbers wherever they stand alone."""


def to_json(data: Any, where: str, indent: int | None = 1) -> str:
    """Return `data` as JSON text that every strict reader accepts, with a newline at the end.

    NumPy scalars and arrays become numbers and lists, null of pandas becomes null, a complex number becomes the list
    [real, imaginary]. Raises ReportDataError, naming `where`, for anything else that is not plain data.
    """
    return json.dumps(_plain(data, where), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str, where: str) -> Any:
    """Read what `to_json` wrote. Raises ReportDataError with the line of the first fault."""
    try:
        return _numbers(json.loads(text))
    except (json.JSONDecodeError, RecursionError) as fault:
        raise ReportDataError(
            f"read_report: {where} is not valid JSON ({fault}); accepted is a file written by write_report. "
            "Restore the file or run the campaign again."
        ) from None


def _plain(data: Any, where: str) -> Any:
    if data is None or data is pd.NA:
        return None
    if isinstance(data, (bool, np.bool_)):
        return bool(data)
    if isinstance(data, str):
        return clean(data)
    if isinstance(data, (int, np.integer)):
        return int(data)
    if isinstance(data, (float, np.floating)):
        return _finite(float(data))
    if isinstance(data, (complex, np.complexfloating)):
        return [_finite(float(data.real)), _finite(float(data.imag))]
    if isinstance(data, np.ndarray):
        return _plain(data.tolist(), where)
    if isinstance(data, Mapping):
        return {_key(key, where): _plain(item, f"{where}.{key}") for key, item in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(data)]
    raise ReportDataError(
        f"write_report: {where} holds {data!r} ({type(data).__name__}); accepted are None, bool, numbers, text, lists "
        "and mappings of them. Convert it to one of these."
    )


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        return clean(key)
    raise ReportDataError(
        f"write_report: {where} has the key {key!r} ({type(key).__name__}); keys must be text. Write str(key)."
    )


def _finite(x: float) -> float | str:
    if x != x:
        return "NaN"
    if x in (float("inf"), float("-inf")):
        return "Infinity" if x > 0 else "-Infinity"
    return x


def _numbers(data: Any) -> Any:
    if isinstance(data, str):
        return NON_FINITE.get(data, data)
    if isinstance(data, list):
        return [_numbers(item) for item in data]
    if isinstance(data, dict):
        return {key: _numbers(item) for key, item in data.items()}
    return data
