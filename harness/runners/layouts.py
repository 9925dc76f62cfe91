"""Memory layouts by name: the same numbers held otherwise, and cotangents that arrive transposed or expanded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..recorder.nested import flatten, unflatten

Laid = Callable[[torch.Tensor], torch.Tensor | None]


def _transposed(t: torch.Tensor) -> torch.Tensor | None:
    """The last two axes swapped in memory."""
    return t.mT.contiguous().mT if t.dim() >= 2 else None


def _channels_last(t: torch.Tensor) -> torch.Tensor | None:
    """Axis 1 innermost in memory, of images (4 axes) and volumes (5)."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return t.contiguous(memory_format=formats[t.dim()]) if t.dim() in formats else None


def _expanded(t: torch.Tensor) -> torch.Tensor | None:
    """The first axis longer than 1 with stride 0. Its entries share their memory, so all hold the numbers of the first:
    the callable is checked at these.
    """
    axis = next((i for i, n in enumerate(t.shape) if n > 1), None)
    return None if axis is None else t.narrow(axis, 0, 1).clone().expand(t.shape)


def _sliced(t: torch.Tensor) -> torch.Tensor | None:
    """Every other entry of the last axis of a buffer that is NaN everywhere else: before, between and behind."""
    shape = t.shape or torch.Size((1,))
    buffer = torch.full((*shape[:-1], 2 * shape[-1] + 1), torch.nan, dtype=t.dtype, device=t.device)
    places = buffer[..., 1::2]
    places.copy_(t.reshape(shape))
    return places if t.dim() else places[0]


_INPUTS: dict[str, Laid] = {
    "contiguous": lambda t: t.contiguous(),
    "transposed": _transposed,
    "channels_last": _channels_last,
    "expanded": _expanded,
    "sliced": _sliced,
}
# What follows the callable so that the cotangent of its outputs arrives in another layout: the derivative of a
# transpose is a transpose, that of a sum is an expansion.
_OUTPUTS: dict[str, Laid] = {
    "cotangents_transposed": lambda y: y.mT if y.dim() >= 2 else None,
    "cotangents_expanded": lambda y: y.sum(0) if y.dim() and len(y) > 1 else None,
}
LAYOUTS = (*_INPUTS, *_OUTPUTS)


def laid_out(t: torch.Tensor, layout: str) -> torch.Tensor | None:
    """The numbers of `t` in a layout of the inputs, in memory of their own; None where a tensor of its shape has no
    such layout. For "expanded" the numbers change too.

    layout: contiguous, transposed, channels_last, expanded or sliced.
    """
    if t.layout != torch.strided:
        return None
    return _INPUTS[layout](t.detach().clone(memory_format=torch.preserve_format))


def of_inputs(inputs: Any, layout: str, convert: Laid = lambda t: t) -> Any | None:
    """Every floating or complex tensor in nested `inputs` in that layout, the others and what has no such layout as
    they are; None where none has it. convert: done before, such as to another dtype.
    """
    leaves, nest = flatten(inputs)
    found: dict[int, Any] = {}  # a tensor that is given twice stays one tensor
    any_has_it = False
    for a in leaves:
        if not isinstance(a, torch.Tensor) or not (a.is_floating_point() or a.is_complex()) or id(a) in found:
            continue
        converted = convert(a)
        laid = None if converted is None else laid_out(converted, layout)
        any_has_it |= laid is not None
        found[id(a)] = a if laid is None else laid
    return unflatten([found.get(id(a), a) for a in leaves], nest) if any_has_it else None


def concerns_outputs(layout: str) -> bool:
    """Whether a layout is one of the cotangents, and follows the callable, instead of one of the inputs."""
    return layout in _OUTPUTS


def after(result: Any, layout: str) -> Any:
    """What follows the callable for a layout of cotangents; outputs that cannot have it stay as they are."""
    leaves, nest = flatten(result)
    return unflatten([y if (changed := _changed(y, layout)) is None else changed for y in leaves], nest)


def changes(result: Any, layout: str) -> bool:
    """Whether some output can have a layout of cotangents."""
    return any(_changed(y, layout) is not None for y in flatten(result)[0])


def _changed(y: Any, layout: str) -> torch.Tensor | None:
    if not isinstance(y, torch.Tensor) or y.layout != torch.strided or y.dtype == torch.complex32:  # which has no sum
        return None
    return _OUTPUTS[layout](y) if y.is_floating_point() or y.is_complex() else None
