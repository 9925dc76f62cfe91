"""`register_lowering`: teach the witness what an operator of the user's own (`torch.library`) means."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

from ..reference_engine import ops
from ..reference_engine.errors import EngineError
from ..reference_engine.program import Variable
from ..reference_engine.tracing import Tracer
from .errors import UsageError
from .lowering import CallSite, NotCovered, lowers
from .lowering.table import is_lowered, withdraw

_FORM = re.compile(r"(?P<space>[A-Za-z_]\w*)::(?P<name>[A-Za-z_]\w*)(\.(?P<overload>[A-Za-z_]\w*))?")


class Registration:
    """What `register_lowering` returns: `remove()` takes the rule back, and so does the end of a `with` block."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._is_live = True

    def remove(self) -> None:
        """Take the rule back; a second time does nothing."""
        if self._is_live:
            withdraw(self.name)
            self._is_live = False

    def __enter__(self) -> Registration:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<rule of {self.name}{'' if self._is_live else ', removed'}>"


def register_lowering(name: str, fn: Callable[..., Any]) -> Registration:
    """Say what the operator `name` computes, so that `check` can judge its value and its derivatives.

    name: "mylib::op" for all overloads, "mylib::op.default" for one; the operator must be defined. fn: the same
    computation, written with gradwitness.reference_engine.ops from its mathematics. It gets all arguments of the
    operator, defaults filled in: floating tensors as traced values, integer and Boolean ones as NumPy arrays (they are
    decisions and taken from PyTorch's run), the rest as it was passed. It returns one traced value per output: one, or
    a tuple in which None stands for an output that is not differentiated. No derivative is written: it follows.

    Returns a Registration, which takes the rule back. Raises UsageError for a name of another form, an operator that
    does not exist, writes into its arguments or has a rule, and for a fn that does not take its arguments. While a
    check runs, UsageError for a fn that raises, or returns anything else or another shape than PyTorch. A fn that
    raises NotCovered (from gradwitness.harness.lowering) makes the call `unsupported` with that reason.
    """
    if isinstance(name, str) and (is_lowered(name) or is_lowered(name.partition(".")[0])):
        raise UsageError(
            f"register_lowering: {name!r} has a rule already; accepted is one for each operator. Take the first back "
            f"(its Registration has remove()), or leave this one out."
        )
    operators = _operators(name)
    if not callable(fn):
        raise UsageError(
            f"register_lowering: fn of {name!r} is a {type(fn).__name__}; accepted is a function. Pass the function."
        )
    for operator in operators:
        _takes(fn, operator, name)
    schemas = {operator._overloadname: operator._schema for operator in operators}

    def lowered(call: CallSite, *args: Any, **kwargs: Any) -> Any:
        schema = schemas.get(call.name.partition(".")[2])
        if schema is None:
            raise NotCovered(f"the rule of {name} is for {', '.join(map(str, schemas.values()))}")
        positional, named = _filled(schema, args, kwargs)
        given = [a for a in tree_leaves((positional, named)) if isinstance(a, Tracer)]
        before = len(given[0].builder.equations) if given else 0
        try:
            results = fn(*positional, **named)
        except (EngineError, NotCovered):
            raise
        except Exception as error:
            raise UsageError(_raised(name, error)) from error
        _hold(results, call, name)
        return _own(results, before)

    lowered.__doc__ = fn.__doc__
    lowers(name)(lowered)
    return Registration(name)


def _operators(name: str) -> list[Any]:
    """The overloads that `name` stands for. Raises UsageError."""
    form = _FORM.fullmatch(name) if isinstance(name, str) else None
    if form is None:
        raise UsageError(
            f'register_lowering: {name!r}; accepted is NAMESPACE::OPERATOR, such as "mylib::op", or with its overload '
            f'"mylib::op.default". Write it as torch.library does.'
        )
    packet = getattr(getattr(torch.ops, form["space"]), form["name"], None)
    overloads = [] if packet is None else packet.overloads()
    wanted = [form["overload"]] if form["overload"] else overloads
    if packet is None or not set(wanted) <= set(overloads):
        there = f"its overloads are {', '.join(overloads)}" if overloads else "PyTorch knows no such operator"
        raise UsageError(
            f"register_lowering: {name!r}: {there}; accepted is an operator that is defined. Define it with "
            f"torch.library first, or correct the name."
        )
    operators = [getattr(packet, overload) for overload in wanted]
    functional = [operator for operator in operators if not operator._schema.is_mutable]
    if not functional:
        raise UsageError(
            f"register_lowering: {name!r} writes into its arguments ({operators[0]._schema}); accepted are operators "
            f"without mutates_args, for which alone PyTorch takes an autograd formula. Return a new tensor."
        )
    return functional


