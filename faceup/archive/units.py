"""Units: pieces of work that are done whole or not at all, each named by the hash of all that its faces depend on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faceup.files import sha256_hex

# A chunk of pictures ends behind a picture whose hash says so (one of 48), or at the limit. So a picture that is added
# or changed makes one chunk new and not every chunk behind it.
CHUNK_MEAN = 48
CHUNK_MOST = 128
# A part of a video has at least so many frames to search; it ends where decoding can begin again.
PART_FRAMES = 250


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a unit.

    Attributes:
        name: as outputs call it.
        path: where it lies; bytes that are not UTF-8 are surrogate escapes.
        sha256: of its content.
        stamp: size, times and inode when it was hashed; tells cheaply whether it was touched since.
        start_us: microseconds since 1970 of its first frame, None when not known.
    """

    name: str
    path: str
    sha256: str
    stamp: str
    start_us: int | None


@dataclass(frozen=True, slots=True)
class Range:
    """The part of a video that a unit searches.

    Attributes:
        start: timestamp where decoding begins.
        wanted: timestamps of the frames to search.
        spans: for each, the time until the next, in units of `time_base`: what its search stands for.
        time_base: seconds of one unit, as (numerator, denominator).
        origin: timestamp of the video's first frame.
        timed: whether the timestamps are the file's; else they count frames.
    """

    start: int
    wanted: tuple[int, ...]
    spans: tuple[int, ...]
    time_base: tuple[int, int]
    origin: int
    timed: bool


@dataclass(frozen=True, slots=True)
class Unit:
    """Some pictures of one camera, or a part of one video.

    Attributes:
        key: hash of content, part and everything else that the faces depend on; never of names and places.
        camera: name of the camera.
        items: the files; one for a video.
        video: the part; None for pictures.
    """

    key: str
    camera: str
    items: tuple[Item, ...]
    video: Range | None = None

    @property
    def pictures(self) -> int:
        """How many pictures or frames it has."""
        return len(self.items) if self.video is None else len(self.video.wanted)

    def to_json(self) -> str:
        """Return the unit as text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Unit:
        """Read what `to_json` gave."""
        values = json.loads(text)
        video = values["video"]
        if video is not None:
            tuples = {name: tuple(video[name]) for name in ("wanted", "spans", "time_base")}
            video = Range(**{**video, **tuples})
        return cls(values["key"], values["camera"], tuple(Item(**item) for item in values["items"]), video)


def unit_of(camera: str, items: Iterable[Item], video: Range | None, identity: Mapping[str, Any]) -> Unit:
    """Return a unit with its key.

    Args:
        camera: its name.
        items: the files.
        video: the part of the only file.
        identity: everything else that faces depend on (`faces_identity`).
    """
    listed = tuple(items)
    part = None if video is None else [video.start, video.wanted, video.spans, video.time_base, video.timed]
    content = [identity, [item.sha256 for item in listed], part]
    return Unit(sha256_hex(json.dumps(content, sort_keys=True).encode()), camera, listed, video)


def chunks(pictures: Iterable[tuple[str, Item]]) -> Iterator[tuple[str, list[Item]]]:
    """Cut pictures, ordered by camera, into chunks of one camera each.

    Args:
        pictures: camera and file.
    """
    camera, chunk = "", list[Item]()
    for name, item in pictures:
        if chunk and name != camera:
            yield camera, chunk
            chunk = []
        camera = name
        chunk.append(item)
        if int(item.sha256[:8], 16) % CHUNK_MEAN == 0 or len(chunk) >= CHUNK_MOST:
            yield camera, chunk
            chunk = []
    if chunk:
        yield camera, chunk


def stamp_of(path: Path) -> str:
    """Return size, times of change and inode of a file, as text.

    Raises:
        OSError: it is gone.
    """
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"
