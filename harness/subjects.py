"""What `check` differentiates: leaves made of the caller's tensors and a module's parameters, and their function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from .errors import TheirsRaised, UsageError
from .judgement.comparing import Subject
from .judgement.precisions import DTYPES
from .recorder.copies import fresh, leaf_of
from .recorder.nested import flatten
from .recorder.preserving import random_state
from .recorder.reachable import OWNER, Reached
from .runners.calling import Calling
from .runners.surroundings import Surroundings

# The complex dtype whose parts have the given one; the half precisions have none that PyTorch computes in throughout.
MOST = 4  # arguments whose types are told
COMPLEX = {torch.float64: torch.complex128, torch.float32: torch.complex64}


def subject_of(
    fn: Callable[..., Any],
    module: torch.nn.Module | None,
    inputs: Any,
    kwargs: Mapping[str, Any],
    wrt: Sequence[int | str] | None,
    dtype: str | None,
    seed: int,
    around: Surroundings,
) -> Subject:
    """Leaves for the floating and complex inputs, each tensor once, and for the module's parameters; a tied parameter
    is one leaf with all of its names. Raises UsageError where there is nothing to differentiate or wrt is unknown.
    """
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    flat, tree = flatten((args, dict(kwargs)))
    names = _names(fn, module, args, kwargs)
    _refuse_unreadable(flat, names, module)
    tensors = {i: a for i, a in enumerate(flat) if isinstance(a, torch.Tensor)}
    floating = [i for i, a in tensors.items() if a.is_floating_point() or a.is_complex()]
    parameters = _parameters(module)
    if wrt is not None:
        wanted = set(wrt)
        known = {i for i in range(len(args))} | {n for ns, _ in parameters for n in ns} | set(names)
        if wanted - known:
            raise UsageError(
                f"check: wrt={list(wrt)!r} names {sorted(map(str, wanted - known))}, which are neither positions 0 to "
                f"{len(args) - 1} nor parameters; accepted are these and "
                f"{sorted(n for ns, _ in parameters for n in ns)}. Correct wrt."
            )
        owner = [k for k, a in enumerate(args) for _ in flatten(a)[0]]
        floating = [i for i in floating if (i < len(owner) and owner[i] in wanted) or names[i] in wanted]
        parameters = [(ns, p) for ns, p in parameters if not wanted.isdisjoint(ns)]
    if not floating and not parameters:
        raise UsageError(
            f"check: nothing to differentiate: {_said(flat, wrt)}, and no "
            f"parameter that requires grad; accepted is at least one. "
            "Pass a floating tensor, or set requires_grad on a parameter."
        )
    once = {id(flat[i]): i for i in reversed(floating)}  # the same tensor twice is one leaf
    positions = sorted(once.values())
    same = {i: once[id(flat[i])] for i in floating if i not in positions}
    called = {i: " = ".join([names[i], *[names[j] for j, first in same.items() if first == i]]) for i in positions}
    asked = [flat[i].requires_grad for i in positions]
    leaves = []
    for i, a in tensors.items():
        flat[i] = in_precision(a, dtype).detach()
    for i in positions:
        flat[i] = leaf_of(flat[i])
        leaves.append(flat[i])
    for j, i in same.items():
        flat[j] = flat[i]
    return Subject(
        Calling(fn, flat, tree, positions, dtype, same, around=around),
        leaves,
        [p for _, p in parameters],
        [called[i] for i in positions] + [" = ".join(ns) for ns, _ in parameters],
        module,
        seed,
        thorough=True,
        asked=[*asked, *[True] * len(parameters)],
    )


def _said(flat: Sequence[Any], wrt: Sequence[int | str] | None) -> str:
    """What the arguments are, none of which can be differentiated."""
    kinds = [
        f"a tensor of {str(a.dtype).removeprefix('torch.')}" if isinstance(a, torch.Tensor) else f"a {type(a).__name__}"
        for a in flat
    ]
    among = "" if wrt is None else f" among wrt={list(wrt)!r}"
    held = f" ({', '.join(kinds[:MOST])}{', …' if len(kinds) > MOST else ''})" if kinds else ""
    return f"{len(flat)} arguments{held} of which none{among} is a floating tensor"


def _parameters(module: torch.nn.Module | None) -> list[tuple[list[str], torch.nn.Parameter]]:
    """Every parameter that requires grad, once, with all the names under which the module holds it."""
    found: dict[int, tuple[list[str], torch.nn.Parameter]] = {}
    owned = isinstance(module, Reached) and list(module._modules) == [OWNER]  # a method of a module, a partial of one
    for name, p in () if module is None else module.named_parameters(remove_duplicate=False):
        if p.requires_grad:
            found.setdefault(id(p), ([], p))[0].append(name.removeprefix(f"{OWNER}.") if owned else name)
    return [(list(dict.fromkeys(names)), p) for names, p in found.values()]


def _refuse_unreadable(flat: Sequence[Any], names: Sequence[str], module: torch.nn.Module | None) -> None:
    """Raise UsageError for the first tensor whose numbers cannot be read as one array."""
    named = [(n, a) for n, a in zip(names, flat, strict=True) if isinstance(a, torch.Tensor)]
    for name, t in (*named, *(() if module is None else (*module.named_parameters(), *module.named_buffers()))):
        if t.is_meta:
            raise UsageError(
                f"check: {name} is on the meta device, of shape {tuple(t.shape)} and without numbers; accepted are "
                "tensors with numbers. Create it on a device, for example with to_empty and an initialisation."
            )
        if torch._C._functorch.is_functorch_wrapped_tensor(t):
            raise UsageError(
                f"check: {name} is what torch.func (vmap, grad, jvp) hands to the function that it transforms, and has "
                "no numbers of its own there; accepted are tensors with numbers. Call check outside of that function, "
                "on the function itself."
            )
        if t.is_nested:
            raise UsageError(
                f"check: {name} is a nested tensor, of several shapes; accepted are tensors of one shape. Pass its "
                "parts as a tuple (unbind), and nest them in the callable."
            )


def in_precision(t: torch.Tensor, dtype: str | None) -> torch.Tensor:
    """A floating or complex tensor in the precision that was asked for; any other as it is."""
    target = None if dtype is None else DTYPES[dtype]
    if target is None or not (t.is_floating_point() or t.is_complex()):
        return t
    return t.to(COMPLEX.get(target, t.dtype) if t.is_complex() else target)


def _names(
    fn: Callable[..., Any], module: torch.nn.Module | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[str]:
    """A name for every flat argument: the parameter name of the function where there is one, with a number where it is
    nested.
    """
    try:
        called = fn.called if isinstance(fn, Reached) else fn
        called = called.forward if isinstance(called, torch.nn.Module) else called
        signature = list(inspect.signature(called).parameters)
    except (TypeError, ValueError):
        signature = []
    names: list[str] = []
    for i, a in enumerate(args):
        names += _numbered(signature[i] if i < len(signature) else f"input{i}", a)
    for key, a in kwargs.items():
        names += _numbered(key, a)
    return names


def _numbered(base: str, a: Any) -> list[str]:
    count = len(flatten(a)[0])
    return [base] if count == 1 else [f"{base}[{k}]" for k in range(count)]


def initialised(fn: Callable[..., Any], module: torch.nn.Module | None, inputs: Any, kwargs: Mapping[str, Any]) -> None:
    """Call a module with lazy parameters once, so that they have shapes. Raises TheirsRaised where the call does."""
    if module is None or not any(torch.nn.parameter.is_lazy(p) for p in (*module.parameters(), *module.buffers())):
        return
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    try:
        with random_state(), torch.no_grad():
            fn(*[fresh(a) if isinstance(a, torch.Tensor) else a for a in args], **kwargs)
    except Exception as error:
        raise TheirsRaised(error) from error


class converted:  # noqa: N801 - read as a word: `with converted(module, dtype)`
    """Within it, a module's floating parameters and buffers have another dtype; `untouched` puts theirs back."""

    def __init__(self, module: torch.nn.Module | None, dtype: str | None) -> None:
        self.module, self.dtype = module, dtype

    def __enter__(self) -> None:
        if self.module is None or self.dtype is None:
            return
        made: dict[int, torch.Tensor] = {}
        for m in self.module.modules():
            scripted = isinstance(m, (torch.jit.ScriptModule, Reached))
            for table in (m._parameters, m._buffers):
                for name, t in list(table.items()):
                    if t is None or (other := in_precision(t.detach(), self.dtype)).dtype == t.dtype:
                        continue
                    if scripted:  # its tables cannot be written to, or are not where they are read; the numbers can
                        t.data = other
                        continue
                    if id(t) not in made:
                        made[id(t)] = (
                            torch.nn.Parameter(other, t.requires_grad) if isinstance(t, torch.nn.Parameter) else other
                        )
                    table[name] = made[id(t)]  # type: ignore[assignment]

    def __exit__(self, *_: Any) -> None:
        """`untouched` around us puts the original tensors back."""
