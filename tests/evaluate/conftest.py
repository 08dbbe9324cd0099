"""Run folders with known scores, written without the code that writes real ones."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

POINTS = [f"{n}_{a}" for n in ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth") for a in "xy"]
SIMILARITY = ["sr", "probe", "probe_subject", "gallery", "gallery_subject", "genuine", "detected"]
SIMILARITY += ["similarity", "rank", "cosine"]
DETECTIONS = [
    *("sr", "role", "sample", "subject", "status", "message", "width", "height", "x0", "y0", "x1", "y1", "score"),
    *POINTS, "inter_eye_px", "faces", "scale", "sharpness",
]  # fmt: skip
ALARM = ["sr", "probe", "eye_lr_px", "cosine_lr", "cosine_bicubic", "agreement", "consistency_psnr"]
ALARM += ["flagged", "reasons", "unchecked"]


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def make(
    folder: Path,
    *,
    people: int = 12,
    labels: Sequence[str] = ("none", "bicubic", "sisn"),
    strength: Sequence[float] = (0.25, 0.45, 0.6),
    strangers: int = 0,
    splits: Sequence[str] = (),
    shared: bool = True,
    seed: int = 0,
    recipe: dict[str, Any] | None = None,
    candidates: Sequence[str] = (),
    distances: Sequence[str] = ("1", "2"),
) -> Path:
    """Write a run with a probe per person and distance; `none` finds every third face only, and nobody's fifth."""
    (folder / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    subjects = [f"{k:03d}" for k in range(1, people + 1)]
    probes = [(f"{s}_cam1_{d}.jpg", s, d) for s in subjects for d in distances]
    probes += [(f"stranger{k}_cam1_1.jpg", "", "1") for k in range(strangers)]
    similarity: list[list[Any]] = []
    again: list[list[Any]] = []
    detections = [
        ["none", "gallery", f"{s}_frontal.jpg", s, "ok", "", 60, 80, 1, 1, 40, 60, 0.9, *[9] * 10, 30, 1, 1, 80]
        for s in subjects
    ]
    alarm = []
    for label, strong in zip(labels, strength, strict=True):
        scale = 1 if label == "none" else 4
        for k, (probe, subject, _) in enumerate(probes):
            found = (label != "none" or k % 3 == 0) and k % 5 != 4
            eyes = 10.0 + k % 20
            about = (
                [1, 1, 40, 60, round(0.8 + 0.01 * (k % 7), 3), *[9] * 10, eyes * scale, 1, scale, 50 + k]
                if found
                else [""] * 16 + [0, scale, ""]
            )
            status = "ok" if found else "no_face"
            detections.append([label, "probe", probe, subject, status, "", 30 * scale, 40 * scale, *about])
            for rows, seen, boost in ((similarity, found, 0.0), (again, k % 5 != 4, 0.05)):
                cosines = np.clip(rng.normal(0, 0.15, people), -1, 1)
                if subject:
                    cosines[subjects.index(subject)] = np.clip(strong + boost + rng.normal(0, 0.1), -1, 1)
                cosines = np.round(cosines, 6)
                for j, other in enumerate(subjects):
                    same = int(other == subject)
                    others = np.delete(cosines, j)
                    rank = 1 + int((others >= cosines[j]).sum())
                    cells = [f"{max(cosines[j], 0):.6f}", rank, f"{cosines[j]:.6f}"] if seen else ["", "", ""]
                    rows.append([label, probe, subject, f"{other}_frontal.jpg", other, same, int(seen), *cells])
            if label != "none":
                flagged = int(found and k % 4 == 0)
                why = "cosine_lr" if flagged else ""
                measures = [eyes, 0.5, "" if label == "bicubic" else 0.6, 0.7, 40.0] if found else [""] * 4 + [40.0]
                alarm.append([label, probe, *measures, flagged, why, "" if found else "cosine_lr agreement"])
    _write(folder / "similarity.csv", SIMILARITY, similarity)
    if shared:
        _write(folder / "similarity_shared.csv", SIMILARITY, again)
    _write(folder / "detections.csv", DETECTIONS, detections)
    _write(folder / "alarm.csv", ALARM, alarm)
    _write(folder / "pictures" / "pictures.csv", ["sr", "role", "sample", "file", "generated"], [])
    record = {
        "faceup": "0.1.0",
        "command": ["faceup", "run"],
        "created": "2026-01-02T03:04:05+00:00",
        "recipe": {"sr": list(labels), "similarity": "clipped", "scale": 4, **(recipe or {})},
        "versions": {"torch": "2.14.0"},
        "device": "cpu",
        "threads": 1,
        "seed": 0,
        "backends": [
            {
                "stage": "sr", "label": s, "name": s, "version": "1", "licence": "Apache-2.0", "summary": s,
                "generative": s == "sisn", "weights": [],
            }
            for s in labels
        ],
        "gallery": [{"sample": f"{s}_frontal.jpg", "subject": s, "sha256": "cd" * 32} for s in subjects],
        "probes": [
            {
                "sample": p, "subject": s, "sha256": "ef" * 32,
                "split": splits[subjects.index(s)] if splits and s else "",
                "attrs": {"camera": "1", "distance": d},
            }
            for p, s, d in probes
        ],
        "timings": {"sr": 1.25},
        "warnings": [],
        "candidates": list(candidates),
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    def build(name: str = "run", **settings: Any) -> Path:
        return make(tmp_path / name, **settings)

    return build
