"""The numbers of a tensor as the witness keeps them: a copy in float64, bool or int64."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

# What NumPy knows too, and what it is kept in: one copy, which converts on its way.
SHARED: dict[torch.dtype, Any] = {torch.float64: np.float64, torch.float32: np.float64, torch.bool: np.bool_} | {
    dtype: np.int64 for dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
}


def to_numpy(t: torch.Tensor, *, copy: bool = True) -> np.ndarray[Any, Any]:
    """A copy of `t` as float64, bool or int64; complex numbers as their two parts along one more axis, the last.

    copy: False where nobody writes into `t` any more, so that its memory may be shared.
    """
    t = t.detach()
    if t.is_meta:  # made by the callable for its shape alone: it has no numbers
        t = torch.zeros(t.shape, dtype=t.dtype, device="cpu")
    if t._is_zerotensor():  # a zero without memory, which PyTorch's formulas send for a derivative that is 0 everywhere
        t = torch.zeros(t.shape, dtype=t.dtype, device="cpu")
    if t.is_conj() or t.is_neg():
        t = t.resolve_conj().resolve_neg()
    if t.layout != torch.strided:
        t = t.to_dense()
    kept = SHARED.get(t.dtype)
    if kept is not None and type(t) is torch.Tensor and t.device.type == "cpu":
        with np.errstate(invalid="ignore"):  # memory that nobody has written yet may hold a NaN that signals
            return np.array(t.numpy(), kept, copy=copy or None)
    if t.dtype.is_floating_point:
        t = t.to("cpu", torch.float64)
    elif t.dtype.is_complex:
        t = torch.view_as_real(t.to("cpu", torch.complex128))
    elif t.dtype != torch.bool:
        t = t.to("cpu", torch.int64)
    return np.array(t.cpu().numpy())


# PyTorch detaches each result that it saves for the backward pass, and transposes each weight: these need no copy.
VIEWS = frozenset((torch.ops.aten.detach.default, torch.ops.aten.t.default, torch.ops.aten.transpose.int))


def of_view(func: Any, args: Any, value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """The numbers of what a call of one of VIEWS gives of a tensor whose numbers are `value`, in the same memory.

    None where they have to be copied.
    """
    if func is torch.ops.aten.detach.default or value.ndim == 0:
        return value
    if args[0].is_complex():  # its parts lie along one more axis
        return None
    return value.T if func is torch.ops.aten.t.default else np.swapaxes(value, args[1], args[2])


def autocast_of(result: Any) -> str | None:
    """The dtype of the autocast that the call of a dispatch mode was made under, if any."""
    kind = result.device.type if isinstance(result, torch.Tensor) else "cpu"
    if not torch.amp.is_autocast_available(kind):  # of tensors without numbers there is none
        return None
    with torch._C._RestorePythonTLSSnapshot():  # below the caller's state: within the mode autocast is off
        return str(torch.get_autocast_dtype(kind)).removeprefix("torch.") if torch.is_autocast_enabled(kind) else None
