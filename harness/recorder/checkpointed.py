"""The callable inside a reentrant checkpoint, run once more with a graph, as the backward pass of the checkpoint does.

Its first run is without a graph, whatever no_grad of its own it has: only the second one can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .functions import CHECKPOINT, behind, in_custom_functions
from .preserving import random_state, untouched
from .recorded_run import Recording
from .recording import capture


def second_run(context: Any) -> tuple[Callable[..., Any], list[torch.Tensor], list[int]]:
    """The run that a checkpoint makes in its backward pass, with the same inputs, random state and autocast.

    context: its autograd node. Returns a function of the arguments that require a gradient, leaves with their values,
    and their positions.
    """
    values = list(context.inputs)
    for i, t in zip(context.tensor_indices, context.saved_tensors, strict=True):
        values[i] = t.detach().clone(memory_format=torch.preserve_format).requires_grad_(t.requires_grad)
    positions = [i for i in context.tensor_indices if values[i].requires_grad]

    def call(*tensors: torch.Tensor) -> Any:
        for i, t in zip(positions, tensors, strict=True):
            values[i] = t
        if context.preserve_rng_state:
            torch.set_rng_state(context.fwd_cpu_state)
        with torch.autocast("cpu", **context.cpu_autocast_kwargs):
            return context.run_function(*values)

    return call, [values[i] for i in positions], positions


def held_inside(recording: Recording, module: torch.nn.Module | None) -> set[int]:
    """The calls of a run that are inside a reentrant checkpoint and under a no_grad of their own."""
    held: set[int] = set()
    for node in dict.fromkeys(owner for owner, _ in recording.edges if not isinstance(owner, int)):
        if node.name() != CHECKPOINT:
            continue
        call, inputs, _ = second_run(node)
        try:
            with random_state(), untouched(module):
                again = capture(call, *inputs)
        except Exception:  # it runs but once: what the first run shows is all there is
            continue
        nested = in_custom_functions(again)
        alone = {i for i, made in enumerate(again.calls) if not made.grad_enabled and i not in nested}
        calls = _called_again(recording, node, again)
        held |= {calls[i] for i in alone | held_inside(again, module) if i in calls}
    return held


def _called_again(recording: Recording, node: Any, again: Recording) -> dict[int, int]:
    """Call of a checkpoint's second run -> the same call of the recorded run; empty where they cannot be found.

    Detaching is left out: with a graph PyTorch detaches an output that it saves.
    """
    first, second = (
        [(i, c.qualified) for i, c in enumerate(run.calls) if c.name != "aten::detach"] for run in (recording, again)
    )
    outputs = [variable for (owner, _), variable in recording.edges.items() if owner is node]
    behind_it = behind(recording, outputs, set(), node._sequence_nr())
    known = [k for k, (i, _) in enumerate(first) if i in behind_it]
    n, wanted = len(second), [name for _, name in second]
    for k in range(max(0, known[-1] + 1 - n), known[0] + 1) if known else ():
        if [name for _, name in first[k : k + n]] == wanted:
            return {j: i for (i, _), (j, _) in zip(first[k : k + n], second, strict=True)}
    return {}
