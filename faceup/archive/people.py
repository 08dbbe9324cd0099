"""Whom a batch job looks for: the people of a gallery, perhaps only those of a watch list."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

from faceup import registry
from faceup.archive.batch import Batch, Progress
from faceup.archive.results import Search
from faceup.errors import DataError
from faceup.files import shown
from faceup.gallery import audit
from faceup.gallery.enrol import Networks, enrol, need_some
from faceup.gallery.index import Searcher
from faceup.gallery.model import model_of
from faceup.gallery.rows import Rows
from faceup.gallery.store import Gallery


def enrolled_people(batch: Batch, watched: Collection[str] | None, tell: Progress) -> tuple[Rows | None, list[str]]:
    """Enrol a gallery of pictures and return its rows, with what to say of it.

    A gallery that was built already is only tried: a wrong key, model or watch list then costs no waiting.
    """
    faces = batch.faces
    if Gallery.is_one(batch.gallery):
        _gallery(batch).searcher(_today(), watched)
        return None, []
    # The workers' device may not be this machine's.
    device = "cpu" if faces.device == "cpu" else "auto"
    networks = Networks(faces.recognizer, faces.recognizer_options, faces.detector, faces.detector_options, device)
    stages, _ = networks.build()
    found = enrol(batch.gallery, stages, progress=lambda done, total: tell("gallery", done, total))
    need_some(found)
    if watched is not None:
        found.rows.of_subjects(watched)
    return found.rows, [
        f"gallery picture {row.sample.sample_id}: {row.message or 'no face'} (failure to enrol)" for row in found.failed
    ]


def _gallery(batch: Batch) -> Gallery:
    faces = batch.faces
    gallery = Gallery.open(batch.gallery, batch.secret)
    gallery.require(model_of(faces.recognizer, faces.recognizer_options, gallery.model.dimension))
    return gallery


def _today() -> date:
    return datetime.now(timezone.utc).date()


def search_for(
    batch: Batch, watched: dict[str, float | None] | None, enrolled: Rows | None, notes: list[str]
) -> tuple[Search, list[str]]:
    """Return the search, and what to say of the gallery.

    It is made when the faces are there: who was removed meanwhile, or whose retention date has passed, is not found.

    Args:
        batch: the job.
        watched: of the watch list.
        enrolled: the pictures of a gallery that was not built.
        notes: of their enrolment.
    """
    faces, today = batch.faces, _today()
    if enrolled is None:
        gallery = _gallery(batch)
        searcher, expired = gallery.searcher(today, watched)
        _log(batch, gallery, today, watched)
    else:
        rows, expired = enrolled.unexpired(today)
        searcher = Searcher(rows if watched is None else rows.of_subjects(watched))
    if expired:
        notes = [*notes, f"{expired} gallery pictures are past their retention date and were not used"]
    facts = [(f"faces: {key}", _plain(value)) for key, value in faces.as_dict().items()]
    facts += [(f"results: {key}", _plain(value)) for key, value in batch.results.as_dict().items()]
    facts.append(("gallery", f"{len(searcher.rows)} pictures of {searcher.subjects} subjects, index {searcher.kind}"))
    facts += [("note", note) for note in notes]
    thresholds = {subject: value for subject, value in (watched or {}).items() if value is not None}
    generative = registry.info("sr", registry.split_name(faces.sr)[0]).generative
    return Search(searcher, thresholds, batch.results, generative, facts), notes


def _log(batch: Batch, gallery: Gallery, today: date, watched: Collection[str] | None) -> None:
    settings = {
        "gallery": gallery.header["id"],
        "model": gallery.model.sha256,
        "archives": [shown(path) for path in batch.archives],
        "job": shown(batch.job),
        "date": today.isoformat(),
        "watch_list": None if watched is None else len(watched),
        "faces": batch.faces.as_dict(),
        "results": batch.results.as_dict(),
    }
    audit.append(batch.gallery, "batch", settings, purpose=batch.purpose)


def watch_list(path: Path | None) -> dict[str, float | None] | None:
    """Read a watch list: subjects, and the threshold of each where it has one of its own; None where none is given.

    Raises:
        DataError: not a CSV file with a column subject, or a threshold is no cosine.
    """
    if path is None:
        return None
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{shown(path)}: cannot be read as CSV in UTF-8 ({error}).") from error
    if not rows or not all(row.get("subject") for row in rows):
        raise DataError(f"{shown(path)}: a watch list has a column subject, and one subject or more.")
    try:
        listed = {row["subject"]: float(row["threshold"]) if row.get("threshold") else None for row in rows}
    except ValueError as error:
        raise DataError(f"{shown(path)}: a threshold must be a number ({error}).") from error
    if wrong := [value for value in listed.values() if value is not None and not -1 <= value <= 1]:
        raise DataError(f"{shown(path)}: a threshold is a cosine between -1 and 1, got {wrong[0]}.")
    return listed


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
