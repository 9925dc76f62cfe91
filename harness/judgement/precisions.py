"""The precisions that `check` takes by name: which dtype inputs and parameters are held in, and what the run enters."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

AUTOCAST = "autocast"  # float32 inputs and parameters, the callable run under CPU autocast to bfloat16
# What floating inputs and parameters are converted to.
DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    AUTOCAST: torch.float32,
}


def entered(precision: str | None) -> AbstractContextManager[Any]:
    """The context in which the callable runs (its forward pass alone, as PyTorch advises for autocast)."""
    return torch.autocast("cpu", dtype=torch.bfloat16) if precision == AUTOCAST else nullcontext()
