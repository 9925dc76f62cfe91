"""Values of matrix functions and of running and scattered sums in mpmath's words: what each is by its definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np


def _matrix(a: Any) -> Any:
    return mp.matrix(a.tolist())


def _array(m: Any) -> Any:
    return np.array(m.tolist(), dtype=object)


def _each(f: Callable[..., Any], *stacks: Any) -> Any:
    """f on each matrix of the stacks, whose batch axes are broadcast; an array of what it gives."""
    batch = np.broadcast_shapes(*[a.shape[:-2] for a in stacks])
    wide = [np.broadcast_to(a, (*batch, *a.shape[-2:])) for a in stacks]
    found = {i: np.asarray(f(*[a[i] for a in wide]), dtype=object) for i in np.ndindex(*batch)}
    shape = next((y.shape for y in found.values()), ())
    y = np.zeros((*batch, *shape), dtype=object)
    for i, part in found.items():
        y[i] = part[()]
    return y


def _symmetric(a: Any) -> Any:
    return _matrix((a + a.T) / 2)


def _eigh(a: Any, direction: Any) -> Any:
    w, v = mp.eigsy(_symmetric(a))
    v = _array(v)
    signs = [mp.mpf(-1) if s < 0 else mp.mpf(1) for s in np.sum(v * direction, axis=0)]
    return np.concatenate([np.array(list(w), dtype=object)[None, :], v * np.array(signs, dtype=object)])


def _svd(a: Any, direction: Any) -> Any:
    u, s, vt = mp.svd_r(_matrix(a))
    u, v = _array(u), _array(vt).T
    signs = np.array([mp.mpf(-1) if x < 0 else mp.mpf(1) for x in np.sum(u * direction, axis=0)], dtype=object)
    return np.concatenate([u * signs, np.array(list(s), dtype=object)[None, :], v * signs])


def _cholesky(a: Any) -> Any:
    return _array(mp.cholesky(_symmetric(a)))


def _triangle(a: Any, lower: bool, unit: bool) -> Any:
    t = np.where(np.tri(len(a), dtype=bool) if lower else np.tri(len(a), dtype=bool).T, a, mp.mpf(0))
    return np.where(np.eye(len(a), dtype=bool), mp.mpf(1), t) if unit else t


def _solve_triangular(a: Any, b: Any, lower: bool, adjoint: bool, unit: bool) -> Any:
    def one(a: Any, b: Any) -> Any:
        t = _triangle(a, lower, unit)
        return _array(mp.inverse(_matrix(t.T if adjoint else t)) * _matrix(b))

    return _each(one, a, b)


def _product_of_reflections(v: Any, tau: Any) -> Any:
    """The first n columns of H₁ H₂ … H_k, Hᵢ = I - τᵢ vᵢ vᵢᵀ with 1 in place i of vᵢ and 0 above.  -> (m, n)."""
    m, n = v.shape
    q = np.where(np.eye(m, n, dtype=bool), mp.mpf(1), mp.mpf(0))
    for i in range(tau.shape[-1] - 1, -1, -1):
        x = np.array([mp.mpf(0)] * i + [mp.mpf(1)] + list(v[i + 1 :, i]), dtype=object)[:, None]
        q = q - tau[0, i] * np.matmul(x, np.matmul(x.T, q))
    return q


def _running(x: Any, axis: int) -> Any:
    """log Σ exp of all up to each place."""
    greatest = np.max(x.astype(np.float64), axis=axis, keepdims=True, initial=-np.inf)
    shift = np.frompyfunc(mp.mpf, 1, 1)(np.where(np.isfinite(greatest), greatest, 0.0))
    total = np.add.accumulate(np.frompyfunc(mp.exp, 1, 1)(x - shift), axis=axis)
    return np.frompyfunc(lambda s: mp.log(s) if s else -mp.inf, 1, 1)(total) + shift


def _zeros(shape: Any) -> Any:
    return np.full(shape, mp.mpf(0), dtype=object)


def _scatter_sum(values: Any, indices: Any, axis: int, length: int) -> Any:
    y = _zeros((*values.shape[:axis], length, *values.shape[axis + 1 :]))
    places = list(np.indices(indices.shape))
    places[axis] = indices
    np.add.at(y, tuple(places), values)
    return y


def _scatter_flat(values: Any, indices: Any, shape: tuple[int, ...]) -> Any:
    y = _zeros(int(np.prod(shape)))
    np.add.at(y, np.ravel(indices), np.ravel(values))
    return y.reshape(shape)


def _cross_entropy(x: Any, target: Any) -> Any:
    """-(t log x + (1 - t) log(1 - x)), the logarithms cut off at -100."""

    def log(p: Any) -> Any:
        return mp.nan if p < 0 else mp.mpf(-100) if p == 0 else max(mp.log(p), mp.mpf(-100))

    return np.frompyfunc(lambda p, t: -(t * log(p) + (1 - t) * log(1 - p)), 2, 1)(x, target)


EXACT_MATRICES: dict[str, Callable[..., Any]] = {
    "det": lambda a: _each(lambda m: mp.det(_matrix(m)), a),
    "logabsdet": lambda a: _each(lambda m: mp.log(abs(mp.det(_matrix(m)))), a),
    "inv": lambda a: _each(lambda m: _array(mp.inverse(_matrix(m))), a),
    "solve": lambda a, b: _each(lambda m, x: _array(mp.inverse(_matrix(m)) * _matrix(x)), a, b),
    "solve_triangular": _solve_triangular,
    "cholesky": lambda a: _each(_cholesky, a),
    "matrix_exp": lambda a: _each(lambda m: _array(mp.expm(_matrix(m), method="taylor")), a),
    "eigvalsh": lambda a: _each(lambda m: list(mp.eigsy(_symmetric(m), eigvals_only=True)), a),
    "eigh": lambda a, direction: _each(_eigh, a, direction),
    "svdvals": lambda a: _each(lambda m: list(mp.svd_r(_matrix(m), compute_uv=False)), a),
    "svd": lambda a, direction: _each(_svd, a, direction),
    "householder_product": lambda v, tau: _each(_product_of_reflections, v, tau[..., None, :]),
    "logcumsumexp": lambda x, axis: _running(x, axis),
    "cumsum": lambda x, axis: np.add.accumulate(x, axis=axis),
    "binary_cross_entropy": _cross_entropy,
    "scatter_sum": _scatter_sum,
    "scatter_flat": _scatter_flat,
    # in the meaning of an operation, not in a rule: how a documented function goes on beside where it is documented
    "choice": lambda mask, default, site: np.full(np.shape(mask), mp.mpf(default), dtype=object),
}
