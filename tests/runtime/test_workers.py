"""Threads side by side: their results, their share of torch's threads, their failures."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from faceup.runtime import workers as module
from faceup.runtime.workers import Workers


def test_results_are_in_order_and_several_threads_work() -> None:
    workers, together = Workers(3), threading.Barrier(3)

    def square(x: int) -> tuple[int, str]:
        together.wait(30)  # passes only if three are in work at once
        return x * x, threading.current_thread().name

    found = workers.map(square, range(6))
    assert [value for value, _ in found] == [0, 1, 4, 9, 16, 25]
    assert len({name for _, name in found}) == 3
    assert workers.map(square, []) == []


def test_each_has_one_thread_of_torchs_and_others_keep_theirs() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        workers = Workers(2)
        for _ in range(2):
            assert workers.map(lambda _: torch.get_num_threads(), range(2)) == [1, 1]
            assert torch.get_num_threads() == 3
            with ThreadPoolExecutor(1) as other:
                assert other.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_an_error_comes_when_nothing_is_in_work_any_more() -> None:
    done = []

    def work(x: int) -> None:
        if x == 0:
            raise MemoryError("too large")
        time.sleep(0.05)
        done.append(x)

    with pytest.raises(MemoryError, match="too large"):
        Workers(2).map(work, range(4))
    assert sorted(done) == [1, 2, 3]


def test_those_that_start_at_the_same_time_leave_torchs_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        for _ in range(30):
            together = threading.Barrier(2)

            def begin(together: threading.Barrier = together) -> None:
                together.wait(30)
                Workers(2).map(abs, range(2))

            starts = [threading.Thread(target=begin) for _ in range(2)]
            for start in starts:
                start.start()
            for start in starts:
                start.join()
            with ThreadPoolExecutor(1) as other:
                assert other.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


def test_a_thread_that_cannot_be_started_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[threading.Thread] = []

    class Pool(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **more: Any) -> Any:
            if self._work_queue.qsize() + len(self._threads) >= 2:
                raise RuntimeError("can't start new thread")
            future = super().submit(*arguments, **more)
            begun.extend(self._threads)
            return future

    monkeypatch.setattr(module, "ThreadPoolExecutor", Pool)
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="can't start"):
        Workers(3).map(abs, range(3))
    assert begun
    for thread in begun:
        thread.join(30)
        assert not thread.is_alive()
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as other:
        assert other.submit(torch.get_num_threads).result() == before
