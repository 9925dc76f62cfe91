"""The comparison: generate, record, run, judge, localise. Names load on first use, since torch takes two seconds."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arbitration.refereeing import Ruling, referee
    from .checking import assert_gradients, check
    from .errors import CaseError, GradientMismatch, HarnessError, UnsupportedOperation, UsageError
    from .extending import Registration, register_lowering
    from .recorder.recording import capture
    from .result import CheckResult, Culprit

__all__ = [
    "CaseError",
    "CheckResult",
    "Culprit",
    "GradientMismatch",
    "HarnessError",
    "Registration",
    "Ruling",
    "UnsupportedOperation",
    "UsageError",
    "assert_gradients",
    "capture",
    "check",
    "referee",
    "register_lowering",
]

_HOME = {
    **dict.fromkeys(("assert_gradients", "check"), "checking"),
    **dict.fromkeys(("CaseError", "GradientMismatch", "HarnessError", "UnsupportedOperation", "UsageError"), "errors"),
    **dict.fromkeys(("CheckResult", "Culprit"), "result"),
    **dict.fromkeys(("Registration", "register_lowering"), "extending"),
    **dict.fromkeys(("Ruling", "referee"), "arbitration.refereeing"),
    "capture": "recorder.recording",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
