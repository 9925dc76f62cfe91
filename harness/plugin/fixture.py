"""The fixture `gradient_check`: `check` with the defaults of the session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from ..checking import check, held
from ..configuration import LEFT_OUT, using
from ..pytest_plugin import CHOSEN
from ..result import CheckResult
from ..tracebacks import without_ours


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
            return held(result)
        except Exception as error:
            raise error.with_traceback(without_ours(error.__traceback__)) from error.__cause__
