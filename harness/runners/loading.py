"""Loads what PyTorch loads on the first derivative of a kind, so that its own warnings are not taken for the user's."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence

from .expressible import COMPILED

FORWARD = "torch._decomp.decompositions_for_jvp"
COMPILER = "torch._inductor.compile_fx"


def load_for(modes: Sequence[str], runners: Sequence[str]) -> None:
    """Load PyTorch's parts for these modes and runners, without the DeprecationWarnings that they give while loading.

    They call the deprecated torch.jit.script. Under `-W error` that would end the user's derivative half-way, and
    otherwise it would be printed as if their code had done it.
    """
    parts = [FORWARD] * any("F" in mode for mode in modes) + [COMPILER] * any(name in COMPILED for name in runners)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for part in parts:
            importlib.import_module(part)
