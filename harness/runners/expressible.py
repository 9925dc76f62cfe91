"""Which mode strings a runner can express, and why not the others: by what it is, or by what PyTorch refuses."""

from __future__ import annotations

import dis
import re

import torch

from ..errors import TORCH

RUNNERS = (
    "autograd",
    "func",
    "vmap",
    "compile",
    "compile_grad",
    "compile_jvp",
    "compile_vmap_grad",
    "checkpoint",
    "checkpoint_reentrant",
    "save_on_cpu",
    "create_graph",
)
COMPILED = ("compile", "compile_grad", "compile_jvp", "compile_vmap_grad")
# These run the eager code of a custom Function itself: whatever rule it has, they follow.
EAGER = ("checkpoint", "checkpoint_reentrant", "save_on_cpu", "create_graph")
PER_SAMPLE = ("vmap", "compile_vmap_grad")

NO_FORWARD_OUTSIDE = "it compiles torch.func.jvp of the callable, so the outermost derivative is F"
NO_REVERSE_OUTSIDE = "it compiles torch.func.grad of the callable, so the outermost derivative is R"
DETACHED = (
    "the reentrant checkpoint runs its backward pass on detached copies and has no forward rule, so it has first "
    "reverse derivatives alone"
)
NO_SAMPLE = (
    "vmap gives the callable one sample, of shape {0}; the callable runs on the whole batch and does not run on that "
    "({1})"
)
HOOKS_DISABLED = "it needs saved tensor hooks, and the caller has disabled them around the check ({0})"
# The callable has a reentrant checkpoint of its own: its first derivative is had by backward() alone.
REENTRANT = "checkpoint is incompatible with .grad()"
NO_REVERSE = "create_graph is an option of the reverse mode, and this mode has none"

# What PyTorch says where a transform, the compiler or a custom Function does not offer a derivative at all. Any other
# exception is a failure, not a limit.
REFUSALS = (
    "does not currently support double backward",
    "compiled with non-empty donated buffers",
    "must implement the jvp function",
    "must override the setup_context",
    "don't yet support saved tensor hooks",
    "would mutate a captured Tensor",
    "does not have vmap support",
    "Batching rule not implemented",
    "does not yet have a batching rule",
    "Batch norm got a batched tensor as input while",  # running statistics that are not batched cannot be updated
    "vmap: ",
    "doesn't match the broadcast shape",  # of a batched tensor added in place to one that is not
    "Trying to use forward AD with",
    "derivative for aten::",
    "the derivative for '",
    "does not support automatic differentiation for outputs with complex dtype",
    "Nested forward mode AD is not supported",
    "that does not support it because it has not been implemented yet",
    "is not supported within torch.func transforms",
    REENTRANT,
)


# What PyTorch says where an operation has no kernel for a dtype.
NO_KERNEL = re.compile(
    r"^\"?[\w.:]+\"? not implemented for '\w+'|Low precision dtypes not supported|^Unsupported dtype (BFloat16|Half)\b"
)


class NotExpressible(Exception):
    """The runner ran, and what it ran was not what its name says; the text says why."""


def reason_against(runner: str, mode: str) -> str | None:
    """Why `runner` has no `mode` by its nature; None if it may have it."""
    outermost = mode[0]
    if runner in ("compile_grad", "compile_vmap_grad") and outermost != "R":
        return NO_REVERSE_OUTSIDE
    if runner == "compile_jvp" and outermost != "F":
        return NO_FORWARD_OUTSIDE
    if runner == "checkpoint_reentrant" and mode != "R":
        return DETACHED
    if runner == "create_graph" and "R" not in mode:
        return NO_REVERSE
    return None


def refusal(error: BaseException) -> str | None:
    """PyTorch's own words, on one line, where an exception says that a derivative is not offered; else None."""
    text = " ".join(str(error).split())
    if str(error) == torch._C._autograd._saved_tensors_hooks_get_disabled_error_message():
        return HOOKS_DISABLED.format(text)
    return text[:300] if isinstance(error, NotExpressible | torch._dynamo.exc.Unsupported) or refuses(text) else None


def refuses(text: str) -> bool:
    """Whether the text of an exception says that a derivative is not offered."""
    return any(words in text for words in REFUSALS)


def lacks_kernel(error: BaseException) -> bool:
    """Whether PyTorch says that it cannot compute an operation in the dtype it is given. The user's own `raise` with
    such words is none of PyTorch's.
    """
    if not isinstance(error, RuntimeError) or not NO_KERNEL.search(str(error)):
        return False
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or TORCH in last.tb_frame.f_code.co_filename:
        return True
    raising = {i.offset for i in dis.get_instructions(last.tb_frame.f_code) if i.opname == "RAISE_VARARGS"}
    return last.tb_lasti not in raising
