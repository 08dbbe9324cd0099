"""Video files: what frames they hold, and the wanted ones decoded, with their timestamps as they are.

FFmpeg (PyAV) is told to open files of known video formats only: playlists, which could name other files, are refused.
Damage does not end the reading: what can be decoded before and after it counts, and what was wrong is told.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from faceup.archive.settings import Every
from faceup.errors import ConfigError, DataError
from faceup.files import shown
from faceup.images import MAX_PIXELS
from faceup.types import Image

SUFFIXES = frozenset(
    f".{ending}"
    for line in (
        "mp4 m4v mov 3gp mkv webm avi wmv asf flv ogv mxf dav",
        "ts mts m2ts mpg mpeg h264 264 h265 265 hevc mjpg mjpeg",
    )
    for ending in line.split()
)
FORMATS = "mov,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,h264,hevc,mjpeg,mpjpeg,dhav,mxf,m4v,mpegvideo"


GAP_S = 1
GAP_STEPS = 5


@dataclass(frozen=True, slots=True)
class Inventory:
    """The frames of a video as its container lists them; nothing is decoded for it.

    Attributes:
        time_base: seconds of one unit of a timestamp, as (numerator, denominator).
        pts: timestamps in the order of showing, each once; for a stream without timestamps 0, 1, 2, ...
        keys: timestamps at which decoding can begin.
        end: timestamp at which the last frame ends.
        timed: whether the timestamps are the file's; else they count frames.
        rate: frames a second as the file says, 0 when it does not.
        promised_s: seconds as the header says, 0 when it does not.
        damage: why reading ended early, empty when it did not.
        restarted: whether the timestamps begin anew within the file, as in clips that were joined byte by byte; they
            tell neither the order nor one frame from another then, and frames are counted.
    """

    time_base: tuple[int, int]
    pts: tuple[int, ...]
    keys: tuple[int, ...]
    end: int
    timed: bool
    rate: float
    promised_s: float
    damage: str = ""
    restarted: bool = False

    @property
    def seconds(self) -> float:
        """Length in seconds: that of the frames found, or what the header promises if it is longer."""
        found = float((self.end - self.pts[0]) * Fraction(*self.time_base)) if self.pts else 0.0
        return max(found, self.promised_s)


def need_av() -> Any:
    """Return the module av (PyAV).

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ConfigError("Videos need PyAV: pip install 'faceup[archive]'.") from error
    return av


def inventory(path: Path) -> Inventory:
    """List the frames of a video file.

    Raises:
        DataError: it cannot be opened, has no video, or its pictures are too large.
    """
    with _opened(path) as (container, stream):
        pts: list[int] = []
        keys: list[int] = []
        last_duration, count, timed, damage = 0, 0, True, ""
        base, last_dts, restarted = stream.time_base or Fraction(1, 1000), None, False
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except (need_av().FFmpegError, ValueError) as error:
                damage = _told(error)
                break
            if packet.size == 0 or packet.is_discard:
                continue
            count += 1
            if packet.dts is not None:
                restarted |= last_dts is not None and (last_dts - packet.dts) * base > GAP_S
                last_dts = packet.dts
            if packet.pts is None:
                timed = False
                continue
            pts.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
            last_duration = packet.duration or last_duration
        rate = float(stream.average_rate or 0)
        promised = float(stream.duration * base) if stream.duration else float(container.duration or 0) / 1_000_000
        if not timed or restarted:
            timed = False
            frame = Fraction(stream.average_rate).limit_denominator(1_000_000) if rate else Fraction(25)
            base, pts, keys, last_duration = 1 / frame, list(range(count)), [0], 1
        ordered = tuple(sorted(set(pts)))
        end = ordered[-1] + (last_duration or _usual_step(ordered)) if ordered else 0
        if not ordered:
            raise DataError(f"{shown(path)}: no frame can be read{f' ({damage})' if damage else ''}.")
        return Inventory(
            (base.numerator, base.denominator),
            ordered,
            tuple(sorted(set(keys))),
            end,
            timed,
            rate,
            promised,
            damage,
            restarted,
        )


def covered(found: Inventory) -> tuple[list[int], list[tuple[int, int]]]:
    """Return how long each frame stands for, and the gaps in which no frame is.

    A frame stands for the time until the next one, unless that is a gap: longer than `GAP_S` and than `GAP_STEPS` usual
    steps. Then it stands for one usual step.

    Returns:
        The time of each frame, and (timestamp, length) of each gap, all in units of the time base.
    """
    usual = _usual_step(found.pts)
    most = max(Fraction(usual * GAP_STEPS), GAP_S / Fraction(*found.time_base))
    steps = [after - pts for pts, after in zip(found.pts, [*found.pts[1:], found.end], strict=True)]
    gaps = [(pts, step) for pts, step in zip(found.pts, steps, strict=True) if step > most]
    return [step if step <= most else usual for step in steps], gaps


def wanted(found: Inventory, every: Every) -> list[int]:
    """Return the timestamps of the frames to search: the first of each interval, or every so many."""
    if every.seconds is None:
        return list(found.pts[:: every.frames])
    step, chosen, last = every.seconds / Fraction(*found.time_base), [], -1
    for pts in found.pts:
        cell = int((pts - found.pts[0]) / step)
        if cell > last:
            chosen.append(pts)
            last = cell
    return chosen


def ranges(found: Inventory, chosen: list[int], most: int) -> list[tuple[int, int, list[int]]]:
    """Cut a video where decoding can begin, so that each part has at least `most` wanted frames, but for the last.

    Returns:
        (start, end, wanted) of each part: it holds the frames with start <= timestamp < end.
    """
    cuts, start = [found.pts[0]], 0
    for key in found.keys:
        position = bisect_left(chosen, key)
        if key > cuts[-1] and position - start >= most:
            cuts.append(key)
            start = position
    ends = [*cuts[1:], found.end + 1]
    parts = [
        (begin, end, chosen[bisect_left(chosen, begin) : bisect_left(chosen, end)])
        for begin, end in zip(cuts, ends, strict=True)
    ]
    return [part for part in parts if part[2]]


