"""A small run folder, written without the code that writes real ones."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from faceup.files import csv_text

LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
SIMILARITY = ["sr", "probe", "probe_subject", "gallery", "gallery_subject", "genuine", "detected", "similarity", "rank"]
DETECTIONS = (
    "sr,role,sample,subject,status,message,width,height,x0,y0,x1,y1,score,"
    + ",".join(f"{name}_{axis}" for name in LANDMARKS for axis in "xy")
    + ",inter_eye_px,faces"
).split(",")
LABELS = ("none", "bicubic", "sisn")
MakeRun = Callable[..., Path]


def face(width: int, height: int) -> list[float]:
    """Box, score, landmarks, eye distance: fixed parts of the picture, all different."""
    box = [0.25 * width, 0.125 * height, 0.75 * width, 0.875 * height]
    points = [0.375, 0.375, 0.625, 0.375, 0.5, 0.5, 0.4375, 0.75, 0.5625, 0.75]
    return [*box, 0.9876, *(v * (height if i % 2 else width) for i, v in enumerate(points)), 0.25 * width, 1]


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([[csv_text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows])


def make(
    folder: Path,
    subjects: Sequence[str] = ("001", "002", "003"),
    *,
    strangers: int = 1,
    with_pictures: int = 24,
    gallery_size: tuple[int, int] = (64, 80),
    probe_size: tuple[int, int] = (12, 16),
    generated: Sequence[str] = ("sisn",),
    generative: Sequence[str] = ("sisn",),
    warnings: Sequence[str] = (),
    command: Sequence[str] = ("faceup", "run"),
) -> Path:
    """Write a run: a gallery picture and a probe per subject; `none` finds no face in the probe of the second."""
    (folder / "pictures").mkdir(parents=True)
    random = np.random.default_rng(0)
    gallery = [(f"{subject}/g.jpg"[-4000:], subject) for subject in subjects]
    probes = [(f"{subject}_cam1.png"[-4000:], subject) for subject in subjects]
    probes += [(f"stranger{i}.png", "") for i in range(strangers)]
    shown = {probe for probe, _ in probes[:with_pictures]} | {probe for probe, subject in probes if not subject}
    detections: list[list[Any]] = []
    pictures: list[list[Any]] = []

    def keep(sr: str, role: str, sample: str, size: tuple[int, int]) -> None:
        name = f"{len(pictures):03d}.png"
        pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        PilImage.fromarray(pixels).save(folder / "pictures" / name)
        pictures.append([sr, role, sample, name, int(sr in generated)])

    for sample, subject in gallery:
        detections.append(["none", "gallery", sample, subject, "ok", "", *gallery_size, *face(*gallery_size)])
        keep("none", "gallery", sample, gallery_size)
    similarity: list[list[Any]] = []
    for k, label in enumerate(LABELS):
        scale = 1 if label == "none" else 4
        size = (probe_size[0] * scale, probe_size[1] * scale)
        for i, (probe, subject) in enumerate(probes):
            found = not (label == "none" and i == 1)
            about = face(*size) if found else [""] * 16 + [0]
            detections.append([label, "probe", probe, subject, "ok" if found else "no_face", "", *size, *about])
            if probe in shown:
                keep(label, "probe", probe, size)
            for j, (sample, other) in enumerate(gallery):
                value = round(0.9 - 0.1 * k - 0.01 * i if i == j else 0.2 + 0.001 * j, 6)
                rank = (1 if i == j else 2) if subject else len(gallery) - j
                cells = [f"{value:.6f}", rank] if found else ["", ""]
                similarity.append([label, probe, subject, sample, other, int(subject == other), int(found), *cells])
    write_csv(folder / "similarity.csv", SIMILARITY, similarity)
    write_csv(folder / "detections.csv", DETECTIONS, detections)
    write_csv(folder / "pictures" / "pictures.csv", ["sr", "role", "sample", "file", "generated"], pictures)
    backends = [
        {
            "stage": "sr",
            "label": label,
            "name": label,
            "version": "1",
            "licence": "Apache-2.0",
            "summary": f"summary of {label}",
            "generative": label in generative,
            "weights": [{"name": "sisn-x4", "sha256": "ab" * 32}] if label == "sisn" else [],
        }
        for label in LABELS
    ]
    record = {
        "faceup": "0.1.0",
        "command": list(command),
        "created": "2026-01-02T03:04:05+00:00",
        "recipe": {"sr": list(LABELS), "similarity": "clipped", "scale": 4, "detector": "mtcnn"},
        "versions": {"torch": "2.14.0"},
        "device": "cpu",
        "threads": 1,
        "seed": 0,
        "backends": backends,
        "gallery": [{"sample": s, "subject": w, "sha256": "cd" * 32} for s, w in gallery],
        "probes": [{"sample": s, "subject": w, "sha256": "ef" * 32} for s, w in probes],
        "timings": {"sr": 1.25},
        "warnings": list(warnings),
    }
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that writes a run folder below a temporary one."""

    def build(name: str = "run", **settings: Any) -> Path:
        return make(tmp_path / name, **settings)

    return build