def _takes(fn: Callable[..., Any], operator: Any, name: str) -> None:
    """Raise UsageError where `fn` cannot be called with the arguments of the operator."""
    schema = operator._schema
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return  # a callable in C says nothing of its arguments; a call will
    positional = [a.name for a in schema.arguments if not a.kwarg_only]
    named = [a.name for a in schema.arguments if a.kwarg_only]
    try:
        signature.bind(*positional, **{a: a for a in named})
    except TypeError as error:
        wanted = ", ".join([*positional, *(["*", *named] if named else [])])
        raise UsageError(
            f"register_lowering: the rule of {name!r} takes {signature} ({error}); accepted is ({wanted}), the "
            f"arguments of {schema}. Give the rule these."
        ) from error


def _filled(schema: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and named arguments with the defaults that PyTorch leaves out of a recorded call."""
    positional, named = list(args), dict(kwargs)
    for i, argument in enumerate(schema.arguments):
        if argument.kwarg_only:
            named.setdefault(argument.name, argument.default_value)
        elif i >= len(positional):
            positional.append(named.pop(argument.name, argument.default_value))
    return positional, named


def _hold(results: Any, call: CallSite, name: str) -> None:
    """Raise UsageError unless a rule returned a traced value, or None, for each output, in PyTorch's shape."""
    entries = results if isinstance(results, tuple) else (results,)
    if len(entries) != len(call.outputs):
        raise UsageError(
            f"register_lowering: the rule of {name!r} returned {len(entries)} results; accepted is "
            f"{len(call.outputs)}, as {call.name} returns, one or a tuple. Return one for each, None where it is not "
            f"differentiated."
        )
    for i, (entry, output) in enumerate(zip(entries, call.outputs, strict=True)):
        if entry is None:
            continue
        if not isinstance(entry, Tracer):
            kind = f"{type(entry).__module__}.{type(entry).__qualname__}".removeprefix("builtins.")
            raise UsageError(
                f"register_lowering: the rule of {name!r} returned a {kind} as output {i}; accepted is what the "
                f"functions of gradwitness.reference_engine.ops return for its arguments, or None for an output that "
                f"is not differentiated. Compute it with ops."
            )
        if output is not None and entry.shape != np.shape(output):
            raise UsageError(
                f"register_lowering: the rule of {name!r} returned shape {entry.shape} as output {i}; PyTorch returned "
                f"{np.shape(output)}. Return PyTorch's shape."
            )


def _own(results: Any, before: int) -> Any:
    """The results of a rule, each the output of an equation of its own, so that it is held against PyTorch's value.

    An argument, a constant, an earlier result, or the same result once more becomes an equation that only repeats it.
    before: how many equations there were when the rule was called.
    """
    entries = results if isinstance(results, tuple) else (results,)
    met: set[Variable] = set()
    own: list[Any] = []
    for entry in entries:
        if entry is not None:
            made = {v for e in entry.builder.equations[before:] for v in e.outputs}
            if entry.variable not in made or entry.variable in met:
                entry = ops.reshape(entry, entry.shape)
            met.add(entry.variable)
        own.append(entry)
    return tuple(own) if isinstance(results, tuple) else own[0]


def _raised(name: str, error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"register_lowering: the rule of {name!r} raised {type(error).__name__}: {' '.join(str(error).split())} "
        f"({Path(last.filename).name}, line {last.lineno}); accepted is a rule that computes its result with "
        f"gradwitness.reference_engine.ops. Correct the rule."
    )