@dataclass(slots=True)
class Damage:
    """What went wrong while a part was decoded.

    Attributes:
        count: packets that could not be decoded.
        first: what the first said.
        corrupt: frames that were decoded, but not from whole data.
    """

    count: int = 0
    first: str = ""
    corrupt: int = 0

    def add(self, error: BaseException) -> None:
        """Note one more."""
        self.count += 1
        self.first = self.first or _told(error)


@dataclass(slots=True)
class Part:
    """The frames of one part of a video; iterate once.

    Attributes:
        path: the file.
        start: timestamp of the first frame.
        wanted: timestamps of the frames to return.
        timed: as in `Inventory`.
        damage: filled while iterating.
    """

    path: Path
    start: int
    wanted: tuple[int, ...]
    timed: bool
    damage: Damage = field(default_factory=Damage)

    def __iter__(self) -> Iterator[tuple[int, Image]]:
        """Yield timestamp and picture of every wanted frame that can be decoded, in the order of showing.

        Raises:
            DataError: the file cannot be opened any more.
        """
        left, last = set(self.wanted), self.wanted[-1]
        for pts, frame in self._frames():
            if pts in left:
                left.discard(pts)
                self.damage.corrupt += bool(frame.is_corrupt)
                yield pts, _picture(frame)
            if pts >= last or not left:
                return

    def _frames(self) -> Iterator[tuple[int, Any]]:
        if self.timed and (seeked := self._decode(seek=True)) is not None:
            yield from seeked
        else:
            yield from self._decode(seek=False) or ()

    def _decode(self, *, seek: bool) -> Iterator[tuple[int, Any]] | None:
        """Return the frames from `start` on, or None if seeking does not lead to where decoding can begin."""
        if not seek:
            return self._decoded(None)
        with _opened(self.path) as (container, stream):
            try:
                container.seek(self.start, stream=stream, backward=True)
                first = next(packet for packet in container.demux(stream) if packet.size)
            except (need_av().FFmpegError, StopIteration, ValueError):
                return None
            good = first.is_keyframe and first.pts is not None and first.pts <= self.start
        return self._decoded(self.start) if good else None

    def _decoded(self, seek_to: int | None) -> Iterator[tuple[int, Any]]:
        av = need_av()
        with _opened(self.path) as (container, stream):
            if seek_to is not None:
                container.seek(seek_to, stream=stream, backward=True)
            packets = container.demux(stream)
            number, ended = 0, False
            while not ended:
                try:
                    packet = next(packets)
                    frames = packet.decode()
                except StopIteration:
                    ended, frames = True, []
                except av.EOFError:
                    ended, frames = True, []
                except (av.FFmpegError, ValueError) as error:
                    self.damage.add(error)
                    if self.damage.count > len(self.wanted) + 1000:  # a demuxer that fails for ever
                        return
                    continue
                for frame in frames:
                    pts = number if not self.timed else frame.pts
                    number += 1
                    if pts is not None:
                        yield pts, frame


class _opened:  # noqa: N801
    """A container and its first video stream, decoded by one thread so that the same file always gives the same."""

    def __init__(self, path: Path) -> None:
        self.path, self.file, self.container = path, None, None

    def __enter__(self) -> tuple[Any, Any]:
        av = need_av()
        av.logging.set_level(None)
        name = os.fspath(self.path)
        try:
            # A name that is not UTF-8 cannot be passed on; an open file can.
            self.file = None if name.isprintable() else self.path.open("rb")  # type: ignore[assignment]
            options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
            source = self.file or os.path.abspath(name)  # noqa: PTH100
            self.container = av.open(source, options=options, metadata_errors="replace")
            streams = [s for s in self.container.streams.video if "attached_pic" not in str(s.disposition)]  # type: ignore[attr-defined]
            if not streams:
                raise DataError(f"{shown(self.path)}: no video in it.")
            stream = streams[0]
            if stream.codec_context is None:
                raise DataError(f"{shown(self.path)}: a codec that is not known here.")
            size = (stream.codec_context.width, stream.codec_context.height)
            if size[0] * size[1] > MAX_PIXELS:
                raise DataError(f"{shown(self.path)}: {size[0]} x {size[1]} px, more than the {MAX_PIXELS} px allowed.")
            stream.codec_context.thread_count = 1
        except (av.FFmpegError, OSError, ValueError) as error:
            self.__exit__()
            raise DataError(f"{shown(self.path)}: cannot be opened as a video ({_told(error)}).") from error
        except DataError:
            self.__exit__()
            raise
        return self.container, stream

    def __exit__(self, *_: object) -> None:
        for thing in (self.container, self.file):
            if thing is not None:
                thing.close()


def _picture(frame: Any) -> Image:
    if frame.width * frame.height > MAX_PIXELS:
        raise DataError(f"A frame has {frame.width} x {frame.height} px, more than the {MAX_PIXELS} px allowed.")
    pixels = frame.to_ndarray(format="rgb24")
    # Cameras that hang sideways say so; the number is in degrees, counter-clockwise.
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return Image(np.rot90(pixels, turns) if turns else pixels)


def _usual_step(ordered: tuple[int, ...]) -> int:
    return int(np.median(np.diff(ordered))) if len(ordered) > 1 else 1


def _told(error: BaseException) -> str:
    return str(getattr(error, "strerror", "") or error or type(error).__name__)
