"""What every kind of data set offers: its facts, the pictures of a copy, and the problems found in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from faceup.errors import ConfigError, DataError, unknown_name
from faceup.files import shown
from faceup.images import SUFFIXES
from faceup.recipe import parse_yaml


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of a data set.

    Attributes:
        path: relative to the root of the copy, with `/`.
        subject: whose face it is; empty for an unknown person.
        role: `gallery`, `probe`, or `train` for sets without people to recognise.
        split: name of the part it belongs to, empty without one.
        attrs: e.g. camera and distance.
    """

    path: str
    subject: str
    role: str
    split: str = ""
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """A comparison of a verification protocol.

    Attributes:
        probe: path of one picture.
        gallery: path of the other.
        fold: number of its fold, from 1.
    """

    probe: str
    gallery: str
    fold: int


@dataclass(frozen=True, slots=True)
class Protocol:
    """A data set under one protocol.

    Attributes:
        entries: the pictures with their parts.
        pairs: the comparisons, where the protocol lists them.
        notes: what to know, one sentence each.
    """

    entries: tuple[Entry, ...]
    pairs: tuple[Pair, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a data set.

    Attributes:
        protocol: its name, empty for the first of the kind.
        seed: of everything that is drawn.
        settings: the protocol's own, e.g. camera and distance.
        subjects: how many people a whole copy has; the published number unless a test asks for fewer.
    """

    protocol: str = ""
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    subjects: int | None = None

    def choose(self, known: tuple[str, ...], kind: str) -> str:
        """Return the protocol's name, checked.

        Raises:
            ConfigError: the kind has no such protocol.
        """
        name = self.protocol or known[0]
        if name not in known:
            raise unknown_name(f"protocol of {kind}", name, known)
        return name

    def only(self, kind: str, *known: str) -> None:
        """Raise ConfigError for a setting that the protocol does not know."""
        for key in self.settings:
            if key not in known:
                raise unknown_name(f"setting of {kind}", str(key), known)


Make = Callable[[Path, Wish], Protocol]
Check = Callable[[Path, Wish], list[str]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of data set.

    Attributes:
        name: as the command line calls it.
        protocols: the names, the default first.
        make: turns a copy into a protocol.
        check: names everything that is missing or unexpected in a copy, in sentences.
    """

    name: str
    protocols: tuple[str, ...]
    make: Make
    check: Check


def facts(kind: str) -> dict[str, Any]:
    """Return the content of `data_manifests/KIND.yaml`."""
    name = f"{kind}.yaml"
    text = (resources.files("faceup") / "data_manifests" / name).read_text(encoding="utf-8")
    content: dict[str, Any] = parse_yaml(text, name)
    return content


def root_folder(root: Path, kind: str) -> Path:
    """Return the folder of a copy.

    Raises:
        DataError: it is none, or may not be read.
    """
    try:
        # With the dot, as listing a folder does not need the right to open what is in it.
        os.scandir(f"{root}/.").close()
    except (FileNotFoundError, NotADirectoryError) as error:
        wanted = f"give the folder of your copy of {facts(kind)['title']}"
        raise DataError(f"{shown(root)}: no such folder; {wanted}.") from error
    except OSError as error:
        raise _unlisted(error) from error
    return root


def pictures(root: Path, *folders: str) -> Iterator[str]:
    """Yield the paths of all pictures below some folders of a copy, relative to it, sorted; links are not followed.

    Raises:
        DataError: a folder cannot be listed, or a manifest cannot hold the name of a picture.
    """
    found = set()
    for name in folders or (".",):
        for folder, _, files in os.walk(root / name, onerror=_refuse_unlisted):
            found |= {
                (Path(folder) / file).relative_to(root).as_posix()
                for file in files
                if Path(file).suffix.lower() in SUFFIXES and not file.startswith(".")
            }
    # Manifests and locks are CSV in UTF-8, in which `csv_text` leaves no carriage return.
    if odd := sorted(path for path in found if shown(path) != path or "\r" in path):
        name = shown(odd[0]).replace("\r", "\\r")
        raise DataError(
            f"{shown(root)}: {len(odd)} names of pictures are not UTF-8 or hold a carriage return, e.g. {name}, which "
            "a manifest cannot hold: rename them."
        )
    yield from sorted(found)


def linked_folders(root: Path) -> list[str]:
    """Return the links to folders in a copy, relative to it and sorted."""
    folders = (Path(folder) / name for folder, below, _ in os.walk(root) for name in below)
    return sorted(shown(path.relative_to(root).as_posix()) for path in folders if path.is_symlink())


def _refuse_unlisted(error: OSError) -> None:
    # Whoever asks for a folder that is not there learns it from the number of pictures.
    if not isinstance(error, FileNotFoundError):
        raise _unlisted(error) from error


def _unlisted(error: OSError) -> DataError:
    why = error.strerror or error
    return DataError(f"{shown(Path(error.filename))}: the folder cannot be listed ({why}): give yourself the right to.")


def expect(count: int, wanted: int, what: str) -> list[str]:
    """Return a sentence if a count is not the one that a whole copy has."""
    return [] if count == wanted else [f"{what}: {count} found, {wanted} expected."]


def some(names: list[str], most: int = 5) -> str:
    """Return the first few names of a list."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def whole_number(settings: Mapping[str, Any], key: str, default: int, least: int = 1) -> int:
    """Return a setting that must be a whole number.

    Raises:
        ConfigError: it is not.
    """
    value = settings.get(key, default)
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{key} must be a whole number of at least {least}, got {value!r}.")
    return value
