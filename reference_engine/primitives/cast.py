"""`cast`: a value stored in another precision; the same number to the witness, rounded once where it is shorter."""

from __future__ import annotations

from ..registry import same_dtype
from ..tracing import bind
from .declare import structural

cast = structural(
    "cast",
    lambda x: x,
    lambda x: (x.shape, same_dtype(x)),
    lambda g, y, x: bind("cast", g),
    torch="({0} + 0.0)",
    source="the identity; IEEE 754-2019, sec. 4.3 for its rounding",
    ulps=1.0,
    view=True,
)
