"""What the plugin's options and [tool.gradwitness] ask for, refused before any test runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..configuration import Configuration, find
from ..errors import UsageError
from ..targets import split_target

# The names that `check` takes, a second time, so that they are accepted without loading torch; it is loaded to refuse
# any other one. A test holds them equal.
QUICK = {
    "modes": ("R", "F", "RR", "FR", "RF", "FF", "RRR", "RRF", "RFR", "RFF", "FRR", "FRF", "FFR", "FFF"),
    "runners": (
        "autograd", "func", "vmap", "compile", "compile_grad", "compile_jvp", "compile_vmap_grad", "checkpoint",
        "checkpoint_reentrant", "save_on_cpu", "create_graph",
    ),
    "dtypes": ("float64", "float32", "bfloat16", "float16", "autocast"),
}


@dataclass(frozen=True)
class Chosen:
    """modes, dtypes, runners: None where no option names them. targets: FILE.py:NAME with an absolute path, and the
    text that was given. out: an absolute path.
    """

    configuration: Configuration
    modes: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] | None = None
    runners: tuple[str, ...] | None = None
    targets: tuple[tuple[Path, str], ...] = ()
    out: Path | None = None


def chosen(config: pytest.Config) -> Chosen:
    """The options and the table found upwards from pytest's rootdir. Raises UsageError for what is not accepted."""
    configuration = find(config.rootpath)
    configuration.hold(_accept)
    folder = config.invocation_params.dir
    named = {key: _listed(config.getoption(f"gradwitness_{key}"), key) for key in ("modes", "dtypes", "runners")}
    for key, names in named.items():
        try:
            _accept(*(names or () if key == k else () for k in ("modes", "runners", "dtypes")))
        except UsageError as error:
            raise UsageError(f"--gradwitness-{key}: {error}") from error
    return Chosen(
        configuration,
        **named,
        targets=tuple(dict.fromkeys(_target(text, folder) for text in config.getoption("gradwitness"))),
        out=_folder(config.getoption("gradwitness_out"), folder),
    )


def _listed(text: str | None, key: str) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip().removeprefix("torch.") for name in text.split(",") if name.strip())
    if not names:
        raise UsageError(
            f"--gradwitness-{key} {text!r} names none; accepted are names separated by commas. Name one, or leave the "
            f"option out."
        )
    return names


def _accept(modes: Sequence[str], runners: Sequence[str], dtypes: Sequence[str]) -> None:
    if {*modes} <= {*QUICK["modes"]} and {*runners} <= {*QUICK["runners"]} and {*dtypes} <= {*QUICK["dtypes"]}:
        return
    from ..arguments import accepted_names

    accepted_names(modes, runners, dtypes)


def _target(text: str, folder: Path) -> tuple[Path, str]:
    """(absolute path, name). Raises UsageError."""
    try:
        return split_target(text, folder)
    except UsageError as error:
        raise UsageError(f"--gradwitness: {str(error).removeprefix('check: ')}") from error


def _folder(text: str | None, folder: Path) -> Path | None:
    """The absolute path of --gradwitness-out. Raises UsageError where no folder can be made there."""
    if text is None:
        return None
    out = folder / text
    nearest = next(p for p in (out, *out.parents) if p.exists())
    if not text.strip() or not nearest.is_dir() or not os.access(nearest, os.W_OK):
        why = "is read-only" if nearest.is_dir() else "is not a folder"
        raise UsageError(
            f"--gradwitness-out {text!r} cannot be written ({nearest} {why}); accepted is a folder that can be made. "
            f"Choose another."
        )
    return out
