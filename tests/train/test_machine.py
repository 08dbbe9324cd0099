"""Who makes the batches: processes tell what went wrong, end with the training, and are refused where none can be."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from faceup.errors import ConfigError, DataError, StageError
from faceup.train.machine import Machine, ahead


def children() -> int:
    return len(multiprocessing.active_children())


@pytest.mark.parametrize("workers", [0, 2])
def test_what_making_a_batch_raises_arrives_as_it_is(workers: int) -> None:
    def made(step: int) -> int:
        if step == 2:
            raise DataError("portrait 7 is damaged")
        return 10 * step

    batches = ahead(made, 5, Machine(workers=workers))
    assert [batches.get(step) for step in (0, 1)] == [0, 10]
    with pytest.raises(DataError, match=r"^portrait 7 is damaged$"):
        batches.get(2)
    batches.close()


def test_processes_end_when_they_are_told_to() -> None:
    before = children()
    batches = ahead(lambda step: step, 100, Machine(workers=2))
    assert batches.get(0) == 0
    assert children() == before + 2
    batches.close()
    assert children() == before


def test_a_process_that_is_killed_is_told_in_a_sentence() -> None:
    def made(step: int) -> int:
        if step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        return step

    batches = ahead(made, 10, Machine(workers=1))
    with pytest.raises(StageError, match="use fewer --workers"):
        for step in range(10):
            batches.get(step)


def test_processes_are_refused_where_none_can_be_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert Machine().workers == 0
    with pytest.raises(ConfigError, match="need Linux or macOS"):
        Machine(workers=2)
