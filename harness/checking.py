"""`check` and `assert_gradients`: the witness beside PyTorch on the user's own callable or module."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from ..reports.schema import frame_from_rows
from .configuration import LEFT_OUT, in_effect
from .errors import GradientMismatch, TheirsRaised, UnsupportedOperation, UsageError
from .evidence.known import load, match
from .evidence.own_issues import name_own
from .judgement.comparing import Found, Subject
from .judgement.judging import worst
from .judgement.localising import suspects
from .judgement.modes import accepted_mode
from .judgement.precisions import DTYPES
from .judgement.rows import Rows
from .recorder.preserving import random_state, untouched
from .result import CheckResult, Culprit
from .runners import RUNNERS, compare_with
from .runners.calling import Calling

WHOLE_STORAGE = 1 << 26  # bytes; a view of a storage of at most this size keeps its surroundings


def check(
    fn: Callable[..., Any],
    inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    modes: Sequence[str] | None = None,
    runners: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = LEFT_OUT,
    wrt: Sequence[int | str] | None = None,
    seed: int | None = None,
) -> CheckResult:
    """Compare PyTorch's derivatives of `fn` at `inputs` with the witness's.

    fn: a callable on tensors, or an nn.Module, whose parameters (those that require grad) are differentiated too.
    inputs: a tensor or a tuple; every floating tensor in it is differentiated, with its own dtype and strides. kwargs:
    passed on. modes: mode strings, outermost first; R reverse, F forward. dtypes: None for exactly the dtypes given,
    or names ("float64", "float32", "bfloat16", "float16") to convert floating inputs and parameters to, or "autocast"
    for float32 ones and a forward pass under torch.autocast("cpu", dtype=torch.bfloat16). wrt: positions of inputs or
    names of parameters, to narrow. A non-scalar output gets a random cotangent drawn from `seed`. What is left
    out of modes, runners, dtypes and seed comes from [tool.gradwitness] in your pyproject.toml, else it is ("R",),
    ("autograd",), None and 0.

    Every autograd node is judged on its own, every value and the end-to-end gradients too. Leaves no trace:
    parameters, .grad, buffers, train flags and random state are as before. Raises UsageError for arguments that are
    not accepted; what `fn` itself raises becomes a row with verdict `raised`.
    """
    own = in_effect()
    own.hold(accepted_names)
    modes, runners, dtypes, seed = own.filled(modes, runners, dtypes, seed)
    modes, runners = _several(modes), _several(runners)
    dtypes = None if dtypes is None else tuple(d.removeprefix("torch.") for d in _several(dtypes))
    if type(seed) is not int or seed < 0:
        raise UsageError(f"check: seed={seed!r}; accepted are whole numbers from 0. Pass one.")
    wrt = [wrt] if isinstance(wrt, (int, str)) else wrt
    if not modes or not runners or dtypes == ():
        raise UsageError(
            f"check: modes={modes!r}, runners={runners!r}, dtypes={dtypes!r}; accepted is at least one of each. "
            "Name one, or leave the argument out."
        )
    if isinstance(inputs, list):
        raise UsageError(
            "check: inputs is a list; accepted is a tensor or a tuple of arguments. Pass tuple(inputs), or "
            "([...],) to a callable that takes a list."
        )
    accepted_names(modes, runners, dtypes or ())
    if not callable(fn):
        raise UsageError(
            f"check: fn is a {type(fn).__name__}; accepted is a callable on tensors or an nn.Module. Pass the "
            f"function, not its result."
        )
    module = fn if isinstance(fn, torch.nn.Module) else None
    rows = Rows(getattr(fn, "__qualname__", type(fn).__name__), source="user", seed=seed)
    unsupported: dict[str, str] = {}
    culprit: Culprit | None = None
    exception: BaseException | None = None
    for dtype in dtypes or (None,):
        with _gradients_on(), random_state(), untouched(module), _converted(module, dtype):
            subject = _subject(fn, module, inputs, kwargs or {}, wrt, dtype, seed)
            for mode, runner in product(modes, runners):
                start = time.perf_counter()
                try:
                    with random_state():
                        found = compare_with(runner, subject, rows, mode)
                except TheirsRaised as error:
                    exception, culprit = error.original, culprit or error.culprit
                    rows.add(
                        mode=mode,
                        runner=runner,
                        verdict="raised",
                        message=error.text,
                        dtype=subject.dtype,
                        seconds=time.perf_counter() - start,
                    )
                    continue
                if runner == "autograd" and mode != "R" and found.culprit is not None:
                    found.culprit = _alone(found, mode, seed, rows) or found.culprit
                culprit = culprit or found.culprit
                unsupported.update(found.unsupported)
    _name_known(rows)
    known, expired = name_own(rows.rows, own.known)
    frame = frame_from_rows(rows.rows)
    return CheckResult(worst(list(frame["verdict"])), frame, culprit, unsupported, known, exception, tuple(expired))


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


def _several(names: Sequence[str]) -> tuple[str, ...]:
    """One or more names as a tuple; a single string may hold several, separated by commas."""
    return tuple(n.strip() for n in names.split(",") if n.strip()) if isinstance(names, str) else tuple(map(str, names))


def assert_gradients(
    fn: Callable[..., Any], inputs: Any, kwargs: Mapping[str, Any] | None = None, **options: Any
) -> CheckResult:
    """As `check`, but raise GradientMismatch (an AssertionError) unless the result is ok, UnsupportedOperation where
    the witness has no rule.

    Returns the CheckResult.
    """
    return held(check(fn, inputs, kwargs, **options))


def held(result: CheckResult) -> CheckResult:
    """`result` if it is ok. Raises as `assert_gradients` does."""
    if result.ok:
        return result
    if result.exception is not None and result.verdict == "raised":
        raise result.exception
    if result.verdict == "unsupported":
        raise UnsupportedOperation(
            result.unsupported,
            f"assert_gradients: the witness has no rule for {', '.join(sorted(result.unsupported))}; accepted are the "
            f"operations of "
            "gradwitness.harness.lowering.known_operations(). Check the rest with check(...).explain(), or write the "
            "operation differently.",
        )
    raise GradientMismatch(result.explain(), result)


@contextmanager
def _gradients_on() -> Iterator[None]:
    """Whatever the caller switched off around the check."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def _alone(found: Found, mode: str, seed: int, rows: Rows) -> Culprit | None:
    """The operation that is wrong on its own in a mode other than R; the mode's rows are given its name."""
    if found.recording is None or found.seen is None:
        return None
    for call, _, _, single in suspects(found.recording, found.seen, mode, seed):
        worst_row = max((r for r in single.rows if r["verdict"] == "mismatch"), key=lambda r: r["z"])
        for r in rows.rows:
            if r["mode"] == mode and r["runner"] == "autograd" and r["verdict"] == "mismatch":
                r["culprit"] = call.qualified
        file, _, line = call.where.rpartition(":")
        at, number = json.loads(worst_row["entry"]), int(line) if line.isdigit() else 0
        values = worst_row["torch_value"], worst_row["reference_value"]
        return Culprit(call.qualified, file, number, tuple(at), *values, mode)
    return None


