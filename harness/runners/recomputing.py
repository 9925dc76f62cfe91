"""Checkpoints that were told not to keep the random state: what they recompute is drawn anew, which PyTorch documents.

torch.utils.checkpoint: "preserve_rng_state: omit stashing and restoring the RNG state during each checkpoint." Where
the gradients agree once it is kept after all, the difference is that choice, a convention; any other stays a mismatch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.utils.checkpoint as module

DOCUMENTED = (
    "checkpoint(preserve_rng_state=False) draws other random numbers when it recomputes, as documented; where it keeps "
    "the random state the gradients agree"
)


@contextmanager
def watched_checkpoints(keep: bool) -> Iterator[list[bool]]:
    """Within it, the list grows with each checkpoint that is told not to keep the random state; keep: it does so after
    all.
    """
    told: list[bool] = []
    plain, reentrant = module._checkpoint_without_reentrant_generator, module.CheckpointFunction

    def asked(preserve: bool) -> bool:
        if not preserve:
            told.append(True)
        return preserve or keep

    def generator(fn: Any, preserve_rng_state: bool = True, *args: Any, **kwargs: Any) -> Any:
        return plain(fn, asked(preserve_rng_state), *args, **kwargs)

    class Reentrant:
        @staticmethod
        def apply(fn: Any, preserve: bool, *args: Any) -> Any:
            return reentrant.apply(fn, asked(preserve), *args)

    module._checkpoint_without_reentrant_generator = generator
    module.CheckpointFunction = Reentrant  # type: ignore[assignment,misc]
    try:
        yield told
    finally:
        module._checkpoint_without_reentrant_generator = plain
        module.CheckpointFunction = reentrant  # type: ignore[misc]
