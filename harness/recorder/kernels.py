"""Runs an ATen call that has arrived at a dispatch mode, or an operator that is differentiated by its inner calls."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch._library.autograd
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from .nested import replaced

# Of a zero without memory these two read memory, and the process dies, where a mode calls them: it calls their kernel
# past the one that knows such zeros (torch 2.13). Without a mode both are right.
READS_MEMORY = frozenset((torch.ops.aten.mul.Scalar, torch.ops.aten.add.Scalar))
_TORCH = os.path.dirname(torch.__file__) + os.sep
_GENERATED = torch._library.autograd.__file__  # where `custom_op` makes the Function of an operator


def run_kernel(func: Any, args: Any, kwargs: Any) -> Any:
    """What the call gives."""
    if func in READS_MEMORY and args[0]._is_zerotensor():
        args = (args[0].clone(), *args[1:])
    return func(*args, **kwargs)


def is_opened(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether this call of an operator (`torch.library`) is what its kernel calls: nothing is registered for its
    autograd, so that PyTorch runs the kernel with autograd on and differentiates through those calls.

    Not where nothing requires a gradient, and not for tensors with a dispatch of their own, as torch.func's have.
    """
    if func.namespace == "aten":
        return False
    tensors = _tensors(args, kwargs)
    if not tensors or (torch.is_grad_enabled() and not any(t.requires_grad for t in tensors)):
        return False
    plain = all(t.layout == torch.strided and not is_traceable_wrapper_subclass(t) for t in tensors)
    transformed = torch._C._functorch.peek_interpreter_stack() is not None
    return plain and not transformed and not _has_autograd(func.name(), _key(tensors))


def run_opened(mode: AbstractContextManager[Any], func: Any, args: Any, kwargs: Any) -> Any:
    """What such a call gives; the calls that its kernel makes are differentiated as without any mode, under `mode`."""
    key = torch._C._parse_dispatch_key(_key(_tensors(args, kwargs)))
    with torch._C._RestorePythonTLSSnapshot(), mode:
        if not func._schema.is_mutable:  # as the dispatcher does before it calls a kernel
            args, kwargs = replaced((args, kwargs), torch.Tensor, lambda t: t.resolve_conj().resolve_neg())
        return func.redispatch(torch._C.DispatchKeySet(key), *args, **kwargs)


def is_generated(func: Any) -> bool:
    """Whether this call of an operator that writes into its arguments comes from the Function that `custom_op` makes,
    which switches gradients off although the caller has them on, and passes nothing for what is written.
    """
    frame: Any = sys._getframe(2) if func.namespace != "aten" and func._schema.is_mutable else None
    while frame is not None and frame.f_code.co_filename.startswith(_TORCH):
        if frame.f_code.co_filename == _GENERATED and frame.f_code.co_name == "forward":
            return True
        frame = frame.f_back
    return False


def _tensors(args: Any, kwargs: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    replaced((args, kwargs), torch.Tensor, found.append)
    return found


def _key(tensors: list[torch.Tensor]) -> str:
    """The dispatch key of a kernel for these tensors."""
    return torch._C._dispatch_key_for_device(tensors[0].device.type)


def _has_autograd(name: str, key: str) -> bool:
    """Whether a kernel is registered for the autograd of an operator, other than one that passes on to the next."""
    keys = [k for k in ("Autograd", f"Autograd{key}") if torch._C._dispatch_has_kernel_for_dispatch_key(name, k)]
    return any(not torch._C._dispatch_kernel_for_dispatch_key_is_fallthrough(name, k) for k in keys)