def _name_known(rows: Rows) -> None:
    """Fill `known` of the rows that a known issue of PyTorch covers; their verdict stays."""
    issues = load()
    for r in rows.rows:
        if r["verdict"] in ("mismatch", "raised", "inaccurate"):
            names = (str(r.get("culprit") or ""), str(r["program"]))
            issue = match(issues, names, r["mode"], r["runner"], r.get("dtype", ""), r["verdict"], r.get("torch_value"))
            if issue is not None:
                r["known"] = issue.reference


class _converted:
    """Within it, a module's floating parameters and buffers have another dtype; `untouched` puts theirs back."""

    def __init__(self, module: torch.nn.Module | None, dtype: str | None) -> None:
        self.module, self.dtype = module, dtype

    def __enter__(self) -> None:
        if self.module is None or self.dtype is None:
            return
        target = DTYPES[self.dtype]
        made: dict[int, torch.Tensor] = {}
        for m in self.module.modules():
            for table in (m._parameters, m._buffers):
                for name, t in table.items():
                    if t is None or not t.is_floating_point() or t.dtype == target:
                        continue
                    if id(t) not in made:
                        copy = t.detach().to(target)
                        made[id(t)] = (
                            torch.nn.Parameter(copy, t.requires_grad) if isinstance(t, torch.nn.Parameter) else copy
                        )
                    table[name] = made[id(t)]  # type: ignore[assignment]

    def __exit__(self, *_: Any) -> None:
        """`untouched` around us puts the original tensors back."""


