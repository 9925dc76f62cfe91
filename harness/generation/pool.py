"""`Pool`: what a primitive's `draw` takes its arguments from, over a trace that knows its numbers.

Every decision is one draw of a small integer, and 0 is the simple choice, so that hypothesis shrinks towards the most
recent value, small shapes and simple numbers. An operand costs one draw, whether there is a value for it or not: so
most operations are at most five draws, which is what hypothesis deletes in one piece.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...reference_engine import ops
from ...reference_engine.program import Variable
from ...reference_engine.tracing import Builder, Tracer
from . import contents

Shape = tuple[int, ...]
Integer = Callable[[int, int], int]

# Axis lengths: 2 and 3 are the most frequent, so that batch and channels are seldom 1; an index into the table.
LENGTHS = (1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 5)
LONG = (1, 2, 3, 4, 10, 16, 24, 33)
ENTRYWISE = 6  # arrays up to this size are drawn number by number, so that each number shrinks by itself
LITERAL = 24  # a constant of the program has at most this many entries, since it is written out as a literal,
MOST_LITERAL = 64  # or this many where the program has all the inputs it may have
HUGE = 1e36  # greatest value in programs with inputs of 1e30; float32 still holds it
# Operations that meet -inf in real models (masked attention and what moves masks about), where limits are agreed on.
MASKED = frozenset(
    "softmax log_softmax logsumexp where maximum minimum max exp sigmoid add reshape transpose concat stack "
    "slice".split()
)
RECENT = 4  # how far back an operand is looked for


@dataclass(frozen=True)
class Limits:
    """What a generated program may hold. entries: greatest size of one value. magnitude: greatest absolute value that
    is used further. inputs: greatest number of inputs before new arrays become constants. reshapes: values may be
    reshaped where an operation asks for a shape. long: axes of up to 33 entries."""

    entries: int = 256
    magnitude: float = 1e6
    inputs: int = 6
    reshapes: bool = True
    long: bool = False


class Pool:
    """Values of a program under construction. `integer(low, high)` draws, inclusive; everything else follows from it.

    values: traced floating values that may be used further, oldest first. unused: those that nothing has read yet.
    left_out: what was drawn and is not in the program, counted by reason.
    """

    def __init__(self, integer: Integer, limits: Limits | None = None, *, nonfinite: bool = False) -> None:
        self.integer = integer
        self.limits = limits or Limits()
        self.builder = Builder(eager=True)
        self.values: list[Tracer] = []
        self.unused: dict[Variable, None] = {}
        self.left_out: Counter[str] = Counter()
        self.nonfinite = nonfinite
        # One flavour per program: rare contents are separable, and do not pile up in one program.
        flavour = integer(0, 19)
        self.kinds = contents.KINDS
        if flavour == 19:
            self.kinds = (contents.simple, contents.dense, contents.extreme, contents.extreme)
        elif flavour == 18:
            self.kinds = (contents.simple, contents.dense, contents.masked, contents.masked)
        if nonfinite:
            self.kinds = (contents.simple, contents.dense, contents.nonfinite)
        self.empties = flavour == 17
        self.masks = False  # whether the operation under way may meet -inf
        self.greatest = HUGE if flavour == 19 else self.limits.magnitude
        self.seed = 0
        self.theme = 2 + integer(0, 2)  # the n of the ambiguous shapes (n, n) and (n, n, n)

    # -- decisions ------------------------------------------------------------------------------------------------

    def choice(self, options: Sequence[Any]) -> Any:
        """One of `options`; the first is the simplest."""
        return options[self.integer(0, len(options) - 1)]

    def chance(self, of: int) -> bool:
        """True once in `of` draws."""
        return self.integer(0, of - 1) == of - 1

    def length(self) -> int:
        """A small axis length, 0 only in the few programs that allow empty axes."""
        if self.empties and self.chance(4):
            return 0
        return int(self.choice(LONG if self.limits.long else LENGTHS))

    def axis(self, ndim: int) -> int:
        """An axis of an array with `ndim` axes, counted from the front; 0 if there is none."""
        return self.integer(0, max(ndim - 1, 0))

    def indices(self, shape: Shape, below: int) -> np.ndarray[Any, Any]:
        """Indices in [0, below): often duplicates, often some that are never used."""
        size = math.prod(shape)
        if size <= ENTRYWISE:
            flat = [self.integer(0, max(below - 1, 0)) for _ in range(size)]
            return np.array(flat, dtype=np.int64).reshape(shape)
        rng = np.random.default_rng(self.integer(0, 9999))
        few = rng.integers(0, max(below, 1), 3)
        return rng.choice(few, shape) if rng.random() < 0.5 else rng.integers(0, max(below, 1), shape)

    def mask(self, shape: Shape) -> np.ndarray[Any, Any]:
        """A Boolean array."""
        if math.prod(shape) <= ENTRYWISE:
            return np.array([self.integer(0, 1) == 0 for _ in range(math.prod(shape))], dtype=bool).reshape(shape)
        return np.random.default_rng(self.integer(0, 9999)).random(shape) < 0.6

    # -- values ---------------------------------------------------------------------------------------------------

    def begin(self, operation: str, seed: int) -> None:
        """Start an operation: what it needs and finds no value for is made from `seed`, without further draws.

        So the number of draws of an operation hardly depends on what came before, and hypothesis can delete what came
        before. A small seed makes small arrays of simple numbers.
        """
        self.seed = seed
        self.masks = operation in MASKED

    def array(self, min_ndim: int = 0, max_ndim: int = 4, domain: str = "real") -> Tracer:
        """An existing value with that many axes in the domain, or a new one."""
        place = self.integer(0, 8 * RECENT - 1)
        if place >= 7 * RECENT:
            return self.fresh(self._shape(min_ndim, max_ndim), domain)
        near = [v for v in self._newest() if min_ndim <= v.ndim <= max_ndim and self._inside("real", v)]
        usable = [v for v in near if self._inside(domain, v)]
        if usable:
            return self.take(usable, place)
        if near and self.seed % 3 == 2:
            return self._moved(self.take(near, place), domain)
        return self._made(lambda pool: pool.fresh(pool._shape(min_ndim, max_ndim), domain))

    def shaped(self, shape: Shape, domain: str = "real") -> Tracer:
        """A value of exactly that shape: existing, an existing one reshaped, or new."""
        shape = tuple(int(n) for n in shape)
        place = self.integer(0, 4 * RECENT - 1)
        if place >= 3 * RECENT:
            return self.fresh(shape, domain)
        near = [v for v in self._newest() if v.shape == shape and self._inside(domain, v)]
        if near:
            return self.take(near, place)
        if self.limits.reshapes and self.seed % 2 == 1:
            size = math.prod(shape)
            near = [v for v in self._newest() if v.size == size > 1 and self._inside(domain, v)]
            if near:
                return ops.reshape(self.take(near, place), shape)  # type: ignore[no-any-return]
        return self._made(lambda pool: pool.fresh(shape, domain))

    def broadcastable(self, shape: Shape) -> Tracer:
        """A value whose shape broadcasts against `shape`, in either direction."""
        place = self.integer(0, 4 * RECENT - 1)
        if place >= 3 * RECENT:
            return self.fresh(self._against(shape), "real")
        near = [v for v in self._newest() if self._fits(v.shape, shape) and self._inside("real", v)]
        if near:
            return self.take(near, place)
        return self._made(lambda pool: pool.fresh(pool._against(shape), "real"))

    def fresh(self, shape: Shape, domain: str = "real") -> Tracer:
        """A new array: an input, or now and then a constant."""
        x = contents.into(domain, self._contents(shape))
        full = len(self.builder.inputs) >= self.limits.inputs
        if self.builder.inputs and x.size <= (MOST_LITERAL if full else LITERAL) and (full or self.chance(6)):
            return self.builder.lift(x)
        tracer = self.builder.input(x.shape, value=x)
        return tracer

    def _made(self, make: Callable[[Pool], Tracer]) -> Tracer:
        """What `make` makes, with all decisions taken from the seed of the operation instead of being drawn."""
        rng = np.random.default_rng(self.seed)
        small = max(0, 6 - self.seed // 8)  # for small seeds the simplest choice more often than not
        drawn, self.integer = (
            self.integer,
            lambda low, high: low if rng.random() < small / 7 else int(rng.integers(low, high + 1)),
        )
        self.seed += 1
        try:
            return make(self)
        finally:
            self.integer = drawn

    def take(self, candidates: Sequence[Tracer], place: int = 0) -> Tracer:
        """One of the newest candidates, by `place`; it counts as used from now on."""
        v: Tracer = candidates[place % RECENT % len(candidates)]
        self.unused.pop(v.variable, None)
        return v

    def keep(self, result: Any, operation: str) -> bool:
        """Make the outputs of an operation available, unless a number among them is not wanted further.

        Returns whether they are available; if not, they are left out of the program, and that is counted.
        """
        parts = [r for r in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(r, Tracer)]
        for r in parts:
            why = self._unwanted(r)
            if why:
                self.left_out[f"{operation}: {why}"] += 1
                return False
        for r in parts:
            if r.dtype.kind == "f" and r.builder is self.builder:
                self.values.append(r)
                self.unused[r.variable] = None
        return True

    def _unwanted(self, r: Tracer) -> str:
        if r.size > self.limits.entries:
            return "too many entries"
        value = r.value  # computed here, so that an operation that fails does so before it is kept
        if r.dtype.kind != "f" or not r.size or self.nonfinite:
            return ""
        if self.masks:
            value = np.where(np.isneginf(value), 0.0, value)
        greatest = np.max(np.abs(value))
        if not np.isfinite(greatest):
            return "not finite"
        return "" if greatest <= self.greatest else "too large"

    def _inside(self, domain: str, v: Tracer) -> bool:
        """Whether the operation under way may take this value."""
        if not contents.inside(domain, v.value):
            return False
        return self.masks or self.nonfinite or bool(np.isfinite(v.value).all())

    def _newest(self) -> list[Tracer]:
        """Unused values first, newest first, then the others."""
        new = self.values[::-1]
        return [v for v in new if v.variable in self.unused] + [v for v in new if v.variable not in self.unused]

    def _moved(self, x: Tracer, domain: str) -> Tracer:
        """`x` moved into a domain by an operation: this is how chains grow through functions with a narrow domain."""
        if domain == "unit":
            return ops.tanh(ops.multiply(x, 0.5))  # type: ignore[no-any-return]
        if domain == "above_one":
            return ops.add(ops.square(x), 1.5)  # type: ignore[no-any-return]
        return ops.add(ops.abs(x), 0.5)  # type: ignore[no-any-return]

    # -- shapes and contents --------------------------------------------------------------------------------------

    def _shape(self, min_ndim: int, max_ndim: int) -> Shape:
        """Generic, ambiguous ((n, n), (n, n, n), (1, n), (n, 1)), or that of an existing value."""
        style = self.integer(0, 5)
        near = [v.shape for v in self.values if min_ndim <= v.ndim <= max_ndim]
        if style == 5 and near:
            return near[-1]
        ndim = self.choice([d for d in (1, 2, 2, 0, 3, 3, 4) if min_ndim <= d <= max_ndim] or [min_ndim])
        if style == 4:
            n = self.theme
            return tuple(1 if ndim <= 2 and self.chance(4) else n for _ in range(ndim))
        return self._bounded([self.length() for _ in range(ndim)])

    def _bounded(self, shape: Sequence[int]) -> Shape:
        """The shape with axes shortened until it has no more entries than allowed."""
        lengths = list(shape)
        while math.prod(lengths) > self.limits.entries:
            lengths[int(np.argmax(lengths))] //= 2
        return tuple(lengths)

    def _against(self, shape: Shape) -> Shape:
        """A shape that broadcasts against `shape`: equal, with axes of 1, with fewer axes, or larger."""
        style = self.integer(0, 4)
        if style == 1:
            return tuple(1 if self.chance(2) else n for n in shape)
        if style == 2:
            return shape[self.integer(0, len(shape)) :]
        if style == 3:
            grown = tuple(self.length() if n == 1 else n for n in shape)
            return self._bounded(grown) if self._fits(self._bounded(grown), shape) else shape
        if style == 4 and len(shape) < 4 and math.prod(shape) * 3 <= self.limits.entries:
            return (self.integer(1, 3), *shape)
        return shape

    def _fits(self, a: Shape, b: Shape) -> bool:
        try:
            return math.prod(np.broadcast_shapes(a, b)) <= self.limits.entries
        except ValueError:
            return False

    def _contents(self, shape: Shape) -> np.ndarray[Any, Any]:
        kind = self.choice(self.kinds)
        if kind is contents.masked and not self.masks:
            kind = contents.dense
        size = math.prod(shape)
        if kind is contents.simple and size <= ENTRYWISE:
            return np.array([self.choice(contents.SIMPLE) for _ in range(size)], dtype=np.float64).reshape(shape)
        return np.asarray(kind(np.random.default_rng(self.integer(0, 99999)), shape), dtype=np.float64)
