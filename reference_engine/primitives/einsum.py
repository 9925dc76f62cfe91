"""einsum: any number of operands, reduced to products of two whose rules are einsums again.

The public function settles what is special (repeated labels, labels of one operand alone, axes of length 1, ellipses),
so that the primitive sees two operands whose every label also stands in the other operand or in the result.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError
from ..registry import Accumulation
from ..tracing import bind
from .contraction import PRODUCTS
from .declare import general
from .diagonal import diagonal
from .reduction import sum
from .shape import moveaxis, reshape, shaped, transpose


def _split(subscripts: str) -> tuple[str, str, str]:
    inputs, out = subscripts.split("->")
    a, b = inputs.split(",")
    return a, b, out


def _lengths(labels: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    return {label: n for part, shape in zip(labels, shapes, strict=True) for label, n in zip(part, shape, strict=True)}


def _contract(a: Any, b: Any, *, subscripts: str) -> Any:
    """One matmul: batch labels first, then those of one operand alone, the summed ones inside."""
    left, right, out = _split(subscripts)
    n = _lengths((left, right), (a.shape, b.shape))
    batch = [i for i in left if i in right and i in out]
    inner = [i for i in left if i in right and i not in out]
    rows, columns = [i for i in left if i not in right], [i for i in right if i not in left]
    size = [math.prod(n[i] for i in group) for group in (rows, inner, columns)]
    shape = [n[i] for i in batch]
    x = a.transpose([left.index(i) for i in (*batch, *rows, *inner)]).reshape(*shape, size[0], size[1])
    z = b.transpose([right.index(i) for i in (*batch, *inner, *columns)]).reshape(*shape, size[1], size[2])
    order = (*batch, *rows, *columns)
    y = np.matmul(x, z).reshape([n[i] for i in order])
    return y.transpose([order.index(i) for i in out])


def _contract_aval(a: Any, b: Any, *, subscripts: str) -> Any:
    left, right, out = _split(subscripts)
    n = _lengths((left, right), (a.shape, b.shape))
    return tuple(n[i] for i in out), np.result_type(a.dtype, b.dtype)


def _terms(a: Any, b: Any, *, subscripts: str) -> int:
    left, right, out = _split(subscripts)
    n = _lengths((left, right), (a.shape, b.shape))
    return math.prod(n[i] for i in left if i not in out)


def _contract_vjp_a(g: Any, y: Any, a: Any, b: Any, *, subscripts: str) -> Any:
    """ā = g contracted with b over the labels of b that a lacks."""
    left, right, out = _split(subscripts)
    return bind("einsum", g, b, subscripts=f"{out},{right}->{left}")


def _contract_vjp_b(g: Any, y: Any, a: Any, b: Any, *, subscripts: str) -> Any:
    """b̄ = a contracted with g over the labels of a that b lacks."""
    left, right, out = _split(subscripts)
    return bind("einsum", a, g, subscripts=f"{left},{out}->{right}")


FORMS = ("ij,jk->ik", "ij,kj->ki", "bij,bjk->bik", "ij,ij->i", "i,j->ij", "...ij,jk->...ik", "ijk,jl,l->ik")


def _draw(pool: Any) -> Any:
    subscripts = pool.choice(FORMS)
    n = {label: pool.length() for label in "bijkl"}
    shapes = [tuple(n[i] for i in part.replace("...", "b")) for part in subscripts.split("->")[0].split(",")]
    return einsum(subscripts, *[pool.shaped(shape) for shape in shapes])


contract = general(
    "einsum",
    _contract,
    _contract_aval,
    _contract_vjp_a,
    _contract_vjp_b,
    torch="torch.einsum({subscripts}, {0}, {1})",
    source=PRODUCTS,
    accumulates=Accumulation(
        _terms, lambda a, b, *, subscripts: _contract(np.abs(a) ** 2, np.abs(b) ** 2, subscripts=subscripts)
    ),
    draw=_draw,
)


def _refuse(subscripts: str, operands: Sequence[Any], why: str) -> ShapeError:
    return ShapeError(
        f"einsum: subscripts={subscripts!r} with shapes {[x.shape for x in operands]}: {why}; accepted is one "
        "letter an axis, with one length a letter (or 1), as in NumPy. Check the subscripts against the shapes."
    )


def _parse(subscripts: str, operands: Sequence[Any]) -> tuple[list[str], str]:
    """Labels of every operand and of the result, ellipses written out as unused letters."""
    text = subscripts.replace(" ", "")
    if not set(text) <= set(string.ascii_letters + ".,->") or text.count("->") > 1:
        raise ParameterError(
            f"einsum: subscripts={subscripts!r}; accepted are letters, commas, '...' and one '->'. Rewrite them."
        )
    inputs, arrow, out = text.partition("->")
    parts = inputs.split(",")
    if len(parts) != len(operands):
        raise ParameterError(
            f"einsum: subscripts={subscripts!r} name {len(parts)} operands and {len(operands)} were given; they must "
            "be equally many. Add the missing ones."
        )
    free = [c for c in string.ascii_letters if c not in text]
    extra = [x.ndim - len(part.replace("...", "")) for part, x in zip(parts, operands, strict=True)]
    for part, more in zip(parts, extra, strict=True):
        if part.replace("...", "", 1).count(".") or more < 0 or (more and "..." not in part):
            raise _refuse(subscripts, operands, f"{part!r} does not fit its operand")
    widest = max((more for part, more in zip(parts, extra, strict=True) if "..." in part), default=0)
    dots = "".join(free[:widest])
    labels = [part.replace("...", dots[widest - more :]) for part, more in zip(parts, extra, strict=True)]
    if arrow:
        result = out.replace("...", dots)
    else:
        every = "".join(labels)
        result = dots + "".join(sorted(c for c in set(every) - set(dots) if every.count(c) == 1))
    if len(set(result)) != len(result) or not set(result) <= set("".join(labels)) or "." in result:
        raise _refuse(subscripts, operands, f"result {out!r} repeats a label or names one that no operand has")
    return labels, result


def _without_repeats(x: Any, label: str) -> tuple[Any, str]:
    """Diagonals instead of repeated labels."""
    for c in dict.fromkeys(label):
        while label.count(c) > 1:
            i, j = label.index(c), label.rindex(c)
            x = moveaxis(diagonal(x, 0, i, j), -1, 0)
            label = c + "".join(d for k, d in enumerate(label) if k not in (i, j))
    return x, label


def _alone(x: Any, label: str, elsewhere: set[str], n: dict[str, int]) -> tuple[Any, str]:
    """Axes of length 1 that stand for a longer one are dropped, labels of no other part are summed."""
    kept = [i for i, c in enumerate(label) if x.shape[i] == n[c]]
    x, label = reshape(x, [x.shape[i] for i in kept]), "".join(label[i] for i in kept)
    axes = tuple(i for i, c in enumerate(label) if c not in elsewhere)
    return (sum(x, axes) if axes else x), "".join(c for c in label if c in elsewhere)


def einsum(subscripts: str, *operands: Any) -> Any:
    """Products of the operands, summed over the labels that the result lacks; NumPy's notation, with '...'.

    Raises ShapeError and ParameterError for subscripts that do not fit the operands.
    """
    xs = [shaped(x) for x in operands]
    labels, out = _parse(subscripts, xs)
    n: dict[str, int] = {}
    for label, x in zip(labels, xs, strict=True):
        for c, length in zip(label, x.shape, strict=True):
            if n.setdefault(c, length) != length:
                if 1 not in (n[c], length):
                    raise _refuse(subscripts, xs, f"label {c!r} has lengths {n[c]} and {length}")
                n[c] = length if n[c] == 1 else n[c]
        repeated = {c for c in label if len({m for d, m in zip(label, x.shape, strict=True) if d == c}) > 1}
        if repeated:
            raise _refuse(subscripts, xs, f"label {min(repeated)!r} repeats within {label!r} with unequal lengths")
    parts = [_without_repeats(x, label) for x, label in zip(xs, labels, strict=True)]
    while True:
        parts = [
            _alone(x, label, set(out).union(*[other for j, (_, other) in enumerate(parts) if j != i]), n)
            for i, (x, label) in enumerate(parts)
        ]
        if len(parts) == 1:
            break
        i, j = _cheapest(parts, out, n)
        (b, right), (a, left) = parts.pop(j), parts.pop(i)
        needed = set(out).union(*[label for _, label in parts])
        both = "".join(c for c in dict.fromkeys(left + right) if c in needed)
        parts.append((bind("einsum", a, b, subscripts=f"{left},{right}->{both}"), both))
    y, label = parts[0]
    order = tuple(label.index(c) for c in out)
    return transpose(y, order) if order != tuple(range(len(order))) else y


def _cheapest(parts: Sequence[tuple[Any, str]], out: str, n: dict[str, int]) -> tuple[int, int]:
    """The pair to multiply next: the fewest products, then the smallest result (greedy; the first pair at a tie)."""
    costs = []
    for j in range(len(parts)):
        for i in range(j):
            labels = set(parts[i][1]) | set(parts[j][1])
            others = set(out).union(*[label for k, (_, label) in enumerate(parts) if k not in (i, j)])
            costs.append((math.prod(n[c] for c in labels), math.prod(n[c] for c in labels & others), i, j))
    return min(costs)[2:]
