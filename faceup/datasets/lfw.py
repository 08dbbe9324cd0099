"""LFW: pairs.txt, ten folds of pairs of the same and of different people."""

from __future__ import annotations

from pathlib import Path

from faceup.datasets.layout import Entry, Kind, Pair, Protocol, Wish, expect, facts, pictures, root_folder, some
from faceup.errors import DataError
from faceup.files import shown


def _pictures_folder(root: Path) -> str:
    """Return the folder with the people's folders, relative to the root."""
    return next((n for n in ("lfw", "lfw-deepfunneled", "lfw_funneled", "images") if (root / n).is_dir()), ".")


def _path(folder: str, name: str, number: str) -> str:
    stem = f"{name}/{name}_{int(number):04d}.jpg"
    return stem if folder == "." else f"{folder}/{stem}"


def read_pairs_txt(path: Path) -> list[tuple[int, tuple[str, str], tuple[str, str]]]:
    """Return (fold, (name, number), (name, number)) of every pair.

    The first line tells the number of folds and of pairs of each sign in a fold (or only the latter, as in the
    development files, which are one fold); each fold lists the pairs of the same person, then those of two.

    Raises:
        DataError: the file is missing or not of this form.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{shown(path)}: cannot be read ({error}); it comes with LFW and lists the pairs.") from error
    try:
        folds, each = (1, int(lines[0][0])) if len(lines[0]) == 1 else (int(lines[0][0]), int(lines[0][1]))
        if min(folds, each) < 1:
            raise ValueError(f"{folds} folds of {each} pairs")
        pairs = []
        for k, line in enumerate(lines[1:]):
            name, number, *rest = line
            if len(rest) == 1:
                first, second = (name, number), (name, rest[0])
            else:
                other, other_number = rest
                first, second = (name, number), (other, other_number)
            int(number), int(second[1])
            if set(first[0] + second[0]) & set("/\\\0"):
                raise ValueError(f"{first[0]!r} or {second[0]!r} is no name of a person")
            pairs.append((1 + k // (2 * each), first, second))
    except (ValueError, IndexError) as error:
        raise DataError(f"{shown(path)}: not in the form of LFW's pairs.txt ({error}).") from error
    if len(pairs) != 2 * folds * each:
        raise DataError(f"{shown(path)}: {len(pairs)} pairs, but its first line tells {2 * folds * each}.")
    return pairs


def make(root: Path, wish: Wish) -> Protocol:
    """Return the pictures of pairs.txt on both sides, and the pairs with their folds."""
    root_folder(root, "lfw")
    wish.choose(("pairs",), "lfw")
    wish.only("lfw")
    folder = _pictures_folder(root)
    pairs, names = [], {}
    for fold, first, second in read_pairs_txt(root / "pairs.txt"):
        paths = [_path(folder, *picture) for picture in (first, second)]
        pairs.append(Pair(paths[0], paths[1], fold))
        names.update({paths[0]: first[0], paths[1]: second[0]})
    entries = [Entry(path, name, role) for role in ("gallery", "probe") for path, name in names.items()]
    return Protocol(tuple(entries), tuple(pairs))


def check(root: Path, wish: Wish) -> list[str]:
    """Return what a copy of LFW lacks."""
    root_folder(root, "lfw")
    try:
        protocol = make(root, Wish())
    except DataError as error:
        return [str(error)]
    here = set(pictures(root, _pictures_folder(root)))
    problems = []
    if missing := sorted({e.path for e in protocol.entries} - here):
        problems.append(f"{len(missing)} pictures that pairs.txt names are missing: {some(missing)}.")
    content = facts("lfw")
    people = {Path(p).parent.name for p in here}
    problems += expect(len(people), wish.subjects or int(content["subjects"]), "People")
    if wish.subjects is None:
        problems += expect(len(here), int(content["pictures"]), "Pictures")
        problems += expect(len(protocol.pairs), int(content["pairs"]), "Pairs")
    return problems


KIND = Kind("lfw", ("pairs",), make, check)
