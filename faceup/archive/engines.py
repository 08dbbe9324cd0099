"""The local engine: units through one worker in this process, or through a pool of processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process

from faceup.archive.settings import FaceSettings
from faceup.archive.units import Unit
from faceup.archive.worker import Outcome, Worker

# A unit that is in work when a worker dies is tried again; so often, then it counts as failed.
STRIKES = 3
_worker: Worker | None = None


def run_here(settings: FaceSettings, units: Iterable[Unit]) -> Generator[tuple[Unit, Outcome], None, None]:
    """Yield the units with their outcomes, computed in this process."""
    worker = Worker(settings)
    for unit in units:
        yield unit, worker.process(unit)


def run_pool(
    settings: FaceSettings, units: Iterable[Unit], workers: int
) -> Generator[tuple[Unit, Outcome], None, None]:
    """Yield the units with their outcomes as they come, computed by `workers` processes.

    A worker that dies (out of memory, killed) is replaced and what it had is done again: nobody can tell which unit was
    its death, so the units that were in work are then done one at a time. At most two units per worker wait.
    """
    Worker(settings)  # A wrong setting is told here, once, and not by every process.
    source = iter(units)
    strikes: dict[str, int] = {}
    again: list[Unit] = []
    while True:
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (settings,))
        running: dict[Future[Outcome], Unit] = {}
        try:
            while True:
                suspect = bool(again) or any(unit.key in strikes for unit in running.values())
                while len(running) < (1 if suspect else 2 * workers):
                    unit = again.pop() if again else next(source, None)
                    if unit is None:
                        break
                    try:
                        future = pool.submit(_process, unit)
                    except BrokenProcessPool:  # found out only now; this unit was in nobody's work
                        again.append(unit)
                        raise
                    running[future] = unit
                if not running:
                    return
                ready, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ready:
                    outcome = future.result()
                    yield running.pop(future), outcome
        except BrokenProcessPool:
            for unit in running.values():
                strikes[unit.key] = strikes.get(unit.key, 0) + 1
                if strikes[unit.key] < STRIKES:
                    again.append(unit)
                else:
                    yield unit, Outcome(None, reason=f"a worker died {STRIKES} times while it had this unit")
        finally:
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)


def _start(settings: FaceSettings) -> None:
    global _worker
    # Ctrl-C reaches the whole group of processes; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = Worker(settings)


def _end_with_parent() -> None:
    """End this process when its parent was killed; the pool's own processes would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _process(unit: Unit) -> Outcome:
    assert _worker is not None
    return _worker.process(unit)
