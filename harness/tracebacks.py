"""Tracebacks that begin and end in the user's own code."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

# Frames of these files are not shown: ours, wherever the package is linked to, and what PyTorch puts between ours and
# the user's call while it is recorded.
_HARNESS = Path(__file__).parent
_OURS = tuple(f"{folder}{os.sep}" for folder in {str(_HARNESS), str(_HARNESS.resolve())})
_BETWEEN = tuple(
    os.path.join("torch", *parts)
    for parts in (("_ops.py",), ("_compile.py",), ("_dynamo", "eval_frame.py"), ("utils", "_python_dispatch.py"))
) + (os.path.join("importlib", "__init__.py"),)


def without_ours(tb: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of the harness, of Python's import and of PyTorch's way to us: what is shown is
    the test and the user's own code.
    """
    frames = []
    while tb is not None:
        if not is_hidden(tb.tb_frame.f_code.co_filename):
            frames.append(tb)
        tb = tb.tb_next
    kept: TracebackType | None = None
    for frame in reversed(frames):
        kept = TracebackType(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return kept


def is_hidden(file: str) -> bool:
    """Whether frames of this file say nothing to the user."""
    return file.startswith((*_OURS, "<frozen importlib")) or file.endswith(_BETWEEN)
