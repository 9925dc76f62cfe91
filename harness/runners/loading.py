"""Loads what PyTorch loads on the first derivative of a kind, so that its own warnings are not taken for the user's."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Sequence

from .expressible import COMPILED

FORWARD = "torch._decomp.decompositions_for_jvp"
COMPILER = "torch._inductor.compile_fx"
DYNAMO = "torch._dynamo"  # loaded by the first call under a dispatch mode, which is how a run is recorded
FOLDER = "TORCHINDUCTOR_CACHE_DIR"


def load_for(modes: Sequence[str], runners: Sequence[str]) -> None:
    """Load PyTorch's parts for these modes and runners, without the DeprecationWarnings that they give while loading.

    They call the deprecated torch.jit.script. Under `-W error` that would end the user's derivative half-way, and
    otherwise it would be printed as if their code had done it. What loading leaves behind in the environment (dynamo
    writes its default folder there) and in the warning filters is put back.
    """
    forward, compiled = any("F" in mode for mode in modes), any(name in COMPILED for name in runners)
    parts = [DYNAMO, *[FORWARD] * forward, *[COMPILER] * compiled]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for part in parts:
            before = os.environ.get(FOLDER)
            importlib.import_module(part)
            if before is None:
                os.environ.pop(FOLDER, None)
