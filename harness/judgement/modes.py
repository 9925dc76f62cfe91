"""Mode strings: how PyTorch is asked for a derivative, outermost first, and the one reference that each answer meets.

R reverse, F forward. With L(x) = Σ Re⟨c, f(x)⟩ and directions t, s, r, a string of n letters asks for Dⁿf[t, s, r]
where all are F, one tensor per output, and for ∇ⁿL[t, s] else, one tensor per input. So R is ∇L, F is Df[t], RR, FR
and RF are ∇²L t, and all of order 3 but FFF are ∇³L[t, s]. Of a complex z = x + iy the witness differentiates the pair
(x, y), with the scalar product Re⟨g, t⟩.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, TypeVar

import numpy as np
import torch

from ...reference_engine.forward import forward
from ...reference_engine.program import Program
from ...reference_engine.reverse import reverse
from ...reference_engine.simplify import simplify
from ..errors import UsageError
from ..recorder.copies import apart
from .judging import Question
from .plans import started

ORDERS = (1, 2, 3)
MODES = ("R", "F", "RR", "FR", "RF", "FF", *("".join(letters) for letters in product("RF", repeat=3)))
UNASKED = tuple(mode for mode in MODES if len(mode) < 3)  # what a campaign asks for that is not told otherwise
DIRECTIONS = "tsr"
Tensors = tuple[torch.Tensor, ...]
Flat = Callable[..., Tensors]
Answers = list[torch.Tensor | None]
T = TypeVar("T")


def accepted_mode(mode: str) -> str:
    """`mode` if it is one of MODES. Raises UsageError otherwise."""
    if mode not in MODES:
        raise UsageError(
            f"mode {mode!r}: accepted are {', '.join(MODES)} (R reverse, F forward, outermost first). Choose one of "
            f"them."
        )
    return mode


def per_output(mode: str) -> bool:
    """Whether a mode has one answer per output, not per input."""
    return "R" not in mode


def lower(mode: str) -> tuple[str, ...]:
    """The modes of lower order, highest first and innermost first, through which an error enters a derivative asked in
    `mode`: its parts in a row, as R and F are of FR.
    """
    n = len(mode)
    return tuple(dict.fromkeys(mode[i : i + k] for k in range(n - 1, 0, -1) for i in range(n - k, -1, -1)))


def steps(mode: str) -> Iterator[tuple[str, str]]:
    """Each letter from the innermost on, and the name of what it takes: c the first R, any other the next of t, s, r.

    RFR: the gradient of L = Σ Re⟨c, f⟩, its derivative along t, and the gradient of that in the direction s.
    """
    directions, reversed_before = iter(DIRECTIONS), False
    for letter in reversed(mode):
        yield letter, next(directions) if letter == "F" or reversed_before else "c"
        reversed_before = reversed_before or letter == "R"


def named(c: T, directions: Sequence[T]) -> Mapping[str, T]:
    """Cotangents and directions by the names that `steps` gives them."""
    return dict(zip("c" + DIRECTIONS, (c, *directions), strict=False))


def ask_torch(
    fn: Flat,
    x: Sequence[torch.Tensor],
    c: Sequence[torch.Tensor],
    directions: Sequence[Sequence[torch.Tensor]],
    mode: str,
) -> Answers:
    """PyTorch's answer in `mode`: by the tape where all is reverse, else by torch.func.

    fn: maps tensors to a tuple of floating tensors. c: cotangents, one per output; directions: t, s, r as far as the
    mode takes them, each one tensor per input. Raises what PyTorch raises.
    """
    # copies: a write in place changes the tangent of what it writes into as well
    given = named(tuple(c), [tuple(apart(d) for d in tensors) for tensors in directions])
    if "F" in mode:
        return list(nested(fn, given, mode)(*(apart(p) for p in x)))
    leaves = [apart(p).requires_grad_() for p in x]
    answers: Sequence[torch.Tensor | None] = fn(*leaves)
    for order, (_, name) in enumerate(steps(mode), 1):
        answers = gradient(answers, given[name], leaves, order < len(mode))
    return list(answers)


def nested(fn: Flat, given: Mapping[str, Tensors], mode: str) -> Flat:
    """The derivative of `fn` by torch.func.grad and torch.func.jvp, nested as `mode` says, as a function."""
    for letter, name in steps(mode):
        fn = (_reversed if letter == "R" else _forwarded)(fn, given[name])
    return fn


def _reversed(fn: Flat, weights: Tensors) -> Flat:
    return lambda *x: torch.func.grad(lambda *a: scalar_of(fn(*a), weights), argnums=tuple(range(len(x))))(*x)


def _forwarded(fn: Flat, along: Tensors) -> Flat:
    return lambda *x: torch.func.jvp(fn, x, along)[1]


def scalar_of(outputs: Sequence[torch.Tensor], weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """Σ Re⟨weight, output⟩."""
    products = [y * w.conj() if y.is_complex() else y * w for y, w in zip(outputs, weights, strict=True)]
    first, *others = [torch.real(p).sum() if p.is_complex() else p.sum() for p in products]
    return sum(others, first)


def gradient(
    outputs: Sequence[torch.Tensor | None],
    c: Sequence[torch.Tensor],
    leaves: Sequence[torch.Tensor],
    graph: bool,
) -> Answers:
    """Σ cᵀ ∂outputs/∂leaves by the tape; None where PyTorch has none. graph: to be differentiated again."""
    pairs = [(y, w) for y, w in zip(outputs, c, strict=True) if y is not None and y.requires_grad]
    if not pairs:
        return [None] * len(leaves)
    ys, ws = zip(*pairs, strict=True)
    return list(torch.autograd.grad(ys, list(leaves), ws, create_graph=graph, allow_unused=True))


def direction(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random numbers of the form and dtype of `x`: standard normal ones, in a half precision ±[1, 2), since a factor
    near 0 would hide what leaves its range on the way."""
    drawn = torch.randn(x.shape, generator=generator, dtype=torch.complex128 if x.is_complex() else torch.float64)
    if x.dtype in (torch.float16, torch.bfloat16):
        drawn = torch.copysign(1.0 + drawn.abs().frac(), drawn)
    return drawn.to(x.device, x.dtype)


