"""A run that is killed, at any moment and in any of its processes, goes on where it was and ends as if nothing was."""

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from gradwitness.harness.campaigns import workers
from gradwitness.harness.campaigns.campaign import Options, environment, run_campaign, units
from gradwitness.harness.campaigns.unfinished import FOLDER, Unfinished, name_of, plan_of
from gradwitness.harness.errors import UsageError
from gradwitness.reports import read_report

ONLY = ("exp", "cumsum", "logcumsumexp", "amax", "cross", "var", "tril", "sinc")  # one of them has a finding
PATIENCE = 120.0  # seconds, wall clock, after which a run is taken for stuck

linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds worker processes in /proc")


def start(out, *more, seed=0):
    command = [sys.executable, "-m", "gradwitness.harness.cli", "run", "--source", "opinfo", "--orders", "1"]
    command += ["--samples", "4", "--seed", str(seed), "--only", ",".join(ONLY), "--out", str(out), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def worker_processes(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = {int(c): Path(f"/proc/{c}/cmdline").read_bytes() for c in children if Path(f"/proc/{c}/cmdline").exists()}
    return [c for c, line in lines.items() if b"spawn_main" in line]


def kept(out):
    return len(list((out / FOLDER).glob("*.pickle")))


def wait_until(condition, process):
    limit = time.monotonic() + PATIENCE
    while process.poll() is None and not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def told(out):
    """What a run says, but for how long it took."""
    report = read_report(out)
    frame = report["frame"].drop(columns="seconds")
    return frame, report["findings"], report["coverage"], report["metadata"]["programs"]


def assert_same(a, b):
    (one, findings, coverage, programs), (two, others, covered, number) = told(a), told(b)
    pd.testing.assert_frame_equal(one, two)
    assert not one.duplicated(["case", "mode", "wrt", "quantity", "program", "entry"]).any()
    assert json.dumps(findings, default=str) == json.dumps(others, default=str)
    assert (coverage, programs) == (covered, number)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    process = start(out, "--workers", "1")
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and not (out / FOLDER).exists()
    return out


def killed_at(out, rng, times, at_once):
    """Run until the end, killed at random moments `times` times: a worker, soon afterwards the run itself.

    Returns what the last session said.
    """
    for k in range(times):
        process = start(out, "--workers", at_once)
        least = kept(out) + (rng.randrange(2) if k else 1)
        wait_until(lambda n=least, p=process: kept(out) >= n and worker_processes(p.pid), process)
        time.sleep(rng.uniform(0.0, 0.3))
        orphans = worker_processes(process.pid) if process.poll() is None else []
        if orphans and not k % 2:
            os.kill(rng.choice(orphans), signal.SIGKILL)
            wait_until(lambda n=least: kept(out) > n, process)
            orphans += worker_processes(process.pid) if process.poll() is None else []
        process.kill()
        process.communicate()
        limit = time.monotonic() + PATIENCE
        while any(worker_of_ours(w) for w in orphans):
            assert time.monotonic() < limit, "a worker outlives its run"
            time.sleep(0.05)
    process = start(out, "--workers", at_once)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    return said


def worker_of_ours(pid):
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@linux
def test_a_run_killed_at_random_moments_ends_as_one_that_was_not(whole, tmp_path):
    said = killed_at(tmp_path / "out", random.Random(1), 1, "1")
    assert "going on with the unfinished run" in said
    assert_same(whole, tmp_path / "out")
    assert not (tmp_path / "out" / FOLDER).exists()


@linux
@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(2, 5))
def test_a_run_killed_many_times_ends_as_one_that_was_not(whole, tmp_path, seed):
    killed_at(tmp_path / "out", random.Random(seed), 6, "2")
    assert_same(whole, tmp_path / "out")


OPTIONS = Options("opinfo", ("R",), 0, 2, 0, 1, ("exp", "sin"))


def opened(out, options=OPTIONS, fresh=False):
    return Unfinished(out, plan_of(options, units(options), environment()), fresh=fresh)


def test_what_was_kept_is_not_run_again(tmp_path, monkeypatch):
    folder = opened(tmp_path)
    whole = run_campaign(OPTIONS, kept=folder)
    folder.close(finished=False)
    asked = []
    monkeypatch.setattr(workers, "_pool", lambda n: asked.append(n))
    again = opened(tmp_path)
    assert set(again.done) == {name_of(u) for u in units(OPTIONS)}
    second = run_campaign(OPTIONS, kept=again)
    assert not asked
    pd.testing.assert_frame_equal(whole.frame, second.frame)
    again.close(finished=True)
    assert not (tmp_path / FOLDER).exists()


def test_another_run_is_refused_with_what_differs_and_dropped_when_asked(tmp_path):
    folder = opened(tmp_path)
    folder.keep("opinfo/exp", 1)
    folder.close(finished=False)
    other = Options("opinfo", ("R", "F"), 0, 2, 7, 2, ("exp", "sin"))
    with pytest.raises(UsageError, match=r"modes was R, is R,F; seed was 0, is 7.*--fresh"):
        opened(tmp_path, other)
    same = opened(tmp_path, Options("opinfo", ("R",), 0, 2, 0, 2, ("exp", "sin")))  # the workers may be others
    assert same.done == {"opinfo/exp": 1}
    same.close(finished=False)
    assert opened(tmp_path, other, fresh=True).done == {}


def test_another_version_is_refused(tmp_path):
    versions = environment()
    plan = plan_of(OPTIONS, units(OPTIONS), versions)
    Unfinished(tmp_path, plan).close(finished=False)
    newer = {**versions, "versions": {**versions["versions"], "torch": "9.0"}}
    with pytest.raises(UsageError, match="torch was .*, is 9.0"):
        Unfinished(tmp_path, plan_of(OPTIONS, units(OPTIONS), newer))


def test_two_runs_do_not_share_a_folder(tmp_path):
    first = opened(tmp_path)
    with pytest.raises(UsageError, match="another run is at work"):
        opened(tmp_path)
    first.close(finished=False)
    opened(tmp_path).close(finished=True)


class Harmful:
    """Makes a folder where it is unpickled without care."""

    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return os.mkdir, (self.place,)


def test_a_damaged_file_or_one_that_asks_for_more_than_results_is_run_again(tmp_path):
    folder = opened(tmp_path)
    folder.keep("opinfo/exp", {"x": float("nan")})
    folder.keep("opinfo/sin", 2)
    first, second = sorted((tmp_path / FOLDER).glob("*.pickle"))
    first.write_bytes(first.read_bytes()[:-3])
    second.write_bytes(pickle.dumps(("opinfo/sin", 0.0, Harmful(tmp_path / "harm"))))
    folder.close(finished=False)
    again = opened(tmp_path)
    assert again.done == {}
    assert not list((tmp_path / FOLDER).glob("*.pickle"))
    assert not (tmp_path / "harm").exists()


def suicide_once(path):
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def test_a_task_whose_worker_was_killed_is_given_to_another(tmp_path):
    found = {}
    paths = {0: str(tmp_path / "0")}
    workers.in_workers(suicide_once, paths, 1, 60.0, lambda i, future: found.setdefault(i, future.result()))
    assert found == {0: "done"}
