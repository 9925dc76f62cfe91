"""Tensors nested in arguments and results: tuples, lists, dictionaries, whatever pytree knows, and dataclasses."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten


@dataclass(frozen=True)
class Nest:
    """How `flatten` took a value apart. opened: per leaf of the pytree, None or (the object, its keys, their nests)."""

    spec: TreeSpec
    opened: tuple[Any, ...]

    @property
    def num_leaves(self) -> int:
        """How many leaves a value of this form has."""
        return sum(1 if o is None else sum(nest.num_leaves for nest in o[2]) for o in self.opened)


def flatten(value: Any) -> tuple[list[Any], Nest]:
    """The leaves of a nested value in order, and how to put them together again.

    Beyond what pytree opens: instances of dataclasses and mappings that pytree does not know.
    """
    leaves: list[Any] = []
    opened: list[Any] = []
    parts, spec = tree_flatten(value)
    for part in parts:
        keys = _keys(part)
        if keys is None:
            leaves.append(part)
            opened.append(None)
            continue
        nests = []
        for key in keys:
            inner, nest = flatten(part[key] if isinstance(part, Mapping) else getattr(part, key))
            leaves += inner
            nests.append(nest)
        opened.append((part, keys, tuple(nests)))
    return leaves, Nest(spec, tuple(opened))


def unflatten(leaves: Sequence[Any], nest: Nest) -> Any:
    """The value of this form with other leaves; objects that are not plain containers are copied, not changed."""
    given = iter(leaves)
    parts = []
    for o in nest.opened:
        if o is None:
            parts.append(next(given))
            continue
        whole, keys, nests = o
        values = [unflatten([next(given) for _ in range(n.num_leaves)], n) for n in nests]
        made = copy.copy(whole)
        for key, value in zip(keys, values, strict=True):
            if isinstance(made, Mapping):
                made[key] = value  # type: ignore[index]
            else:
                object.__setattr__(made, key, value)  # frozen ones too
        parts.append(made)
    return tree_unflatten(parts, nest.spec)


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Every tensor in a nested value, in order."""
    return [t for t in flatten(value)[0] if isinstance(t, torch.Tensor)]


def replaced(value: Any, kind: type, by: Callable[[Any], Any]) -> Any:
    """The arguments of an ATen call, which are nested in tuples, lists and dictionaries alone, with `by` of each
    instance of `kind` in its place, in order.
    """
    if isinstance(value, kind):
        return by(value)
    if isinstance(value, (tuple, list)):
        return type(value)([replaced(v, kind, by) for v in value])
    if isinstance(value, dict):
        return {k: replaced(v, kind, by) for k, v in value.items()}
    return value


def _keys(part: Any) -> list[Any] | None:
    """Fields or keys under which a leaf of pytree holds tensors; None where it is a leaf to us as well."""
    if isinstance(part, (torch.Tensor, torch.nn.Module, type)):
        return None
    if dataclasses.is_dataclass(part) and not isinstance(part, Mapping):
        keys = [f.name for f in dataclasses.fields(part) if hasattr(part, f.name)]
        return keys if any(tensors_in(getattr(part, k)) for k in keys) else None
    if isinstance(part, Mapping) and hasattr(type(part), "__setitem__"):
        return list(part) if any(tensors_in(part[k]) for k in part) else None
    return None
