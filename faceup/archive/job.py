"""A batch job from start to end: lock, gallery, plan, units, results; the Python face of `faceup batch`."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from faceup import __version__
from faceup.archive import engines, shards, sources
from faceup.archive.batch import Batch, Progress
from faceup.archive.ledger import LEDGER, Ledger, locked
from faceup.archive.people import enrolled_people, search_for, watch_list
from faceup.archive.ray_engine import run_ray
from faceup.archive.results import Search, ShardDamagedError, Totals, write_results
from faceup.archive.settings import faces_identity
from faceup.archive.units import Unit
from faceup.archive.worker import Outcome
from faceup.errors import ConfigError, DataError, StageError
from faceup.files import shown, whole_folder, whole_or_not_at_all
from faceup.gallery.rows import need_pyarrow
from faceup.record import package_versions

RESULTS = "results"
STEP = "pictures and frames"
RECORD = "job.json"
ENGINES = ("local", "ray")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


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
    watched = watch_list(batch.watch_list)
    batch.job.mkdir(parents=True, exist_ok=True)
    with locked(batch.job):
        _tidy(batch.job)
        enrolled, notes = enrolled_people(batch, watched, tell)
        ledger = Ledger(batch.job)
        try:
            _plan_and_work(batch, ledger, identity, tell)
            search, notes = search_for(batch, watched, enrolled, notes)
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
