"""Eigenvalues and eigenvectors of complex square matrices, the vectors scaled by what is given from outside.

A complex array is stored with its real and its imaginary part along the third axis from the end. A vector is defined up
to a complex factor: the caller passes vectors d, and each v is the one with dᴴv = 1, a function of A that is
differentiable as complex functions are. The caller also passes numbers near the eigenvalues, which say in which order
they come. Where eigenvalues repeat, their vectors have no derivative, nor have the values a second one: what depends on
them is infinite or NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import CONSTANT, same_dtype
from ..tracing import bind
from .declare import general
from .diagonal import diag_embed
from .inverse import GILES, one_by_one
from .layout import concat, stack
from .reduction import spread_of
from .reduction import sum as sum_along
from .shape import expand_dims, shaped, swap_last
from .spectral import quotient

BOEDDEKER = "Boeddeker, Hanebrink et al., On the computation of complex-valued gradients, 2017, sec. 4.13"
# Eigenvalues that are nearer to each other than this share of the largest are told apart by their vectors.
TOGETHER = 1e-8

Parts = tuple[Any, Any]


def _parts(z: Any) -> Parts:
    return z[..., 0, :, :], z[..., 1, :, :]


def _times(a: Parts, b: Parts) -> Parts:
    """Entry by entry."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _minus(a: Parts, b: Parts) -> Parts:
    return a[0] - b[0], a[1] - b[1]


def _adjoint(a: Parts) -> Parts:
    """Aᴴ."""
    return swap_last(a[0]), -swap_last(a[1])


def _embedded(a: Parts) -> Any:
    """[[X, -Y], [Y, X]], which multiplies (x over y) as X + iY multiplies x + iy."""
    x, y = a
    return concat([concat([x, -y], axis=-1), concat([y, x], axis=-1)], axis=-2)


def _halves(z: Any) -> Parts:
    n = z.shape[-2] // 2
    return z[..., :n, :], z[..., n:, :]


def _product(a: Parts, b: Parts) -> Parts:
    return _halves(bind("matmul", _embedded(a), concat(list(b), axis=-2)))


def _solved(a: Parts, b: Parts) -> Parts:
    """A⁻¹ B."""
    return _halves(bind("solve", _embedded(a), concat(list(b), axis=-2)))


def _complex(z: Any) -> Any:
    return z[..., 0, :, :] + 1j * z[..., 1, :, :]


def _stacked(z: Any) -> Any:
    return np.stack([z.real, z.imag], axis=-3)


def _order(w: Any, u: Any, near: Any, direction: Any) -> Any:
    """For each of `near` the place of the eigenvalue that belongs to it, nearest pairs first.  -> (…, n)."""
    n = w.shape[-1]
    scale = TOGETHER * np.max(np.abs(w), axis=-1, initial=0.0)[..., None, None]
    lengths = np.linalg.norm(direction, axis=-2)[..., :, None]
    overlap = np.abs(np.matmul(np.conj(np.swapaxes(direction, -1, -2)), u)) / np.where(lengths > 0, lengths, 1.0)
    cost = np.abs(near[..., :, None] - w[..., None, :]) - scale * overlap
    cost = np.broadcast_to(cost, (*w.shape[:-1], n, n)).reshape(-1, n, n).copy()
    place = np.zeros((len(cost), n), dtype=np.int64)
    for k, own in enumerate(cost):
        own[np.isnan(own)] = np.inf
        for _ in range(n):
            i, j = divmod(int(np.argmin(own)), n)
            place[k, i] = j
            own[i, :] = own[:, j] = np.inf
    return place.reshape(w.shape)


def _eig(a: Any, direction: Any, near: Any) -> Any:
    """The eigenvalues over the eigenvectors: (…, 2, n + 1, n)."""
    d, row = _complex(direction), _complex(near)[..., 0, :]

    def packed(m: Any) -> Any:
        w, u = np.linalg.eig(m)
        return np.concatenate([w[..., None, :], u], axis=-2)

    found = one_by_one(packed, _complex(a))
    n = found.shape[-1]
    if found.shape[-2] == n:  # every matrix was refused
        found = np.full((*found.shape[:-2], n + 1, n), np.nan + 0j)
    found = np.where(np.isnan(found), complex(np.nan, np.nan), found)
    place = _order(found[..., 0, :], found[..., 1:, :], row, d)[..., None, :]
    found = np.take_along_axis(found, np.broadcast_to(place, found.shape), axis=-1)
    with np.errstate(all="ignore"):
        v = found[..., 1:, :] / np.sum(np.conj(d) * found[..., 1:, :], axis=-2, keepdims=True)
    return _stacked(np.concatenate([found[..., :1, :], v], axis=-2))


