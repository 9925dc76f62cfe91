"""`check` and `assert_gradients`: the witness beside PyTorch on the user's own callable or module."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import product
from typing import Any, ParamSpec, TypeVar

import torch
import torch.autograd.forward_ad

from ..reports.schema import frame_from_rows
from .arguments import accepted_call, accepted_names, chosen, several
from .configuration import LEFT_OUT, in_effect
from .errors import (
    CannotRecord,
    GradientMismatch,
    HarnessError,
    NothingReturned,
    TheirsRaised,
    UnsupportedOperation,
    UsageError,
)
from .evidence.checked import blame
from .evidence.naming import name_explained, name_known
from .evidence.own_issues import name_own
from .judgement.alone import wrong_alone, wrong_in_backward
from .judgement.comparing import Found, Subject
from .judgement.judging import worst
from .judgement.left_out import left_out
from .judgement.precisions import AUTOCAST
from .judgement.rows import Rows
from .judgement.tangents_within import accuse
from .listening import tell
from .recorder.preserving import random_state, untouched
from .recorder.reachable import as_module, name_of
from .result import ALL_NAN, CUSTOM, END_TO_END, NOTHING_DEPENDS, CheckResult, Culprit
from .runners import compare_with
from .runners.arrangements import Arrangement, arrangements, in_place_variant
from .runners.calling import with_its_own_code
from .runners.compiling import as_written
from .runners.expressible import COMPILED, PER_SAMPLE, NotExpressible, lacks_kernel, refuses
from .runners.loading import load_for
from .runners.surroundings import surroundings
from .subjects import converted, in_precision, initialised, subject_of
from .tabling import GIVEN, IN_PLACE, Cell
from .tracebacks import without_ours

RAN_AS_WRITTEN = (
    "what the callable has compiled (torch.compile) ran as it is written: its compiled code is judged by the runner "
    "compile, in mode R"
)
P, T = ParamSpec("P"), TypeVar("T")


def _one_at_a_time(call: Callable[P, T]) -> Callable[P, T]:
    """Calls from several threads run one after the other: levels of forward mode are PyTorch's for the whole process,
    and so are the buffers that our plans compute in.
    """
    lock = threading.RLock()

    @functools.wraps(call)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        with lock:
            return call(*args, **kwargs)

    return alone


@_one_at_a_time
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
    layouts: Sequence[str] | None = None,
    devices: Sequence[str] | None = None,
    inplace: bool = False,
) -> CheckResult:
    """Compare PyTorch's derivatives of `fn` at `inputs` with the witness's.

    fn: a callable on tensors, or an nn.Module, whose parameters (those that require grad) are differentiated too.
    inputs: a tensor or a tuple; every floating tensor in it is differentiated, with its own dtype and strides. kwargs:
    passed on. modes: mode strings, outermost first; R reverse, F forward. dtypes: None for exactly the dtypes given,
    or names ("float64", "float32", "bfloat16", "float16") to convert floating inputs and parameters to, or "autocast"
    for float32 ones and a forward pass under torch.autocast("cpu", dtype=torch.bfloat16). wrt: positions of inputs or
    names of parameters, to narrow. A non-scalar output gets a random cotangent drawn from `seed`. What is left
    out of modes, runners, dtypes and seed comes from [tool.gradwitness] in your pyproject.toml, else it is ("R",),
    ("autograd",), None and 0. runners: names out of gradwitness.harness.runners.RUNNERS. layouts: None for the strides
    given, or names out of LAYOUTS there, of inputs or cotangents; devices: None, or names such as "cuda". inplace: for
    a single torch function, its in-place variant too.

    Every autograd node is judged on its own, every value and the end-to-end gradients too. Leaves no trace:
    parameters, .grad, buffers, train flags and random state are as before. Raises UsageError for arguments that are
    not accepted; what `fn` itself raises becomes a row with verdict `raised`. Checks of several threads run one after
    the other.
    """
    own = in_effect()
    own.hold(accepted_names)
    is_open = runners is None and own.runners is None
    modes, runners, dtypes, seed = own.filled(modes, runners, dtypes, seed)
    modes, runners = several("modes", modes), several("runners", runners)
    dtypes = None if dtypes is None else tuple(d.removeprefix("torch.") for d in several("dtypes", dtypes))
    accepted_call(fn, inputs, kwargs, seed, inplace)
    wrt = chosen(wrt)
    if not modes or not runners or dtypes == ():
        raise UsageError(
            f"check: modes={modes!r}, runners={runners!r}, dtypes={dtypes!r}; accepted is at least one of each. "
            "Name one, or leave the argument out."
        )
    accepted_names(modes, runners, dtypes or ())
    given_places = (("layouts", layouts), ("devices", devices))
    matrix = arrangements(*(None if names is None else several(argument, names) for argument, names in given_places))
    load_for(modes, runners)
    rows = Rows(name_of(fn), source="user", seed=seed)
    given, around = kwargs or {}, surroundings()
    unsupported: dict[str, str] = {}
    culprit: Culprit | None = None
    exception: BaseException | None = None
    cells: list[Cell] = []
    blamed: list[Culprit | None] = []
    for dtype, how, instead in product(dtypes or (None,), matrix, (None, in_place_variant) if inplace else (None,)):
        rows.common |= {"case": name_of(fn), "op": name_of(fn), **how.columns(inputs)}
        raised = {"verdict": "raised", "dtype": dtype}
        for_all, variant = False, name_of(fn) + (IN_PLACE if instead is not None else "")
        try:
            asked = fn if instead is None else instead(fn)
            rows.common |= {"case": name_of(asked), "op": name_of(asked)}
            called, module = as_module(asked)
            with (
                _gradients_on(),
                random_state(),
                untouched(module),
                _ready(called, module, inputs, given, dtype, how) as (arranged, named),
                around.held_off(),
                as_written() as compiled_parts,
            ):
                subject = subject_of(called, module, arranged, named, wrt, dtype, seed, around)
                subject.call = how.arranged(subject.call)
                raised["dtype"] = subject.dtype
                pairs = list(product(modes, runners))
                for mode, runner in pairs:
                    start, before = time.perf_counter(), len(rows.rows)
                    blamed += [None] * (before - len(blamed))
                    try:
                        with random_state():
                            found = compare_with(runner, subject, rows, mode)
                    except NothingReturned as error:
                        rows.add(mode=mode, runner=runner, verdict="indeterminate", message=str(error), dtype=dtype)
                        continue
                    except CannotRecord as error:
                        unsupported[error.operation] = str(error)
                        rows.add(mode=mode, runner=runner, verdict="unsupported", message=str(error), dtype=dtype)
                        continue
                    except TheirsRaised as error:
                        seconds = time.perf_counter() - start
                        no_kernel = dtype is not None and lacks_kernel(error.original)
                        if no_kernel or (refuses(error.text) and error.culprit is None):
                            asked_of = f"{runner} with {dtype}" if no_kernel else runner
                            unsupported[f"{asked_of} in mode {mode}"] = error.text
                            told = {**raised, "verdict": "unsupported"}
                            rows.add(mode=mode, runner=runner, message=error.text, seconds=seconds, **told)
                            continue
                        exception, culprit = error.original, culprit or error.culprit
                        rows.add(mode=mode, runner=runner, message=error.text, seconds=seconds, **raised)
                        blame(rows.rows, Found(culprit=error.culprit), blamed)
                        continue
                    if runner == "autograd":
                        _alone(subject, found, mode, rows.rows[before:])
                    _say_untested(found, rows.rows[before:])
                    if compiled_parts and not {runner, *runners} & {*COMPILED}:
                        if is_open and mode == "R":  # the code that the caller has compiled is what they ask about
                            pairs.append((mode, "compile"))
                            load_for((mode,), ("compile",))
                            subject.call = with_its_own_code(subject.call)
                        else:
                            told = {"operation": "torch.compile", "quantity": "value", "dtype": subject.dtype}
                            rows.add(mode=mode, runner=runner, verdict="agree", message=RAN_AS_WRITTEN, **told)
                    compiled_parts.clear()
                    if found.recording is not None and runner not in PER_SAMPLE:
                        for name, text in left_out(subject, found.recording).items():
                            if name not in unsupported:
                                rows.add(mode=mode, runner=runner, verdict="unsupported", message=text, wrt=name)
                            unsupported[name] = text
                    blame(rows.rows, found, blamed)
                    name_explained(rows.rows[before:], found.judged)
                    culprit = culprit or found.culprit
                    unsupported.update(found.unsupported)
        except NotExpressible as error:
            unsupported[str(error).partition(":")[0]] = str(error)
            rows.add(verdict="unsupported", message=str(error), dtype=dtype)
            for_all = True
        except TheirsRaised as error:  # the first call of a lazy module, which gives its parameters their shapes
            exception = error.original
            rows.add(mode=modes[0], runner=runners[0], message=error.text, **raised)
            for_all = True
        for r in rows.rows[len(cells) :]:
            at = (dtype or raised["dtype"] or GIVEN, r["layout"], r["device"])
            cells.append(Cell(variant, None if for_all else r["runner"], *at, None if for_all else r["mode"]))
    name_known(rows.rows)
    for r, cell in zip(rows.rows, cells, strict=True):
        if cell.dtype == AUTOCAST:  # as it was asked; an issue of torch's is told by what the numbers were held in
            r["dtype"] = AUTOCAST
    blamed += [None] * (len(rows.rows) - len(blamed))
    known, expired = name_own(rows.rows, own.known)
    frame = frame_from_rows(rows.rows)
    verdict = worst(list(frame["verdict"]))
    lists = tuple(expired), tuple(cells), tuple(blamed)
    return tell(CheckResult(verdict, frame, culprit, unsupported, known, exception, *lists))


def assert_gradients(
    fn: Callable[..., Any], inputs: Any, kwargs: Mapping[str, Any] | None = None, **options: Any
) -> CheckResult:
    """As `check`, but raise GradientMismatch (an AssertionError) unless the result is ok, UnsupportedOperation where
    the witness has no rule.

    Returns the CheckResult.
    """
    __tracebackhide__ = True  # pytest shows the line of the test and not ours
    try:
        result = check(fn, inputs, kwargs, **options)
    except HarnessError as error:
        raise error.with_traceback(without_ours(error.__traceback__)) from error.__cause__
    return held(result)


def held(result: CheckResult) -> CheckResult:
    """`result` if it is ok. Raises as `assert_gradients` does."""
    __tracebackhide__ = True
    if result.ok:
        return result
    if result.exception is not None and result.verdict == "raised":
        raise result.exception.with_traceback(without_ours(result.exception.__traceback__))
    if result.verdict == "unsupported":
        raise UnsupportedOperation(result.unsupported, f"assert_gradients: {_not_compared(result.unsupported)}")
    raise GradientMismatch(result.explain(), result)


def _not_compared(unsupported: Mapping[str, str]) -> str:
    """What was not compared, and what to do: operations without a rule apart from what a runner has no form of."""
    operations = sorted(name for name in unsupported if "::" in name)
    others = [f"{name} ({unsupported[name]})" for name in sorted(unsupported) if name not in operations]
    ask = "Ask only for modes, runners and dtypes that have it."
    said = [f"not compared: {'; '.join(others)}. {ask}"] if others else []
    if operations:
        said.append(
            f"the witness has no rule for {', '.join(operations)}; accepted are the operations of "
            "gradwitness.harness.lowering.known_operations(). Teach it one with register_lowering, or write it "
            "differently."
        )
    return " ".join(said) + " What is not affected was judged: see check(...).explain()."


@contextmanager
def _gradients_on() -> Iterator[None]:
    """Whatever the caller switched off around the check."""
    off = torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()  # sets more than its name
    with off, torch.enable_grad(), torch.autograd.forward_ad._set_fwd_grad_enabled(True):
        yield


@contextmanager
def _ready(
    fn: Callable[..., Any],
    module: torch.nn.Module | None,
    inputs: Any,
    kwargs: Mapping[str, Any],
    dtype: str | None,
    how: Arrangement,
) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """The inputs on the device and in the layout that were asked for; a module whose lazy parameters have shapes, in
    the precision and on the device that were asked for.
    """
    with torch.jit.optimized_execution(False):  # what a script runs is then recorded call by call
        initialised(fn, module, inputs, kwargs)
        with converted(module, dtype), how.holding(module):
            yield how.of(fn, module, inputs, kwargs, lambda t: in_precision(t, dtype))


def _alone(subject: Subject, found: Found, mode: str, written: Sequence[dict[str, Any]]) -> None:
    """Name the operation that is wrong on its own in a mode other than R, in `found` and in the rows of that mode; in
    mode R the custom Function that the backward of the accused one applies.
    """
    if found.culprit is None or found.culprit.kind != (CUSTOM if mode == "R" else END_TO_END):
        return
    culprit = wrong_in_backward(subject) if mode == "R" else wrong_alone(subject, found, mode)
    if culprit is not None:
        found.culprit = culprit
        accuse(written, culprit)


def _is_nan(t: torch.Tensor) -> bool:
    """Whether every number of a tensor is NaN, sparse or not."""
    dense = t.detach() if t.layout == torch.strided else t.detach().to_dense()
    return bool(dense.isnan().all())


def _say_untested(found: Found, written: Sequence[dict[str, Any]]) -> None:
    """Where no output depends on what is differentiated, equal zeros are no test, nor is NaN where every output is NaN:
    those rows are `indeterminate`.
    """
    recording, seen = found.recording, found.seen
    if recording is None or seen is None:
        return
    floating = [t for t in recording.torch_outputs if (t.is_floating_point() or t.is_complex()) and t.numel()]
    if not any(v in seen.tracers for v in recording.outputs):
        text = NOTHING_DEPENDS
    elif floating and all(_is_nan(t) for t in floating):
        text = ALL_NAN
    else:
        return
    for row in written:
        if row["program"] == "whole" and row.get("quantity") == "derivative" and row["verdict"] == "agree":
            row.update(verdict="indeterminate", message=text, entry=None)
