"""How numbers and user text are shown: one place, so that HTML and Markdown say the same."""

import re
from typing import Any

import numpy as np
import pandas as pd

DASH = "—"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
_ISSUE = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+#([0-9]+)")
_LINK = re.compile(r"https?://[^\s<>\"'`|\\]+")


def clean(text: str) -> str:
    r"""Return `text` in a form that every file format can hold and no terminal or browser obeys.

    Line ends become \n. Control characters other than \n and \t, marks that reverse the writing direction, and halves
    of surrogate pairs become a visible escape such as \x1b.
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), text)


def clip(text: str, length: int) -> str:
    """Return `text`, cut to `length` characters with an ellipsis as the last of them."""
    return text if len(text) <= length else text[: length - 1] + "…"


def is_missing(value: Any) -> bool:
    """True for None and pandas' null; a NaN is a number here, not a missing one."""
    return value is None or value is pd.NA


def value(x: Any, length: int = 160) -> str:
    """Show a value exactly: floats by their shortest form that reads back equal, sequences item by item."""
    if is_missing(x):
        return DASH
    if isinstance(x, (bool, np.bool_)):
        return "yes" if x else "no"
    if isinstance(x, (float, np.floating)):
        return _shortest(float(x))
    if isinstance(x, np.ndarray):
        return value(x.tolist(), length)
    if isinstance(x, (list, tuple)):
        return clip("[" + ", ".join(value(item) for item in x) + "]", length)
    return clip(clean(str(x)), length)


def _shortest(x: float) -> str:
    return "NaN" if x != x else repr(x)


def score(z: Any) -> str:
    """Show z, an error in units of spread, or another positive measure, with three digits."""
    if is_missing(z) or z != z:
        return DASH
    z = float(z)
    if z in (float("inf"), float("-inf")):
        return "∞" if z > 0 else "−∞"
    if z == 0:
        return "0"
    if 1e-2 <= abs(z) < 1e4:
        return f"{z:.3g}" if abs(z) < 1000 else f"{z:,.0f}"
    mantissa, exponent = f"{z:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}".replace("-", "−")


def count(n: int) -> str:
    """Show a whole number with thousands separated."""
    return f"{n:,}"


def noun(n: int, singular: str, plural: str = "") -> str:
    """Show `n` with its noun in the right number: `1 finding`, `2 findings`."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def percent(part: int, whole: int) -> str:
    """Show a share; never rounds a part that is not all up to 100 %, nor one that is not nothing down to 0 %."""
    if not whole:
        return DASH
    share = 100 * part / whole
    if part not in (0, whole):
        if share > 99.9:
            return "> 99.9 %"
        if share < 0.1:
            return "< 0.1 %"
    return f"{share:.0f} %" if part in (0, whole) else f"{share:.1f} %"


def duration(seconds: Any) -> str:
    """Show a wall clock time given in seconds."""
    if is_missing(seconds) or not np.isfinite(seconds):
        return DASH
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def link(text: Any) -> str | None:
    """Return the address `text` names (an http address, or owner/repository#number), or None."""
    if not isinstance(text, str):
        return None
    found = _ISSUE.fullmatch(text.strip())
    if found:
        return f"https://github.com/{text.strip().replace('#', '/issues/')}"
    found = _LINK.search(text)
    return found.group().rstrip(".,;)") if found else None
