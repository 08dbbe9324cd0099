"""Which pictures there are and whose faces they show: from a folder, a CSV or a YAML file.

Folder: every picture below it, in the order of the sorted paths. Names of the SCface database (`001_frontal.jpg`,
`001_cam1_1.jpg`, `001_cam8.jpg`) give the subject wherever the file lies; else the subject is the first sub-folder, or,
for a picture that lies directly in the folder, its name up to the first `_` or `.`. Names of that form give camera and
distance whatever the subject is called.

CSV and YAML: one row or mapping a picture, with `path` (relative to the file) and `subject` (empty: unknown, probes
only); `sample` and `split` are optional, everything else becomes an attribute.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceup.errors import DataError
from faceup.files import plain_text, sha256_hex, shown
from faceup.images import SUFFIXES, read_bytes
from faceup.recipe import read_yaml
from faceup.types import Role, Sample

_SCFACE = re.compile(r"(?P<subject>[^_.]+)_(?:frontal|cam(?P<camera>\d+)(?:_(?P<distance>[0-9A-Za-z]+))?)(?:-\d+)?\Z")
# What ends the name of a folder that was left out.
LINK = " (a link to a folder)"
_MANIFEST_SUFFIXES = (".csv", ".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Listing:
    """The pictures of one side of a run.

    Attributes:
        samples: in the order of the source.
        ignored: what was left out of a folder: files whose names are not those of pictures, and links to folders,
            which are not followed.
    """

    samples: tuple[Sample, ...]
    ignored: tuple[str, ...] = ()


def read_samples(source: str | os.PathLike[str], role: Role) -> Listing:
    """List the pictures of a folder, CSV or YAML file and hash them; nothing is decoded yet.

    A file that cannot be read stays in the list with an empty hash and becomes a row with status `unreadable` later.

    Raises:
        DataError: the source is missing, cannot be listed or holds no picture, a row is incomplete, or two rows have
            the same id.
    """
    path = Path(source)
    if path.is_dir():
        listing = _from_folder(path, role)
    elif path.suffix.lower() in _MANIFEST_SUFFIXES and path.is_file():
        listing = Listing(tuple(_sample(row, path, role, where) for where, row in _rows(path)))
    elif path.exists():
        raise DataError(f"{shown(path)}: give a folder, or a manifest ending in {', '.join(_MANIFEST_SUFFIXES)}.")
    else:
        raise DataError(f"{shown(path)}: no such folder or manifest ({role}).")
    if not listing.samples:
        kinds = ", ".join(sorted(SUFFIXES))
        raise DataError(f"{shown(path)}: no pictures for the {role} in it (looked for {kinds}).")
    twice = [name for name, count in Counter(s.sample_id for s in listing.samples).items() if count > 1]
    if twice:
        raise DataError(f"{shown(path)}: {len(twice)} ids appear more than once, e.g. {twice[0]!r}; give each its own.")
    return listing


def name_parts(stem: str) -> tuple[str, dict[str, str]]:
    """Return the subject and, for SCface names, camera and distance told by a file name without its ending."""
    if match := _SCFACE.match(stem):
        found = {key: value for key, value in match.groupdict().items() if value}
        return found.pop("subject"), found
    return re.split(r"[_.]", stem, maxsplit=1)[0] or stem, {}


def _from_folder(root: Path, role: Role) -> Listing:
    samples, ignored = [], []
    unlisted: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=unlisted.append):
        folders.sort()
        links = (Path(folder) / name for name in folders if (Path(folder) / name).is_symlink())
        ignored += [f"{shown(path.relative_to(root).as_posix())}{LINK}" for path in links]
        for name in files:
            path = Path(folder) / name
            sample_id = shown(path.relative_to(root).as_posix())
            if path.suffix.lower() not in SUFFIXES or name.startswith("."):
                ignored.append(sample_id)
                continue
            subject, attrs = name_parts(shown(path.stem))
            inside = path.relative_to(root).parts
            if len(inside) > 1 and not (_SCFACE.match(path.stem) and re.fullmatch(r"\d{3}", subject)):
                subject = shown(inside[0])
            samples.append(Sample(sample_id, subject, path, role, _hash(path), attrs=attrs))
    if unlisted:
        why = unlisted[0].strerror or unlisted[0]
        raise DataError(f"{shown(str(unlisted[0].filename))}: the folder cannot be listed ({why}).")
    return Listing(tuple(sorted(samples, key=lambda s: s.sample_id)), tuple(sorted(ignored)))


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.suffix.lower() == ".csv":
        try:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.DictReader(stream, strict=True)
                missing = {"path", "subject"} - set(reader.fieldnames or ())
                if missing:
                    raise DataError(f"{shown(path)}: the first line must name the columns path and subject.")
                for row in reader:
                    if None in row or None in row.values():
                        raise DataError(f"{shown(path)}, line {reader.line_num}: not as many fields as columns.")
                    # `manifest make` keeps spreadsheets from running a cell as a formula; a subject stays one person.
                    yield f"line {reader.line_num}", {key: plain_text(cell) for key, cell in row.items()}
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{shown(path)}: cannot be read as CSV in UTF-8 ({error}).") from error
        return
    content = read_yaml(path, as_text=True)
    rows = content.get("samples") if isinstance(content, dict) else content
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(
            f"{shown(path)}: a manifest is a list of mappings with path and subject, or has it under 'samples'."
        )
    for number, row in enumerate(rows, start=1):
        yield f"entry {number}", row


def _sample(row: Mapping[str, Any], manifest: Path, role: Role, where: str) -> Sample:
    text = {str(key): str(value).strip() for key, value in row.items() if value is not None}
    given = text.pop("path", "")
    if not given:
        raise DataError(f"{shown(manifest)}, {where}: no path.")
    subject = text.pop("subject", "") or None
    if role == "gallery" and subject is None:
        raise DataError(f"{shown(manifest)}, {where}: a gallery picture needs a subject.")
    path = manifest.parent / given
    return Sample(
        sample_id=text.pop("sample", "") or given,
        subject_id=subject,
        path=path,
        role=role,
        sha256=_hash(path),
        split=text.pop("split", "") or None,
        attrs={key: value for key, value in text.items() if value},
    )


def _hash(path: Path) -> str:
    try:
        return sha256_hex(read_bytes(path))
    except DataError:
        return ""