class Drawn(Sequence[Any]):
    """Standard normal arrays, drawn when the first is asked for: few comparisons need them."""

    def __init__(self, shapes: Sequence[Any], seed: int) -> None:
        self.shapes, self.seed = shapes, seed

    @functools.cached_property
    def arrays(self) -> list[Any]:
        """All of them."""
        rng = np.random.default_rng(self.seed)
        return [rng.standard_normal(s) for s in self.shapes]

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, i: Any) -> Any:
        return self.arrays[i]


def reference(
    program: Program, x: Sequence[Any], c: Sequence[Any], directions: Sequence[Sequence[Any]], mode: str
) -> Question:
    """The witness's side of the same question: a Question whose answers are still to be filled in.

    program: inputs x, one output per cotangent. All values are float64 arrays.
    """
    wrt, given = list(range(len(x))), named(list(c), [list(d) for d in directions])

    def side(mode: str, lossy: bool) -> Any:
        def derive(p: Program) -> Program:
            derived = p
            for letter in reversed(mode):
                inner = derived if derived is p else simplify(derived)
                derived = (reverse if letter == "R" else forward)(inner, wrt, lossy=lossy)
            return derived

        taken = [a for _, name in steps(mode) for a in given[name]]
        return started(program, f"{mode} {len(x)}{' lossy' if lossy else ''}", derive, [*x, *taken])

    # Equal quantities of two nestings are rounded differently (k (t - s) is not k t - k s): the rules that lose digits
    # are nested as PyTorch was asked to nest its own, the exact ones always alike.
    alike = mode if per_output(mode) or len(mode) == 1 else "F" + "R" * (len(mode) - 1)
    plan, values = side(alike, False)
    scales = range(len(x), len(x) + sum(len(given[name]) for _, name in steps(alike)))
    question = Question(plan, values, [], "float64", lambda: side(mode, True), nested=len(mode) > 1, scales=scales)
    taken = [name for _, name in steps(alike) for _ in given[name]]
    question.cotangents = [len(x) + k for k, name in enumerate(taken) if name == "c"]
    return question
