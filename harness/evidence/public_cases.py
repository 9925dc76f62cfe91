"""Publicly reported wrong gradients that depend on how PyTorch runs: compiled, checkpointed, laid out, in a precision.

Each case is a small callable of ours for the reported fault, with the cell of the matrix in which it shows or showed.
`wrong` was wrong in torch 2.13.0, `right` was repaired, `convention` is documented behaviour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from ..result import CheckResult

WRONG, RIGHT, CONVENTION = "wrong", "right", "convention"
FOUND = {WRONG: ("mismatch", "inaccurate"), RIGHT: ("agree",), CONVENTION: ("convention", "agree")}
EAGER = "autograd"


@dataclass(frozen=True)
class PublicCase:
    """One reported case.

    kind: compile, transform, checkpoint, layout or precision. source: the public issue. status: one of FOUND. made: the
    callable and its inputs. runner, mode, layout, dtype: the cell. configured: a context that the report needs. shows:
    for what is no function of tensors, whether this torch still shows it; `made` is None then.
    """

    name: str
    kind: str
    source: str
    status: str
    made: Callable[[], tuple[Callable[..., Any], Any]] | None
    runner: str = EAGER
    mode: str = "R"
    layout: str | None = None
    dtype: str | None = None
    configured: Callable[[], AbstractContextManager[Any]] = nullcontext
    shows: Callable[[], bool] | None = None

    @property
    def is_compiled(self) -> bool:
        return self.runner.startswith("compile")

    def checked(self, beside: Sequence[str] = ()) -> CheckResult:
        """The cell, and the same by the runners `beside` it, by `check`."""
        from ..checking import check

        assert self.made is not None
        fn, inputs = self.made()
        layouts, dtypes = (None if name is None else (name,) for name in (self.layout, self.dtype))
        with self.configured():
            runners = tuple(dict.fromkeys((*beside, self.runner)))
            return check(fn, inputs, modes=(self.mode,), runners=runners, layouts=layouts, dtypes=dtypes)


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Standard normal numbers, the same each time."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def single(*values: Any) -> torch.Tensor:
    """Numbers in float32."""
    return torch.tensor(values, dtype=torch.float32)


def least_angle(x: torch.Tensor) -> torch.Tensor:
    """The least of some angles; a compiled backward pass computes them anew, with another last bit."""
    return torch.atan2(x, torch.ones_like(x)).amin(-1)


def chosen_of_a_stack(x: torch.Tensor) -> torch.Tensor:
    """A difference of two entries of one sample, picked by index out of a stack of them."""
    a, b = torch.index_select(torch.stack([x[0], x[1], x[2]], -1), -1, torch.tensor([2, 0])).unbind(-1)
    return 2.0 * a - b


def pooled_where_negative(x: torch.Tensor) -> torch.Tensor:
    """A convolution, or where it is not positive the greatest of its neighbourhood."""
    c = F.conv2d(x, torch.eye(2, dtype=x.dtype)[:, :, None, None])
    return torch.where(c > 0, c, F.max_pool2d(c, 3, 1, 1)).sum()


def sums_into_a_column(x: torch.Tensor) -> torch.Tensor:
    """Squares of one column added into another, in place, again and again."""
    y = torch.zeros_like(x)
    for _ in range(4):
        y[:, 1] += x[:, 0].square()
    return y.sum()


def resized(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """One entry of a convolution, picked by resizing to a single place."""
    return F.interpolate(F.conv2d(x, w), size=[1, 1]).sum()


class Identity(torch.autograd.Function):
    """The sign, with the rules of the identity: a straight-through estimator."""

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        """sign x."""
        return x.sign()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        """g."""
        return g

    @staticmethod
    def jvp(ctx: Any, t: torch.Tensor) -> torch.Tensor:
        """t."""
        return t * 1


class TooLarge(torch.autograd.Function):
    """A sum whose backward returns two gradients stacked, which PyTorch adds up without a word."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """Σ x."""
        return x.sum()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        """Two rows of g where one is due."""
        return g.expand(2, 3)


def written_between_passes() -> bool:
    """Whether compiled code takes a saved input that was written into after the forward pass without a word, where the
    eager run refuses it.
    """
    from ..runners.compiling import Compiled, apart

    def gradient(fn: Callable[..., torch.Tensor]) -> float | None:
        x, w = torch.full((1, 2), 3.0), torch.ones(2, 1, requires_grad=True)
        y = fn(x, w)
        x.mul_(5.0)
        try:
            (g,) = torch.autograd.grad(y.sum(), w)
        except RuntimeError:
            return None
        return float(g[0])

    with apart():
        return gradient(lambda x, w: x @ w) is None and gradient(Compiled(lambda x, w: x @ w)) == 15.0


def small_budget() -> AbstractContextManager[Any]:
    """Recompute everything in the compiled backward pass."""
    from torch._functorch import config

    manager: AbstractContextManager[Any] = config.patch(activation_memory_budget=0.0)
    return manager


def redrawn(x: torch.Tensor, reentrant: bool) -> torch.Tensor:
    """Dropout under a checkpoint that was told not to keep the random state."""
    return checkpoint(lambda y: F.dropout(y * 3.0, 0.5), x, use_reentrant=reentrant, preserve_rng_state=False)  # type: ignore[no-any-return]


def padded_and_folded(x: torch.Tensor) -> torch.Tensor:
    """The gradient arrives at the folding transposed, not contiguous."""
    return F.fold(F.pad(x.mT, (0, 0)).mT, (3, 3), (2, 2)).sin().sum()


def attention_of_masked_rows(q: torch.Tensor) -> torch.Tensor:
    """One row may look at nothing."""
    mask = torch.tensor([[True, False, True], [False, False, False]])
    k, v = numbers(1, 1, 3, 4, seed=1).to(q.dtype), numbers(1, 1, 3, 4, seed=2).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).sum()


CASES: tuple[PublicCase, ...] = (
    PublicCase(
        "inductor-extremum-of-angles", "compile", "pytorch/pytorch#186799", WRONG,
        lambda: (least_angle, single([-0.5, -1.0])), "compile",
    ),
    PublicCase(
        "inductor-per-sample-index", "compile", "pytorch/pytorch#188084", WRONG,
        lambda: (chosen_of_a_stack, numbers(3, 3)), "compile_vmap_grad",
    ),
    PublicCase(
        "inductor-deviation-of-tiny-numbers", "compile", "pytorch/pytorch#197089", WRONG,
        lambda: (torch.std, single(1e-30, 3e-30, 4e-30)), "compile",
    ),
    PublicCase(
        "inductor-saved-input-written-into", "compile", "pytorch/pytorch#197887", WRONG,
        None, "compile", shows=written_between_passes,
    ),
    PublicCase(
        "inductor-dropout-recomputed", "compile", "pytorch/pytorch#190758", WRONG,
        lambda: (lambda x: F.dropout(x.cos().exp(), 0.5), numbers(200)), "compile", configured=small_budget,
    ),
    PublicCase(
        "dynamo-function-with-its-own-tangent", "compile", "pytorch/pytorch#192985", WRONG,
        lambda: (lambda x: Identity.apply(x), numbers(3)), "compile_jvp", "F",
    ),
    PublicCase(
        "inductor-pooling-beside-a-convolution", "compile", "pytorch/pytorch#185509", WRONG,
        lambda: (pooled_where_negative, numbers(1, 2, 4, 4)), "compile",
    ),
    PublicCase(
        "inductor-sums-in-place-under-grad", "compile", "pytorch/pytorch#136662", RIGHT,
        lambda: (sums_into_a_column, numbers(3, 2)), "compile_grad",
    ),
    PublicCase(
        "inductor-convolution-resized", "compile", "pytorch/pytorch#100794", RIGHT,
        lambda: (resized, (numbers(1, 1, 3, 3), numbers(1, 1, 5, 5, seed=1))), "compile",
    ),
    PublicCase(
        "inductor-greatest-of-few-by-index", "compile", "pytorch/pytorch#168358", RIGHT,
        lambda: (
            lambda s: s.new_full((2,), float("-inf")).index_reduce(
                0, torch.zeros(3, dtype=torch.long), s, "amax", include_self=False
            )[0],
            single(2.0, 5.0, 5.0),
        ),
        "compile",
    ),
    PublicCase(
        "inductor-shared-scale-of-two-normalisations", "compile", "pytorch/pytorch#193061", RIGHT,
        lambda: (
            lambda x, t: F.layer_norm(F.layer_norm(x, (6,)) * (1 + t[0]) + t[1], (6,)) * (1 + t[2]) + t[3],
            (numbers(4, 6), numbers(4, 6, seed=1)),
        ),
        "compile",
    ),
    PublicCase(
        "per-sample-layer-norm", "transform", "pytorch/functorch#534", RIGHT,
        lambda: (lambda x, w: F.layer_norm(x, (4,), w).cos().sum(), (numbers(3, 2, 4), numbers(4, seed=1))), "vmap",
    ),
    PublicCase(
        "product-with-zeros-under-grad", "transform", "pytorch/pytorch#194699", WRONG,
        lambda: (torch.prod, single(0.0, 0.0, 2e25, 1e25)), "func",
    ),
    PublicCase(
        "nested-tangents-of-a-function", "transform", "pytorch/pytorch#197867", WRONG,
        lambda: (lambda x: cube(x), numbers(3)), "func", "FF",
    ),
    PublicCase(
        "gradient-of-a-softmax-tangent", "transform", "pytorch/pytorch#162350", WRONG,
        lambda: (lambda x: x.softmax(-1), numbers(2, 3)), "save_on_cpu", "RF",
    ),
    PublicCase(
        "checkpoint-without-random-state", "checkpoint", "pytorch/pytorch#14253", CONVENTION,
        lambda: (lambda x: redrawn(x, False), numbers(8)),
    ),
    PublicCase(
        "reentrant-checkpoint-without-random-state", "checkpoint", "pytorch/pytorch#14253", CONVENTION,
        lambda: (lambda x: redrawn(x, True), numbers(8)),
    ),
    PublicCase(
        "dropout-under-a-checkpoint", "checkpoint", "pytorch/pytorch#14253", RIGHT,
        lambda: (lambda x: F.dropout(x.sin(), 0.5), numbers(8)), "checkpoint",
    ),
    PublicCase(
        "group-norm-channels-last", "layout", "pytorch/pytorch#115940", RIGHT,
        lambda: (lambda x, w: F.group_norm(x, 2, w).sin(), (numbers(2, 4, 1, 3), numbers(4, seed=1))),
        layout="channels_last",
    ),
    PublicCase(
        "fold-of-a-transposed-gradient", "layout", "pytorch/pytorch#32705", RIGHT,
        lambda: (padded_and_folded, numbers(1, 4, 4)),
    ),
    PublicCase(
        "einsum-of-an-expanded-input", "layout", "pytorch/pytorch#30303", RIGHT,
        lambda: (lambda x, w: torch.einsum("...i,ij->...j", x, w), (numbers(2, 3), numbers(3, 2, seed=1))),
        layout="expanded",
    ),
    PublicCase(
        "determinant-of-rank-one", "layout", "pytorch/pytorch#104675", WRONG,
        lambda: (torch.linalg.det, torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=torch.float64)), layout="contiguous",
    ),
    PublicCase(
        "attention-of-a-masked-row", "layout", "pytorch/pytorch#103963", RIGHT,
        lambda: (attention_of_masked_rows, numbers(1, 1, 2, 4)), layout="transposed",
    ),
    PublicCase(
        "pooling-by-transposed-gradients", "layout", "pytorch/executorch#21686", RIGHT,
        lambda: (lambda x: F.max_pool2d(x, 2), numbers(1, 2, 4, 4)), layout="cotangents_transposed",
    ),
    PublicCase(
        "gradient-of-a-larger-shape", "layout", "pytorch/pytorch#65244", WRONG,
        lambda: (lambda x: TooLarge.apply(x), numbers(3)),
    ),
    PublicCase(
        "hessian-of-a-product-in-float16", "precision", "pytorch/pytorch#193012", WRONG,
        lambda: (lambda x: 3000.0 * torch.prod(x), single(0.02, 1.0, 1.0)), mode="RR", dtype="float16",
    ),
    PublicCase(
        "tail-of-tanh-in-float32", "precision", "pytorch/pytorch#195685", WRONG,
        lambda: (torch.tanh, single(9.5, 10.0)), dtype="float32",
    ),
    PublicCase(
        "angle-of-a-tiny-number", "precision", "pytorch/pytorch#98276", WRONG,
        lambda: (torch.angle, torch.tensor([4e-30 + 3e-30j], dtype=torch.complex64)),
    ),
    PublicCase(
        "singular-vectors-of-a-tiny-matrix", "precision", "pytorch/pytorch#194705", WRONG,
        lambda: (lambda x: torch.linalg.svd(x)[0][0, 0].square(), single([2e-25, 1e-25], [0.0, 1e-25])),
        dtype="float32",
    ),
    PublicCase(
        "greatest-of-many-equal-in-float16", "precision", "tinygrad/tinygrad#15363", RIGHT,
        lambda: (torch.amax, torch.ones(3000)), dtype="float16",
    ),
    PublicCase(
        "resized-volume-in-bfloat16", "precision", "pytorch/pytorch#112299", RIGHT,
        lambda: (
            lambda x: F.interpolate(x, scale_factor=(1, 2, 2), mode="trilinear").square().mean(),
            numbers(1, 1, 1, 3, 3),
        ),
        dtype="bfloat16",
    ),
)


def cube(x: torch.Tensor) -> torch.Tensor:
    """x³ by a Function with right rules."""
    from .proofs import Square

    return x * Square.apply(x)  # type: ignore[no-any-return]
