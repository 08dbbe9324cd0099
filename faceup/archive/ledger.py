"""The ledger of a job: an SQLite file that knows the inputs, the plan, and which units are done; and the job's lock.

Every change is one transaction, so a kill leaves the state before it or the state after it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faceup.archive.units import Unit
from faceup.errors import DataError
from faceup.files import shown

LEDGER = "ledger.sqlite"
LOCK = "lock"
SCHEMA = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS source (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, path BLOB NOT NULL, kind TEXT NOT NULL, camera TEXT NOT NULL,
    start_us INTEGER, note TEXT NOT NULL, problem TEXT NOT NULL, sha256 TEXT NOT NULL, stamp TEXT NOT NULL,
    seconds REAL NOT NULL, wanted INTEGER NOT NULL, cut TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS source_order ON source (camera, start_us, name);
CREATE TABLE IF NOT EXISTS hashed (path BLOB PRIMARY KEY, stamp TEXT NOT NULL, sha256 TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS listed (sha256 TEXT PRIMARY KEY, inventory TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS plan (
    seq INTEGER PRIMARY KEY, key TEXT NOT NULL, pictures INTEGER NOT NULL, unit TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS plan_key ON plan (key);
CREATE TABLE IF NOT EXISTS done (key TEXT PRIMARY KEY, shard TEXT NOT NULL, faces INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS failed (key TEXT PRIMARY KEY, reason TEXT NOT NULL, attempts INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Source:
    """One input.

    Attributes:
        name: as outputs call it.
        path: where it lies.
        kind: `picture`, `video` or `other`.
        camera: its name.
        start_us: microseconds since 1970, None when not known.
        note: what could not be told of its place or its times.
        problem: why it cannot be searched at all; empty if it can.
        sha256: of its content; empty when it could not be read.
        stamp: see `units.Item`.
        seconds: length of a video.
        wanted: pictures or frames to search.
        cut: what of a video cannot be read, as its container tells; empty if nothing is missing.
    """

    name: str
    path: str
    kind: str
    camera: str
    start_us: int | None
    note: str = ""
    problem: str = ""
    sha256: str = ""
    stamp: str = ""
    seconds: float = 0.0
    wanted: int = 0
    cut: str = ""


class Ledger:
    """An open ledger; one process at a time (`locked`)."""

    def __init__(self, job: Path) -> None:
        self.path = job / LEDGER
        with self._telling():
            self._db = sqlite3.connect(self.path, isolation_level=None)
            self._db.executescript(f"PRAGMA synchronous=FULL; BEGIN; {_TABLES} COMMIT;")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version not in (0, SCHEMA):
                raise DataError(f"{shown(self.path)}: made by another version of faceup; start a new job.")
            self._db.execute(f"PRAGMA user_version={SCHEMA}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise DataError(f"{shown(self.path)}: {error}. Free space or repair the disk, then --resume.") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make every change of the block at once, or none."""
        with self._telling():
            self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        with self._telling():
            self._db.execute("COMMIT")

    def checkpoint(self) -> None:
        """Inside a transaction: make what was changed so far last, and go on."""
        with self._telling():
            self._db.execute("COMMIT")
            self._db.execute("BEGIN IMMEDIATE")

    def _do(self, sql: str, values: Iterable[object] = ()) -> sqlite3.Cursor:
        with self._telling():
            return self._db.execute(sql, tuple(values))

    def remembered_hash(self, path: str, stamp: str) -> str | None:
        """Return the hash of a file that was not touched since."""
        row = self._do("SELECT sha256 FROM hashed WHERE path=? AND stamp=?", (os.fsencode(path), stamp)).fetchone()
        return row[0] if row else None

    def remember_hash(self, path: str, stamp: str, sha256: str) -> None:
        """Note the hash of a file."""
        self._do("INSERT OR REPLACE INTO hashed VALUES (?,?,?)", (os.fsencode(path), stamp, sha256))

    def remembered_inventory(self, sha256: str) -> str | None:
        """Return what is known of a video's frames, as JSON."""
        row = self._do("SELECT inventory FROM listed WHERE sha256=?", (sha256,)).fetchone()
        return row[0] if row else None

    def remember_inventory(self, sha256: str, inventory: str) -> None:
        """Note a video's frames, as JSON."""
        self._do("INSERT OR REPLACE INTO listed VALUES (?,?)", (sha256, inventory))

    def forget_plan(self) -> None:
        """Delete inputs and plan; what was done stays."""
        for table in ("source", "plan"):
            self._do(f"DELETE FROM {table}")

    def add_source(self, source: Source) -> None:
        """Note one input.

        Raises:
            DataError: there is one of this name already.
        """
        if self._do("SELECT 1 FROM source WHERE name=?", (source.name,)).fetchone():
            raise DataError(f"{source.name}: two inputs of this name; give each archive and each file once.")
        # SQLite's text is UTF-8; a path need not be.
        values = [os.fsencode(source.path) if name == "path" else getattr(source, name) for name in Source.__slots__]
        names = ",".join(Source.__slots__)
        self._do(f"INSERT INTO source ({names}) VALUES ({','.join('?' * len(values))})", values)

    def sources(self, *, kind: str = "") -> Iterator[Source]:
        """Yield the inputs, ordered by camera, time and name; those that can be searched if a kind is given."""
        where = "WHERE kind=? AND problem=''" if kind else ""
        order = "ORDER BY camera, start_us IS NULL, start_us, name"
        rows = self._do(f"SELECT {','.join(Source.__slots__)} FROM source {where} {order}", (kind,) if kind else ())
        for row in rows:
            name, path, *rest = row
            yield Source(name, os.fsdecode(path), *rest)

    def add_unit(self, unit: Unit) -> None:
        """Append a unit to the plan."""
        self._do("INSERT INTO plan (key, pictures, unit) VALUES (?,?,?)", (unit.key, unit.pictures, unit.to_json()))

    def units(self) -> Iterator[Unit]:
        """Yield the plan."""
        for (text,) in self._do("SELECT unit FROM plan ORDER BY seq"):
            yield Unit.from_json(text)

    def pending(self) -> tuple[list[int], int]:
        """Return the units that are not done, each key once, in the order of the plan.

        Returns:
            Their numbers in the plan, and how many pictures and frames they have together.
        """
        sql = "SELECT MIN(seq), pictures FROM plan WHERE key NOT IN (SELECT key FROM done) GROUP BY key ORDER BY 1"
        rows = self._do(sql).fetchall()
        return [seq for seq, _ in rows], sum(pictures for _, pictures in rows)

    def unit(self, seq: int) -> Unit:
        """Return a unit by its number in the plan."""
        return Unit.from_json(self._do("SELECT unit FROM plan WHERE seq=?", (seq,)).fetchone()[0])

    def finish(self, key: str, shard_sha256: str, faces: int) -> None:
        """Note that a unit is done and its shard is written."""
        with self.transaction():
            self._do("INSERT OR REPLACE INTO done VALUES (?,?,?)", (key, shard_sha256, faces))
            self._do("DELETE FROM failed WHERE key=?", (key,))

    def fail(self, key: str, reason: str) -> None:
        """Note that a unit failed; the next run tries it again."""
        sql = "INSERT INTO failed VALUES (?,?,1) ON CONFLICT (key) DO UPDATE SET reason=?, attempts=attempts+1"
        with self.transaction():
            self._do(sql, (key, reason, reason))

    def reopen(self, key: str) -> None:
        """Note that a unit must be done again."""
        with self.transaction():
            self._do("DELETE FROM done WHERE key=?", (key,))

    def shard(self, key: str) -> str | None:
        """Return the hash of a finished unit's shard."""
        row = self._do("SELECT shard FROM done WHERE key=?", (key,)).fetchone()
        return row[0] if row else None

    def failure(self, key: str) -> str:
        """Return why a unit failed when it was last tried, or nothing."""
        row = self._do("SELECT reason FROM failed WHERE key=?", (key,)).fetchone()
        return row[0] if row else ""

    def start_coverage(self) -> None:
        """Begin to add up what was searched; kept beside the ledger, only while it is open."""
        self._do("DROP TABLE IF EXISTS temp.coverage")
        columns = "name TEXT PRIMARY KEY, searched INTEGER, seconds REAL, faces INTEGER, reason TEXT"
        self._do(f"CREATE TEMP TABLE coverage ({columns})")

    def cover(self, name: str, searched: int, seconds: float, faces: int, reason: str) -> None:
        """Add what one unit found out about an input; reasons of several units are joined."""
        sums = ", ".join(f"{column}={column}+excluded.{column}" for column in ("searched", "seconds", "faces"))
        glue = "CASE WHEN '' IN (reason, excluded.reason) THEN '' ELSE '; ' END"
        sums += f", reason=reason || {glue} || excluded.reason"
        sql = f"INSERT INTO coverage VALUES (?,?,?,?,?) ON CONFLICT (name) DO UPDATE SET {sums}"
        self._do(sql, (name, searched, seconds, faces, reason))

    def covered(self, name: str) -> tuple[int, float, int, str]:
        """Return searched pictures or frames, seconds, faces, and what went wrong, of an input."""
        row = self._do("SELECT searched, seconds, faces, reason FROM coverage WHERE name=?", (name,)).fetchone()
        return row or (0, 0.0, 0, "")


@contextmanager
def locked(job: Path) -> Iterator[None]:
    """Hold the job's lock; the kernel gives it back when the process ends, however it ends.

    Raises:
        DataError: another process works on the job.
    """
    path = job / LOCK
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            stream.seek(0)
            who = stream.read().strip() or "unknown"
            raise DataError(f"{shown(job)}: another process works on this job (process {who}); wait for it.") from error
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        yield
