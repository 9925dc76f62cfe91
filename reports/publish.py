"""Files into a folder, all of them or none."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from .errors import ReportPathError


def publish(
    files: Mapping[str, bytes],
    out: Path,
    replaced: Iterable[str] = (),
    *,
    operation: str = "write_report",
    what: str = "report",
) -> None:
    """Write `files` (relative path -> content) into the folder `out`.

    Everything is first written beside its destination, then moved into place by renames on the same file system, in the
    order of `files`; a failure on the way moves the old files back. Top-level names in `replaced` are cleared even
    where `files` holds nothing for them; whatever else lies in `out` is left alone. A new `out` appears by one rename.
    `operation` and `what` name, in an error, who wrote and what.

    Raises ReportPathError where `out` is not a folder or cannot be written; `out` is then as it was.
    """
    try:
        if os.path.lexists(out) and not out.is_dir():
            raise NotADirectoryError(20, "a file of that name exists", str(out))
        if out.is_dir():
            _into_existing(files, out, list(replaced))
        else:
            _as_new_folder(files, out)
    except OSError as fault:
        reason = fault.strerror or str(fault)
        raise ReportPathError(
            f"{operation}: cannot write the {what} to out={str(out)!r}: {reason}. Accepted is a folder that can be "
            "written or does not exist yet; nothing was changed. Choose another folder or free the path."
        ) from fault


def _as_new_folder(files: Mapping[str, bytes], out: Path) -> None:
    made = _make_parents(out.parent)
    stage: Path | None = None
    try:
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
        _write(files, stage)
        os.chmod(stage, _mode_of_new_folders(stage))
        os.rename(stage, out)
    except BaseException:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
        for folder in reversed(made):
            folder.rmdir()
        raise


def _make_parents(folder: Path) -> list[Path]:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    made: list[Path] = []
    try:
        for folder in reversed(missing):
            folder.mkdir()
            made.append(folder)
    except OSError:
        for folder in reversed(made):
            folder.rmdir()
        raise
    return made


def _mode_of_new_folders(stage: Path) -> int:
    """mkdtemp makes private folders; a report has the permissions of any folder the user makes."""
    probe = stage / "findings"
    if probe.is_dir():
        return probe.stat().st_mode & 0o777
    probe.mkdir()
    mode = probe.stat().st_mode & 0o777
    probe.rmdir()
    return mode


def _into_existing(files: Mapping[str, bytes], out: Path, replaced: list[str]) -> None:
    stage = Path(tempfile.mkdtemp(prefix=".partial-", dir=out))
    try:
        fresh, old = stage / "fresh", stage / "old"
        fresh.mkdir()
        old.mkdir()
        _write(files, fresh)
        names = list(dict.fromkeys([*replaced, *(PurePosixPath(name).parts[0] for name in files)]))
        _swap(names, fresh, old, out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _swap(names: list[str], fresh: Path, old: Path, out: Path) -> None:
    """Exchange name by name. A process that is killed in here leaves each file whole, though maybe not all of one run:
    read_report notices by the digest in summary.json."""
    incoming = {name for name in names if os.path.lexists(fresh / name)}
    touched: list[str] = []
    try:
        for name in names:
            touched.append(name)
            if os.path.lexists(out / name):
                (_set_aside if name in incoming else os.rename)(out / name, old / name)
            if name in incoming:
                os.replace(fresh / name, out / name)
    except BaseException:
        for name in reversed(touched):
            if name in incoming and not os.path.lexists(fresh / name):
                os.rename(out / name, fresh / name)
            if os.path.lexists(old / name):
                os.replace(old / name, out / name)
        raise


def _set_aside(current: Path, kept: Path) -> None:
    """Keep the old file under a second name until the exchange is done, so that it is never absent; folders, and file
    systems without hard links, are moved instead."""
    if current.is_file() and not current.is_symlink():
        try:
            os.link(current, kept)
            return
        except OSError:  # no hard links here: moving is the next best
            pass
    os.rename(current, kept)


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
