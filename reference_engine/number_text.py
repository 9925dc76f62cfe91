"""Numbers as short text for listings and drawings: six digits, exact where they are exact and short."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

LONGEST_EXACT = 16  # characters; a longer integer or Fraction is shown as a rounded decimal
MOST_ENTRIES = 3  # a longer array, or one of more axes, is shown by its least and greatest entry


def number_text(x: Any, digits: int = 6) -> str:
    """`x` in a few characters; "" for None.

    Floats have `digits` significant digits and always a point or an exponent; integers and Fractions are exact if
    short, else marked with ≈. An array of one axis and at most 3 entries is written out, another one by its range.
    """
    if x is None:
        return ""
    if isinstance(x, np.generic) or (isinstance(x, np.ndarray) and x.ndim == 0):
        x = x.item()
    if isinstance(x, np.ndarray):
        return _array(x, digits)
    if hasattr(x, "tangent"):
        return f"{number_text(x.data, digits)} + {number_text(x.tangent, digits)}ε"
    if isinstance(x, float):
        text = f"{x:.{digits}g}"
        return text if any(c in text for c in ".en") else text + ".0"
    if isinstance(x, bool):
        return str(x)
    if isinstance(x, int | Fraction):
        return _exact(x, digits)
    if isinstance(x, complex):
        return f"{x:.{digits}g}"
    if hasattr(x, "_mpf_") or hasattr(x, "_mpc_"):
        import mpmath

        return str(mpmath.nstr(x, digits))
    return repr(x)


def factor_text(x: Any) -> str:
    """`x` as an operand in a formula: in brackets if it has a sign or parts of its own."""
    text = number_text(x)
    return f"({text})" if text[:1] == "-" or (text[:1] != "(" and any(c in text for c in " /j")) else text


def count_text(n: int) -> str:
    """A count in full with commas, or as a power of ten where it has more than 30 digits: "about 10^30103"."""
    digits = int(n.bit_length() * math.log10(2))
    return f"{n:,}" if digits <= 30 else f"about 10^{digits}"


def one_line(text: str) -> str:
    """`text` with everything that cannot be printed (line breaks, control characters) written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def cut(text: str, width: int) -> str:
    """`text`, or its beginning with … where it is longer than `width` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def _exact(x: int | Fraction, digits: int) -> str:
    parts = (x.numerator, x.denominator)
    if max(abs(n).bit_length() for n in parts) <= 4 * LONGEST_EXACT and len(str(x)) <= LONGEST_EXACT:
        return str(x)
    try:
        return f"≈{float(x):.{digits}g}"
    except OverflowError:
        return (
            f"≈{'-' if x < 0 else ''}10^{math.floor((parts[0].bit_length() - parts[1].bit_length()) * math.log10(2))}"
        )


def _array(x: np.ndarray[Any, Any], digits: int) -> str:
    if x.ndim == 1 and x.size <= MOST_ENTRIES:
        return f"[{', '.join(number_text(v, digits) for v in x.tolist())}]"
    if not x.size:
        return "no entries"
    if x.dtype.kind == "b":
        return f"{int(x.sum())} of {x.size} True"
    if x.dtype.kind == "c":
        return f"up to {number_text(float(np.max(np.abs(x))), digits)} in size"
    low, high = number_text(x.min(), digits), number_text(x.max(), digits)
    return f"{low} … {high}" if low != high else f"all {low}"
