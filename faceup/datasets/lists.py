"""TinyFace and QMUL-SurvFace: search among many people, with distractors and with people who are not enrolled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from faceup.datasets.layout import (
    Entry,
    Kind,
    Pair,
    Protocol,
    Wish,
    expect,
    facts,
    pictures,
    root_folder,
    some,
    whole_number,
)
from faceup.datasets.mat import read_lists
from faceup.errors import DataError
from faceup.files import shown

# Folder of pictures, gallery first: the MATLAB file that lists them, its variables with names and identities.
TINYFACE_LISTS = {
    "Gallery_Match": ("gallery_match_img_ID_pairs.mat", "gallery_set", "gallery_ids"),
    "Probe": ("probe_img_ID_pairs.mat", "probe_set", "probe_ids"),
}
SURVFACE_LISTS = {
    "gallery": ("gallery_img_ID_pairs.mat", "gallery_set", "gallery_ids"),
    "mated_probe": ("mated_probe_img_ID_pairs.mat", "mated_probe_set", "mated_probe_ids"),
}


def _drawn(subjects: Sequence[str], wish: Wish) -> set[str] | None:
    """Return the people that `people` asks for, drawn with the seed; None for all."""
    count = whole_number(wish.settings, "people", 0, least=0)
    every = sorted(set(subjects))
    if not count or count >= len(every):
        return None
    order = np.random.default_rng(wish.seed).permutation(len(every))
    return {every[k] for k in order[:count]}


def _few(paths: list[str], count: int, seed: int) -> list[str]:
    if not count or count >= len(paths):
        return paths
    order = np.random.default_rng(seed).permutation(len(paths))
    return sorted(paths[k] for k in order[:count])


def _sampled(wish: Wish, *keys: str) -> tuple[str, ...]:
    if any(wish.settings.get(key) for key in keys):
        return ("A sample of the protocol: figures are not comparable with published ones.",)
    return ()


def _tinyface_root(root: Path) -> Path:
    root_folder(root, "tinyface")
    return next((p for p in (root, root / "tinyface") if (p / "Testing_Set").is_dir()), root)


def make_tinyface(root: Path, wish: Wish) -> Protocol:
    """Return TinyFace's 1:N test: Probe against Gallery_Match with Gallery_Distractor beside it.

    Settings: `people` and `distractors` take a sample with the seed, for a first look.
    """
    wish.choose(("1:N",), "tinyface")
    wish.only("tinyface", "people", "distractors")
    base = _tinyface_root(root)
    test = base / "Testing_Set"
    prefix = test.relative_to(root).as_posix()
    entries = []
    listed = {folder: read_lists(test / file, *keys) for folder, (file, *keys) in TINYFACE_LISTS.items()}
    people = _drawn(listed["Probe"][1], wish)
    for (folder, (names, ids)), role in zip(listed.items(), ("gallery", "probe"), strict=True):
        entries += [
            Entry(f"{prefix}/{folder}/{name}", subject, role)
            for name, subject in zip(names, ids, strict=True)
            if people is None or subject in people
        ]
    others = list(pictures(root, f"{prefix}/Gallery_Distractor"))
    for path in _few(others, whole_number(wish.settings, "distractors", 0, least=0), wish.seed):
        # Each counts as a person of its own: nobody knows who they are, but that they are none of the probes.
        entries.append(Entry(path, f"distractor {Path(path).stem}", "gallery"))
    return Protocol(tuple(entries), notes=_sampled(wish, "people", "distractors"))


def _check_listed(
    root: Path, folder: str, listed: Path, keys: Sequence[str], counts: Mapping[str, int], subjects: int | None
) -> list[str]:
    """Return what is wrong with a folder of pictures and the list that says who is on them.

    Args:
        root: of the copy.
        folder: of the pictures, relative to `root`.
        listed: the MATLAB file.
        keys: its variables, names and identities.
        counts: published numbers of pictures by name of the folder.
        subjects: number of people that the list must have; None asks for none.
    """
    name = Path(folder).name
    try:
        names, ids = read_lists(listed, *keys)
    except DataError as error:
        return [str(error)]
    problems = expect(len(set(ids)), subjects, f"{listed.name}: people") if subjects is not None else []
    if missing := sorted(set(names) - {Path(path).name for path in pictures(root, folder)}):
        problems.append(f"{name}: {len(missing)} of {len(names)} listed pictures are missing: {some(missing)}.")
    return problems + (expect(len(names), counts[name], f"{listed.name}: listed pictures") if name in counts else [])


def _check_others(root: Path, folder: str, counts: Mapping[str, int]) -> list[str]:
    """Return what is wrong with a folder of pictures that no list names: of people who are nobody's mates."""
    name, count = Path(folder).name, sum(1 for _ in pictures(root, folder))
    if name in counts:
        return expect(count, counts[name], f"{name}: pictures")
    return [] if count else [f"{name} holds no picture."]


