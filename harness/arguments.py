"""The arguments of `check`, each refused in a sentence of its own where it is not what can be accepted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from .errors import UsageError
from .judgement.modes import accepted_mode
from .judgement.precisions import DTYPES
from .runners import RUNNERS

GREATEST_SEED = 2**63 - 3  # the seeds of what is drawn beside the cotangents are the next numbers


def accepted_names(modes: Sequence[str], runners: Sequence[str], dtypes: Sequence[str]) -> None:
    """Raise UsageError for the first name that is not accepted."""
    for mode in modes:
        accepted_mode(mode)
    for runner in runners:
        if runner not in RUNNERS:
            raise UsageError(f"runner {runner!r}: accepted are {', '.join(RUNNERS)}. Choose one of them.")
    for dtype in dtypes:
        if dtype not in DTYPES:
            raise UsageError(
                f"dtype {dtype!r}: accepted are {', '.join(DTYPES)}. Choose one of them, or leave dtypes out for "
                "the dtypes given."
            )


def several(argument: str, names: Any) -> tuple[str, ...]:
    """One or more names as a tuple; a single string may hold several, separated by commas. A dtype or a device of torch
    stands for its name.
    """
    if isinstance(names, str):
        return tuple(n.strip() for n in names.split(",") if n.strip())
    if isinstance(names, (torch.dtype, torch.device)):
        return (str(names),)
    if isinstance(names, Mapping) or not isinstance(names, Iterable):
        kind = "a type" if isinstance(names, type) else f"of type {type(names).__name__}"
        raise UsageError(
            f"check: {argument}={names!r} is {kind}; accepted is a name, several separated by commas, or a tuple of "
            "names. Pass names."
        )
    return tuple(map(str, names))


def accepted_call(fn: Any, inputs: Any, kwargs: Any, seed: Any, inplace: Any) -> None:
    """Raise UsageError for the first of these that is not accepted by its type."""
    if isinstance(fn, type) and issubclass(fn, torch.nn.Module):
        raise UsageError(
            f"check: fn is the class {fn.__name__}; accepted is a callable on tensors or an nn.Module. Pass a module "
            f"made of it, such as {fn.__name__}(...)."
        )
    if not callable(fn):
        raise UsageError(
            f"check: fn is a {type(fn).__name__}; accepted is a callable on tensors or an nn.Module. Pass the "
            f"function, not its result."
        )
    if isinstance(inputs, list):
        raise UsageError(
            "check: inputs is a list; accepted is a tensor or a tuple of arguments. Pass tuple(inputs), or "
            "([...],) to a callable that takes a list."
        )
    if kwargs is not None and not (isinstance(kwargs, Mapping) and all(isinstance(k, str) for k in kwargs)):
        raise UsageError(
            f"check: kwargs={kwargs!r} is of type {type(kwargs).__name__}; accepted is a dictionary of keyword "
            "arguments by name. Pass one, or leave it out."
        )
    if type(seed) is not int or not 0 <= seed <= GREATEST_SEED:
        raise UsageError(f"check: seed={seed!r}; accepted are whole numbers from 0 to {GREATEST_SEED}. Pass one.")
    if type(inplace) is not bool:
        raise UsageError(f"check: inplace={inplace!r}; accepted are True and False. Pass one of them.")


def chosen(wrt: Any) -> list[int | str] | None:
    """`wrt` as a list, None where it is left out. Raises UsageError unless it is a position or a name, or one or more
    of them.
    """
    if wrt is None:
        return None
    single = isinstance(wrt, (int, str)) or isinstance(wrt, torch.Tensor) or not isinstance(wrt, Iterable)
    wanted = [wrt] if single else list(wrt)
    for w in wanted:
        if type(w) not in (int, str):
            shown = f"a tensor of shape {tuple(w.shape)}" if isinstance(w, torch.Tensor) else repr(w)
            raise UsageError(
                f"check: wrt has {shown}; accepted are positions of inputs, from 0, and names of inputs or parameters. "
                "Name what is to be differentiated by its position."
            )
    if not wanted:
        raise UsageError(
            "check: wrt is empty; accepted is at least one position of an input or name of a parameter. Name one, or "
            "leave it out for all."
        )
    return wanted
