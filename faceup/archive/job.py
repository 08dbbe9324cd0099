"""A batch job from start to end: lock, gallery, plan, units, results; the Python face of `faceup batch`."""

from __future__ import annotations

import csv
import errno
import json
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

from faceup import __version__, registry
from faceup.archive import engines, shards, sources
from faceup.archive.ledger import LEDGER, Ledger, locked
from faceup.archive.places import Places
from faceup.archive.ray_engine import RayOptions, run_ray
from faceup.archive.results import Search, ShardDamagedError, Totals, write_results
from faceup.archive.settings import Every, FaceSettings, ResultSettings, faces_identity
from faceup.archive.units import Unit
from faceup.archive.worker import Outcome
from faceup.errors import ConfigError, DataError, StageError
from faceup.files import shown, whole_folder, whole_or_not_at_all
from faceup.gallery import audit
from faceup.gallery.enrol import Networks, enrol, need_some
from faceup.gallery.index import Searcher
from faceup.gallery.model import model_of
from faceup.gallery.rows import Rows, need_pyarrow
from faceup.gallery.store import Gallery
from faceup.record import package_versions

RESULTS = "results"
STEP = "pictures and frames"
RECORD = "job.json"
ENGINES = ("local", "ray")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that `faceup batch` is told.

    Attributes:
        gallery: folder of a gallery (`faceup gallery build`), or pictures as for `faceup run`.
        archives: folders, videos, and manifests (CSV with path, camera, start).
        job: folder of the job.
        faces: how faces are found.
        results: how they become appearances.
        every: which frames are searched.
        places: reads camera and time from paths.
        engine: `local` or `ray`.
        workers: processes or actors; 0 for one in this process, or for what the cluster holds.
        ray: how the cluster is used.
        resume: go on with a job that exists.
        watch_list: CSV with a column subject, and perhaps threshold: only these are looked for.
        secret: key of an encrypted gallery.
        purpose: for the gallery's audit log.
    """

    gallery: Path
    archives: Sequence[Path]
    job: Path
    faces: FaceSettings
    results: ResultSettings
    every: Every
    places: Places = field(default_factory=Places)
    engine: str = "local"
    workers: int = 0
    ray: RayOptions = field(default_factory=RayOptions)
    resume: bool = False
    watch_list: Path | None = None
    secret: bytes | None = None
    purpose: str = ""


def run_batch(batch: Batch, *, progress: Progress | None = None, command: Sequence[str] = ()) -> Totals:
    """Search archives for the people of a gallery; see `Batch`.

    Killed at any moment, it can be started again with `resume` and ends with the same results folder.

    Args:
        batch: what to do.
        progress: called with a step, what is done and what there is in all.
        command: what the user typed, for the record.

    Raises:
        ConfigError: a setting or backend is wrong, or a library is missing.
        DataError: an input is missing, the job exists or is in work elsewhere, or the disk is full.
        WeightsError: weights are missing or damaged.
    """
    need_pyarrow()
    tell = progress or (lambda step, done, total: None)
    if batch.engine not in ENGINES:
        raise ConfigError(f"Engine must be one of {', '.join(ENGINES)}, got {batch.engine!r}.")
    _check_job(batch)
    identity = faces_identity(batch.faces)
    watched = _watch_list(batch.watch_list)
    batch.job.mkdir(parents=True, exist_ok=True)
    with locked(batch.job):
        _tidy(batch.job)
        enrolled, notes = _people(batch, None if watched is None else sorted(watched), tell)
        ledger = Ledger(batch.job)
        try:
            _plan_and_work(batch, ledger, identity, tell)
            search, notes = _search(batch, watched, enrolled, notes)
            totals = _write(batch, ledger, search, tell)
            _record(batch, identity, totals, notes, command)
        finally:
            ledger.close()
    return totals


def _check_job(batch: Batch) -> None:
    if (batch.job / LEDGER).is_file():
        if not batch.resume:
            raise DataError(f"{shown(batch.job)} is a job already: go on with it by --resume, or give another --job.")
    elif batch.job.is_dir() and any(path.name != "lock" for path in batch.job.iterdir()):
        raise DataError(f"{shown(batch.job)} is no job and not empty: give another --job.")
    elif batch.job.exists() and not batch.job.is_dir():
        raise DataError(f"{shown(batch.job)} is no folder: give another --job.")
    for archive in batch.archives:
        if archive.is_dir() and batch.job.resolve().is_relative_to(archive.resolve()):
            raise DataError(
                f"{shown(batch.job)} lies in the archive {shown(archive)}, which would then be searched with the job's "
                "own pictures in it: give a --job outside of it."
            )


def _tidy(job: Path) -> None:
    """Delete what a kill left half-written; the lock is held, so nobody writes it now."""
    for path in [*job.glob(".*.part"), *job.glob(".*.old"), *job.glob("shards/*/.*.part")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _plan_and_work(batch: Batch, ledger: Ledger, identity: dict[str, Any], tell: Progress) -> None:
    for attempt in (1, 2):
        sources.plan(ledger, batch.archives, batch.places, batch.every, identity, tell)
        for unit in ledger.units():
            if ledger.shard(unit.key) is not None and not shards.place(batch.job, unit.key).is_file():
                ledger.reopen(unit.key)
        changed = _work(batch, ledger, tell)
        # What vanished or changed while the job ran is listed once more; what changes all the time stays a failure.
        if not changed or attempt == 2:
            return


def _work(batch: Batch, ledger: Ledger, tell: Progress) -> bool:
    """Do the units that are not done; return whether any failed because its files changed."""
    pending, total = ledger.pending()
    if not pending:
        return False
    changed, done = False, 0
    outcomes = _engine(batch, (ledger.unit(seq) for seq in pending))
    tell(STEP, 0, total)
    try:
        for unit, outcome in outcomes:
            if outcome.data is None:
                ledger.fail(unit.key, outcome.reason)
                changed |= outcome.changed
            else:
                _finish(batch.job, ledger, unit, outcome)
            done += unit.pictures
            tell(STEP, done, total)
    finally:
        outcomes.close()
    return changed


def _finish(job: Path, ledger: Ledger, unit: Unit, outcome: Outcome) -> None:
    assert outcome.data is not None
    try:
        digest = shards.write(job, unit.key, outcome.data)
    except (OSError, DataError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        ledger.fail(unit.key, str(error))
        if isinstance(cause, OSError) and cause.errno in _NO_SPACE:
            raise DataError(f"{shown(job)}: {cause.strerror}. Make room, then go on with --resume.") from error
        return
    ledger.finish(unit.key, digest, outcome.faces)


def _engine(batch: Batch, units: Iterator[Unit]) -> Generator[tuple[Unit, Outcome], None, None]:
    if batch.engine == "ray":
        return run_ray(batch.faces, units, batch.ray)
    if batch.workers > 1:
        return engines.run_pool(batch.faces, units, batch.workers)
    return engines.run_here(batch.faces, units)


def _people(batch: Batch, only: list[str] | None, tell: Progress) -> tuple[Rows | None, list[str]]:
    """Enrol a gallery of pictures and return its rows, with what to say of it.

    A gallery that was built already is only tried: a wrong key, model or watch list then costs no waiting.
    """
    faces = batch.faces
    if Gallery.is_one(batch.gallery):
        _gallery(batch).searcher(_today(), only)
        return None, []
    # The workers' device may not be this machine's.
    device = "cpu" if faces.device == "cpu" else "auto"
    networks = Networks(faces.recognizer, faces.recognizer_options, faces.detector, faces.detector_options, device)
    stages, _ = networks.build()
    found = enrol(batch.gallery, stages, progress=lambda done, total: tell("gallery", done, total))
    need_some(found)
    if only is not None:
        found.rows.of_subjects(only)
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


def _search(
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
    faces, only, today = batch.faces, None if watched is None else sorted(watched), _today()
    if enrolled is None:
        gallery = _gallery(batch)
        searcher, expired = gallery.searcher(today, only)
        _log(batch, gallery, today, only)
    else:
        rows, expired = enrolled.unexpired(today)
        searcher = Searcher(rows if only is None else rows.of_subjects(only))
    if expired:
        notes = [*notes, f"{expired} gallery pictures are past their retention date and were not used"]
    facts = [(f"faces: {key}", _plain(value)) for key, value in faces.as_dict().items()]
    facts += [(f"results: {key}", _plain(value)) for key, value in batch.results.as_dict().items()]
    facts.append(("gallery", f"{len(searcher.rows)} pictures of {searcher.subjects} subjects, index {searcher.kind}"))
    facts += [("note", note) for note in notes]
    thresholds = {subject: value for subject, value in (watched or {}).items() if value is not None}
    generative = registry.info("sr", registry.split_name(faces.sr)[0]).generative
    return Search(searcher, thresholds, batch.results, generative, facts), notes


def _log(batch: Batch, gallery: Gallery, today: date, only: list[str] | None) -> None:
    settings = {
        "gallery": gallery.header["id"],
        "model": gallery.model.sha256,
        "archives": [shown(path) for path in batch.archives],
        "job": shown(batch.job),
        "date": today.isoformat(),
        "watch_list": None if only is None else len(only),
        "faces": batch.faces.as_dict(),
        "results": batch.results.as_dict(),
    }
    audit.append(batch.gallery, "batch", settings, purpose=batch.purpose)


def _watch_list(path: Path | None) -> dict[str, float | None] | None:
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


def _write(batch: Batch, ledger: Ledger, search: Search, tell: Progress) -> Totals:
    target = batch.job / RESULTS
    repaired: set[str] = set()
    while True:
        tell("results", 0, 1)
        try:
            with whole_folder(target, lambda existing: None) as staging:
                totals = write_results(batch.job, ledger, search, staging)
            tell("results", 1, 1)
            return totals
        except ShardDamagedError as error:
            damaged = {error.key, *_damaged(batch.job, ledger)}
            if damaged & repaired:
                why = "shards are damaged again as soon as they are written; check the disk"
                raise StageError(f"{shown(batch.job)}: {why}.") from error
            for key in damaged:
                ledger.reopen(key)
            repaired |= damaged
            _work(batch, ledger, tell)


def _damaged(job: Path, ledger: Ledger) -> Iterator[str]:
    """Yield the units whose shards are not what was written: one that is may be the first of many, after a crash."""
    for unit in ledger.units():
        sha256 = ledger.shard(unit.key)
        if sha256 is not None:
            try:
                shards.read(job, unit.key, sha256)
            except DataError:
                yield unit.key


def _record(batch: Batch, identity: dict[str, Any], totals: Totals, notes: list[str], command: Sequence[str]) -> None:
    record = {
        "faceup": __version__,
        "command": list(command),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "identity": identity,
        "faces": batch.faces.as_dict(),
        "results": batch.results.as_dict(),
        "engine": batch.engine,
        "versions": package_versions(),
        "totals": asdict(totals),
        "notes": notes,
    }
    text = json.dumps(record, indent=2, sort_keys=True, default=str)
    with whole_or_not_at_all(batch.job / RECORD) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
