"""torch.compile beside the caller's own use of it: their configuration, nothing of theirs reset, compiled for certain.

Dynamo keeps compiled code on the code object of the function, at most `recompile_limit` versions of it, and runs the
function uncompiled beyond that; and it remembers the shapes that code of one name and line has met, to compile for any
shape when another comes. Each callable is therefore compiled under a code object and a name of its own. Where the
graph breaks in it, the functions that it calls are compiled apart, under code objects that other checks, and the
caller, use too: what a check has compiled of code that nobody had compiled before is dropped after it, what the caller
has compiled stays, and neither number nor shapes of earlier versions count. What is compiled is not kept on disk where
the caller named no folder for it: a graph that was compiled with a fault planted must not come back without it, or the
other way round.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from .expressible import NotExpressible
from .loading import FOLDER

VERSIONS = 1 << 20  # more versions of one function than any process compiles


def missing_compiler() -> str | None:
    """Why inductor cannot compile here, in its own way of looking for a C++ compiler; None if it can."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        with apart():
            get_cpp_compiler()
    except InvalidCxxCompiler as error:
        return f"torch.compile needs a C++ compiler, and there is none here ({' '.join(str(error).split())})"
    return None


def draws_as_eager() -> bool:
    """Whether the caller has configured inductor to draw the random numbers that eager code draws."""
    from torch._inductor import config

    return bool(config.fallback_random)


@contextmanager
def as_written() -> Iterator[list[bool]]:
    """Within it, functions that the caller has compiled run as they are written; the list has an entry once one did.

    A run under a dispatch mode, as a recording is, is not compiled anyway, and dynamo would give up for good on what it
    meets there. `apart` is outside of it again.
    """
    from torch._dynamo import eval_frame

    met: list[bool] = []
    chosen = getattr(eval_frame, "_callback_from_stance", None)

    def noted(callback: Any) -> Any:
        if callback not in (None, False) and not met:
            met.append(True)
        return chosen(callback) if chosen is not None else callback

    _callers_stance.append(eval_frame._stance)
    try:
        with torch.compiler.set_stance("force_eager"):
            if chosen is not None:
                eval_frame._callback_from_stance = noted
            yield met
    finally:
        _callers_stance.pop()
        if chosen is not None:
            eval_frame._callback_from_stance = chosen


_callers_stance: list[Any] = []


@contextmanager
def _as_the_caller_compiles() -> Iterator[None]:
    """The stance of `torch.compiler` that the caller has set, within `as_written`."""
    from torch._dynamo import eval_frame

    if not _callers_stance:
        yield
        return
    held = eval_frame._set_stance(_callers_stance[-1])
    try:
        yield
    finally:
        eval_frame._set_stance(held)


@contextmanager
def apart() -> Iterator[None]:
    """Within it, compiled code is kept in a folder of this process, and no compiled graph is looked up on disk.

    Where the caller named a folder for it (in the environment), their folder and settings stay as they are.
    """
    with _as_the_caller_compiles(), _forgotten(), _in_a_folder(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.")  # of PyTorch's own code
        yield


@contextmanager
def _forgotten() -> Iterator[None]:
    """Within it, dynamo compiles as if nothing had been compiled before; afterwards what was is as it was.

    It knows each code object that it has compiled: those that are new are cleared, the caller's are not.
    """
    from torch._C._dynamo.eval_frame import (
        _FrameAction,
        _FrameExecStrategy,
        reset_code,
        set_code_exec_strategy,
    )
    from torch._dynamo import config
    from torch._dynamo.convert_frame import input_codes, output_codes

    trackers = [(codes, set(codes.seen_ids)) for codes in (input_codes, output_codes)]
    before = set().union(*(ids for _, ids in trackers))
    limits = {name: max(VERSIONS, getattr(config, name)) for name in ("recompile_limit", "accumulated_recompile_limit")}
    try:
        with config.patch(automatic_dynamic_shapes=False, **limits):
            yield
    finally:
        for codes, ids in trackers:
            for code in [reference() for reference in codes.seen]:
                if code is not None and id(code) not in before:
                    reset_code(code)
                elif code is not None:  # what could not be compiled within a transform is not given up for the caller
                    set_code_exec_strategy(code, _FrameExecStrategy(_FrameAction.DEFAULT, _FrameAction.DEFAULT))
            codes.seen[:] = [reference for reference in codes.seen if id(reference()) in ids]
            codes.seen_ids.intersection_update(ids)


@contextmanager
def _in_a_folder() -> Iterator[None]:
    from torch._functorch import config as functorch
    from torch._inductor import config as inductor
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    before = os.environ.get(FOLDER)  # torch writes its default there when it first looks for it
    if before not in (None, "", default_cache_dir()):
        yield
        return
    os.environ[FOLDER] = _folder()
    try:
        with inductor.patch(fx_graph_cache=False), functorch.patch(enable_autograd_cache=False):
            yield
    finally:
        if before is None:
            os.environ.pop(FOLDER, None)
        else:
            os.environ[FOLDER] = before


@cache
def _folder() -> str:
    """A temporary folder that lasts as long as the process: headers compiled into it are used again."""
    folder = tempfile.mkdtemp(prefix="gradwitness-inductor-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class Compiled:
    """`fn` under torch.compile; calling it raises NotExpressible where dynamo compiled nothing and ran it as it is."""

    def __init__(self, fn: Callable[..., Any], as_it_is: bool = False) -> None:
        self.compiled = as_it_is or is_compiled(fn)  # by the caller, with options of theirs, the whole or a part
        self.fn = fn if self.compiled else torch.compile(_under_its_own_code(fn))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from torch._dynamo.utils import counters

        before = counters["stats"]["unique_graphs"]
        result = self.fn(*args, **kwargs)
        if not self.compiled and counters["stats"]["unique_graphs"] == before:
            raise NotExpressible("torch.compile compiled nothing of it and ran it as it is")
        self.compiled = True
        return result


def is_compiled(fn: Any) -> bool:
    """Whether a callable is what `torch.compile` returned, or a module on which `compile` was called."""
    wrapped = hasattr(fn, "_torchdynamo_orig_callable") and not getattr(fn, "_torchdynamo_disable", False)
    return wrapped or getattr(fn, "_compiled_call_impl", None) is not None


def _under_its_own_code(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls `fn`, with a code object and a name that nothing else has."""

    def run(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    name = f"compiled_{next(_number)}"
    return types.FunctionType(run.__code__.replace(co_name=name), run.__globals__, name, None, run.__closure__)


_number = itertools.count()
