"""Batches by size, and halving when memory runs out."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from faceup.errors import ContractError
from faceup.runtime.batching import by_size, out_of_memory, run_in_halves
from faceup.types import Image

SIZES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), max_size=25)


def numbered(sizes: Sequence[tuple[int, int]]) -> list[Image]:
    """Pictures whose first pixel tells which of the list they are."""
    images = [Image(np.zeros((height, width, 3), np.uint8)) for height, width in sizes]
    for index, image in enumerate(images):
        image.pixels[0, 0, 0] = index
    return images


def number(image: Image) -> int:
    return int(image.pixels[0, 0, 0])


@given(SIZES, st.integers(1, 40))
def test_by_size_keeps_the_order_and_bounds_the_batches(sizes: list[tuple[int, int]], pixels: int) -> None:
    batches: list[list[tuple[int, int]]] = []

    def run(batch: Sequence[Image]) -> list[int]:
        batches.append([(image.height, image.width) for image in batch])
        return [number(image) for image in batch]

    assert by_size(numbered(sizes), run, pixels=pixels) == list(range(len(sizes)))
    assert sum(len(batch) for batch in batches) == len(sizes)
    for batch in batches:
        assert len(set(batch)) == 1
        assert len(batch) == 1 or len(batch) * batch[0][0] * batch[0][1] <= pixels
    for size in set(sizes):
        taken = max(1, pixels // (size[0] * size[1]))
        assert sum(1 for batch in batches if batch[0] == size) == -(-sizes.count(size) // taken)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 16])
def test_halving_loses_nothing_and_keeps_the_order(error: Exception, limit: int) -> None:
    tried: list[int] = []

    def run(items: Sequence[int]) -> list[int]:
        tried.append(len(items))
        if len(items) > limit:
            raise error
        return [item * 10 for item in items]

    assert run_in_halves(run, list(range(16))) == [item * 10 for item in range(16)]
    assert tried[0] == 16
    assert sum(size for size in tried if size <= limit) == 16


def test_a_single_item_that_does_not_fit_is_an_error() -> None:
    def run(items: Sequence[int]) -> list[int]:
        if 3 in items:
            raise MemoryError("picture 3")
        return list(items)

    with pytest.raises(MemoryError, match="picture 3"):
        run_in_halves(run, [1, 2, 3, 4])


def test_other_errors_are_not_retried() -> None:
    calls = 0

    def run(items: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        run_in_halves(run, [1, 2, 3, 4])
    assert calls == 1


def test_the_memory_of_the_failed_batch_is_free_before_the_next_try() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def run(items: Sequence[int]) -> list[int]:
        assert all(tensor() is None for tensor in held)
        batch = torch.zeros(len(items))
        held.append(weakref.ref(batch))
        if len(items) > 1:
            raise RuntimeError("CUDA out of memory")
        return list(items)

    assert run_in_halves(run, [1, 2, 3, 4]) == [1, 2, 3, 4]
    assert len(held) == 7


@pytest.mark.parametrize("returned", [[], [1], [1, 2, 3]])
def test_another_number_of_results_is_a_contract_error(returned: list[int]) -> None:
    with pytest.raises(ContractError, match=f"returned {len(returned)} results for 2 pictures"):
        run_in_halves(lambda _: returned, ["a", "b"])
    with pytest.raises(ContractError):
        by_size(numbered([(1, 1), (1, 1)]), lambda _: returned)


def test_what_torch_says_when_the_memory_of_the_cpu_runs_out_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
        (Fail("Failed to allocate memory for requested buffer of size 5368709120"), True),
        (Fail("Unexpected input data type"), False),
    ],
)
def test_out_of_memory(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) is expected
