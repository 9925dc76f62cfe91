"""A real network in lock step: a two-layer classifier on scikit-learn's digits, trained in both engines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ...reference_engine import ops, trace
from ...reference_engine.program import Program
from ...reference_engine.reverse import reverse
from ...reference_engine.transforms import value_and_grad
from ..judgement.judging import THRESHOLD, Judgement, Question, judge
from ..judgement.plans import started
from ..judgement.rows import Rows

STEPS, BATCH, HIDDEN, RATE = 100, 128, 32, 0.5


@dataclass
class LockStep:
    """What the two trainings gave, step by step. apart: greatest difference of any weight between the engines after the
    step.
    """

    z: list[float] = field(default_factory=list)
    loss_torch: list[float] = field(default_factory=list)
    loss_witness: list[float] = field(default_factory=list)
    apart: list[float] = field(default_factory=list)
    judgements: list[list[Judgement]] = field(default_factory=list)
    accuracy: float = 0.0

    def as_plot(self) -> dict[str, Any]:
        """The dictionary that the report plots."""
        return {
            "step": list(range(1, len(self.z) + 1)),
            "z": self.z,
            "loss_torch": self.loss_torch,
            "loss_witness": self.loss_witness,
            "threshold": THRESHOLD,
            "title": f"Two-layer classifier on digits, {len(self.z)} steps, batch {BATCH}",
        }


def loss(w1: Any, b1: Any, w2: Any, b2: Any, x: Any, labels: Any) -> Any:
    """Mean cross entropy of softmax(tanh(x w1 + b1) w2 + b2).  x: (n, 64), labels: one-hot (n, 10) -> scalar, nats."""
    hidden = ops.tanh(ops.matmul(x, w1) + b1)
    return -ops.mean(ops.sum(ops.log_softmax(ops.matmul(hidden, w2) + b2, axis=1) * labels, axis=1))


def digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The bundled digits: images as (1797, 64) in [0, 1], labels as integers."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return np.asarray(data.data, dtype=np.float64) / 16.0, np.asarray(data.target, dtype=np.int64)


def run(steps: int = STEPS, seed: int = 0, rows: Rows | None = None) -> LockStep:
    """Train in both engines and compare the four gradients at every step, at PyTorch's weights of that step.

    Each engine follows its own gradients with plain gradient descent; `apart` shows that the two stay together.
    float64.
    """
    images, targets = digits()
    rng = np.random.default_rng(seed)
    start = [
        rng.standard_normal((64, HIDDEN)) / 8.0,
        np.zeros(HIDDEN),
        rng.standard_normal((HIDDEN, 10)) / np.sqrt(HIDDEN),
        np.zeros(10),
    ]
    ours = [w.copy() for w in start]
    theirs = [torch.from_numpy(w.copy()).requires_grad_() for w in start]
    one_hot = np.eye(10)
    step_of = value_and_grad(loss, argnums=(0, 1, 2, 3))
    program = trace(loss, *start, np.zeros((BATCH, 64)), np.zeros((BATCH, 10)))
    result = LockStep()
    for step in range(steps):
        chosen = rng.choice(len(images), BATCH, replace=False)
        x, labels = images[chosen], one_hot[targets[chosen]]
        tx, t_target = torch.from_numpy(x), torch.from_numpy(targets[chosen])
        hidden = torch.tanh(tx @ theirs[0] + theirs[1])
        value = torch.nn.functional.cross_entropy(hidden @ theirs[2] + theirs[3], t_target)
        gradients = torch.autograd.grad(value, theirs)
        judgements = _judge_step(
            program, [w.detach().numpy() for w in theirs], x, labels, [g.numpy() for g in gradients]
        )
        own_value, own = step_of(*ours, x, labels)
        with torch.no_grad():
            for w, g in zip(theirs, gradients, strict=True):
                w -= RATE * g
        ours = [w - RATE * g for w, g in zip(ours, own, strict=True)]
        result.judgements.append(judgements)
        result.z.append(max(j.z for j in judgements))
        result.loss_torch.append(float(value.detach()))
        result.loss_witness.append(float(own_value))
        result.apart.append(max(float(np.abs(a - b.detach().numpy()).max()) for a, b in zip(ours, theirs, strict=True)))
        if rows is not None:
            for name, j in zip(("w1", "b1", "w2", "b2"), judgements, strict=True):
                rows.judged(
                    j,
                    mode="R",
                    quantity="derivative",
                    order=1,
                    wrt=f"{name}, step {step + 1}",
                    dtype="float64",
                    source="lockstep",
                )
    scores = np.tanh(images @ ours[0] + ours[1]) @ ours[2] + ours[3]
    result.accuracy = float((scores.argmax(1) == targets).mean())
    return result


def _judge_step(program: Program, weights: list[Any], x: Any, labels: Any, gradients: list[Any]) -> list[Judgement]:
    wrt = [0, 1, 2, 3]
    inputs = [*weights, x, labels, np.array(1.0)]
    plan, given = started(program, "lockstep", lambda p: reverse(p, wrt), inputs)
    lossy = started(program, "lockstep lossy", lambda p: reverse(p, wrt, lossy=True), inputs)
    return judge(Question(plan, given, gradients, "float64", lossy))
