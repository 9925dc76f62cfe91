"""Nested arguments: tuples, lists and dictionaries of arrays as a flat list of leaves and back."""

from __future__ import annotations

from typing import Any


def flatten(tree: Any) -> list[Any]:
    """The leaves of nested tuples, lists and dictionaries, in order (dictionaries in insertion order)."""
    if isinstance(tree, dict):
        return [leaf for child in tree.values() for leaf in flatten(child)]
    if isinstance(tree, (tuple, list)):
        return [leaf for child in tree for leaf in flatten(child)]
    return [tree]


def rebuild(tree: Any, leaves: list[Any]) -> Any:
    """`tree` with its leaves replaced, in order, by those of the list."""
    return _rebuild(tree, iter(leaves))


def _rebuild(tree: Any, leaves: Any) -> Any:
    if isinstance(tree, dict):
        return {k: _rebuild(child, leaves) for k, child in tree.items()}
    if isinstance(tree, (tuple, list)):
        children = [_rebuild(child, leaves) for child in tree]
        return type(tree)(*children) if hasattr(tree, "_fields") else type(tree)(children)
    return next(leaves)
