"""Runs an ATen call that has arrived at a dispatch mode."""

from __future__ import annotations

from typing import Any

import torch

# Of a zero without memory these two read memory, and the process dies, where a mode calls them: it calls their kernel
# past the one that knows such zeros (torch 2.13). Without a mode both are right.
READS_MEMORY = frozenset((torch.ops.aten.mul.Scalar, torch.ops.aten.add.Scalar))


def run_kernel(func: Any, args: Any, kwargs: Any) -> Any:
    """What the call gives."""
    if func in READS_MEMORY and args[0]._is_zerotensor():
        args = (args[0].clone(), *args[1:])
    return func(*args, **kwargs)
