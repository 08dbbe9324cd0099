"""From the shards to the results folder: tracklets, the search in the gallery, and every file that a user reads.

The results are a pure function of plan, shards, gallery and settings: no clock, no random number, no name of a machine.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import numpy as np

from faceup.archive import shards
from faceup.archive.ledger import Ledger
from faceup.archive.outputs import (
    APPEARANCE_FIELDS,
    COVERAGE_FIELDS,
    FACE_FIELDS,
    Appearance,
    Csv,
    Parquet,
    appearance_rows,
    coverage_row,
    face_row,
    save_thumbnail,
)
from faceup.archive.report import Report
from faceup.archive.settings import ResultSettings
from faceup.archive.tracks import Sighting, Track, Tracker
from faceup.archive.units import Unit
from faceup.errors import DataError
from faceup.gallery.index import Searcher

SEARCH_BATCH = 64


class ShardDamagedError(DataError):
    """A shard is not what was written; `key` names its unit."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(slots=True)
class Totals:
    """What a job found.

    Attributes:
        inputs: how many there are, by status of coverage.csv.
        pictures: searched.
        frames: searched.
        minutes: of video.
        minutes_searched: of them.
        faces: found.
        appearances: found.
        above: appearances whose first candidate reaches its threshold; None when there is no threshold.
        failed_units: units that could not be done.
    """

    inputs: dict[str, int] = field(default_factory=dict)
    pictures: int = 0
    frames: int = 0
    minutes: float = 0.0
    minutes_searched: float = 0.0
    faces: int = 0
    appearances: int = 0
    above: int | None = None
    failed_units: int = 0


@dataclass(frozen=True, slots=True)
class Search:
    """What the faces are compared with.

    Attributes:
        searcher: over the gallery, or over the watch list's part of it.
        thresholds: of subjects that have their own.
        settings: of the results.
        generative: whether the SR backend makes pixels up.
        facts: name and text of what the report tells of the settings.
    """

    searcher: Searcher
    thresholds: dict[str, float]
    settings: ResultSettings
    generative: bool
    facts: list[tuple[str, str]]


def write_results(job: Path, ledger: Ledger, search: Search, folder: Path) -> Totals:
    """Write every file of the results into `folder`.

    Raises:
        ShardDamagedError: a shard is missing or was changed.
    """
    totals = Totals(above=0 if search.settings.threshold is not None or search.thresholds else None)
    dimension = search.searcher.rows.vectors.shape[1]
    fields = [*FACE_FIELDS, *([("embedding", "vector")] if search.settings.embeddings else [])]
    ledger.start_coverage()
    with (
        Csv(folder / "appearances.csv", APPEARANCE_FIELDS) as table,
        Parquet(folder / "appearances.parquet", APPEARANCE_FIELDS) as columns,
        Parquet(folder / "faces.parquet", fields, dimension) as faces,
        Report(folder, search) as report,
    ):
        for appearance in _appearances(_tracks(job, ledger, search, faces, totals), search, folder):
            totals.appearances += 1
            for row in appearance_rows(appearance, search.settings, search.thresholds):
                table.add(row)
                columns.add(row)
                if totals.above is not None and row["rank"] == 1 and row["above_threshold"]:
                    totals.above += 1
            report.add(appearance)
        with Csv(folder / "coverage.csv", COVERAGE_FIELDS) as coverage:
            for source in ledger.sources():
                row = coverage_row(source, ledger)
                coverage.add(row)
                totals.inputs[row["status"]] = totals.inputs.get(row["status"], 0) + 1
                if source.kind == "video":
                    totals.frames += row["searched"]
                    totals.minutes += row["minutes"]
                    totals.minutes_searched += row["minutes_searched"]
                else:
                    totals.pictures += row["searched"]
                report.cover(row)
        report.finish(totals)
    return totals


def _tracks(job: Path, ledger: Ledger, search: Search, faces: Parquet, totals: Totals) -> Iterator[Track]:
    """Yield the tracklets in the order in which they begin, and write their faces on the way."""
    tracker = Tracker(search.settings.max_gap_s)
    ended: list[tuple[int, Track]] = []
    following = 1
    for unit in ledger.units():
        for frame in _frames(job, unit, ledger, totals):
            numbers, gone = tracker.frame(frame)
            for seen, number in zip(frame, numbers, strict=True):
                faces.add(face_row(seen, number, embedding=search.settings.embeddings))
                totals.faces += 1
            for track in gone:
                heapq.heappush(ended, (track.number, track))
            while ended and ended[0][0] == following:
                yield heapq.heappop(ended)[1]
                following += 1
    for track in tracker.flush():
        heapq.heappush(ended, (track.number, track))
    while ended:
        yield heapq.heappop(ended)[1]


def _frames(job: Path, unit: Unit, ledger: Ledger, totals: Totals) -> Iterator[list[Sighting]]:
    """Yield the faces of a unit, frame by frame, and note what of it was searched."""
    sha256 = ledger.shard(unit.key)
    if sha256 is None:
        totals.failed_units += 1
        reason = ledger.failure(unit.key) or "not reached yet"
        for item in unit.items:
            ledger.cover(item.name, 0, 0.0, 0, reason)
        return
    try:
        shard = shards.read(job, unit.key, sha256)
    except DataError as error:
        raise ShardDamagedError(unit.key, str(error)) from error
    for item, report in zip(unit.items, shard.items, strict=True):
        ledger.cover(item.name, report.searched, report.seconds_searched, report.faces, report.problem)
    for _, rows in groupby(shard.rows, key=lambda row: (row.item, row.pts)):
        yield [_sighting(unit, row) for row in rows]


def _sighting(unit: Unit, row: shards.ShardRow) -> Sighting:
    item = unit.items[row.item]
    seconds, base, offset_us = None, None, 0
    if unit.video is not None and row.pts is not None:
        base = unit.video.time_base
        since = (row.pts - unit.video.origin) * Fraction(*base)
        seconds, offset_us = float(since), round(since * 1_000_000)
    utc = None if item.start_us is None else item.start_us + offset_us
    clock = item.name if utc is None else "utc"
    time_us = offset_us if utc is None and unit.video is not None else utc
    pts = row.pts if unit.video is not None and unit.video.timed else None
    return Sighting(item.name, unit.camera, clock, time_us, utc, seconds, pts, base, row.placed, row.face)


def _appearances(tracks: Iterator[Track], search: Search, folder: Path) -> Iterator[Appearance]:
    batch: list[Track] = []
    for track in tracks:
        batch.append(track)
        if len(batch) == SEARCH_BATCH:
            yield from _searched(batch, search, folder)
            batch = []
    if batch:
        yield from _searched(batch, search, folder)


def _searched(batch: list[Track], search: Search, folder: Path) -> Iterator[Appearance]:
    found = search.searcher.search(np.stack([track.vector for track in batch]), search.settings.top)
    for track, candidates in zip(batch, found, strict=True):
        best = track.best[0]
        thumbnail = save_thumbnail(folder, track.number, best.face.thumbnail)
        generated = search.generative and track.super_resolved
        yield Appearance(track, candidates, generated, thumbnail)
