"""Copies of the caller's tensors: leaves to differentiate, and what is passed on beside them."""

from __future__ import annotations

import torch

WHOLE_STORAGE = 1 << 26  # bytes; a view of a storage of at most this size keeps its surroundings


def leaf_of(t: torch.Tensor) -> torch.Tensor:
    """A leaf with the numbers, strides and memory format of `t`, apart from it where no two entries share memory."""
    source = t.detach()
    if t.layout != torch.strided:
        return source.clone().requires_grad_()
    if 0 < t.numel() * t.element_size() < t.untyped_storage().nbytes() <= WHOLE_STORAGE:
        whole = t.detach().clone().set_(t.untyped_storage().clone())  # type: ignore[call-overload]
        view = whole.as_strided(t.shape, t.stride(), t.storage_offset()).detach()
        return (view.conj() if t.is_conj() else view).detach().requires_grad_()
    if t.is_conj() or t.is_neg():
        return source.clone().requires_grad_()
    if _is_dense(source):
        copy = torch.empty_strided(source.shape, source.stride(), dtype=source.dtype, device=source.device)
        copy.copy_(source)
        return copy.requires_grad_()
    return (source.clone() if t.is_inference() else source).requires_grad_()


def fresh(t: torch.Tensor) -> torch.Tensor:
    """A copy that a callable may write into: no leaf, no inference tensor, apart from the caller's own."""
    if t.layout != torch.strided:
        return t.detach().clone()
    return t.detach().clone(memory_format=torch.preserve_format)


def apart(t: torch.Tensor) -> torch.Tensor:
    """A copy that a callable may write into, with the surroundings of `t` in memory where `leaf_of` keeps them."""
    copy = leaf_of(t).detach()
    shared = t.layout == torch.strided and copy.untyped_storage().data_ptr() == t.untyped_storage().data_ptr()
    return fresh(t) if shared else copy


def _is_dense(t: torch.Tensor) -> bool:
    """Whether strides visit every place exactly once, so that a copy with the same strides holds the same entries."""
    expected = 1
    for size, stride in sorted(zip(t.shape, t.stride(), strict=True), key=lambda p: (p[1], p[0])):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True
