"""PyTorch's own operator samples (`op_db`) as subjects of comparison."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..judgement.comparing import Subject


@dataclass(frozen=True)
class Entry:
    """One entry of op_db: `name` is its name with the variant after a dot; `info` is PyTorch's OpInfo."""

    name: str
    info: Any

    def supports(self, mode: str) -> str:
        """Why PyTorch itself declares `mode` unsupported for this entry, or "" if it does not."""
        info = self.info
        if "F" in mode and not info.supports_forward_ad:
            return "PyTorch declares no forward-mode derivative"
        if len(mode) > 1 and not info.supports_gradgrad:
            return "PyTorch declares no second derivative"
        if {"R", "F"} <= set(mode) and not info.supports_fwgrad_bwgrad:
            return "PyTorch declares no mixed forward and reverse derivative"
        return ""


def entries() -> list[Entry]:
    """The float64 CPU entries of op_db that support autograd, in its order."""
    from torch.testing._internal.common_methods_invocations import op_db

    return [
        Entry(op.name + (f".{op.variant_test_name}" if op.variant_test_name else ""), op)
        for op in op_db
        if op.supports_autograd and torch.float64 in op.supported_dtypes("cpu")
    ]


def subjects(entry: Entry, seed: int = 0, dtype: torch.dtype = torch.float64) -> Iterator[tuple[int, Subject]]:
    """(number, subject) for every sample of the entry, drawn as `samples_of` says."""
    for number, sample in enumerate(samples_of(entry, seed, dtype)):
        yield number, _subject(entry, sample, seed + number)


def samples_of(entry: Entry, seed: int, dtype: torch.dtype = torch.float64) -> list[Any]:
    """All samples of the entry. Seed 0: as PyTorch's own tests draw them, each from the same state of the generators.
    Any other: the same shapes and flags, with numbers drawn from that seed.
    """
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    return list(entry.info.sample_inputs("cpu", dtype, requires_grad=True, set_seed=seed == 0))


def _subject(entry: Entry, sample: Any, seed: int) -> Subject:
    flat, tree = tree_flatten((sample.input, sample.args, dict(sample.kwargs)))
    return subject_of(entry, flat, tree, sample.output_process_fn_grad, seed)


def subject_of(
    entry: Entry, flat: list[Any], tree: Any, finish: Any, seed: int, operation: Callable[..., Any] | None = None
) -> Subject:
    """The operation of an entry (or another one with its arguments) as a function of those of its flat arguments that
    ask for a gradient.
    """
    operation = operation or entry.info.get_op()
    positions = [i for i, a in enumerate(flat) if isinstance(a, torch.Tensor) and a.requires_grad]
    leaves = []
    for i in positions:
        leaf = flat[i].detach().requires_grad_() if flat[i].layout != torch.strided else _leaf(flat[i])
        leaves.append(leaf)
    # PyTorch's own statement of which inputs the operation is defined on: symmetric, triangular, unmasked entries
    # alone.

    def call(*tensors: torch.Tensor) -> Any:
        filled = [a.detach() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in flat]
        for i, t in zip(positions, tensors, strict=True):
            filled[i] = t
        x, args, kwargs = tree_unflatten(filled, tree)
        result = entry.info.gradcheck_wrapper(operation, x, *args, **kwargs)
        return finish(result) if finish is not None else result

    return Subject(call, leaves, [], [f"input {k}" for k in range(len(leaves))], None, seed)


def _leaf(t: torch.Tensor) -> torch.Tensor:
    from ..recorder.copies import leaf_of

    return leaf_of(t)
