"""Threads that compute side by side, each with one thread of torch's, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier, Lock
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")
# torch's number of threads is the process's own.
_starting = Lock()


class Workers:
    """As many threads as asked for, started at the first use.

    They do not go along into a process that is forked later: there `map` would wait for ever.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Return what a function gives for each item.

        Raises:
            Exception: the first item's that failed; by then no item is in work.
        """
        with self._lock:
            self._pool = self._pool or _started(self.count)
            pool = self._pool
        futures = [pool.submit(function, item) for item in items]
        wait(futures)
        return [future.result() for future in futures]

    def share(self, function: Callable[[Sequence[T]], list[R]], items: Sequence[T], shares: int) -> list[R]:
        """Return what a function gives for the items, in their order, called with one of so many shares at a time.

        A share is one item of every few, so that large and small ones are spread.
        """
        parts = self.map(function, [items[first::shares] for first in range(shares)])
        return [parts[i % shares][i // shares] for i in range(len(items))]


def _started(count: int) -> ThreadPoolExecutor:
    together = Barrier(count)

    def alone() -> None:
        # torch looks its number of threads up once in every thread: it must have done so before it is told another.
        torch.get_num_threads()
        torch.set_num_threads(1)
        # None is free for the next call before all have begun.
        together.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix="faceup")
    with _starting:
        before = torch.get_num_threads()
        try:
            for future in [pool.submit(alone) for _ in range(count)]:
                future.result()
        except BaseException:
            # Those that wait for one that could not be started would keep the process from ending.
            together.abort()
            pool.shutdown(wait=False)
            raise
        finally:
            # What was said last holds for threads that begin later.
            torch.set_num_threads(before)
    return pool
