"""Small modules of the kinds that people train, to be run by every runner in every mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .proofs import Square


class Sequence(nn.Module):
    """The outputs of a recurrent network, without its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(2, 3, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (batch, time, 2) -> (batch, time, 3)."""
        return self.recurrent(x)[0]  # type: ignore[no-any-return]


class Attention(nn.Module):
    """A sequence that attends to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (batch, time, 4) -> the same."""
        return self.heads(x, x, x)[0]  # type: ignore[no-any-return]


class Squared(nn.Module):
    """A linear layer and a custom Function with rules of its own for every mode but vmap."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (batch, 3) -> (batch, 2)."""
        return Square.apply(self.linear(x))  # type: ignore[no-any-return]


MADE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MLP": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), (3, 3)),
    "convolution, batch norm": (lambda: nn.Sequential(nn.Conv2d(2, 2, 2), nn.BatchNorm2d(2), nn.ReLU()), (2, 2, 4, 4)),
    "dropout": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2)), (3, 3)),
    "LSTM": (Sequence, (2, 3, 2)),
    "attention": (Attention, (2, 3, 4)),
    "custom Function": (Squared, (2, 3)),
}


def made(name: str) -> tuple[nn.Module, torch.Tensor]:
    """The module in train mode with float64 parameters, and its input; the same numbers each time."""
    build, shape = MADE[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build().double()
        return module, torch.randn(*shape, dtype=torch.float64)


def unexplained(frame: Any) -> list[str]:
    """Cells of a frame, as "runner mode" with what was said, that neither agree, nor are one unsupported row with its
    reason, nor are wrong in a way that is a known issue of PyTorch.
    """
    found = []
    for (runner, mode), rows in frame.groupby(["runner", "mode"], sort=False):
        verdicts = set(rows["verdict"])
        one = len(rows) == 1 and verdicts == {"unsupported"} and bool(rows["message"].iloc[0])
        wrong = rows[~rows["verdict"].isin(["agree", "convention"])]
        if not one and not wrong["known"].notna().all():
            said = "; ".join(dict.fromkeys(str(m) for m in wrong["message"] if isinstance(m, str) and m))
            found.append(f"{runner} {mode}: {', '.join(sorted(verdicts))} ({said})")
    return found
