"""The audit log: who did what with a gallery, when, with which settings and why. One JSON object a line.

Every line carries the hash of the line before it, so that no line can be changed, left out or put between others
without breaking the chain. Lines cut off at the end leave a chain that is whole but shorter: who keeps the last hash
elsewhere (every command prints it) finds that too, by `faceup audit verify --head HASH`.

A change of the gallery has two entries: one before anything is written, with the hash of the header as it then is, and
one that says how it ended. So no change goes unrecorded, and after a kill between the two the header of the next
change, or of the gallery itself, tells whether it was made.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from faceup.errors import DataError
from faceup.files import sha256_hex, shown

LOG = "audit.jsonl"
HEADER = "gallery.json"
START = "0" * 64
BEGUN, DONE, FAILED = "begun", "done", "failed"


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A change whose end nobody recorded: it was killed, or is still under way.

    Attributes:
        number: of the entry that began it.
        action: what was to be done.
        made: whether the gallery was changed; None where it cannot be told.
    """

    number: int
    action: str
    made: bool | None


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check of the chain found.

    Attributes:
        entries: how many there are.
        head: hash of the last.
        torn: lines that a crash cut off; the entry after each says so.
        interrupted: changes that were begun and not ended.
    """

    entries: int
    head: str
    torn: int
    interrupted: tuple[Interrupted, ...] = ()


@dataclass(slots=True)
class Change:
    """A change of a gallery while it is made; `changing` gives one.

    Attributes:
        folder: of the gallery.
        action: what is done.
        settings: with what; plain values.
        purpose: why, in the words of the user.
        result: what came of it; filled by whoever makes the change.
        number: of the entry that began it, 0 before.
        head: hash of the last entry.
    """

    folder: Path
    action: str
    settings: Mapping[str, Any]
    purpose: str
    result: dict[str, Any] = field(default_factory=dict)
    number: int = 0
    head: str = ""

    def begin(self) -> None:
        """Record what is about to be done; to be called before anything is written, with the gallery locked."""
        header = _header_hash(self.folder)
        entry = _append(
            self.folder, self.action, self.settings, self.purpose, {"stage": BEGUN, "header_sha256": header}
        )
        self.number, self.head = entry["number"], entry["hash"]

    def end(self, stage: str) -> None:
        """Record how it ended; nothing where it was never begun."""
        if self.number:
            entry = _append(self.folder, self.action, self.result, self.purpose, {"stage": stage, "of": self.number})
            self.head = entry["hash"]


@contextmanager
def changing(folder: Path, action: str, settings: Mapping[str, Any], *, purpose: str = "") -> Iterator[Change]:
    """Give a change to record: whoever makes it calls `begin` first; the end is recorded when the block is left.

    Raises:
        DataError: the log is damaged or cannot be written. An error of the block is recorded and passed on.
    """
    change = Change(folder, action, settings, purpose)
    try:
        yield change
    except BaseException as error:
        change.result = {"error": type(error).__name__}
        change.end(FAILED)
        raise
    change.end(DONE)


def append(folder: Path, action: str, settings: Mapping[str, Any], *, purpose: str = "") -> str:
    """Add one entry and return its hash.

    The log is locked meanwhile and on the disk when this returns. A line that a crash left unfinished stays; the new
    entry carries its hash, so that it cannot pass for something else.

    Args:
        folder: of the gallery.
        action: what is done.
        settings: with what; plain values.
        purpose: why, in the words of the user.

    Raises:
        DataError: the log is damaged or cannot be written.
    """
    return str(_append(folder, action, settings, purpose, {})["hash"])


def _append(
    folder: Path, action: str, settings: Mapping[str, Any], purpose: str, more: Mapping[str, Any]
) -> dict[str, Any]:
    path = folder / LOG
    try:
        with path.open("a+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            data = stream.read()
            whole, _, torn = data.rpartition(b"\n")
            last = _last_entry(whole, path)
            entry: dict[str, Any] = {
                "number": last["number"] + 1 if last else 1,
                "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "user": _user(),
                "host": platform.node(),
                "action": action,
                "purpose": purpose or "not stated",
                "settings": dict(settings),
                **more,
                "previous": last["hash"] if last else START,
            }
            if torn:
                entry["torn"] = sha256_hex(torn)
            entry["hash"] = _hash(entry)
            line = _line(entry) + b"\n"
            stream.write(b"\n" + line if torn else line)
            stream.flush()
            os.fsync(stream.fileno())
            return entry
    except OSError as error:
        raise DataError(f"{shown(path)}: the audit log cannot be written ({error.strerror or error}).") from error


def verify(folder: Path, head: str | None = None) -> Verified:
    """Check the whole chain.

    Args:
        folder: of the gallery.
        head: a hash that an entry must have, e.g. the last one that was noted elsewhere.

    Raises:
        DataError: the log is missing, a line was changed, removed or inserted, or no entry has the hash `head`.
    """
    path = folder / LOG
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{shown(path)}: the audit log cannot be read ({error.strerror or error}).") from error
    previous, count, hashes = START, 0, set()
    changes: list[dict[str, Any]] = []
    ended: set[int] = set()
    pending: list[str] = []
    torn = 0
    if data and not data.endswith(b"\n"):
        data, _, rest = data.rpartition(b"\n")
        torn += bool(rest)
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n") if data else [], start=1):
        entry = _parsed(line)
        if entry is None:
            pending.append(sha256_hex(line))
            continue
        where = f"{shown(path)}, line {number}"
        if pending != ([entry["torn"]] if "torn" in entry else []):
            raise DataError(f"{where}: a line before it is no entry.")
        torn += len(pending)
        pending = []
        # The bytes too: of a key that stands twice in a line, the hash knows the last only.
        if entry.get("hash") != _hash(entry) or line != _line(entry):
            raise DataError(f"{where}: the entry was changed.")
        if entry.get("previous") != previous or entry.get("number") != count + 1:
            raise DataError(f"{where}: entries before it were removed, inserted or reordered.")
        previous, count = entry["hash"], count + 1
        hashes.add(previous)
        if entry.get("stage") == BEGUN:
            changes.append(entry)
        elif "of" in entry:
            ended.add(entry["of"])
    if pending:
        raise DataError(f"{shown(path)}: the last line is no entry.")
    if head is not None and head not in hashes:
        raise DataError(f"{shown(path)}: no entry has the hash {head}: entries were cut off, or it is another log.")
    return Verified(count, previous, torn, tuple(_interrupted(changes, ended, _header_hash(folder))))


def _interrupted(changes: list[dict[str, Any]], ended: set[int], header: str) -> Iterator[Interrupted]:
    """Yield the changes that did not end. They were begun one at a time, so the next saw what each left behind."""
    headers = [*(str(change.get("header_sha256", "")) for change in changes), header]
    for change, before, left in zip(changes, headers, headers[1:], strict=False):
        if change["number"] not in ended:
            made = left != before if left and before else None
            yield Interrupted(change["number"], change["action"], made)


def _header_hash(folder: Path) -> str:
    """Return the hash of the gallery's header, empty where there is none."""
    try:
        return sha256_hex((folder / HEADER).read_bytes())
    except OSError:
        return ""


def _hash(entry: Mapping[str, Any]) -> str:
    content = {key: value for key, value in entry.items() if key != "hash"}
    return sha256_hex(_line(content))


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, sort_keys=True, ensure_ascii=True).encode()


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and "hash" in entry else None


def _last_entry(whole: bytes, path: Path) -> dict[str, Any] | None:
    for line in reversed(whole.split(b"\n")):
        if (entry := _parsed(line)) is not None:
            if entry["hash"] != _hash(entry) or not isinstance(entry.get("number"), int):
                raise DataError(f"{shown(path)}: its last entry was changed; see `faceup audit verify`.")
            return entry
    return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return str(os.getuid())
