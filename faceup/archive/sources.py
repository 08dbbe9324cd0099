"""What an archive holds: every file below its folders, or what a manifest lists, with hash, camera and time."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

from faceup.archive import video
from faceup.archive.ledger import Ledger, Source
from faceup.archive.places import Place, Places, read_time
from faceup.archive.settings import Every
from faceup.archive.units import PART_FRAMES, Item, Range, chunks, stamp_of, unit_of
from faceup.archive.video import Inventory
from faceup.errors import DataError
from faceup.files import shown
from faceup.images import MAX_FILE_BYTES, SUFFIXES

Progress = Callable[[str, int, int], None]
_BLOCK = 2**20
CHECKPOINT_S = 5.0
# A header may promise a little more than there is, e.g. sound that goes on; more than this is reported.
CUT_S = 0.5


def plan(
    ledger: Ledger,
    archives: Sequence[Path],
    places: Places,
    every: Every,
    identity: dict[str, object],
    progress: Progress | None = None,
) -> None:
    """List the archives and write inputs and units into the ledger.

    Hashes of files that were not touched since the last listing are not computed again, even if that was cut short.
    A listing that was cut short is never used: every run begins with a whole one.

    Raises:
        DataError: an archive is missing, or no file in any of them can be searched.
    """
    with ledger.transaction():
        ledger.forget_plan()
        saved = time.monotonic()
        for count, source in enumerate(_listed(archives, places), start=1):
            ledger.add_source(_examined(source, ledger, every))
            if time.monotonic() > saved + CHECKPOINT_S:
                ledger.checkpoint()
                saved = time.monotonic()
            if progress is not None:
                progress("listing", count, count)
        pictures = ((s.camera, _item(s)) for s in ledger.sources(kind="picture"))
        for camera, chunk in chunks(pictures):
            ledger.add_unit(unit_of(camera, chunk, None, identity))
        for source in ledger.sources(kind="video"):
            for part in _parts(_inventory(source, ledger), every):
                ledger.add_unit(unit_of(source.camera, [_item(source)], part, identity))
        if not any(True for _ in ledger.units()):
            first = next((s for s in ledger.sources()), None)
            why = f", e.g. {first.name}: {first.problem}" if first else ""
            raise DataError(f"No picture and no video of the archives can be searched{why}.")


def _listed(archives: Sequence[Path], places: Places) -> Iterator[Source]:
    roots = [Path(os.path.abspath(archive)) for archive in archives]  # noqa: PTH100
    twice = len({root.name for root in roots}) < len(roots)
    for root in roots:
        if root.suffix.lower() == ".csv" and root.is_file():
            yield from _manifest(root, places)
        elif root.is_dir():
            prefix = shown(root) if twice else shown(root.name)
            unlisted: list[OSError] = []
            for folder, folders, files in os.walk(root, onerror=unlisted.append):
                folders.sort()
                for path in (Path(folder) / name for name in folders):
                    if path.is_symlink():
                        why = "a link to a folder; links are not followed, give its target as an archive of its own"
                        yield replace(_placed(path, root, prefix, places), kind="other", problem=why)
                for name in sorted(files):
                    yield _placed(Path(folder) / name, root, prefix, places)
            for error in unlisted:
                why = f"the folder cannot be listed ({error.strerror})"
                yield replace(_placed(Path(str(error.filename)), root, prefix, places), kind="other", problem=why)
        elif root.is_file():
            yield _placed(root, root.parent, shown(root.parent) if twice else "", places)
        else:
            raise DataError(f"{shown(root)}: no such folder, video or manifest (CSV).")


def _placed(path: Path, root: Path, prefix: str, places: Places) -> Source:
    relative = shown(path.relative_to(root).as_posix())
    kind = _kind(path)
    place = places.of(relative, video=kind == "video", root=shown(root.name))
    return _source(path, f"{prefix}/{relative}" if prefix else relative, kind, place)


def _source(path: Path, name: str, kind: str, place: Place) -> Source:
    problem = "" if kind != "other" else "neither named as a picture nor as a video"
    return Source(name, os.fspath(path), kind, place.camera, place.start_us, place.note, problem)


def _manifest(path: Path, places: Places) -> Iterator[Source]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            if not {"path", "camera"} <= set(reader.fieldnames or ()):
                raise DataError(
                    f"{shown(path)}: the first line must name the columns path and camera, and may name start."
                )
            for row in reader:
                where = f"{shown(path)}, line {reader.line_num}"
                if not row["path"] or not row["camera"]:
                    raise DataError(f"{where}: path and camera must be given.")
                try:
                    start = read_time(row["start"], places.zone) if row.get("start") else None
                except ValueError as error:
                    raise DataError(f"{where}: start must be a time such as 2024-01-31T23:59:59: {error}.") from error
                file = path.parent / row["path"]
                yield _source(file, row["path"], _kind(file), Place(row["camera"], start))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{shown(path)}: cannot be read as CSV in UTF-8 ({error}).") from error


def _kind(path: Path) -> str:
    ending = path.suffix.lower()
    if path.name.startswith("."):
        return "other"
    return "picture" if ending in SUFFIXES else "video" if ending in video.SUFFIXES else "other"


def _examined(source: Source, ledger: Ledger, every: Every) -> Source:
    """Return the source with its hash and size, or with the reason why it cannot be searched."""
    if source.problem:
        return source
    path = Path(source.path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return replace(source, problem="not a file but a folder, pipe or device")
        if status.st_size == 0:
            return replace(source, problem="the file is empty (0 bytes)")
        if source.kind == "picture" and status.st_size > MAX_FILE_BYTES:
            return replace(source, problem=f"more than {MAX_FILE_BYTES} bytes")
        stamp = stamp_of(path)
        sha256 = ledger.remembered_hash(source.path, stamp)
        if sha256 is None:
            sha256 = _hashed(path)
            ledger.remember_hash(source.path, stamp, sha256)
    except FileNotFoundError:
        return replace(source, problem="no such file")
    except ValueError as error:
        return replace(source, problem=f"no name of a file ({error})")
    except OSError as error:
        return replace(source, problem=f"cannot be read ({error.strerror or error})")
    found = replace(source, sha256=sha256, stamp=stamp, wanted=1)
    if source.kind != "video":
        return found
    try:
        frames = _inventory(found, ledger)
    except DataError as error:
        return replace(found, wanted=0, problem=str(error).removeprefix(f"{shown(path)}: ").rstrip("."))
    if frames.restarted:
        told = "the timestamps begin anew within the file: frames are counted, times are those of its frame rate"
        found = replace(found, note="; ".join(filter(None, (found.note, told))))
    return replace(found, wanted=len(video.wanted(frames, every)), seconds=frames.seconds, cut=_cut(frames))


def _cut(frames: Inventory) -> str:
    base = Fraction(*frames.time_base)
    there = float((frames.end - frames.pts[0]) * base)
    told = [f"reading ended early: {frames.damage}"] if frames.damage else []
    if frames.seconds > there + CUT_S:
        told.append(f"the file promises {frames.seconds:.3f} s, {there:.3f} s are there")
    _, gaps = video.covered(frames)
    if gaps:
        pts, length = max(gaps, key=lambda gap: gap[1])
        where, lost = float((pts - frames.pts[0]) * base), float(length * base)
        told.append(f"no frames in {len(gaps)} gaps, the longest {lost:.3f} s after second {where:.3f}")
    return "; ".join(told)


def _inventory(source: Source, ledger: Ledger) -> Inventory:
    if (text := ledger.remembered_inventory(source.sha256)) is not None:
        values = json.loads(text)
        return Inventory(**{**values, **{name: tuple(values[name]) for name in ("time_base", "pts", "keys")}})
    found = video.inventory(Path(source.path))
    ledger.remember_inventory(source.sha256, json.dumps(asdict(found)))
    return found


def _parts(found: Inventory, every: Every) -> Iterator[Range]:
    chosen = video.wanted(found, every)
    steps, _ = video.covered(found)
    until = dict(zip(found.pts, accumulate(steps, initial=0), strict=False))
    total = sum(steps)
    ends = [*(until[pts] for pts in chosen[1:]), total]
    lasts = {pts: end - until[pts] for pts, end in zip(chosen, ends, strict=True)}
    for start, _, part in video.ranges(found, chosen, PART_FRAMES):
        spans = tuple(lasts[pts] for pts in part)
        yield Range(start, tuple(part), spans, found.time_base, found.pts[0], found.timed)


def _item(source: Source) -> Item:
    return Item(source.name, source.path, source.sha256, source.stamp, source.start_us)


def _hashed(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
