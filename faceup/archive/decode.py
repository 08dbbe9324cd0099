"""The decode queue: a thread reads pictures ahead of the networks, but never more than a few batches.

Batches of a unit are always cut in the same places, so that the same unit always gives the same bytes.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from faceup.archive.units import Unit, stamp_of
from faceup.archive.video import Damage, Part
from faceup.errors import DataError
from faceup.files import sha256_hex, shown
from faceup.images import decode, read_bytes
from faceup.types import Image

T = TypeVar("T")
BATCH_PICTURES = 16
BATCH_PIXELS = 8_000_000
AHEAD = 2


class SourceChangedError(DataError):
    """A file vanished or was changed after it was listed."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """One picture or frame.

    Attributes:
        number: its place in the unit.
        image: None when it cannot be decoded.
        problem: why.
    """

    number: int
    image: Image | None
    problem: str = ""


def read_unit(unit: Unit, damage: Damage) -> Iterator[Decoded]:
    """Decode the pictures or wanted frames of a unit, in order; frames that cannot be decoded are left out.

    Args:
        unit: what to read.
        damage: filled with what is wrong with a video.

    Raises:
        SourceChangedError: a file is not what it was when it was listed.
    """
    if unit.video is None:
        for number, item in enumerate(unit.items):
            path = Path(item.path)
            try:
                data = read_bytes(path)
            except DataError as error:
                raise SourceChangedError(f"{error} It was there when the archive was listed.") from error
            if sha256_hex(data) != item.sha256:
                raise SourceChangedError(f"{shown(path)}: changed since the archive was listed.")
            try:
                yield Decoded(number, decode(data, item.name))
            except DataError as error:
                yield Decoded(number, None, str(error).removeprefix(f"{item.name}: ").rstrip("."))
        return
    (item,) = unit.items
    path = Path(item.path)
    _unchanged(path, item.stamp)
    numbers = {pts: i for i, pts in enumerate(unit.video.wanted)}
    for pts, image in Part(path, unit.video.start, unit.video.wanted, unit.video.timed, damage):
        yield Decoded(numbers[pts], image)
    _unchanged(path, item.stamp)


def batches(pictures: Iterable[Decoded]) -> Iterator[list[Decoded]]:
    """Cut decoded pictures into batches of at most `BATCH_PICTURES` and about `BATCH_PIXELS`."""
    batch: list[Decoded] = []
    pixels = 0
    for picture in pictures:
        batch.append(picture)
        pixels += picture.image.width * picture.image.height if picture.image else 0
        if len(batch) >= BATCH_PICTURES or pixels >= BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def read_ahead(source: Callable[[], Iterable[T]], ahead: int = AHEAD) -> Generator[T, None, None]:
    """Yield what `source()` yields, computed by a thread that is at most `ahead` items ahead and then waits.

    An exception of the source is raised here. When this generator is closed the thread ends with its next item.
    """
    waiting: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(maxsize=ahead)
    stop = threading.Event()

    def put(good: bool, value: T | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                waiting.put((good, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in source():
                if not put(True, item):
                    return
            put(False, None)
        except BaseException as error:
            put(False, error)

    thread = threading.Thread(target=work, name="faceup-decode", daemon=True)
    thread.start()
    try:
        while True:
            good, value = waiting.get()
            if good:
                yield value  # type: ignore[misc]
            elif value is not None:
                raise value  # type: ignore[misc]
            else:
                return
    finally:
        stop.set()
        thread.join()


def _unchanged(path: Path, stamp: str) -> None:
    try:
        now = stamp_of(path)
    except OSError as error:
        raise SourceChangedError(f"{shown(path)}: gone since the archive was listed.") from error
    # Size and time of change; other machines may see another inode.
    if now.split("-")[:2] != stamp.split("-")[:2]:
        raise SourceChangedError(f"{shown(path)}: changed since the archive was listed.")
