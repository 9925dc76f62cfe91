"""Named variations of the arguments of one call: the inputs at which derivatives go wrong, beyond a stock sample.

Each takes the flat list of arguments and gives another one, or None where it changes nothing. Tensors that ask for a
gradient are its leaves. A symmetric or triangular matrix stays one. Whether the operation accepts what comes out is for
the caller to try: some are outside its domain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch

Arguments = list[Any]
Variation = Callable[[Arguments], "Arguments | None"]

INF, NAN = float("inf"), float("nan")
LONG = 67  # entries: 64 fill the registers of every vector extension, three are left for the tail
CORNERS = (-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0, 20.0)  # where activations and losses change their branch
FAR = (45.0, -45.0, 20.0, -20.0, 800.0, -800.0, 1024.0, -745.0)  # where exponentials saturate, overflow, underflow
TINY, HUGE = 1e-30, 1e30
APART = 3  # how many numbers further a cycle begins in the next leaf
FLAGS = 4  # flags that are flipped one by one


def is_leaf(a: Any) -> bool:
    """Whether an argument is differentiated."""
    return isinstance(a, torch.Tensor) and a.requires_grad and a.layout == torch.strided


def _in_structure(new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """`new` within the structure that `old` has: symmetric, lower or upper triangular."""
    if old.shape != new.shape or old.dim() < 2 or old.shape[-1] != old.shape[-2] or old.shape[-1] < 2:
        return new
    if torch.equal(old, old.mT):
        return (new + new.mT) / 2
    if torch.equal(old, old.tril()):
        return new.tril()
    return new.triu() if torch.equal(old, old.triu()) else new


def _each(change: Callable[[torch.Tensor], torch.Tensor | None]) -> Variation:
    """Change every leaf alike, keeping its structure."""
    return _each_by_number(lambda x, number: change(x))


def _each_by_number(change: Callable[[torch.Tensor, int], torch.Tensor | None]) -> Variation:
    """Change every leaf, keeping its structure; the change is told which leaf it is."""

    def vary(arguments: Arguments) -> Arguments | None:
        result, moved, number = list(arguments), False, 0
        for i, a in enumerate(arguments):
            if is_leaf(a):
                new = change(a.detach().clone(memory_format=torch.contiguous_format), number)
                number += 1
                if new is not None:
                    new = _in_structure(new, a.detach())
                    moved = moved or not torch.equal(new, a.detach())
                    result[i] = new.requires_grad_()
        return result if moved else None

    return vary


def _cycled(numbers: Sequence[float]) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """The numbers again and again; from another one in each leaf, so that they meet in pairs."""

    def change(x: torch.Tensor, number: int) -> torch.Tensor:
        repeats = -(-x.numel() // len(numbers)) + 1
        first = APART * number % len(numbers)
        return torch.tensor([*numbers] * repeats, dtype=x.dtype)[first : first + x.numel()].reshape(x.shape)

    return change


def _set(places: Sequence[int], number: float) -> Callable[[torch.Tensor], torch.Tensor | None]:
    def change(x: torch.Tensor) -> torch.Tensor | None:
        if x.numel() <= max(abs(p) for p in places):
            return None
        x.view(-1)[list(places)] = number
        return x

    return change


def _masked_row(x: torch.Tensor) -> torch.Tensor | None:
    if not x.numel():
        return None
    x.view(-1, x.shape[-1] if x.dim() else 1)[0] = -INF
    return x


def _corners(arguments: Arguments) -> Arguments | None:
    """Entries at the numbers that are parameters of the call, and where common functions have their corners."""
    own = [float(a) for a in arguments if isinstance(a, (int, float)) and not isinstance(a, bool) and abs(a) < 1e6]
    return _each_by_number(_cycled([*dict.fromkeys([*own, *[-a for a in own], *CORNERS])]))(arguments)


def _long(numbers: Sequence[float], rest: float) -> Variation:
    """Every leaf a vector that is longer than a vector register: `numbers`, and the rest alike."""

    def vary(arguments: Arguments) -> Arguments | None:
        tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
        if len({a.shape for a in tensors}) != 1 or not all(map(is_leaf, tensors)):
            return None
        result = list(arguments)
        for i, a in enumerate(arguments):
            if is_leaf(a):
                x = torch.full((LONG,), rest, dtype=a.dtype)
                x[: len(numbers)] = torch.tensor(numbers, dtype=a.dtype)
                result[i] = x.requires_grad_()
        return result

    return vary


def _less_by_one(x: torch.Tensor) -> torch.Tensor | None:
    """Matrices of rank n - 1: one singular value (eigenvalue of a symmetric matrix, diagonal entry of a triangular
    one) 0.
    """
    if x.dim() < 2 or min(x.shape[-2:]) < 2 or not x.isfinite().all():
        return None
    if x.shape[-1] == x.shape[-2] and (torch.equal(x, x.tril()) or torch.equal(x, x.triu())):
        x.diagonal(dim1=-2, dim2=-1)[..., -1] = 0.0
        return x
    x[..., -1, :] = 2.0 * x[..., 0, :]  # exact in floating point
    if x.shape[-1] == x.shape[-2] and torch.equal(x[..., :-1, :-1], x[..., :-1, :-1].mT):
        x[..., :, -1] = 2.0 * x[..., :, 0]
    return x


def _alike(x: torch.Tensor) -> torch.Tensor | None:
    """Matrices whose singular values are all 2."""
    if x.dim() < 2 or min(x.shape[-2:]) < 2:
        return None
    return 2.0 * torch.eye(*x.shape[-2:], dtype=x.dtype).expand(x.shape).clone()


def _equal_operands(arguments: Arguments) -> Arguments | None:
    """Every leaf the first of its shape."""
    first: dict[Any, torch.Tensor] = {}
    result, moved = list(arguments), False
    for i, a in enumerate(arguments):
        if is_leaf(a):
            same = first.setdefault(a.shape, a)
            if same is not a:
                result[i], moved = same.detach().clone().requires_grad_(), True
    return result if moved else None


def _ambiguous(arguments: Arguments) -> Arguments | None:
    """The first square matrix n times, as (n, n, n): the next matrix may be a matrix or a batch of vectors."""
    for i, a in enumerate(arguments):
        if is_leaf(a) and a.dim() == 2 and a.shape[0] == a.shape[1] > 1:
            result = list(arguments)
            steps = torch.arange(1.0, len(a) + 1.0, dtype=a.dtype)[:, None, None]
            result[i] = (a.detach() * steps).requires_grad_()
            return result
    return None


def _duplicates(arguments: Arguments) -> Arguments | None:
    """Indices one less than the greatest, again and again, and the greatest once; those below are not used."""
    result, moved = list(arguments), False
    for i, a in enumerate(arguments):
        if isinstance(a, torch.Tensor) and a.dtype in (torch.int64, torch.int32) and a.numel() > 1 and int(a.max()) > 0:
            new = torch.full((a.numel(),), int(a.max()) - 1, dtype=a.dtype)
            new[-1] = a.max()
            result[i], moved = new.reshape(a.shape), moved or not torch.equal(new.reshape(a.shape), a)
    return result if moved else None


def _empty(arguments: Arguments) -> Arguments | None:
    """Every tensor without entries along its first axis."""
    if not any(is_leaf(a) and a.dim() and len(a) for a in arguments):
        return None

    def cut(a: Any) -> Any:
        if not isinstance(a, torch.Tensor) or not a.dim():
            return a
        return a.detach()[:0].clone().requires_grad_(a.requires_grad)

    return [cut(a) for a in arguments]


def _scalars(number: float) -> Variation:
    """Every parameter that is a float the same number."""

    def vary(arguments: Arguments) -> Arguments | None:
        result = [number if type(a) is float else a for a in arguments]
        return result if any(a is not b for a, b in zip(result, arguments, strict=True)) else None

    return vary


def _flipped(number: int) -> Variation:
    """One of the flags the other way round."""

    def vary(arguments: Arguments) -> Arguments | None:
        places = [i for i, a in enumerate(arguments) if isinstance(a, bool)]
        if number >= len(places):
            return None
        return [not a if i == places[number] else a for i, a in enumerate(arguments)]

    return vary


def _both(first: Variation, second: Variation) -> Variation:
    """One variation after the other, where both apply."""

    def vary(arguments: Arguments) -> Arguments | None:
        varied = first(arguments)
        return None if varied is None else second(varied)

    return vary


def _zero_faces(x: torch.Tensor) -> torch.Tensor:
    """The first slice along every axis 0."""
    for axis in range(x.dim()):
        if x.shape[axis]:
            x.select(axis, 0).zero_()
    return x if x.dim() else x * 0.0


VARIATIONS: dict[str, Variation] = {
    "one zero": _each(_set((0,), 0.0)),
    "two zeros": _each(_set((0, -1), 0.0)),
    "zeros": _each(torch.zeros_like),
    "equal entries": _each(lambda x: torch.full_like(x, 0.75)),
    "lattice": _each(lambda x: x.round().clamp(-3.0, 3.0)),
    "corners": _corners,
    "saturated": _each_by_number(_cycled(FAR)),
    "tiny": _each(lambda x: x * TINY),
    "huge": _each(lambda x: x * HUGE),
    "one -inf": _each(_set((0,), -INF)),
    "a row of -inf": _each(_masked_row),
    "NaN beyond a register": _long((0.25, 0.5), NAN),
    "infinities": _long((INF, -INF, 0.5, -0.5), 0.25),
    "rank n - 1": _each(_less_by_one),
    "equal singular values": _each(_alike),
    "equal operands": _equal_operands,
    "ambiguous shape": _ambiguous,
    "duplicate indices": _duplicates,
    "no entries": _empty,
    "parameters 0": _scalars(0.0),
    "parameters 0 at a zero": _both(_scalars(0.0), _each(_zero_faces)),
    "parameters 1/2": _scalars(0.5),
    **{f"flag {k + 1} flipped": _flipped(k) for k in range(FLAGS)},
    **{f"flag {k + 1} flipped, duplicate indices": _both(_flipped(k), _duplicates) for k in range(FLAGS)},
}
# At these, rules of second order take branches of their own.
SECOND_ORDER = frozenset(
    ("one zero", "zeros", "corners", "saturated", "a row of -inf", "rank n - 1", "equal operands", "lattice")
)
# These leave the range of a shorter dtype: what is asked is the gradient, there too.
SHORTER = frozenset(("saturated", "tiny"))
ONLY_REVERSE = frozenset(("tiny", "huge"))
INFINITE = frozenset(("one -inf", "a row of -inf", "infinities"))
OF_PARAMETERS = frozenset(name for name in VARIATIONS if name.startswith(("parameters", "flag ")))

# Operations on a matrix as a whole, many of which are defined on some only: of full rank, symmetric, triangular, a
# factor with its pivots. Their entries are not to be put at will.
_MATRIX = re.compile(
    r"(norm\.nuc|_?linalg[._](?!norm|vector_norm|cross|vecdot|diagonal|multi_dot|vander)|lu$|lu_|cholesky|qr$|geqrf|ormqr|svd|pca"
    r"|triangular_solve|pinverse|logdet|matrix_exp|eig|lobpcg|trapezoid$)"
)
OF_MATRICES = ONLY_REVERSE | OF_PARAMETERS | {"rank n - 1", "equal singular values", "ambiguous shape", "no entries"}
# What has derivatives where a singular value is 0.
AT_RANK_LESS = re.compile(r"linalg\.(det|matrix_power|matrix_exp|eigh|eigvalsh)$|matrix_exp")
# What takes a factorisation: unit triangles, reflectors, pivots.
_FACTORS = re.compile(r"(linalg\.)?(lu_solve|ormqr|cholesky_inverse|cholesky_solve|householder_product|lu_unpack)")
# Where an infinite entry is no number to differentiate at: a lost write, a distance to it, sums and products with it.
_NOT_INFINITE = re.compile(r".*(unpool|cdist|pdist|fft|segment_reduce|scatter_reduce|index_reduce|cosine_embedding)")
# By name: variations that have no one meaning there. Of entries that are all NaN any is the most frequent; vectors of
# equal singular values are any; a scale of 0 leaves nothing; tiny matrices are singular; x log 0 is infinite for every
# other x; without ε, equal entries are normalised to 0/0.
_WITHOUT_MEANING = (
    ("NaN beyond a register", re.compile(r"mode$")),
    ("equal singular values", re.compile(r"(linalg\.)?(svd|eigh|eig)$|norm\.nuc|svd_lowrank|pca_lowrank")),
    ("parameters", re.compile(r".*interpolate")),
    ("equal entries", re.compile(r"linalg\.norm")),
    ("tiny", re.compile(r"(linalg\.)?(pinv|inv|solve)|nn\.functional\.pdist|cdist")),
    ("", re.compile(r"xlogy$|special\.xlog1py")),
    ("parameters 0 at a zero", re.compile(r".*(layer|batch|instance|group|rms)_norm")),
)


def applies(variation: str, operation: str, arguments: Sequence[Any]) -> bool:
    """Whether a variation leaves the arguments of an op_db entry where the operation is defined.

    It does not put the entries of matrices that are taken as a whole, nor flip a flag that says in which triangle one
    is, nor change the parameters of what PyTorch keeps to itself: some are not checked there.
    """
    if variation == "rank n - 1":
        return bool(AT_RANK_LESS.match(operation))
    if _MATRIX.match(operation) and variation not in OF_MATRICES | {"flag"}:
        return False
    if any(variation.startswith(name) and where.match(operation) for name, where in _WITHOUT_MEANING):
        return False
    if _FACTORS.match(operation) and variation not in OF_PARAMETERS | {"no entries", "flag"}:
        return False
    if variation in OF_PARAMETERS | {"flag"} and operation.startswith(("_", "native_")):
        return False
    if variation.startswith("flag") and any(is_leaf(a) and _is_structured(a.detach()) for a in arguments):
        return False
    return variation not in INFINITE or not _NOT_INFINITE.match(operation)


def _is_structured(x: torch.Tensor) -> bool:
    if x.dim() < 2 or x.shape[-1] != x.shape[-2] or x.shape[-1] < 2:
        return False
    return any(torch.equal(x, y) for y in (x.mT, x.tril(), x.triu()))


def modes_of(variation: str, modes: Sequence[str], leaves: int) -> list[str]:
    """In which of the modes a variation is asked: all in those of order 1, some in those of order 2."""
    if variation in ONLY_REVERSE:
        return [m for m in modes if m == "R"]
    # products with an infinite number are infinite in many ways at once; a single operand is a mask
    second = variation in SECOND_ORDER and not (variation in INFINITE and leaves > 1)
    return [m for m in modes if len(m) == 1 or second]


def in_float32(arguments: Arguments) -> Arguments:
    """The same arguments in float32."""
    return [
        a.detach().float().requires_grad_(a.requires_grad)
        if isinstance(a, torch.Tensor) and a.dtype == torch.float64 and a.layout == torch.strided
        else a
        for a in arguments
    ]
