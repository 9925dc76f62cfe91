"""Lowerings of complex numbers: every one is a pair of real traced values, so that real rules differentiate it.

With z = x + iy the reverse of these is (∂L/∂x, ∂L/∂y), which is the gradient ∂L/∂x + i ∂L/∂y that PyTorch documents.
What only moves, adds or scales entries is done to both parts by the real lowering.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch.utils._pytree import tree_flatten, tree_map

from ...reference_engine import ops
from .table import CallSite, find, functional_name, lowers

# linear with real coefficients, or moving entries: what happens to both parts alike
BY_PARTS = frozenset(
    f"aten::{name}"
    for name in """
    alias as_strided block_diag cat chunk clone constant_pad_nd contiguous copy cumsum detach diag_embed diagonal expand
    flip gather index index_add index_put index_select lift_fresh masked_fill masked_select mean narrow neg permute
    positive repeat reshape resolve_neg roll rot90 scatter_add select select_backward select_scatter slice
    slice_backward slice_scatter split split_with_sizes squeeze stack sum t take to trace transpose tril triu unbind
    unfold unfold_backward unsqueeze view where _to_copy _unsafe_index _unsafe_view
    """.split()
)


FILLS = {"aten::masked_fill": 2, "aten::constant_pad_nd": 2}  # where a number that is filled in stands among arguments


@dataclass(frozen=True, eq=False)
class Pair:
    """A complex value x + iy as two real ones of its shape."""

    x: Any
    y: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)


Complex = Callable[..., Any]
_TABLE: dict[str, Complex] = {}


def lowers_complex(*names: str) -> Callable[[Complex], Complex]:
    """Enter the lowering of operations some of whose tensors are complex; these arrive and leave as pairs."""

    def enter(fn: Complex) -> Complex:
        _TABLE.update(dict.fromkeys([n if "::" in n else f"aten::{n}" for n in names], fn))
        return fn

    return enter


def find_complex(name: str, overload: str) -> Complex | None:
    """The lowering of an operation on complex numbers, or None."""
    base = functional_name(name)
    own = _TABLE.get(f"{base}.{overload}") or _TABLE.get(base)
    real = find(name, overload)
    return own or (_by_parts(real) if base in BY_PARTS and real is not None else None)


def _by_parts(real: Complex) -> Complex:
    """The real lowering of both parts; a real argument among complex ones has no imaginary part."""

    def lowered(call: CallSite, *args: Any, **kwargs: Any) -> Any:
        floating = [isinstance(a, Pair) for a in tree_flatten((args, kwargs))[0]]
        if not any(floating):  # real numbers become complex ones
            made = real(replace(call, outputs=tuple(_part(o, 0) for o in call.outputs)), *args, **kwargs)
            return tree_map(as_pair, made)
        if getattr(kwargs.get("dtype"), "is_complex", True) is False:  # a cast to real numbers drops the imaginary part
            return real(call, *tree_map(lambda a: a.x if isinstance(a, Pair) else a, args), **kwargs)
        at = FILLS.get(functional_name(call.name.split(".")[0]))
        args = tuple(complex(a) if i == at and isinstance(a, (int, float)) else a for i, a in enumerate(args))
        results = []
        for part in (0, 1):
            site = replace(call, outputs=tuple(_part(o, part) for o in call.outputs))

            def chosen(a: Any, part: int = part) -> Any:
                if isinstance(a, Pair):
                    return (a.x, a.y)[part]
                if type(a) is complex:
                    return (a.real, a.imag)[part]
                return a if part == 0 or not _is_real_number(a) else a * 0.0

            results.append(real(site, *tree_map(chosen, args), **tree_map(chosen, kwargs)))
        if isinstance(results[0], tuple):
            return tuple(_joined(a, b) for a, b in zip(*results, strict=True))
        return _joined(*results)

    return lowered


def _is_real_number(a: Any) -> bool:
    """Whether an argument is a traced or recorded floating array (positions, sizes and flags are the same for both)."""
    return hasattr(a, "builder") or (isinstance(a, np.ndarray) and a.dtype.kind == "f")


def _joined(a: Any, b: Any) -> Any:
    return None if a is None or b is None else Pair(a, b)


def _part(output: Any, part: int) -> Any:
    return output[..., part] if isinstance(output, np.ndarray) and output.dtype.kind == "f" else output


def as_pair(a: Any) -> Pair:
    """A complex value; a real one, traced or plain, with imaginary part 0."""
    if isinstance(a, Pair):
        return a
    if isinstance(a, complex):
        return Pair(np.asarray(a.real), np.asarray(a.imag))
    if hasattr(a, "builder"):
        return Pair(a, np.zeros(a.shape))
    a = np.asarray(a)
    return Pair(np.asarray(a.real, dtype=np.float64), np.asarray(a.imag, dtype=np.float64))


def times(a: Any, b: Any) -> Pair:
    """(x + iy)(u + iv) = xu - yv + i (xv + yu)."""
    if not isinstance(a, Pair) and type(a) is not complex:
        b = as_pair(b)
        return Pair(ops.multiply(a, b.x), ops.multiply(a, b.y))
    if not isinstance(b, Pair) and type(b) is not complex:
        return times(b, a)
    a, b = as_pair(a), as_pair(b)
    return Pair(
        ops.subtract(ops.multiply(a.x, b.x), ops.multiply(a.y, b.y)),
        ops.add(ops.multiply(a.x, b.y), ops.multiply(a.y, b.x)),
    )


def plus(a: Any, b: Any, sign: float = 1.0) -> Pair:
    """a ± b, part by part."""
    a, b = as_pair(a), as_pair(b)
    how = ops.add if sign > 0 else ops.subtract
    return Pair(how(a.x, b.x), how(a.y, b.y))


def conjugate(a: Any) -> Pair:
    """x - iy."""
    a = as_pair(a)
    return Pair(a.x, ops.negative(a.y))


def scaled(a: Any, by: Any) -> Pair:
    """A real multiple."""
    return Pair(ops.multiply(a.x, by), ops.multiply(a.y, by))


def quotient(call: CallSite, a: Any, b: Any) -> Pair:
    """a conj(b) / |b|², after b was scaled by a power of 2 near 1/|b|, which rounds nothing and keeps |b|² in range."""
    if not isinstance(b, Pair) and type(b) is not complex:
        a = as_pair(a)
        return Pair(ops.divide(a.x, b), ops.divide(a.y, b))
    b = as_pair(b)
    size = np.maximum(np.abs(call.number_of(b.x)), np.abs(call.number_of(b.y)))
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(np.where(np.isfinite(size) & (size > 0), size, 1.0))
    by = np.ldexp(1.0, -exponent)
    b = scaled(b, by)
    square = ops.add(ops.multiply(b.x, b.x), ops.multiply(b.y, b.y))
    top = times(a, conjugate(b))
    return Pair(ops.multiply(ops.divide(top.x, square), by), ops.multiply(ops.divide(top.y, square), by))


@lowers_complex("add", "sub", "rsub")
def arithmetic(call: CallSite, a: Any, b: Any, alpha: Any = 1) -> Pair:
    """a + α b, a - α b, b - α a."""
    name = call.name.split(".")[0].removesuffix("_")
    if name == "aten::rsub":
        a, b = b, a
    return plus(a, b if alpha == 1 else times(alpha, b), 1.0 if name == "aten::add" else -1.0)


@lowers_complex("mul")
def mul(call: CallSite, a: Any, b: Any) -> Pair:
    """a b."""
    return times(a, b)


@lowers_complex("div.Tensor", "div.Scalar", "true_divide")
def div(call: CallSite, a: Any, b: Any) -> Pair:
    """a / b."""
    return quotient(call, a, b)


@lowers_complex("reciprocal")
def reciprocal(call: CallSite, a: Any) -> Pair:
    """1 / a."""
    return quotient(call, 1.0, a)


@lowers_complex("addcmul")
def addcmul(call: CallSite, x: Any, a: Any, b: Any, *, value: Any = 1) -> Pair:
    """x + value a b."""
    product = times(a, b)
    return plus(x, product if value == 1 else times(value, product))


@lowers("aten::_neg_view")
def negative_view(call: CallSite, a: Any) -> Any:
    """-a: the imaginary part of a conjugated view."""
    return ops.negative(a)


@lowers_complex("_conj", "conj_physical", "_conj_physical", "conj")
def conj(call: CallSite, z: Any) -> Pair:
    """x - iy."""
    return conjugate(z)


@lowers_complex("resolve_conj")
def resolved(call: CallSite, z: Any) -> Any:
    """The same number."""
    return z


@lowers_complex("view_as_real", "view_as_real_copy")
def view_as_real(call: CallSite, z: Pair) -> Any:
    """(…, 2): x and y along a last axis."""
    return ops.stack([z.x, z.y], axis=-1)


@lowers_complex("view_as_complex", "view_as_complex_copy")
def view_as_complex(call: CallSite, x: Any) -> Pair:
    """The complex numbers whose parts lie along the last axis."""
    return Pair(x[..., 0], x[..., 1])


@lowers_complex("complex")
def made_of_parts(call: CallSite, x: Any, y: Any) -> Pair:
    """x + iy."""
    return Pair(ops.broadcast_to(x, call.shape[:-1]), ops.broadcast_to(y, call.shape[:-1]))


@lowers_complex("polar")
def polar(call: CallSite, r: Any, angle: Any) -> Pair:
    """r cos φ + i r sin φ."""
    return Pair(ops.multiply(r, ops.cos(angle)), ops.multiply(r, ops.sin(angle)))


@lowers_complex("real", "imag")
def part(call: CallSite, z: Pair) -> Any:
    """x, or y."""
    return z.x if call.name.startswith("aten::real") else z.y


@lowers_complex("mm", "bmm", "matmul", "mv", "dot")
def product(call: CallSite, a: Any, b: Any) -> Pair:
    """Matrix product."""
    a, b = as_pair(a), as_pair(b)
    return Pair(
        ops.subtract(ops.matmul(a.x, b.x), ops.matmul(a.y, b.y)),
        ops.add(ops.matmul(a.x, b.y), ops.matmul(a.y, b.x)),
    )


@lowers_complex("vdot")
def vdot(call: CallSite, a: Any, b: Any) -> Pair:
    """Σ conj(a) b."""
    return product(call, conjugate(a), b)


@lowers_complex("addmm", "addmv", "baddbmm")
def addmm(call: CallSite, c: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Pair:
    """β c + α a b; c is not read where β = 0."""
    y = product(call, a, b)
    y = y if alpha == 1 else times(alpha, y)
    return y if beta == 0 else plus(c if beta == 1 else times(beta, c), y)


@lowers_complex("linalg_vector_norm")
def vector_norm(
    call: CallSite, z: Pair, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """The real norm of the moduli."""
    real = find("aten::linalg_vector_norm", "default")
    assert real is not None
    return real(call, ops.hypot(z.x, z.y), ord, dim, keepdim)


@lowers_complex("prod.default")
def prod(call: CallSite, z: Pair, *, dtype: Any = None) -> Pair:
    """The product of all entries, one after the other."""
    flat = Pair(ops.reshape(z.x, (-1,)), ops.reshape(z.y, (-1,)))
    y: Any = 1.0
    for i in range(flat.shape[0]):
        y = times(y, Pair(flat.x[i], flat.y[i]))
    return as_pair(y)
