"""Parts of a run that no recorded call shows, though PyTorch has their nodes: another thread, an extension."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from .recorded_run import Recording

OUT_OF_SIGHT = (
    "a tensor with this node was made out of sight of the recording (in another thread, in a C++ extension, before the "
    "call). Make it in the callable itself, in its own thread"
)


def out_of_sight(recording: Recording, traced: Collection[int], used: Collection[int]) -> dict[int, str]:
    """Why a variable that no recorded call made has no reading, where its gradient arrives at a variable in `traced`.

    What a custom Function made outside torch is told otherwise, by the Function's name. One that is not in `used`, the
    variables from which derivatives reach an output, has no gradient: the state of an earlier call, detached.
    """
    found = {}
    for variable, node in recording.unseen.items():
        custom = isinstance(node, torch.autograd.function.BackwardCFunction)
        if variable in used and variable not in traced and not custom and reaches(node, recording, traced):
            found[variable] = f"{node.name()}: {OUT_OF_SIGHT}"
    return found


def reaches(node: Any, recording: Recording, traced: Collection[int]) -> bool:
    """Whether what passes a node arrives at one of the variables."""
    met: set[Any] = set()
    waiting = [node]
    while waiting:
        for before, number in waiting.pop().next_functions:
            if before is None:
                continue
            key = (id(before.variable), 0) if hasattr(before, "variable") else (before, number)
            if recording.edges.get(key) in traced:
                return True
            if before not in met:
                met.add(before)
                waiting.append(before)
    return False
