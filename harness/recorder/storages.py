"""Where a tensor lies: its storage and geometry, the flags of a view, and what an operation writes into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from .geometry import Geometry


def storage_of(t: torch.Tensor) -> int:
    """What tells storages apart; a sparse tensor stands for itself."""
    return t.untyped_storage()._cdata if t.layout == torch.strided else id(t)


def geometry_of(t: torch.Tensor) -> Geometry:
    """Shape, strides and offset; a sparse tensor has its shape alone."""
    if t.layout != torch.strided:
        return tuple(t.shape), (), 0
    return tuple(t.shape), t.stride(), t.storage_offset()


def flags_of(t: torch.Tensor) -> tuple[bool, ...]:
    """Whether a view shows the conjugate or the negative of what lies in storage; nothing where it shows neither."""
    return (t.is_conj(), t.is_neg()) if t.is_conj() or t.is_neg() else ()


def looks_otherwise(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors of one storage show other places of it, or the same places otherwise."""
    return geometry_of(a) != geometry_of(b) or a.dtype != b.dtype or flags_of(a) != flags_of(b)


def whole_of(t: torch.Tensor) -> torch.Tensor:
    """The whole storage under `t` as one flat tensor of its dtype."""
    size = t.untyped_storage().nbytes() // t.element_size()
    whole = t.detach().as_strided((size,), (1,), 0)
    return whole.conj() if whole.is_conj() else torch._neg_view(whole) if whole.is_neg() else whole


def written_by(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """The tensors that the schema of `func` says it writes into."""
    schema = func._schema
    if not schema.is_mutable:
        return []
    found = []
    for i, a in enumerate(schema.arguments):
        if a.alias_info is not None and a.alias_info.is_write:
            value = args[i] if i < len(args) else kwargs.get(a.name)
            found += [t for t in tree_flatten(value)[0] if isinstance(t, torch.Tensor)]
    return found
