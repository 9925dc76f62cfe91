"""What the backward of a custom Function writes into: the gradients that it is given, and the tensors that it saved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .preserving import same_bits
from .storages import storage_of
from .values import to_numpy


@dataclass
class Write:
    """One tensor that a `backward` found with some numbers and left with others.

    saved: whether the Function had saved it; a gradient otherwise. position: among these. before, after: the numbers in
    float64. tensor: the tensor; copy: what it was.
    """

    saved: bool
    position: int
    before: np.ndarray[Any, Any]
    after: np.ndarray[Any, Any]
    tensor: torch.Tensor
    copy: torch.Tensor

    @property
    def storage(self) -> int:
        return storage_of(self.tensor)


class Watch:
    """Tensors as they are before a `backward` runs."""

    def __init__(self, gradients: Sequence[Any], saved: Sequence[Any]) -> None:
        self._watched = [
            (is_saved, i, t, t.detach().clone())
            for is_saved, tensors in ((False, gradients), (True, saved))
            for i, t in enumerate(tensors)
            if isinstance(t, torch.Tensor)
        ]

    def writes(self) -> list[Write]:
        """Those that are not as they were."""
        return [
            Write(is_saved, i, to_numpy(copy), to_numpy(t), t, copy)
            for is_saved, i, t, copy in self._watched
            if not same_bits(t.detach(), copy)
        ]


def saved_by(node: Any) -> list[Any]:
    """What the node of a custom Function saved, as it comes back; nothing where it does not."""
    try:
        return list(node.saved_tensors)
    except RuntimeError:  # changed since, or freed: its `backward` may not ask for it, and is told so itself if it does
        return []


def kept_from(writes: Iterable[Write], g: torch.Tensor) -> torch.Tensor:
    """A gradient, apart from memory that `put_back` writes to: a backward may return what it saved and wrote into."""
    return g.clone() if any(w.saved and w.storage == storage_of(g) for w in writes) else g


def put_back(writes: Iterable[Write]) -> None:
    """What was saved gets its numbers again, the latest write first, without a new version: leaves of the run may be
    among it, and no later pass is to start from other numbers.
    """
    with torch.no_grad():
        for w in reversed(list(writes)):
            if w.saved:
                w.tensor.data.copy_(w.copy)
