"""The proof of a known issue: one smallest call whose right derivative is known in closed form.

It tells without a campaign whether this torch still has the fault, and a test holds the witness against it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np
import torch

from ..errors import UsageError
from ..judgement.modes import DIRECTIONS, MODES, ask_torch
from ..recorder.preserving import random_state
from ..recorder.recording import to_numpy


class Square(torch.autograd.Function):
    """x² as a custom Function whose rules are right, for faults of PyTorch's in how it runs such rules."""

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        """x²."""
        return x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep x for both rules."""
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        """2 x g."""
        return 2.0 * ctx.saved_tensors[0] * g

    @staticmethod
    def jvp(ctx: Any, t: torch.Tensor) -> torch.Tensor:
        """2 x t."""
        return 2.0 * ctx.saved_tensors[0] * t


NAMES = ("x", "y", "z", "w")
NAMESPACE = {"torch": torch, "math": math, "F": torch.nn.functional, "Square": Square, "inf": math.inf, "nan": math.nan}
FIELDS = set("call inputs mode right raises c t s r answer entry dtype runner define".split())
DIGITS = 50  # decimal digits of the right value
# A number is right if it is the float nearest to the closed form, or one of its near neighbours: torch's own functions
# are within 2 units in the last place, and the calls are single operations. The faults listed are far above it.
NEIGHBOURS = 16


@dataclass(frozen=True)
class Proof:
    """`call`, an expression in x, y, z, w (tensors `inputs`) and Square, asked in `mode` ("" is the value).

    right: a closed form in mpmath's functions, of entry `entry` of answer number `answer` (per output in modes of
    F alone, per input else). raises: what torch says in refusing a derivative, a part of it; `right` is then absent.
    c, t, s, r: cotangents and directions, ones if absent. runner: what runs it, where that is not torch.autograd and
    torch.func; of a runner per sample, `call` takes one sample of the first input, the entry begins with its number.
    define: names that the call uses, each an expression.
    """

    call: str
    inputs: tuple[Any, ...]
    mode: str
    right: str = ""
    raises: str = ""
    c: tuple[Any, ...] = ()
    t: tuple[Any, ...] = ()
    s: tuple[Any, ...] = ()
    r: tuple[Any, ...] = ()
    answer: int = 0
    entry: tuple[int, ...] = ()
    dtype: str = "float64"
    runner: str = ""
    define: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(data: Mapping[str, Any], name: str) -> Proof:
        """From the table of an entry. Raises UsageError naming what is not accepted."""
        unknown = set(data) - FIELDS
        missing = {"call", "inputs", "mode"} - set(data)
        if unknown or missing or bool(data.get("right")) == bool(data.get("raises")):
            raise UsageError(
                f"known issues: the proof of {name} has unknown {sorted(unknown)}, lacks {sorted(missing)}, right = "
                f"{data.get('right')!r}, raises = {data.get('raises')!r}; accepted are {sorted(FIELDS)} with either "
                f"right or raises. Correct the entry."
            )
        if data["mode"] not in ("", *MODES):
            raise UsageError(
                f"known issues: the proof of {name} has mode {data['mode']!r}; accepted are {', '.join(MODES)} and '' "
                f"for the value. Correct the entry."
            )
        return Proof(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})

    def function(self) -> Callable[..., tuple[torch.Tensor, ...]]:
        """The call as a function of its tensors that returns the tuple of its floating outputs."""
        names = dict(NAMESPACE)
        for name, text in self.define.items():
            names[name] = eval(text, names)  # the text is that of our own table, here and below
        called = eval(f"lambda {', '.join(NAMES[: len(self.inputs)])}: {self.call}", names)

        def f(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            result = called(*tensors)
            found = list(result) if isinstance(result, (tuple, list)) else [result]
            return tuple(r for r in found if isinstance(r, torch.Tensor) and r.is_floating_point())

        return f

    def tensors(self, numbers: Sequence[Any]) -> list[torch.Tensor]:
        """Numbers as tensors of the proof's dtype."""
        return [torch.tensor(n, dtype=getattr(torch, self.dtype)) for n in numbers]

    def directions(self) -> tuple[list[torch.Tensor], list[list[torch.Tensor]]]:
        """(c, [t, s, r]) as tensors."""
        x = self.tensors(self.inputs)
        with random_state():
            ones = [torch.ones_like(y) for y in self.function()(*x)]
        along = [self.tensors(getattr(self, name)) or [torch.ones_like(a) for a in x] for name in DIRECTIONS]
        return self.tensors(self.c) or ones, along

    def right_value(self) -> float:
        """The closed form, rounded once."""
        with mpmath.workdps(DIGITS):
            return float(self.right_number())

    def right_number(self) -> Any:
        """The closed form, in the precision that mpmath is set to."""
        return mpmath.mpf(eval(self.right, {**vars(mpmath), "__builtins__": {}}))  # the text is that of our own table

    def torch_value(self) -> float:
        """What torch answers. Raises what torch raises."""
        x = self.tensors(self.inputs)
        with random_state(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.mode == "":
                answers: Sequence[torch.Tensor | None] = self.function()(*x)
            elif self.runner:
                answers = self._by_runner(x)
            else:
                answers = ask_torch(self.function(), x, *self.directions(), self.mode)
        return self.number(None if (a := answers[self.answer]) is None else to_numpy(a))

    def _by_runner(self, x: list[torch.Tensor]) -> Sequence[torch.Tensor | None]:
        """What the runner answers."""
        from ..judgement.subject import Subject
        from ..runners.asking import ask
        from ..runners.expressible import PER_SAMPLE
        from ..runners.per_sample import ask_per_sample, samples_of

        names = list(NAMES[: len(x)])
        subject = Subject(self.function(), [a.requires_grad_() for a in x], [], names, None, 0)
        if self.runner not in PER_SAMPLE:
            c, along = self.directions()
            return ask(self.runner, subject, tuple(c), [tuple(d) for d in along], self.mode, lambda: None)[0]
        samples = samples_of(subject)
        assert not isinstance(samples, str), samples
        inputs = [part.leaves for part in samples]
        ones = [tuple(torch.ones_like(a) for a in leaves) for leaves in inputs]
        c_of = [tuple(torch.ones_like(y) for y in self.function()(*leaves)) for leaves in inputs]
        answers, _ = ask_per_sample(self.runner, subject, c_of, [ones] * len(DIRECTIONS), self.mode)
        return [torch.stack([of[i] for of in answers if of[i] is not None]) for i in range(len(answers[0]))]

    def number(self, answer: Any) -> float:
        """The entry that the proof is about; 0 where there is no derivative at all."""
        if answer is None:
            return 0.0
        entry = self.entry or (0,) * np.ndim(answer)
        return float(np.asarray(answer)[entry])

    def holds(self, value: float) -> bool:
        """Whether a number is the right one."""
        right = self.right_value()
        if not math.isfinite(value) or not math.isfinite(right):
            return value == right
        held = torch.finfo(getattr(torch, self.dtype))  # NumPy has no bfloat16
        spacing = held.eps * max(held.smallest_normal, 2.0 ** (math.frexp(right)[1] - 1) if right else 0.0)
        return abs(value - right) <= NEIGHBOURS * spacing

    def shows(self) -> bool:
        """Whether this torch still has the fault."""
        try:
            value = self.torch_value()
        except Exception as error:  # what torch says is the answer to the question
            return bool(self.raises) and self.raises in str(error)
        return not self.raises and not self.holds(value)