def _subject(
    fn: Callable[..., Any],
    module: torch.nn.Module | None,
    inputs: Any,
    kwargs: Mapping[str, Any],
    wrt: Sequence[int | str] | None,
    dtype: str | None,
    seed: int,
) -> Subject:
    """What is differentiated: leaves made of the floating inputs and the module's parameters, and a function of these
    alone.
    """
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    flat, tree = tree_flatten((args, dict(kwargs)))
    positions = [
        i for i, a in enumerate(flat) if isinstance(a, torch.Tensor) and (a.is_floating_point() or a.is_complex())
    ]
    names = _names(fn, module, args, kwargs)
    parameters = [] if module is None else [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    if wrt is not None:
        wanted = set(wrt)
        known = {i for i in range(len(args))} | {n for n, _ in parameters} | set(names)
        if wanted - known:
            raise UsageError(
                f"check: wrt={list(wrt)!r} names {sorted(map(str, wanted - known))}, which are neither positions 0 to "
                f"{len(args) - 1} nor parameters; accepted are these and {sorted(n for n, _ in parameters)}. Correct "
                f"wrt."
            )
        owner = [k for k, a in enumerate(args) for _ in tree_flatten(a)[0]]
        positions = [i for i in positions if (i < len(owner) and owner[i] in wanted) or names[i] in wanted]
        parameters = [(n, p) for n, p in parameters if n in wanted]
    if not positions and not parameters:
        raise UsageError(
            f"check: nothing to differentiate: {len(flat)} arguments of which none is a floating tensor, and no "
            f"parameter that requires grad; accepted is at least one. "
            "Pass a floating tensor, or set requires_grad on a parameter."
        )
    target = None if dtype is None else DTYPES[dtype]
    leaves = []
    for i, a in enumerate(flat):
        if isinstance(a, torch.Tensor) and a.is_floating_point() and target is not None:
            flat[i] = a = a.detach().to(target)
        if i in positions:
            leaf = leaf_of(a)
            flat[i] = leaf
            leaves.append(leaf)

    return Subject(
        Calling(fn, flat, tree, positions, dtype),
        leaves,
        [p for _, p in parameters],
        [names[i] for i in positions] + [n for n, _ in parameters],
        module,
        seed,
    )


def _names(
    fn: Callable[..., Any], module: torch.nn.Module | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[str]:
    """A name for every flat argument: the parameter name of the function where there is one, with a number where it is
    nested.
    """
    try:
        signature = list(inspect.signature(fn if module is None else module.forward).parameters)
    except (TypeError, ValueError):
        signature = []
    names: list[str] = []
    for i, a in enumerate(args):
        base = signature[i] if i < len(signature) else f"input{i}"
        leaves = tree_flatten(a)[0]
        names += [base] if len(leaves) == 1 else [f"{base}[{k}]" for k in range(len(leaves))]
    for key, a in kwargs.items():
        leaves = tree_flatten(a)[0]
        names += [key] if len(leaves) == 1 else [f"{key}[{k}]" for k in range(len(leaves))]
    return names


def leaf_of(t: torch.Tensor) -> torch.Tensor:
    """A leaf with the numbers, strides and memory format of `t`, apart from it where no two entries share memory."""
    source = t.detach()
    if t.layout == torch.strided and 0 < t.numel() * t.element_size() < t.untyped_storage().nbytes() <= WHOLE_STORAGE:
        whole = t.detach().clone().set_(t.untyped_storage().clone())  # type: ignore[call-overload]
        return whole.as_strided(t.shape, t.stride(), t.storage_offset()).detach().requires_grad_()
    if _is_dense(source):
        copy = torch.empty_strided(source.shape, source.stride(), dtype=source.dtype, device=source.device)
        copy.copy_(source)
        return copy.requires_grad_()
    return source.requires_grad_()


def _is_dense(t: torch.Tensor) -> bool:
    """Whether strides visit every place exactly once, so that a copy with the same strides holds the same entries."""
    if t.layout != torch.strided:
        return False
    expected = 1
    for size, stride in sorted(zip(t.shape, t.stride(), strict=True), key=lambda p: (p[1], p[0])):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True