def check_tinyface(root: Path, wish: Wish) -> list[str]:
    """Return what a copy of TinyFace lacks."""
    test = _tinyface_root(root) / "Testing_Set"
    prefix = test.relative_to(root).as_posix()
    counts = facts("tinyface")["pictures"] if wish.subjects is None else {}
    problems = []
    for folder, (file, *keys) in TINYFACE_LISTS.items():
        problems += _check_listed(root, f"{prefix}/{folder}", test / file, keys, counts, wish.subjects)
    return problems + _check_others(root, f"{prefix}/Gallery_Distractor", counts)


_IDENTIFICATION, _VERIFICATION = "Face_Identification_Test_Set", "Face_Verification_Test_Set"


def _survface_root(root: Path) -> Path:
    root_folder(root, "survface")
    return next((p for p in (root, root / "QMUL-SurvFace") if (p / _IDENTIFICATION).is_dir()), root)


def _survface_list(base: Path, name: str) -> Path:
    """Return the path of a list: beside the pictures, or in the folder of the evaluation code."""
    beside = base / _IDENTIFICATION / name
    return beside if beside.is_file() else base / "Face_Identification_Evaluation" / name


def person(name: str) -> str:
    """Return who a picture of SurvFace shows: its name up to the first `_`.

    >>> person("158_cam1_1.jpg")
    '158'
    """
    return name.split("_", 1)[0]


def make_survface(root: Path, wish: Wish) -> Protocol:
    """Return SurvFace's open-set search (`open-set`) or its verification pairs (`pairs`).

    Settings of open-set: `people` (a sample of the watch list) and `strangers` (a sample of the unmated probes).
    """
    name = wish.choose(("open-set", "pairs"), "survface")
    base = _survface_root(root)
    prefix = "" if base == root else base.relative_to(root).as_posix() + "/"
    if name == "pairs":
        wish.only("survface pairs")
        return _survface_pairs(base, f"{prefix}{_VERIFICATION}/verification_images")
    wish.only("survface", "people", "strangers")
    listed = {folder: read_lists(_survface_list(base, file), *keys) for folder, (file, *keys) in SURVFACE_LISTS.items()}
    people = _drawn(listed["mated_probe"][1], wish)
    entries = [
        Entry(f"{prefix}{_IDENTIFICATION}/{folder}/{file}", subject, role)
        for (folder, (files, ids)), role in zip(listed.items(), ("gallery", "probe"), strict=True)
        for file, subject in zip(files, ids, strict=True)
        if people is None or subject in people
    ]
    strangers = list(pictures(root, f"{prefix}{_IDENTIFICATION}/unmated_probe"))
    for path in _few(strangers, whole_number(wish.settings, "strangers", 0, least=0), wish.seed):
        # Their names tell them apart from each other; the prefix keeps them apart from the watch list's numbers.
        entries.append(Entry(path, f"stranger {person(Path(path).name)}", "probe"))
    return Protocol(tuple(entries), notes=_sampled(wish, "people", "strangers"))


def _survface_pairs(base: Path, folder: str) -> Protocol:
    pairs: list[Pair] = []
    names: dict[str, None] = {}
    for file in ("positive_pairs_names", "negative_pairs_names"):
        (cells,) = read_lists(base / _VERIFICATION / f"{file}.mat", file)
        if len(cells) % 2:
            raise DataError(f"{shown(base / _VERIFICATION / file)}.mat: does not hold pairs of names.")
        for k, (probe, gallery) in enumerate(zip(cells[::2], cells[1::2], strict=True)):
            pairs.append(Pair(f"{folder}/{probe}", f"{folder}/{gallery}", 1 + k % 10))
            names[probe] = names[gallery] = None
    entries = [Entry(f"{folder}/{n}", person(n), role) for role in ("gallery", "probe") for n in names]
    note = (
        "The set has no folds: ten are made by counting through each list, so every threshold comes from other pairs."
    )
    return Protocol(tuple(entries), tuple(pairs), (note,))


def check_survface(root: Path, wish: Wish) -> list[str]:
    """Return what a copy of SurvFace lacks."""
    base, content = _survface_root(root), facts("survface")
    prefix = "" if base == root else base.relative_to(root).as_posix() + "/"
    counts = content["pictures"] if wish.subjects is None else {}
    problems = []
    for folder, (file, *keys) in SURVFACE_LISTS.items():
        listed = _survface_list(base, file)
        problems += _check_listed(root, f"{prefix}{_IDENTIFICATION}/{folder}", listed, keys, counts, wish.subjects)
    problems += _check_others(root, f"{prefix}{_IDENTIFICATION}/unmated_probe", counts)
    try:
        protocol = _survface_pairs(base, f"{prefix}{_VERIFICATION}/verification_images")
    except DataError as error:
        return [*problems, str(error)]
    here = set(pictures(root, f"{prefix}{_VERIFICATION}/verification_images"))
    if missing := sorted({e.path for e in protocol.entries} - here):
        problems.append(f"verification_images: {len(missing)} pictures of the pairs are missing: {some(missing)}.")
    if counts:
        problems += expect(len(protocol.pairs), 2 * int(content["pairs_of_each_sign"]), "Verification pairs")
    return problems


TINYFACE = Kind("tinyface", ("1:N",), make_tinyface, check_tinyface)
SURVFACE = Kind("survface", ("open-set", "pairs"), make_survface, check_survface)
