"""A custom Function whose backward writes into what is not its own: a gradient that other parts of the graph are given
too, or a tensor that it saved and that others hold.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..recorder.nodes import Node
from ..recorder.storages import storage_of
from ..recorder.values import to_numpy
from ..recorder.witnessing import CHECKPOINT
from ..recorder.writes import Write, saved_by
from ..result import CUSTOM, END_TO_END, WROTE, Culprit
from .culprits import backward_of, most_changed, place
from .rows import Rows

GRADIENT, SAVED = "the gradient that it was given for its output {0}", "tensor {0} of those that it saved"
SHARED = "another part of the graph was given the same tensor, and met other numbers than were sent to it"
NEEDED = "{0} needs the same tensor in its own backward"
OF_LEAF = "that is the memory of {0}, which has other numbers after the backward pass"
REFUSED = "PyTorch refuses the backward pass for that"
NOBODY = "nothing else met these numbers here, but a second branch, or a second backward pass, may"
ADVICE = "Return a new tensor, or write into a clone"
REFUSAL = "modified by an inplace operation"  # PyTorch, of a saved tensor that it finds at a later version


@dataclass
class BackwardPass:
    """What one backward pass left: its nodes, the outputs with the cotangents that were handed over, the leaves by name
    and their gradients, the nodes that are wrong alone; and what PyTorch raised instead. spoiled: whether others are
    known to meet what is written into these cotangents.
    """

    nodes: Sequence[Node]
    outputs: Sequence[torch.Tensor]
    cotangents: Sequence[torch.Tensor | None]
    leaves: Mapping[str, torch.Tensor]
    gradients: Sequence[torch.Tensor | None] = ()
    wrong: Sequence[Node | None] = ()
    refused: str = ""
    spoiled: bool = False

    @functools.cached_property
    def changes(self) -> list[np.ndarray[Any, Any]]:
        """What a part of the graph met less what was sent to it, wherever these are not the same."""
        sent: dict[Any, list[Any]] = {}
        for n in self.nodes:
            for e, (before, number) in enumerate(n.node.next_functions if n.ran and not n.inner else ()):
                sent.setdefault(_place_of(before, number), []).append(n.sent[e])
        for t, g in zip(self.outputs, self.cotangents, strict=True):
            key = (id(t), 0) if t.grad_fn is None else (t.grad_fn, t.output_nr)
            sent.setdefault(key, []).append(None if g is None else to_numpy(g))
        met = [((n.node, k), g) for n in self.nodes if n.ran and not n.inner for k, g in enumerate(n.received)]
        gradients = zip(self.leaves.values(), self.gradients, strict=False)  # none where PyTorch raised
        met += [((id(x), 0), None if g is None else to_numpy(g)) for x, g in gradients]
        found = []
        for key, g in met:
            parts = [x for x in sent.get(key, ()) if x is not None]
            if g is not None and parts and all(x.shape == g.shape for x in parts):
                total = functools.reduce(np.add, parts)
                if not np.array_equal(total, g, equal_nan=True):
                    found.append(g - total)
        return found


def _place_of(node: Any, number: int) -> tuple[Any, int]:
    """What an edge of the graph leads to: an output of a node, or a leaf."""
    leaf = getattr(node, "variable", None)
    return (node, number) if leaf is None else (id(leaf), 0)


def rows_of_writes(
    made: BackwardPass, rows: Rows, dtype: str, culprit: Culprit | None = None, accused: Node | None = None
) -> Culprit | None:
    """One row for every write, a mismatch where somebody else met the numbers that were written; and the culprit in the
    light of them. accused: the node whose rule is the culprit so far.
    """
    for n in made.nodes:
        n.spoils = any(not w.saved and _met(n, w, made) for w in n.writes)
    writes = [(n, w) for n in made.nodes for w in n.writes if n.name != CHECKPOINT]  # what runs inside it is named
    met = [_met(n, w, made) for n, w in writes]
    if not any(met) and culprit is not None and culprit.kind == END_TO_END:
        met = ["" if w.saved else SHARED for _, w in writes]  # several writes into one tensor
    blamed, is_victim = None, False
    for (n, w), by in zip(writes, met, strict=True):
        what = (SAVED if w.saved else GRADIENT).format(w.position)
        told = {"verdict": "agree", "message": f"{WROTE} {n.name} wrote into {what}: {by or NOBODY}. {ADVICE}"}
        if by:
            entry, part, after, before = most_changed(w.before, w.after, w.tensor.dtype)
            error = abs(after - before)
            told |= {"verdict": "mismatch", "z": np.inf, "abs_error": error, "entry": f"{list(entry)}{part}"}
            told |= {"rel_error": error / abs(before) if before else np.inf, "culprit": n.name}
            told |= {"torch_value": after, "reference_value": before}
            where = place(backward_of(n))
            blamed = blamed or Culprit(n.name, *where, entry, after, before, "R", n.called, CUSTOM, part)
            is_victim = is_victim or (w.saved and accused is not None and n is not accused and _holds(accused, w))
        rows.add(operation=n.name, mode="R", quantity="derivative", order=1, wrt=n.called, dtype=dtype, **told)
    return blamed if blamed and (culprit is None or culprit.kind == END_TO_END or is_victim) else culprit


def _met(n: Node, w: Write, made: BackwardPass) -> str:
    """Who met the numbers that were written, in words; "" if nobody did."""
    if not w.saved:
        change = _greatest(w.after - w.before, w)
        given = [to_numpy(g) for g in made.cotangents if g is not None and made.spoiled]
        if any(np.array_equal(g, w.before) for g in given):
            return SHARED
        return SHARED if any(_alike(_greatest(x, w), change, w) for x in made.changes) else ""
    if REFUSAL in made.refused:
        return REFUSED
    name = next((name for name, x in made.leaves.items() if storage_of(x) == w.storage), "")
    if name:
        return OF_LEAF.format(name)
    return next((NEEDED.format(m.name) for m in made.wrong if m is not None and m is not n and _holds(m, w)), "")


def _greatest(change: np.ndarray[Any, Any], w: Write) -> np.ndarray[Any, Any]:
    """The entries of a change that are more than rounding, in order: what is met may be laid out otherwise."""
    size = np.max(np.nan_to_num(np.abs(w.before), nan=0.0, posinf=0.0), initial=0.0)
    return np.sort(change[~(np.abs(change) <= _half(w) * size)])


def _alike(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], w: Write) -> bool:
    return a.shape == b.shape and np.allclose(a, b, _half(w), 0.0, equal_nan=True)


def _half(w: Write) -> float:
    """Half of the digits of what was written into: a sum with it is rounded as the sum with what was there is not."""
    return float(torch.finfo(w.tensor.dtype).eps ** 0.5)


def _holds(m: Node, w: Write) -> bool:
    """Whether a node saved the tensor that was written into."""
    try:
        names = [name for name in dir(m.node) if name.startswith("_saved_")]
        saved = saved_by(m.node) if m.is_custom else [getattr(m.node, name) for name in names]
    except RuntimeError:  # freed, or its hooks run but once: it cannot be told
        return False
    return any(storage_of(t) == w.storage for t in saved if isinstance(t, torch.Tensor))
