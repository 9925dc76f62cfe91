"""The fixture `gradient_check`: `check` with the defaults of the session, noted with the test that calls it."""

from __future__ import annotations

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

_HARNESS = str(Path(__file__).resolve().parents[1])


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
    """A traceback without the frames of the harness, so that the test and the user's own code are what is shown."""
    frames = []
    while tb is not None:
        if not tb.tb_frame.f_code.co_filename.startswith(_HARNESS):
            frames.append(tb)
        tb = tb.tb_next
    kept: TracebackType | None = None
    for frame in reversed(frames):
        kept = TracebackType(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return kept
