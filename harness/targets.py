"""FILE.py:NAME on a command line: a function of the user's own without arguments that returns `(fn, inputs)`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import UsageError


def split_target(target: str, folder: Path = Path()) -> tuple[Path, str]:
    """(path, name) of FILE.py:NAME, where a relative path starts in `folder`. Raises UsageError for another form and
    for a file that is not there.
    """
    file, _, name = target.rpartition(":")
    path = folder / file
    if not file or not name or path.suffix != ".py":
        raise UsageError(
            f"check: {target!r}; accepted is FILE.py:NAME, where NAME is a function without arguments that returns "
            f"(fn, inputs). Name both."
        )
    if not path.is_file():
        raise UsageError(f"check: {path} is not a file; accepted is the path of a Python file. Check the path.")
    return path, name


def load_target(target: str) -> tuple[Any, Any, dict[str, Any]]:
    """(fn, inputs, kwargs) from FILE.py:NAME, kwargs {} where it returns a pair.

    Raises UsageError for a file or name that is not there, or another kind of result; what the user's own code raised
    is its `__cause__`.
    """
    path, name = split_target(target)
    module = _module(target, path)
    if not hasattr(module, name):
        names = [n for n in vars(module) if callable(getattr(module, n)) and not n.startswith("_")]
        raise UsageError(
            f"check: {path} has no {name!r}; it has {', '.join(names[:12]) or 'no functions'}. Name one that returns "
            f"(fn, inputs)."
        )
    made = getattr(module, name)
    if not callable(made):
        raise UsageError(
            f"check: {target} is a {type(made).__name__}; accepted is a function without arguments that returns (fn, "
            f"inputs). Wrap it in one."
        )
    _takes_nothing(target, made)
    result = _theirs(target, made, "Run the function by itself first.")
    named = isinstance(result, tuple) and len(result) == 3 and isinstance(result[2], dict)
    if not (isinstance(result, tuple) and (len(result) == 2 or named) and callable(result[0])):
        raise UsageError(
            f"check: {target}() returned {type(result).__name__}; accepted is a pair (fn, inputs) of a callable and a "
            f"tensor or tuple of tensors, or (fn, inputs, kwargs) with a dict of named arguments. Return one of them."
        )
    return result[0], result[1], result[2] if named else {}


def _module(target: str, path: Path) -> Any:
    """The module of a file: by itself, or, where an `__init__.py` lies beside it, as the module of its package."""
    top, dotted = _place_in_package(path)
    if dotted is None:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(path.stem, module)
        sys.path.insert(0, str(top))
        _theirs(target, lambda: spec.loader.exec_module(module), "Run the file by itself first.")
        return module
    if str(top) not in sys.path:
        sys.path.insert(0, str(top))
    if str(path.parent.absolute()) not in sys.path:  # for modules beside it that it imports as a script would
        sys.path.append(str(path.parent.absolute()))
    module = _theirs(target, lambda: importlib.import_module(dotted), f"Run `python -m {dotted}` in {top} first.")
    found = getattr(module, "__file__", None)
    if found is None or not os.path.samefile(found, path):
        raise UsageError(
            f"check: {path} is the module {dotted} of its package, and Python has one of that name from {found}; "
            f"accepted is a name that is its own. Rename the package, or take the other off the path."
        )
    return module


def _place_in_package(path: Path) -> tuple[Path, str | None]:
    """The folder that has to be on Python's path, and the dotted name of a file that is a module of a package: the
    topmost folder with an `__init__.py`, and all between. None for any other file.
    """
    folder, parts = path.parent.absolute(), [] if path.stem == "__init__" else [path.stem]
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts, folder = [folder.name, *parts], folder.parent
    return folder, ".".join(parts) if folder != path.parent.absolute() else None


def _takes_nothing(target: str, made: Callable[..., Any]) -> None:
    """Raise UsageError, with the line of the function, where it cannot be called without arguments."""
    try:
        parameters = inspect.signature(made).parameters.values()
    except (TypeError, ValueError):  # not written in Python: the call will tell
        return
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    missing = [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]
    if missing:
        code = getattr(inspect.unwrap(made), "__code__", None)
        line = f" ({Path(code.co_filename).name}, line {code.co_firstlineno})" if code is not None else ""
        raise UsageError(
            f"check: {target} needs {'arguments' if len(missing) > 1 else 'an argument'} ({', '.join(missing)}){line}; "
            f"accepted is a function without arguments that returns (fn, inputs). Give every argument a default, or "
            f"name a function that returns the callable and its inputs."
        )


def _theirs(target: str, made: Callable[[], Any], next_step: str) -> Any:
    """What the user's own code gives; what it raises is shown as theirs."""
    try:
        return made()
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        line = error.lineno if isinstance(error, SyntaxError) else last.lineno
        name = Path(error.filename or last.filename if isinstance(error, SyntaxError) else last.filename).name
        raise UsageError(
            f"check: {target} raised {type(error).__name__}: {' '.join(str(error).split())} ({name}, line {line}); "
            f"accepted is code that runs. {next_step}"
        ) from error
