"""Complex numbers in a comparison, reduced to the part in which the two answers differ most."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def to_real_parts(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `row` with complex `torch_value` and `reference_value` replaced by one real part each.

    The part is the one with the greater |torch - reference|; a part in which only one of the two is NaN or infinite
    comes before any finite difference, and the real part before an equal imaginary one. `entry` gains `.real` or
    `.imag`. A row without complex numbers is returned as it is.
    """
    pair = row.get("torch_value"), row.get("reference_value")
    if not any(isinstance(value, (complex, np.complexfloating)) for value in pair):
        return row
    torch_value, reference_value = (None if value is None else complex(value) for value in pair)
    part = "real"
    if torch_value is not None and reference_value is not None:
        by_real = _distance(torch_value.real, reference_value.real)
        by_imag = _distance(torch_value.imag, reference_value.imag)
        part = "imag" if by_imag > by_real else "real"
    return {
        **row,
        "torch_value": None if torch_value is None else getattr(torch_value, part),
        "reference_value": None if reference_value is None else getattr(reference_value, part),
        "entry": f"{row.get('entry') or ''}.{part}",
    }


def _distance(a: float, b: float) -> float:
    if a == b or (a != a and b != b):
        return 0.0
    difference = abs(a - b)
    return difference if difference == difference else float("inf")
