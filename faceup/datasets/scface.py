"""SCface: mugshots against pictures of five visible and three infrared cameras at three distances."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from faceup.datasets.layout import (
    Entry,
    Kind,
    Protocol,
    Wish,
    expect,
    facts,
    pictures,
    root_folder,
    some,
)
from faceup.errors import ConfigError, DataError
from faceup.files import shown

PROTOCOLS = ("A", "B", "C", "table5")
_NAME = re.compile(r"(?P<subject>\d{3})_(?:(?P<frontal>frontal)|cam(?P<camera>[1-8])(?:_(?P<distance>[123]))?)\Z")
_GALLERY = "mugshot_frontal_original_all"
_TUNING = 50


def named(path: str) -> dict[str, str] | None:
    """Return subject, and camera and distance where the name has them; None for any other name.

    >>> named("surveillance_cameras_all/001_cam1_3.jpg")
    {'subject': '001', 'camera': '1', 'distance': '3'}
    >>> named("x/001_cam8.jpg"), named("x/001_frontal.jpg"), named("x/001_cma6_1.jpg")
    ({'subject': '001', 'camera': '8'}, {'subject': '001', 'frontal': 'frontal'}, None)
    """
    match = _NAME.match(Path(path).stem)
    if match is None:
        return None
    parts = {key: value for key, value in match.groupdict().items() if value}
    # Only the mugshot camera for infrared, 8, stands at no distance.
    return None if ("camera" in parts and ("distance" in parts) == (parts["camera"] == "8")) else parts


def _listed(root: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield mugshots and camera pictures of a copy, in either layout; other folders are left alone."""
    folders = [p.name for p in sorted(root.iterdir()) if p.is_dir() and p.name.startswith("surveillance_cameras_")]
    whole = [name for name in folders if name == "surveillance_cameras_all"]
    # Copies hold the same pictures twice, all together and by distance and camera.
    again = ("surveillance_cameras_distance_", "surveillance_cameras_IR_cam6", "surveillance_cameras_IR_cam7")
    chosen = [name for name in folders if not (whole and name.startswith(again))]
    seen: set[str] = set()
    for path in pictures(root, _GALLERY, *chosen):
        parts = named(path)
        name = Path(path).stem
        if parts is not None and name not in seen:
            seen.add(name)
            yield path, parts


def make(root: Path, wish: Wish) -> Protocol:
    """Return gallery and probes of a protocol.

    A: all people, cameras 1 to 5 unless `camera` says otherwise (`visible`, `ir`, or a number), all distances unless
    `distance` does. B: the same with `split` `tune` for 50 people drawn with the seed (they are left out of gallery and
    probes) and `test` for the others. C: `world`, `dev` and `eval` by number; the world is left out. table5: one
    `camera` (1) and one `distance` (1); the recipe draws the candidates.

    Raises:
        ConfigError: an unknown protocol or setting.
        DataError: the copy has no picture for it.
    """
    root_folder(root, "scface")
    protocol = wish.choose(PROTOCOLS, "scface")
    wish.only("scface", "camera", "distance")
    cameras, distances = _wanted(wish, protocol)
    entries = []
    splits = _splits(protocol, wish)
    for path, parts in _listed(root):
        split = splits(int(parts["subject"]))
        if split is None:
            continue
        if "frontal" in parts:
            entries.append(Entry(path, parts["subject"], "gallery", split))
        elif parts["camera"] in cameras and parts.get("distance", "") in distances:
            attrs = {str(key): parts[key] for key in ("camera", "distance") if key in parts}
            entries.append(Entry(path, parts["subject"], "probe", split, attrs))
    roles = Counter(entry.role for entry in entries)
    if not roles["gallery"] or not roles["probe"]:
        raise DataError(
            f"{shown(root)}: {roles['gallery']} mugshots and {roles['probe']} probes for protocol {protocol}, cameras "
            f"{', '.join(sorted(cameras))}: is this a copy of SCface? See `faceup manifest check scface`."
        )
    notes = (
        f"SCface, protocol {protocol}: {roles['gallery']} mugshots, {roles['probe']} probes, cameras "
        f"{', '.join(sorted(cameras))}, distances {', '.join(sorted(d or 'none' for d in distances))}.",
    )
    return Protocol(tuple(entries), notes=notes)


def _wanted(wish: Wish, protocol: str) -> tuple[set[str], set[str]]:
    known = facts("scface")["cameras"]
    groups = {"visible": {str(c) for c in known["visible"]}, "ir": {str(c) for c in known["infrared"]}}
    camera = str(wish.settings.get("camera", "1" if protocol == "table5" else "visible"))
    distance = str(wish.settings.get("distance", "1" if protocol == "table5" else "all"))
    cameras = groups.get(camera, {camera})
    if not cameras <= groups["visible"] | groups["ir"]:
        raise ConfigError(f"camera must be visible, ir or a number from 1 to 8, got {camera!r}.")
    if distance not in ("all", "1", "2", "3"):
        raise ConfigError(f"distance must be all, 1, 2 or 3, got {distance!r}.")
    # Camera 8 has no distance, and belongs to every wish for its pictures.
    return cameras, {distance, ""} if distance != "all" else {"1", "2", "3", ""}


def _splits(protocol: str, wish: Wish) -> Any:
    total = wish.subjects or int(facts("scface")["subjects"])
    if protocol == "B":
        count = min(_TUNING, total - 1)
        drawn = set(np.random.default_rng(wish.seed).permutation(np.arange(1, total + 1))[:count].tolist())
        return lambda number: None if number in drawn else "test"
    if protocol == "C":
        ranges = {name: range(low, high + 1) for name, (low, high) in facts("scface")["protocols"]["C"].items()}
        return lambda number: next((n for n in ("dev", "eval") if number in ranges[n]), None)
    return lambda number: ""


def check(root: Path, wish: Wish) -> list[str]:
    """Return what is missing or oddly named in a copy; empty for a whole one."""
    root_folder(root, "scface")
    content = facts("scface")
    people = wish.subjects or int(content["subjects"])
    problems = []
    if not (root / _GALLERY).is_dir():
        problems.append(f"The folder {_GALLERY} is missing: it holds the mugshots, 001_frontal.jpg and so on.")
    odd = [p for p in pictures(root) if p.startswith(("surveillance_cameras_", _GALLERY + "/")) and named(p) is None]
    if odd:
        problems.append(f"{len(odd)} names are not those of SCface and are left out: {some(odd)}.")
    found: dict[str, set[str]] = {}
    for path, parts in _listed(root):
        key = "frontal" if "frontal" in parts else f"cam{parts['camera']}_{parts.get('distance', '')}".rstrip("_")
        found.setdefault(key, set()).add(parts["subject"])
        number = int(parts["subject"])
        if not 1 <= number <= people:
            problems.append(f"{path}: subject {parts['subject']} is not one of the {people}.")
    everyone = {f"{k:03d}" for k in range(1, people + 1)}
    cameras = content["cameras"]
    wanted = ["frontal", *(f"cam{c}_{d}" for c in (*cameras["visible"], 6, 7) for d in (1, 2, 3)), "cam8"]
    for key in wanted:
        missing = sorted(everyone - found.get(key, set()))
        if missing:
            problems.append(f"{key}: {len(missing)} of {people} pictures are missing, subjects {some(missing)}.")
    problems += expect(sum(map(len, found.values())), people * len(wanted), "Mugshots and camera pictures together")
    return problems


KIND = Kind("scface", PROTOCOLS, make, check)
