"""The fixture `gradient_check`: `check` with the defaults of the session, noted with the test that calls it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from ..checking import check, held
from ..configuration import LEFT_OUT, using
from ..pytest_plugin import CHOSEN, CURRENT, NOTED
from ..result import CheckResult
from .outcomes import Noted

# Frames of these files are not shown: ours, wherever the package is linked to, and what PyTorch puts between ours and
# the user's call while it is recorded.
_HARNESS = Path(__file__).parents[1]
_OURS = tuple(f"{folder}{os.sep}" for folder in {str(_HARNESS), str(_HARNESS.resolve())})
_BETWEEN = tuple(
    os.path.join("torch", *parts)
    for parts in (("_ops.py",), ("_compile.py",), ("_dynamo", "eval_frame.py"), ("utils", "_python_dispatch.py"))
)


class GradientCheck:
    """`gradient_check(fn, inputs)`: arguments as of `gradwitness.harness.check`."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.chosen = config.stash[CHOSEN]

    def __repr__(self) -> str:
        return "gradient_check"

    def __call__(
        self,
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
        """The result where it is ok. Raises GradientMismatch, UnsupportedOperation, or what `fn` itself raised."""
        __tracebackhide__ = True
        by_option = self.chosen
        if dtypes is LEFT_OUT and by_option.dtypes is not None:
            dtypes = by_option.dtypes
        try:
            with using(by_option.configuration):
                result = check(
                    fn,
                    inputs,
                    kwargs,
                    modes=by_option.modes if modes is None else modes,
                    runners=by_option.runners if runners is None else runners,
                    dtypes=dtypes,
                    wrt=wrt,
                    seed=seed,
                    layouts=layouts,
                    devices=devices,
                    inplace=inplace,
                )
            self._note(result)
            return held(result)
        except Exception as error:
            raise error.with_traceback(without_ours(error.__traceback__)) from error.__cause__

    def _note(self, result: CheckResult) -> None:
        item = self.config.stash.get(CURRENT, None)
        if item is None:
            return  # called between tests, such as by a fixture of the session that ends
        noted = item.stash.get(NOTED, None)
        if noted is None:
            noted = item.stash[NOTED] = Noted(
                item.nodeid,
                made_by_hypothesis=getattr(getattr(item, "obj", None), "is_hypothesis_test", False),
                keeps_rows=self.chosen.out is not None,
            )
        noted.add(result)


def without_ours(tb: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of the harness, of Python's import and of PyTorch's way to us: what is shown is
    the test and the user's own code.
    """
    frames = []
    while tb is not None:
        if not is_hidden(tb.tb_frame.f_code.co_filename):
            frames.append(tb)
        tb = tb.tb_next
    kept: TracebackType | None = None
    for frame in reversed(frames):
        kept = TracebackType(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return kept


def is_hidden(file: str) -> bool:
    """Whether frames of this file say nothing to the user."""
    return file.startswith((*_OURS, "<frozen importlib")) or file.endswith(_BETWEEN)