def _eig_vjp(g: Any, y: Any, a: Any, direction: Any, near: Any) -> Any:
    """Ā = V⁻ᴴ (diag w̄ + conj(F) ∘ VᴴH) Vᴴ; F_ij = 1/(w_j - w_i), 0 on the diagonal.

    H = V̄ - d (vᴴv̄), column by column, is what dᴴv = 1 leaves of V̄.
    """
    packed, adjoint = _parts(y), _parts(g)
    w, v = (packed[0][..., :1, :], packed[1][..., :1, :]), (packed[0][..., 1:, :], packed[1][..., 1:, :])
    gw, gv = (adjoint[0][..., :1, :], adjoint[1][..., :1, :]), (adjoint[0][..., 1:, :], adjoint[1][..., 1:, :])
    along = _times((v[0], -v[1]), gv)
    scales = tuple(sum_along(part, axis=-2, keepdims=True) for part in along)
    inner = _product(_adjoint(v), _minus(gv, _times(_parts(direction), (scales[0], scales[1]))))
    own = np.eye(a.shape[-1], dtype=bool)
    gap = _minus(w, (swap_last(w[0]), swap_last(w[1])))
    square = bind("where", own, 1.0, gap[0] * gap[0] + gap[1] * gap[1])
    over = tuple(quotient(bind("where", own, 0.0, part), square) for part in inner)
    turned = _times((over[0], over[1]), gap)
    inner = tuple(part + diag_embed(row[..., 0, :]) for part, row in zip(turned, gw, strict=True))
    return stack(list(_product(_solved(_adjoint(v), (inner[0], inner[1])), _adjoint(v))), axis=-3)


def _eig_variance(a: Any, direction: Any, near: Any) -> Any:
    """Backward error E of size ‖A‖ √n: δw = diag P and δV = V K, less what dᴴv = 1 takes away; P = V⁻¹EV, K = F ∘ P."""
    z = _complex(_eig(a, direction, near))
    w, v, d = z[..., :1, :], z[..., 1:, :], _complex(direction)
    n = w.shape[-1]
    size = n * np.sum(np.abs(_complex(a)) ** 2, axis=(-1, -2), keepdims=True)
    inverse = np.abs(one_by_one(np.linalg.inv, v)) ** 2
    columns = np.sum(np.abs(v) ** 2, axis=-2, keepdims=True)
    p = size * np.sum(inverse, axis=-1, keepdims=True) * columns
    gap = np.abs(w - np.swapaxes(w, -1, -2)) ** 2
    k = p * np.where(gap > 0, 1.0 / np.where(gap > 0, gap, 1.0), 0.0)
    values = np.diagonal(p, 0, -2, -1)[..., None, :]
    taken = np.sum(np.abs(np.matmul(np.conj(np.swapaxes(d, -1, -2)), v)) ** 2 * np.swapaxes(k, -1, -2), axis=-1)
    vectors = np.matmul(np.abs(v) ** 2, k) + np.abs(v) ** 2 * taken[..., None, :]
    one = np.concatenate([values, vectors], axis=-2)
    return np.stack([one, one], axis=-3)


eigenpairs = general(
    "eig",
    _eig,
    lambda a, direction, near: ((*a.shape[:-2], a.shape[-1] + 1, a.shape[-1]), same_dtype(a)),
    _eig_vjp,
    CONSTANT,
    CONSTANT,
    source=f"{GILES}, sec. 3.1; {BOEDDEKER}",
    accumulates=spread_of(_eig_variance, lambda a, direction, near: 2),
)


def eig(a: Any, direction: Any, near: Any) -> tuple[Any, Any]:
    """(w, V) with A V = V diag(w), each column v of V scaled so that dᴴv = 1 with the column d of `direction`.

    Real and imaginary parts along the third axis from the end, for the values along the second.
    a, direction: (…, 2, n, n), near: (…, 2, n), numbers near the eigenvalues, in the order wanted -> (…, 2, n),
    (…, 2, n, n). Raises ShapeError unless a is a stack of pairs of square matrices.
    """
    a = shaped(a)
    if a.ndim < 3 or a.shape[-1] != a.shape[-2] or a.shape[-3] != 2:
        raise ShapeError(
            f"eig: a.shape={a.shape}; accepted are the real and imaginary parts of square matrices, (…, 2, n, n). "
            "Stack the two parts along the third axis from the end."
        )
    y = eigenpairs(a, np.asarray(direction), expand_dims(np.asarray(near), -2))
    return y[..., 0, :], y[..., 1:, :]


__all__ = ["eig"]
