"""`faceup manifest`: make the CSV files that a run reads, check a copy, lock it by its hashes."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from faceup.datasets import lfw, lists, plain, scface
from faceup.datasets.layout import Entry, Kind, Protocol, Wish, linked_folders, pictures, root_folder, some
from faceup.errors import ConfigError, DataError, unknown_name
from faceup.files import csv_text, plain_text, refuse_existing, sha256_hex, shown, whole_folder, whole_or_not_at_all
from faceup.images import read_bytes
from faceup.manifest import Listing
from faceup.types import Role, Sample

KINDS = {
    kind.name: kind
    for kind in (scface.KIND, lists.TINYFACE, lists.SURVFACE, lfw.KIND, plain.FFHQ, plain.CELEBA, plain.FOLDER)
}
_MARK = "manifest.txt"
_OWN = re.compile(rf"(gallery|probes|train|pairs)\.csv|{re.escape(_MARK)}")
_FIRST_LINE = re.compile(rf"({'|'.join(KINDS)}), protocol \S+, seed \d+( |\Z)")


def kind_of(name: str) -> Kind:
    """Return a kind of data set.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in KINDS:
        raise unknown_name("kind of data set", name, KINDS)
    return KINDS[name]


def write_manifests(kind: str, root: Path, wish: Wish, out: Path, *, force: bool = False) -> Protocol:
    """Write gallery.csv, probes.csv (or train.csv), pairs.csv where there are pairs, and what made them.

    Paths in them lead from `out` to the copy, so neither may be moved without the other.

    Raises:
        DataError: the copy has none of the pictures, or `out` exists and is not of this command, or holds the copy.
    """
    made = kind_of(kind)
    if root.resolve().is_relative_to(out.resolve()):
        raise DataError(f"{shown(out)} holds the data set {shown(root)}: choose a folder of its own for --out.")
    protocol = made.make(root, wish)
    if links := _unused(linked_folders(root), protocol):
        note = f"Nothing was taken from {len(links)} links to folders, which are not followed: {some(links)}."
        protocol = replace(protocol, notes=(*protocol.notes, note))
    with whole_folder(out, lambda existing: _refuse(existing, force=force)) as staging:
        # The way is that from `out`, where the folder will be, not from where it is written.
        way = Path(os.path.relpath(root.resolve(), out.resolve()))
        for role, name in (("gallery", "gallery.csv"), ("probe", "probes.csv"), ("train", "train.csv")):
            entries = [entry for entry in protocol.entries if entry.role == role]
            if entries:
                _write_entries(staging / name, entries, way)
        if protocol.pairs:
            with (staging / "pairs.csv").open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(["probe", "gallery", "fold"])
                writer.writerows([csv_text(p.probe), csv_text(p.gallery), p.fold] for p in protocol.pairs)
        settings = " ".join(f"{key}={value}" for key, value in sorted(wish.settings.items()))
        lines = [f"{kind}, protocol {wish.protocol or made.protocols[0]}, seed {wish.seed} {settings}".rstrip()]
        (staging / _MARK).write_text("\n".join([*lines, *protocol.notes]) + "\n", encoding="utf-8")
    return protocol


def _refuse(out: Path, *, force: bool) -> None:
    refuse_existing(
        out,
        "`faceup manifest make`",
        _MARK,
        _OWN.fullmatch,
        force=force,
        marked=lambda mark: _FIRST_LINE.match(_first_line(mark)) is not None,
    )


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as stream:
            return stream.readline().rstrip("\n")
    except (OSError, UnicodeDecodeError):
        return ""


def _unused(links: Sequence[str], protocol: Protocol) -> list[str]:
    return [link for link in links if not any(entry.path.startswith(f"{link}/") for entry in protocol.entries)]


def _write_entries(path: Path, entries: Sequence[Entry], way: Path) -> None:
    attrs = sorted({key for entry in entries for key in entry.attrs})
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "subject", "sample", "split", *attrs])
        for entry in entries:
            cells = [(way / entry.path).as_posix(), entry.subject, entry.path, entry.split]
            writer.writerow([csv_text(cell) for cell in (*cells, *(entry.attrs.get(key, "") for key in attrs))])


def listings(data: Mapping[str, Any], root: Path, seed: int) -> tuple[Listing, Listing]:
    """Return gallery and probes that a recipe's `data` takes from a copy, without writing anything.

    Raises:
        ConfigError: `data` names no kind, or something unknown.
        DataError: the copy lacks what is asked for.
    """
    settings = dict(data)
    name = settings.pop("kind", None)
    if not isinstance(name, str):
        raise ConfigError(f"data needs a kind: one of {', '.join(sorted(KINDS))}.")
    protocol = kind_of(name).make(root, Wish(str(settings.pop("protocol", "")), seed, settings))
    if protocol.pairs:
        raise ConfigError(f"{name} lists pairs: write them with `faceup manifest make` and run with --pairs.")
    sides = []
    roles: tuple[Role, Role] = ("gallery", "probe")
    for role in roles:
        samples = tuple(_sample(entry, root, role) for entry in protocol.entries if entry.role == role)
        if not samples:
            raise DataError(f"{shown(root)}: no {role} picture in it for {name}.")
        sides.append(Listing(samples))
    return sides[0], sides[1]


def _sample(entry: Entry, root: Path, role: Role) -> Sample:
    path = root / entry.path
    return Sample(entry.path, entry.subject or None, path, role, _hash(path), entry.split or None, dict(entry.attrs))


def _hash(path: Path) -> str:
    try:
        return sha256_hex(read_bytes(path))
    except DataError:
        return ""  # Becomes a row with status `unreadable`.


def lock(kind: str, root: Path, out: Path) -> int:
    """Write path, size and sha256 of every picture of a copy, and return how many there are.

    Raises:
        DataError: the copy has no picture or one cannot be read.
    """
    kind_of(kind)
    root_folder(root, kind)
    rows = []
    for path in pictures(root):
        data = read_bytes(root / path)
        rows.append([csv_text(path), len(data), sha256_hex(data)])
    if not rows:
        raise DataError(f"{shown(root)}: no pictures to lock.")
    with (
        whole_or_not_at_all(out, follow=True) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "bytes", "sha256"])
        writer.writerows(rows)
    return len(rows)


def check_lock(root: Path, locked: Path) -> list[str]:
    """Return what of a copy differs from its lock.

    Raises:
        DataError: the lock cannot be read.
    """
    try:
        with locked.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, strict=True))
        wanted = {plain_text(row["path"]): row["sha256"] for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{shown(locked)}: not a lock of `faceup manifest lock` ({error}).") from error
    here = set(pictures(root))
    problems = []
    if missing := sorted(set(wanted) - here):
        problems.append(f"{len(missing)} locked pictures are missing: {some(missing)}.")
    if more := sorted(here - set(wanted)):
        problems.append(f"{len(more)} pictures are not in the lock: {some(more)}.")
    changed = [path for path in sorted(here & set(wanted)) if _hash(root / path) != wanted[path]]
    if changed:
        problems.append(f"{len(changed)} pictures differ from the lock: {some(changed)}.")
    return problems
