"""Worker processes: each task in one of them, with a time limit; a worker that dies takes no other task with it."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Mapping
from typing import Any

AGAIN = 2  # times that a task is given to another worker after its own has died; then it has crashed
FROM_OUTSIDE = 8  # the same for a worker that was killed (SIGKILL), which is seldom the fault of its task
KILLED = -9
LOOK = 5.0  # seconds after which the pool is looked at although no task has ended
POOLS = 8  # pools in a row that break before any task is done


def _pool(workers: int) -> Any:
    """Worker processes with one thread each."""
    import multiprocessing

    from pebble import ProcessPool

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    return ProcessPool(max_workers=workers, context=multiprocessing.get_context("spawn"))


def in_workers(
    task: Callable[[Any], Any],
    arguments: Mapping[int, Any],
    workers: int,
    seconds: float,
    finished: Callable[[int, Any], None],
) -> None:
    """Run `task` on each argument in a worker process; `finished(number, future)` is called here, once for each.

    A task whose worker died is run again, and again where it was killed from outside; the future of the last attempt
    raises.
    """
    left = dict(arguments)
    died: dict[int, int] = {}
    broken = 0
    while left:
        before = len(left)
        pool = _pool(min(workers, len(left)))
        try:
            _in_pool(pool, task, left, died, seconds, finished)
        finally:
            if left:  # an exception, or the pool broke: a worker was killed in the midst of passing something on
                pool.stop()
            else:
                pool.close()
            pool.join()
        broken = 0 if len(left) < before else broken + 1
        if broken == POOLS:
            raise RuntimeError(f"worker processes broke down {POOLS} times before any task of {len(left)} was done")


def _in_pool(
    pool: Any,
    task: Callable[[Any], Any],
    left: dict[int, Any],
    died: dict[int, int],
    seconds: float,
    finished: Callable[[int, Any], None],
) -> None:
    """Until nothing is left, or the pool is broken."""
    from pebble import ProcessExpired

    running = {pool.schedule(task, args=[a], timeout=seconds): i for i, a in left.items()}
    while running:
        done, _ = concurrent.futures.wait(running, LOOK, concurrent.futures.FIRST_COMPLETED)
        if not done and not pool.active:
            return
        for future in done:
            i = running.pop(future)
            if future.cancelled():
                continue
            error = future.exception()
            if isinstance(error, ProcessExpired):
                died[i] = died.get(i, 0) + 1
                if died[i] <= (FROM_OUTSIDE if error.exitcode == KILLED else AGAIN):
                    if pool.active:  # if not, the next pool has it
                        running[pool.schedule(task, args=[left[i]], timeout=seconds)] = i
                    continue
            elif isinstance(error, (RuntimeError, OSError)) and not pool.active:
                continue
            del left[i]
            finished(i, future)
