"""Custom operators (`torch.library`) in the autograd graph, whose backward PyTorch wraps in a class of its own."""

from __future__ import annotations

from types import CodeType, FunctionType
from typing import Any

import torch

_MODULE = "torch._library.autograd"


def operator_name(node: Any) -> str:
    """ "mylib::op.default" for the node of a custom operator with a registered backward; "" for any other node."""
    found = _closed_over(node)
    return f"{found['op']._schema.name}.{found['op']._overloadname}" if "op" in found else ""


def registered_code(node: Any) -> CodeType | None:
    """The code of the backward that the user registered for a custom operator; None for any other node."""
    backward = getattr(_closed_over(node).get("info"), "_backward_fn", None)
    return getattr(backward, "__code__", None)


def _closed_over(node: Any) -> dict[str, Any]:
    """`op` and `info`, which the backward of PyTorch's generated class closes over; empty for any other node.

    An operator on lists of tensors has that backward wrapped once more. These names are not documented: where a version
    of PyTorch has others, the node is shown under the generated class's name.
    """
    if not isinstance(node, torch.autograd.function.BackwardCFunction):
        return {}
    waiting = [getattr(getattr(type(node), "_forward_cls", None), "backward", None)]
    while waiting:
        function = waiting.pop()
        if not isinstance(function, FunctionType) or not function.__module__.startswith(_MODULE):
            continue
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        held = {name: cell.cell_contents for name, cell in cells}
        if isinstance(held.get("op"), torch._ops.OpOverload):
            return held
        waiting += held.values()
    return {}
