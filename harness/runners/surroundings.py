"""What the caller has set around a check and means for the callable alone: autocast, and the default device.

Our own arithmetic, and every backward pass, run without them: PyTorch advises autocast for forward passes alone, and a
tensor of ours must not be made on another device. What autocast has cast it keeps until the outermost autocast ends,
which is the caller's: a parameter that was cast in one run, without a graph perhaps, would be found by the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

KINDS = ("cpu", "cuda", "xpu", "mps")  # device types that have an autocast of their own


@dataclass(frozen=True)
class Surroundings:
    """autocast: (device type, dtype, whether casts are kept) of each that is on; device: the default device, None where
    it is the CPU.
    """

    autocast: tuple[tuple[str, torch.dtype, bool], ...] = ()
    device: torch.device | None = None

    def cast(self) -> AbstractContextManager[Any]:
        """The caller's autocast, for one run of the callable: nothing is found that another run has cast."""
        if not self.autocast:
            return nullcontext()
        if not torch.compiler.is_compiling():
            torch.clear_autocast_cache()
        modes = [torch.autocast(kind, dtype=dtype, cache_enabled=kept) for kind, dtype, kept in self.autocast]
        return modes[0] if len(modes) == 1 else _all(modes)

    def placed(self) -> AbstractContextManager[Any]:
        """The caller's default device."""
        return nullcontext() if self.device is None else self.device

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Within it neither is in force."""
        with ExitStack() as stack:
            for kind, _, _ in self.autocast:
                stack.enter_context(torch.autocast(kind, enabled=False))
            if self.device is not None:
                stack.enter_context(torch.device("cpu"))
            try:
                yield
            finally:
                if self.autocast:
                    torch.clear_autocast_cache()


def surroundings() -> Surroundings:
    """The caller's, at this moment."""
    on = [kind for kind in KINDS if torch.is_autocast_enabled(kind)]
    kept = torch.is_autocast_cache_enabled()
    device = torch.get_default_device()
    casts = tuple((kind, torch.get_autocast_dtype(kind), kept) for kind in on)
    return Surroundings(casts, None if device.type == "cpu" else device)


@contextmanager
def _all(modes: list[Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for mode in modes:
            stack.enter_context(mode)
        yield
