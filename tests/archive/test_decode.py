"""The decode queue: order, back-pressure, errors, and an end when nobody listens any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from faceup.archive.decode import BATCH_PICTURES, BATCH_PIXELS, Decoded, batches, read_ahead
from faceup.types import Image


def test_items_come_in_order_and_the_reader_waits() -> None:
    made = []

    def source() -> Iterator[int]:
        for i in range(20):
            made.append(i)
            yield i

    reader = read_ahead(source, ahead=2)
    assert next(reader) == 0
    for _ in range(100):  # Until the queue is full; it must then stay so.
        time.sleep(0.005)
        if len(made) >= 4:
            break
    time.sleep(0.1)
    assert len(made) <= 4, "one taken, two in the queue, one in hand"
    assert list(reader) == list(range(1, 20))


def test_an_error_comes_where_it_happened() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("torn")

    reader = read_ahead(source)
    assert next(reader) == 1
    with pytest.raises(ValueError, match="torn"):
        next(reader)


def test_a_closed_queue_ends_its_thread() -> None:
    def source() -> Iterator[int]:
        i = 0
        while True:
            yield (i := i + 1)

    before = threading.active_count()
    reader = read_ahead(source)
    next(reader)
    reader.close()
    assert threading.active_count() == before


def test_batches_are_small_in_number_and_in_pixels() -> None:
    small, large = Image(np.zeros((2, 2, 3), np.uint8)), Image(np.zeros((2000, 2500, 3), np.uint8))
    pictures = [Decoded(i, small) for i in range(20)] + [Decoded(20 + i, large) for i in range(3)]
    cut = list(batches([*pictures, Decoded(23, None, "broken")]))
    assert [picture.number for batch in cut for picture in batch] == list(range(24))
    assert [len(batch) for batch in cut] == [BATCH_PICTURES, 6, 2]
    assert all(sum(p.image.pixels.size // 3 for p in batch[:-1] if p.image) < BATCH_PIXELS for batch in cut)
