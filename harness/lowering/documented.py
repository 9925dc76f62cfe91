"""Derivatives that PyTorch's documentation leaves open: present or absent, see harness/conventions.toml."""

from __future__ import annotations

from typing import Any

from ...reference_engine import ops
from ...reference_engine.primitives.choice import choice


def optional_change(x: Any, default: float) -> Any:
    """0 with the derivative θ of x. Legitimate are all θ in [0, 1]; ours is `default`. An entry that is not finite has
    none."""
    everywhere = ops.logical_or(ops.equal(x, x), ops.isnan(x))  # a traced mask, so that the choice stays open
    change = ops.where(ops.isfinite(x), ops.subtract(x, ops.stop_gradient(x)), 0.0)
    return ops.multiply(choice(everywhere, default), change)


def optional(x: Any, default: float) -> Any:
    """x with the derivative θ of x. Legitimate are all θ in [0, 1]; ours is `default`."""
    return ops.add(ops.stop_gradient(x), optional_change(x, default))
