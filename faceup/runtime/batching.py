"""Batches of equal-sized pictures, in the order of the input, halved when memory runs out; nothing is dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar
from weakref import WeakSet

from faceup.errors import ContractError
from faceup.types import Image

T = TypeVar("T")
R = TypeVar("R")


class Spare(Protocol):
    """What holds memory that it can do without."""

    def free(self) -> bool:
        """Let go of it, and tell whether there was any."""


# Emptied when memory runs out, by whomever.
SPARE: WeakSet[Spare] = WeakSet()


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, on the CPU or on a GPU."""
    # torch says "out of memory" on a GPU, "can't allocate memory" on the CPU, and passes on cuDNN's and cuBLAS's words;
    # ONNX Runtime says "failed to allocate memory", in errors that are derived from nothing but Exception.
    words = ("out of memory", "allocate memory", "alloc_failed")
    of_library = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    return isinstance(error, MemoryError) or (of_library and any(word in str(error).lower() for word in words))


def run_in_halves(run: Callable[[Sequence[T]], list[R]], items: Sequence[T]) -> list[R]:
    """Call `run` on all items; when memory runs out, free the `SPARE` and call it on each half, down to single items.

    Raises:
        ContractError: `run` returned another number of results than it got items.
        Exception: whatever `run` raised, of a single item that does not fit too.
    """
    try:
        results = run(items)
    except Exception as error:
        if not out_of_memory(error):
            raise
        freed = sum(holder.free() for holder in list(SPARE)) > 0  # all of them, not the first
        if len(items) < 2 and not freed:
            raise
        results = None
    if results is None:
        # Not inside the except block: there the error would keep every tensor of the failed batch alive.
        if len(items) < 2:
            results = run(items)
        else:
            middle = len(items) // 2
            return run_in_halves(run, items[:middle]) + run_in_halves(run, items[middle:])
    if len(results) != len(items):
        raise ContractError(f"A backend returned {len(results)} results for {len(items)} pictures.")
    return results


def by_size(images: Sequence[Image], run: Callable[[Sequence[Image]], list[R]], *, pixels: int = 2_000_000) -> list[R]:
    """Call `run` on batches of pictures of one size and return the results in the order of `images`.

    Args:
        images: pictures of any sizes.
        run: takes pictures of one size, returns one result each.
        pixels: upper limit of a batch's input pixels (at least one picture is always taken).
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault((image.height, image.width), []).append(index)
    results: dict[int, R] = {}
    for (height, width), indices in groups.items():
        step = max(1, pixels // (height * width))
        for start in range(0, len(indices), step):
            part = indices[start : start + step]
            results.update(zip(part, run_in_halves(run, [images[i] for i in part]), strict=True))
    return [results[i] for i in range(len(images))]
