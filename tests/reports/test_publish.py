"""All files or none: what is in the folder after success, refusal, interruption and a killed process."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gradwitness.reports import ReportDataError, ReportPathError, read_report
from gradwitness.reports import publish as publishing
from gradwitness.reports.publish import publish

OLD = {"a.csv": b"old", "b.html": b"old", "findings/x/case.json": b"old", "findings/y/case.json": b"old"}
FRESH = {"a.csv": b"fresh", "b.html": b"fresh", "c.json": b"fresh", "findings/x/case.json": b"fresh"}
MOVES = 7
"""Renames and links for FRESH over OLD: two for each of a.csv, b.html and findings, one for c.json."""


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stop_at(monkeypatch: pytest.MonkeyPatch, number: int, fault: BaseException) -> Callable[[], int]:
    """Make the `number`-th move of publish raise `fault`; returns a function that says how many moves there were."""
    calls = 0

    def stopping(move: Any) -> Any:
        def call(*names: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == number:
                raise fault
            move(*names)

        return call

    for name in ("rename", "replace", "link"):
        monkeypatch.setattr(publishing.os, name, stopping(getattr(os, name)))
    return lambda: calls


def test_files_appear_in_a_new_folder_and_nothing_beside_it(tmp_path: Path) -> None:
    publish(FRESH, tmp_path / "deep" / "out")
    assert snapshot(tmp_path / "deep" / "out") == FRESH
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_replaced_names_go_and_other_files_stay(tmp_path: Path) -> None:
    publish(OLD | {"mine.txt": b"mine"}, tmp_path / "out")
    publish(FRESH, tmp_path / "out", replaced=["findings"])
    assert snapshot(tmp_path / "out") == FRESH | {"mine.txt": b"mine"}
    publish({"a.csv": b"third"}, tmp_path / "out", replaced=["findings"])
    expected = {"a.csv": b"third", "b.html": b"fresh", "c.json": b"fresh", "mine.txt": b"mine"}
    assert snapshot(tmp_path / "out") == expected
    assert not (tmp_path / "out" / "findings").exists()
    publish({"b.html": b"fourth"}, tmp_path / "out", replaced=["a.csv", "absent"])
    assert snapshot(tmp_path / "out") == {"b.html": b"fourth", "c.json": b"fresh", "mine.txt": b"mine"}


def test_a_new_folder_has_the_permissions_of_any_folder(tmp_path: Path) -> None:
    publish(FRESH, tmp_path / "out")
    (tmp_path / "plain").mkdir()
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    publish(FRESH, tmp_path / "out")
    assert (tmp_path / "out").is_symlink() and snapshot(tmp_path / "real") == FRESH


@pytest.mark.parametrize("number", range(1, MOVES + 1))
def test_an_interruption_at_any_move_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    publish(OLD, tmp_path / "out")
    stop_at(monkeypatch, number, KeyboardInterrupt())
    try:
        publish(FRESH, tmp_path / "out", replaced=["findings"])
    except KeyboardInterrupt:
        assert snapshot(tmp_path / "out") == OLD
    else:
        pytest.fail("the interruption was swallowed")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.csv", "b.html", "findings"}


def test_the_moves_are_as_many_as_the_interruptions_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(OLD, tmp_path / "out")
    moves = stop_at(monkeypatch, 10**6, KeyboardInterrupt())
    publish(FRESH, tmp_path / "out", replaced=["findings"])
    assert moves() == MOVES


def test_without_hard_links_files_are_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(OLD, tmp_path / "out")

    def refuse(*names: Any) -> None:
        raise PermissionError(1, "no hard links on this file system")

    monkeypatch.setattr(publishing.os, "link", refuse)
    publish(FRESH, tmp_path / "out", replaced=["findings"])
    assert snapshot(tmp_path / "out") == FRESH


@pytest.mark.parametrize("folder", ["out", "deep/er/out"])
def test_a_full_disk_leaves_no_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    stop_at(monkeypatch, 1, OSError(28, "No space left on device"))
    with pytest.raises(ReportPathError, match="No space left on device"):
        publish(FRESH, tmp_path / folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/out", "dangling"])
def test_a_path_that_is_no_folder_is_one_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ReportPathError, match="cannot write the report to out=") as caught:
        publish(FRESH, tmp_path / name)
    assert isinstance(caught.value, OSError) and "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "dangling"}
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o555)
    with pytest.raises(ReportPathError, match="Permission denied"):
        publish(FRESH, tmp_path / "out")


KILLED = """
import os, signal, sys
from gradwitness.reports import read_report, write_report, publish
moves, replace = 0, os.replace
def dying(*names):
    global moves
    moves += 1
    if moves == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*names)
pieces = read_report(sys.argv[1])
publish.os.replace = dying
write_report(out=sys.argv[1], **(pieces | {"frame": pieces["frame"].head(9), "metadata": {"seed": 8}}))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_process_leaves_whole_files_and_the_reader_notices_the_mixture(written: Path, tmp_path: Path) -> None:
    publish(snapshot(written), tmp_path / "out")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")], capture_output=True, timeout=120)
    assert done.returncode == -9, done.stderr.decode()
    before, after = snapshot(written), snapshot(tmp_path / "out")
    assert set(before) <= set(after)
    assert after["summary.json"] == before["summary.json"] and after["report.html"].rstrip().endswith(b"</html>")
    with pytest.raises(ReportDataError, match="of another run than summary.json"):
        read_report(tmp_path / "out")
