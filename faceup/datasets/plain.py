"""FFHQ and CelebA, which train and measure SR and show nobody to recognise, and any folder of folders."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from faceup.datasets.layout import Entry, Kind, Protocol, Wish, expect, facts, pictures, root_folder, whole_number
from faceup.errors import ConfigError, DataError
from faceup.files import shown


def _make_sr(kind: str, root: Path, wish: Wish) -> Protocol:
    """Return the splits of the SISN paper, taken in the order of the sorted names.

    Which files the paper took is not published; its code takes sorted names in ranges, so that is done here.
    """
    root_folder(root, kind)
    wish.choose(("paper",), kind)
    wish.only(kind, "train", "val", "test")
    sizes = {part: whole_number(wish.settings, part, n, least=0) for part, n in facts(kind)["splits"].items()}
    names = list(pictures(root))
    if len(names) < sum(sizes.values()):
        raise DataError(f"{shown(root)}: {len(names)} pictures, but the splits need {sum(sizes.values())}.")
    entries: list[Entry] = []
    for part, size in sizes.items():
        start = len(entries)
        entries += [Entry(path, Path(path).stem, "train", part) for path in names[start : start + size]]
    return Protocol(tuple(entries), notes=("Which files the paper took is not published: sorted names are.",))


def _check_sr(kind: str, root: Path, wish: Wish) -> list[str]:
    root_folder(root, kind)
    content = facts(kind)
    count = sum(1 for _ in pictures(root))
    if wish.subjects is not None:
        raise ConfigError(f"{kind} does not say who is on a picture: it has no number of people to check.")
    wanted = [int(n) for n in content["pictures"]]
    if count in wanted:
        return []
    return [f"Pictures: {count} found, {' or '.join(map(str, wanted))} expected ({content['title']})."]


def make_folder(root: Path, wish: Wish) -> Protocol:
    """Return a folder of one folder per person: the first pictures of each are the gallery, the others the probes.

    Settings: `gallery`, how many pictures of each person are enrolled (1).
    """
    root_folder(root, "folder")
    wish.choose(("first",), "folder")
    wish.only("folder", "gallery")
    count = whole_number(wish.settings, "gallery", 1)
    seen: Counter[str] = Counter()
    entries = []
    for path in pictures(root):
        subject, slash, _ = path.partition("/")
        if slash:
            role = "gallery" if seen[subject] < count else "probe"
            seen[subject] += 1
            entries.append(Entry(path, subject, role))
    if not any(entry.role == "probe" for entry in entries):
        raise DataError(f"{shown(root)}: nobody has more than {count} pictures in a folder of the own: no probes.")
    return Protocol(tuple(entries))


def check_folder(root: Path, wish: Wish) -> list[str]:
    """Return who has no probe, and pictures that lie outside of the people's folders."""
    root_folder(root, "folder")
    outside = [path for path in pictures(root) if "/" not in path]
    counts = Counter(path.split("/")[0] for path in pictures(root) if "/" in path)
    problems = [f"{len(outside)} pictures lie in no person's folder, e.g. {outside[0]}."] if outside else []
    problems += [f"{name}: a single picture, so no probe." for name, count in sorted(counts.items()) if count == 1]
    if wish.subjects is not None:
        problems += expect(len(counts), wish.subjects, "People")
    return problems or ([] if counts else [f"{shown(root)} holds no picture in a person's folder."])


def _sr_kind(name: str) -> Kind:
    def make(root: Path, wish: Wish) -> Protocol:
        return _make_sr(name, root, wish)

    def check(root: Path, wish: Wish) -> list[str]:
        return _check_sr(name, root, wish)

    return Kind(name, ("paper",), make, check)


FFHQ, CELEBA = _sr_kind("ffhq"), _sr_kind("celeba")
FOLDER = Kind("folder", ("first",), make_folder, check_folder)
