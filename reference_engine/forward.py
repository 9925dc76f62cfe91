"""Forward mode, with no second set of rules: the tangent program is the transpose of the vector-Jacobian product.

reverse gives g ↦ Jᵀg, which is linear in g; its own transpose is t ↦ J t.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .program import Program
from .registry import TANGENT
from .reverse import reverse
from .simplify import simplify


def forward(program: Program, wrt: Sequence[int] | None = None, *, lossy: bool = False) -> Program:
    """The program (inputs…, one tangent per input in `wrt`) -> one tangent per output: J t.

    Default `wrt`: every float input. Source: Radul et al., You Only Linearize Once, 2023 (transposition of linear
    programs).
    """
    if wrt is None:
        wrt = [i for i, v in enumerate(program.inputs) if v.dtype.kind in "fc"]
    pulled = simplify(reverse(program, wrt, lossy=TANGENT if lossy else False))
    first = len(program.inputs)
    cotangents = range(first, first + len(program.outputs))
    pushed = simplify(reverse(pulled, list(cotangents)))
    unused = [pushed.inputs[i] for i in cotangents]
    kept = tuple(v for v in pushed.inputs if v not in unused)
    # The map is linear in g, so its transpose does not depend on g; a place where g still stands may hold any number.
    needed = {v for e in pushed.equations for v in e.inputs} | set(pushed.outputs)
    constants = dict(pushed.constants)
    constants.update({v: np.ones(v.shape, v.dtype) for v in unused if v in needed})
    return Program(kept, constants, pushed.equations, pushed.outputs, f"{program.name}_tangent")
