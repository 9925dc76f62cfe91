"""Where and how the tensors of a check are held: on which device and in which memory layout; and in-place variants."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch

from ..errors import UsageError
from ..recorder.copies import fresh
from ..recorder.nested import flatten, tensors_in, unflatten
from ..recorder.preserving import random_state, untouched
from .calling import Calling
from .expressible import NotExpressible
from .layouts import LAYOUTS, after, changes, concerns_outputs, of_inputs

GIVEN = "strided"  # the frame's word for the layout that the tensors came in


@dataclass(frozen=True)
class Arrangement:
    """A layout and a device; None for what the tensors have already."""

    layout: str | None = None
    device: str | None = None

    def columns(self, inputs: Any) -> dict[str, str]:
        """How the rows of the frame name it."""
        here = next((str(t.device) for t in tensors_in(inputs)), "cpu")
        return {"layout": self.layout or GIVEN, "device": self.device or here}

    def of(
        self,
        fn: Callable[..., Any],
        module: torch.nn.Module | None,
        inputs: Any,
        kwargs: Mapping[str, Any],
        convert: Callable[[torch.Tensor], torch.Tensor],
    ) -> tuple[Any, Mapping[str, Any]]:
        """Inputs and keyword arguments so arranged. Raises NotExpressible where that cannot be.

        convert: to the precision that was asked for, which comes before the layout.
        """
        if self.device is not None:
            if (reason := absent(self.device)) is not None:
                raise NotExpressible(reason)
            leaves, nest = flatten((inputs, dict(kwargs)))
            moved = {id(a): a.detach().to(self.device) for a in leaves if isinstance(a, torch.Tensor)}
            inputs, kwargs = unflatten([moved.get(id(a), a) for a in leaves], nest)
        if self.layout is None:
            return inputs, kwargs
        if concerns_outputs(self.layout):
            self._look_at_outputs(fn, module, inputs, kwargs, convert)
            return inputs, kwargs
        arranged = of_inputs((inputs, dict(kwargs)), self.layout, lambda t: convert(t).detach())
        if arranged is None:
            shapes = [tuple(t.shape) for t in tensors_in((inputs, dict(kwargs)))]
            raise NotExpressible(f"layout {self.layout}: no input has a shape that can be held so (shapes {shapes})")
        return arranged

    def _look_at_outputs(
        self,
        fn: Callable[..., Any],
        module: torch.nn.Module | None,
        inputs: Any,
        kwargs: Mapping[str, Any],
        convert: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        """Run once to see whether some output can get such a cotangent; raise NotExpressible where none can."""
        leaves, nest = flatten((inputs if isinstance(inputs, tuple) else (inputs,), dict(kwargs)))
        args, named = unflatten([fresh(convert(a)) if isinstance(a, torch.Tensor) else a for a in leaves], nest)
        try:
            with torch.no_grad(), random_state(), untouched(module):
                result = fn(*args, **named)
        except Exception:  # the run that is compared raises it again, and has a row for it
            return
        assert self.layout is not None
        if not changes(result, self.layout):
            raise NotExpressible(f"layout {self.layout}: no output has the axes for such a cotangent")

    @contextmanager
    def holding(self, module: torch.nn.Module | None) -> Iterator[None]:
        """Within it, a module's parameters and buffers are on the device; `untouched` around it puts theirs back."""
        made: dict[int, torch.Tensor] = {}
        if module is not None and self.device is not None:
            for m in module.modules():
                for table in (m._parameters, m._buffers):
                    for name, t in list(table.items()):
                        if t is None or t.device == torch.device(self.device):
                            continue
                        if id(t) not in made:
                            other = t.detach().to(self.device)
                            is_parameter = isinstance(t, torch.nn.Parameter)
                            made[id(t)] = torch.nn.Parameter(other, t.requires_grad) if is_parameter else other
                        table[name] = made[id(t)]  # type: ignore[assignment]
        yield

    def arranged(self, calling: Calling) -> Calling:
        """The call with what follows it, where the layout is one of cotangents."""
        layout = self.layout
        if layout is None or not concerns_outputs(layout):
            return calling
        return replace(calling, after=lambda result: after(result, layout))


def arrangements(layouts: Sequence[str] | None, devices: Sequence[str] | None) -> list[Arrangement]:
    """Every layout on every device. Raises UsageError for a name that is not accepted."""
    for layout in layouts or ():
        if layout not in LAYOUTS:
            raise UsageError(
                f"layout {layout!r}: accepted are {', '.join(LAYOUTS)}. Choose one of them, or leave layouts out for "
                "the strides given."
            )
    for device in devices or ():
        try:
            torch.device(device)
        except RuntimeError as error:
            raise UsageError(
                f"device {device!r}: {str(error).splitlines()[0]}; accepted are names such as 'cpu' and 'cuda:0'. "
                "Correct it, or leave devices out for the devices given."
            ) from error
    if layouts == () or devices == ():
        raise UsageError(
            f"check: layouts={layouts!r}, devices={devices!r}; accepted is at least one of each. Name one, or leave "
            "the argument out."
        )
    return [Arrangement(layout, device) for device, layout in product(devices or (None,), layouts or (None,))]


def absent(device: str) -> str | None:
    """Why a device is not here; None if it is."""
    wanted = torch.device(device)
    if wanted.type == "cpu":
        return None
    backend = getattr(torch, wanted.type, None)
    if backend is None or not hasattr(backend, "is_available") or not backend.is_available():
        return f"device {device}: none is present here"
    if wanted.index is not None and wanted.index >= backend.device_count():
        return f"device {device}: {backend.device_count()} of them are present here"
    return None


def in_place_variant(fn: Callable[..., Any]) -> Callable[..., Any]:
    """For a single torch function (torch.relu, torch.nn.functional.elu, torch.Tensor.exp) its in-place variant, applied
    to a copy of its first argument. Raises NotExpressible where `fn` is no such function or has no such variant.
    """
    name = getattr(fn, "__name__", "")
    homes = [h for h in (torch, torch.nn.functional, torch.special, torch.Tensor) if getattr(h, name, None) is fn]
    if not homes:
        raise NotExpressible(f"in place: {getattr(fn, '__qualname__', type(fn).__name__)} is no single torch function")
    places = (getattr(torch.Tensor, f"{name}_", None), getattr(torch.nn.functional, f"{name}_", None))
    in_place = next((f for f in places if f is not None), None)
    if in_place is None:
        raise NotExpressible(f"in place: torch has no {name}_")

    def variant(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return in_place(x.clone(memory_format=torch.preserve_format), *args, **kwargs)

    variant.__name__ = variant.__qualname__ = f"{name}_"
    try:
        variant.__signature__ = inspect.signature(fn)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        pass  # most of torch's functions have none; arguments are then named by number
    return variant
