"""Which camera a file is from and when it begins, told by its path: a pattern, or the folders it lies in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo

from faceup.errors import ConfigError
from faceup.manifest import name_parts

# {date}: 20240131 or 2024-01-31; {time}: 235959, 23-59-59 or 2359, also with : or _; {timestamp}: seconds since 1970.
_FIELDS = {
    "camera": r"[^/]+?",
    "date": r"\d{4}-?\d{2}-?\d{2}",
    "time": r"\d{2}[-_:.]?\d{2}(?:[-_:.]?\d{2})?",
    "timestamp": r"\d{9,10}(?:\.\d{1,6})?",
    "frame": r"\d+",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# A year is left to what is counted from there.
_LAST_US = (datetime(9999, 1, 1, tzinfo=timezone.utc) - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where and when.

    Attributes:
        camera: its name.
        start_us: microseconds since 1970 (UTC) of the file's first frame; None when it is not known.
        note: what could not be told and why.
    """

    camera: str
    start_us: int | None = None
    note: str = ""


def read_time(text: str, zone: tzinfo) -> int:
    """Return microseconds since 1970 (UTC) of an ISO 8601 time; `zone` is used where it has none.

    Raises:
        ValueError: it is no such time.
    """
    when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    when = when if when.tzinfo else when.replace(tzinfo=zone)
    return _shown((when - _EPOCH) // timedelta(microseconds=1))


def _shown(start_us: int) -> int:
    """Return a time that can be written, or raise ValueError."""
    if start_us > _LAST_US:
        raise ValueError("later than the year 9998")
    return start_us


def write_time(start_us: int) -> str:
    """Return microseconds since 1970 as ISO 8601 in UTC with milliseconds."""
    when = _EPOCH + timedelta(microseconds=start_us)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_zone(name: str) -> tzinfo:
    """Return a time zone by its name, e.g. `UTC` or `Europe/Berlin`.

    Raises:
        ConfigError: unknown here.
    """
    if name.upper() == "UTC":
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(f"Unknown time zone {name!r}: give a name such as Europe/Berlin, or UTC.") from error


class Places:
    """Reads camera and time from paths.

    Args:
        pattern: e.g. `{camera}/{date}/{time}.mp4`; fields camera, date, time, timestamp and frame, `*` for anything
            within a folder's name, `**` for any folders. Empty: cameras are folders, times are not known.
        zone: of dates and times.
        fps: pictures a second, for `{frame}`.
    """

    def __init__(self, pattern: str = "", zone: tzinfo = timezone.utc, fps: float | None = None) -> None:
        self.zone, self.fps = zone, fps
        self.pattern = _compiled(pattern) if pattern else None
        if pattern and "{frame}" in pattern and not fps:
            raise ConfigError("A pattern with {frame} needs --fps, the pictures a second.")

    def of(self, relative: str, *, video: bool, root: str) -> Place:
        """Return the place of a file.

        Args:
            relative: its path below the archive's folder, with `/`.
            video: whether it is one; a video directly in the folder is a camera of its own.
            root: name of the archive's folder.
        """
        path = PurePosixPath(relative)
        inside = path.parent.as_posix()
        _, parts = name_parts(path.stem)
        if inside != ".":
            default = inside
        elif "camera" in parts:
            default = f"cam{parts['camera']}"
        else:
            default = path.stem if video else root
        if self.pattern is None:
            return Place(default)
        match = self.pattern.fullmatch(relative) or self.pattern.fullmatch(relative[: len(relative) - len(path.suffix)])
        if match is None:
            return Place(default, None, "the path does not fit the pattern: camera from its folder, no time")
        found = {key: value for key, value in match.groupdict().items() if value is not None}
        camera = found.get("camera", default)
        try:
            return Place(camera, self._start(found))
        except (ValueError, OverflowError) as error:
            return Place(camera, None, f"no time: {error}")

    def _start(self, found: dict[str, str]) -> int | None:
        if "timestamp" in found:
            whole, _, part = found["timestamp"].partition(".")
            start = int(whole) * 1_000_000 + int(part.ljust(6, "0") or 0)
        elif "date" in found:
            day, clock = (re.sub(r"\D", "", found.get(key, "")) for key in ("date", "time"))
            start = read_time(f"{day[:4]}-{day[4:6]}-{day[6:]}T{_clock(clock)}", self.zone)
        elif "frame" in found:
            start = 0
        else:
            return None
        return _shown(start + round(int(found.get("frame", 0)) * 1_000_000 / (self.fps or 1)))


def _clock(digits: str) -> str:
    digits = digits.ljust(6, "0")
    return f"{digits[:2]}:{digits[2:4]}:{digits[4:]}"


def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w*\}|\*\*|\*)", pattern.strip("/"))
    named: set[str] = set()
    text = ""
    for part in parts:
        if part in ("*", "**"):
            text += ".*?" if part == "**" else "[^/]*?"
        elif part.startswith("{"):
            field = part[1:-1]
            if field not in _FIELDS or field in named:
                raise ConfigError(f"--pattern knows each of {', '.join(_FIELDS)} once, got {part} in {pattern!r}.")
            named.add(field)
            text += f"(?P<{field}>{_FIELDS[field]})"
        else:
            text += re.escape(part)
    if not named:
        raise ConfigError(f"--pattern names no field: use {', '.join('{' + name + '}' for name in _FIELDS)}.")
    return re.compile(text)
