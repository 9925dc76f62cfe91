"""Which end-to-end gradients the errors of some operations explain: what these contribute is taken away, and what is
left is judged as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...reference_engine.reverse import reverse
from ..recorder.nodes import Node
from ..recorder.values import to_numpy
from ..recorder.witnessing import Witnessed
from .local import LocalVerdict, error_of
from .plans import started

Array = np.ndarray[Any, Any]


@dataclass
class JudgedPass:
    """A backward pass that was judged. wrt: recorded variables of the leaves; names: theirs; cotangents: of the outputs
    of the run; wrong: what is wrong alone, in rows of `dtype`. again: the same judgement of other gradients, as rows.
    """

    seen: Witnessed
    dtype: str
    names: Sequence[str]
    wrt: Sequence[int]
    cotangents: Sequence[torch.Tensor | None]
    gradients: Sequence[torch.Tensor | None]
    wrong: Sequence[tuple[LocalVerdict, Node | None]]
    again: Callable[[list[torch.Tensor | None]], Sequence[dict[str, Any]]]

    def explained(self, nodes: Collection[Node]) -> list[str]:
        """Names of the leaves whose gradient is right once the errors of these nodes are taken away.

        g = Jᵀc + Σ Jₙᵀ eₙ over the nodes n that are wrong, with eₙ what n sent less what is right: the adjoint is
        linear. Where the sum is no number, it explains that there is none, and the other entries decide.
        """
        exact, moved = self._carried(nodes)
        left: list[torch.Tensor | None] = []
        for v, g in zip(self.wrt, self.gradients, strict=True):
            if v not in exact or g is None:
                left.append(g)
                continue
            answer, gone = to_numpy(g), ~np.isfinite(moved[v])
            with np.errstate(invalid="ignore"):
                rest = np.where(gone & ~np.isfinite(answer), exact[v], answer - (moved[v] - exact[v]))
            there = torch.from_numpy(np.ascontiguousarray(rest))
            left.append(torch.view_as_complex(there) if g.is_complex() else there)
        rows = self.again(left)
        return [r["wrt"] for r in rows if r["verdict"] in ("agree", "convention")]

    def reached(self, nodes: Collection[Node]) -> list[str]:
        """Names of the leaves whose gradient the errors of these nodes change."""
        exact, moved = self._carried(nodes)
        changed = {v for v in exact if not np.array_equal(exact[v], moved[v], equal_nan=True)}
        return [name for name, v in zip(self.names, self.wrt, strict=True) if v in changed]

    def _carried(self, nodes: Collection[Node]) -> tuple[dict[int, Array], dict[int, Array]]:
        """The right gradient of every leaf, and the one with the errors of these nodes in it."""
        seen = self.seen
        variables = seen.recording.variables
        given = zip(seen.recording.outputs, self.cotangents, strict=True)
        outputs = [(v, to_numpy(g)) for v, g in given if g is not None and v in seen.tracers]
        errors = [part for n in nodes for part in error_of(seen, n)]
        used = [v for v in dict.fromkeys(self.wrt) if v >= 0]
        program = seen.program(used, [v for v, _ in (*outputs, *errors)])
        reached = set(program.variables())
        outside = {*program.inputs, *program.constants}
        known = {v: x for v, x in seen.values.items() if v in reached and v not in outside}
        values = [variables[v].value for v in used]
        found = []
        for scale in (0.0, 1.0):
            sent = [g for _, g in outputs] + [e if scale else np.zeros_like(e) for _, e in errors]
            derive = lambda p, **k: reverse(p, range(len(used)), **k)  # noqa: E731
            plan, inputs = started(program, f"carried {len(used)}", derive, [*values, *sent], known)
            found.append({v: np.array(g) for v, g in zip(used, plan.run(inputs), strict=False)})
        return found[0], found[1]
