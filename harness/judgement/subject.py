"""What is compared: a function of leaves, its recorded run as the witness reads it, and its cotangents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import CannotRecord, NothingReturned, TheirsRaised
from ..recorder.checkpointed import held_inside
from ..recorder.preserving import random_state, untouched
from ..recorder.recorded_run import Recording
from ..recorder.recording import captured
from ..recorder.witnessing import Witnessed, witness
from .looking_again import given_copies


@dataclass
class Subject:
    """A function of leaves: `call(*inputs)`; `parameters` are leaves it closes over. names: one per input, then one per
    parameter. thorough: the callable is a user's, so that cut graphs and runs that differ are looked for. asked: per
    leaf, whether the user has it require a gradient. written: set once the callable is known to write into an input.
    arriving: of the outputs, the cotangents that they are to get; random ones where it gives None. watchful: the run is
    recorded so that writes are seen which no call shows. spoiled: what it writes into these cotangents, others meet.
    """

    call: Callable[..., Any]
    inputs: list[torch.Tensor]
    parameters: list[torch.Tensor]
    names: list[str]
    module: torch.nn.Module | None = None
    seed: int = 0
    thorough: bool = False
    asked: Sequence[bool] = ()
    written: str | None = None
    arriving: Callable[[Sequence[torch.Tensor]], list[torch.Tensor | None] | None] = lambda outputs: None
    watchful: bool = False
    spoiled: bool = False

    @property
    def leaves(self) -> list[torch.Tensor]:
        return [*self.inputs, *self.parameters]

    @property
    def dtype(self) -> str:
        return str(self.leaves[0].dtype).removeprefix("torch.") if self.leaves else "float64"


def record(subject: Subject, mode: str = "R") -> tuple[Recording, Witnessed, list[int]]:
    """The recorded run of the subject, the witness's reading of it for a mode, and the recorded variables of its
    leaves.

    Tangents flow through no_grad, which PyTorch documents; adjoints do not.
    """
    before = [x.detach().clone() for x in subject.inputs] if subject.thorough else []
    with random_state(), untouched(subject.module) as written:
        try:
            recording = captured(subject.call, subject.inputs, {}, subject.watchful)
        except CannotRecord:
            raise
        except Exception as error:
            if given_copies(subject, error):
                return record(subject, mode)
            raise TheirsRaised(error) from error
        leaves = dict(zip([id(t) for t in subject.inputs], recording.inputs, strict=True))
        leaves.update({id(t): index for index, t in recording.leaves.items()})
    recording.written = written
    if given_copies(subject, None, before):
        return record(subject, mode)
    outputs = [t for t in recording.torch_outputs if t.is_floating_point() or t.is_complex()]
    if any(t.is_meta for t in outputs):
        raise NothingReturned(
            "check: the callable returned a tensor on the meta device, without numbers; accepted are tensors with "
            "numbers. Make what it creates on the device of its inputs."
        )
    if not outputs:
        raise NothingReturned(
            f"check: the callable returned {_returned(recording)} without a floating tensor; accepted are "
            f"tensors, alone or nested in tuples, lists, dictionaries. Return the loss or the outputs."
        )
    if "R" in mode:
        recording.held = held_inside(recording, subject.module)
    wrt = [leaves.get(id(t), -1) for t in subject.leaves]
    used = [v for v in dict.fromkeys(wrt) if v >= 0]
    return recording, witness(recording, used, cut_no_grad="R" in mode, only_adjoints=set(mode) == {"R"}), wrt


def _returned(recording: Recording) -> str:
    """The type of the result, and the dtypes of its tensors."""
    dtypes = sorted({str(t.dtype).removeprefix("torch.") for t in recording.torch_outputs})
    return type(recording.result).__name__ + (f" of {', '.join(dtypes)}" if dtypes else "")


def cotangents(outputs: Sequence[torch.Tensor], seed: int) -> list[torch.Tensor | None]:
    """1 for a single scalar; otherwise standard normal numbers drawn from the seed. None for outputs that are not
    floating.
    """
    generator = torch.Generator().manual_seed(seed)
    floating = [t for t in outputs if t.is_floating_point() or t.is_complex()]
    if len(floating) == 1 and floating[0].dim() == 0 and not floating[0].is_complex():
        return [torch.ones_like(t) if t is floating[0] else None for t in outputs]

    def drawn(t: torch.Tensor) -> torch.Tensor:
        parts = [torch.randn(t.shape, generator=generator, dtype=torch.float64) for _ in range(1 + t.is_complex())]
        return (torch.complex(*parts) if t.is_complex() else parts[0]).to(t.dtype).to(t.device)

    return [drawn(t) if t.is_floating_point() or t.is_complex() else None for t in outputs]
