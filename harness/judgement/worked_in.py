"""The precision that a run held its numbers in, and the one that PyTorch works out a derivative in."""

from __future__ import annotations

from ..recorder.recorded_run import Recording
from ..recorder.witnessing import Witnessed
from .judging import REAL_PART
from .subject import Subject

PRECISION = ("float64", "float32", "bfloat16", "float16")


def coarsest(subject: Subject, recording: Recording, seen: Witnessed) -> str:
    """The shortest dtype that a differentiated value of the run was held in; a complex one counts by its parts."""
    names = [str(recording.variables[v].dtype).removeprefix("torch.") for v in seen.tracers]
    real = {name: REAL_PART.get(name, name) for name in names}
    return max(names, key=lambda d: PRECISION.index(real[d]) if real[d] in PRECISION else 0, default=subject.dtype)


def works_in(subject: Subject, recording: Recording, seen: Witnessed, mode: str) -> str:
    """The precision of the parts in which PyTorch works out a derivative in a mode other than R.

    A tangent is worked out while the callable runs, and so under its autocast: the products in its rule are rounded to
    that dtype, whatever they are handed; but autocast leaves float64 as it is.
    """
    held = coarsest(subject, recording, seen)
    held = REAL_PART.get(held, held)
    if held == "float64":
        return held
    under = recording.autocast if "F" in mode and recording.autocast in PRECISION else held
    return max(held, under, key=lambda d: PRECISION.index(d) if d in PRECISION else 0)
