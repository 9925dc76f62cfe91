"""Teach the witness an operator of your own: what it computes, never its derivative. A wrong backward is then found.

Run: python examples/teach_an_operator.py
"""

import numpy as np
import torch
from gradwitness.harness import check, register_lowering
from gradwitness.reference_engine import ops
from torch import Tensor


@torch.library.custom_op("examples::unit", mutates_args=())
def unit(x: Tensor, eps: float = 0.0) -> tuple[Tensor, Tensor]:
    """x / ‖x‖ and ‖x‖, by a kernel that autograd cannot look into."""
    a = x.detach().numpy()
    norm = np.sqrt((a * a).sum() + eps)
    return torch.from_numpy(a / norm), torch.tensor(norm, dtype=x.dtype)


def keep(ctx, inputs, output):
    ctx.save_for_backward(*output)


def forgetful(ctx, g, g_norm):
    """The norm is taken as a constant."""
    u, norm = ctx.saved_tensors
    return g / norm + g_norm * u, None


def right(ctx, g, g_norm):
    """x̄ = (ḡ - u ⟨u, ḡ⟩) / ‖x‖ + n̄ u"""
    u, norm = ctx.saved_tensors
    return (g - u * (u * g).sum()) / norm + g_norm * u, None


def meaning(x, eps):
    """What the operator computes, from its definition. The witness derives every derivative from this."""
    norm = ops.sqrt(ops.sum(x * x) + eps)
    return x / norm, norm


def loss(x):
    u, norm = unit(x)
    return u[0] + norm


x = torch.tensor([3.0, 4.0], dtype=torch.float64)
unit.register_autograd(forgetful, setup_context=keep)
print(check(loss, x).explain(), end="\n\n")  # without a rule: unsupported

with register_lowering("examples::unit", meaning):
    print(check(loss, x).explain(), end="\n\n")
    unit.register_autograd(right, setup_context=keep)
    print(check(loss, x, modes=("R", "RR")).explain())
