"""A stride that means nothing, that of an axis of length 1, and that a kernel may still take for the size of a matrix.

`unsqueeze` of a stack of matrices gives the new axis such a stride; so does torch.vmap where it lines batches up.
"""

from __future__ import annotations

import math

from ..recorder.recorded_run import Call, Recording

LONE_AXIS = "argument {0} has stride {1} along the axis of length 1 before its matrices of {2} entries"


def lone_axis(recording: Recording, call: Call) -> str:
    """Says which tensor of a call is a stack of matrices whose last batch axis has length 1 and a stride other than the
    number of entries of a matrix; "" where there is none.

    No entry is found by that stride. A kernel that steps from matrix to matrix by it reads wrong ones.
    """
    for k, v in enumerate(call.references()):
        geometry = recording.variables[v].geometry
        if geometry is None:
            continue
        shape, stride, _ = geometry
        *batch, rows, columns = shape if len(shape) > 2 else (0, 0, 0)
        if batch[-1] == 1 and math.prod(batch) > 1 and stride[-3] != rows * columns:
            return LONE_AXIS.format(k, stride[-3], rows * columns)
    return ""


def with_lone_axis(note: str, recording: Recording, call: Call | None) -> str:
    """The note on a mismatch, and what `lone_axis` says of the call."""
    said = "" if call is None else lone_axis(recording, call)
    return "; ".join(n for n in (note, said) if n)
