"""Where a training runs: the device of its networks, and who makes its batches."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import cv2
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from faceup.errors import ConfigError, FaceupError, StageError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# Batches that each worker has ready.
PREFETCHED = 3


@dataclass(frozen=True, slots=True)
class Machine:
    """What a training may use; none of it changes which batches the training sees.

    Attributes:
        device: `cpu` or `cuda`, where the networks run.
        workers: processes that make batches. With none a thread makes the next one, which is enough for a CPU.
    """

    device: str = "cpu"
    workers: int = 0

    def __post_init__(self) -> None:
        if self.workers and "fork" not in multiprocessing.get_all_start_methods():
            raise ConfigError("Processes that make the pictures of a training (--workers) need Linux or macOS.")

    def put(self, value: Tensor) -> Tensor:
        """Return a tensor on the device; a copy from pinned memory is not waited for."""
        return value.to(self.device, non_blocking=True)


CPU = Machine()


class Batches(Protocol[T_co]):
    """Gives the batches of a training by the number of their step."""

    def get(self, step: int) -> T_co:
        """Return the batch of a step; quick for the one after the last.

        Raises:
            FaceupError: whatever making it raised.
            StageError: a process that makes batches is gone.
        """

    def close(self) -> None:
        """End what makes batches."""


def ahead(make: Callable[[int], T], steps: int, machine: Machine) -> Batches[T]:
    """Return what makes batches before they are needed, while the network learns.

    Args:
        make: gives the batch of a step, always the same one; runs on the CPU, in a thread or in other processes.
        steps: number of steps of the training.
        machine: says who makes the batches.
    """
    return _Processes(make, steps, machine) if machine.workers else _Thread(make)


class _Thread(Generic[T]):
    def __init__(self, make: Callable[[int], T]) -> None:
        self._make, self._pool = make, ThreadPoolExecutor(1)
        self._waiting: tuple[int, Future[T]] | None = None

    def get(self, step: int) -> T:
        waiting, self._waiting = self._waiting, None
        made = waiting[1].result() if waiting is not None and waiting[0] == step else self._make(step)
        self._waiting = (step + 1, self._pool.submit(self._make, step + 1))
        return made

    def close(self) -> None:
        self._waiting = None
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Processes(Generic[T]):
    def __init__(self, make: Callable[[int], T], steps: int, machine: Machine) -> None:
        self._make, self._steps, self._machine = make, steps, machine
        self._batches: Iterator[T | FaceupError] | None = None
        self._next = 0

    def get(self, step: int) -> T:
        if self._batches is None or step != self._next:
            self._batches = self._from(step)
        self._next = step + 1
        try:
            made = next(self._batches)
        except RuntimeError as error:  # torch's words say which process, and little else
            self.close()
            raise StageError(
                f"A process that makes the pictures of a training is gone ({error}). If memory is short, use fewer "
                "--workers."
            ) from error
        if isinstance(made, FaceupError):
            raise made
        return made

    def close(self) -> None:
        # torch ends the processes when their iterator goes.
        self._batches = None

    def _from(self, step: int) -> Iterator[T | FaceupError]:
        loader: DataLoader[T | FaceupError] = DataLoader(
            _Steps(self._make),
            batch_size=None,
            sampler=range(step, max(self._steps, step + 1)),
            num_workers=self._machine.workers,
            prefetch_factor=PREFETCHED,
            collate_fn=_as_it_is,
            pin_memory=self._machine.device == "cuda",
            worker_init_fn=_one_thread,
            # The pictures are in memory, and shared with a process that is forked.
            multiprocessing_context="fork",
        )
        return iter(loader)


class _Steps(Dataset[T | FaceupError]):
    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make

    def __getitem__(self, step: int) -> T | FaceupError:
        try:
            return self._make(step)
        except FaceupError as error:
            return error  # raised in the process, it would come wrapped in a traceback


def _as_it_is(batch: Any) -> Any:
    return batch


def _one_thread(_: int) -> None:
    # OpenCV's pool of threads does not survive a fork; torch sees to its own.
    cv2.setNumThreads(0)
