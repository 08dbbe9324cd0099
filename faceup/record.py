"""What a run writes down about itself: rows of detections.csv and the content of run.json."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from faceup import __version__
from faceup.acquire import Acquired
from faceup.files import sha256_hex
from faceup.manifest import LINK, Listing
from faceup.metrics.alarm import Calibration, flagged, measures
from faceup.recipe import RunRecipe
from faceup.types import BOX, LANDMARKS, BackendInfo, Embeddings, Sample
from faceup.weights.catalog import spec

if TYPE_CHECKING:
    import pandas as pd

# The packages that decide about numbers; onnxruntime has two names.
_PACKAGES = (
    "torch",
    "torchvision",
    "facenet-pytorch",
    "onnxruntime",
    "onnxruntime-gpu",
    "ncnn",
    "opencv-python-headless",
    "numpy",
    "pandas",
    "pillow",
    "av",
    "faiss-cpu",
    "pyarrow",
)


def detection_row(row: Acquired, label: str) -> dict[str, Any]:
    """Return one row of detections.csv; what is not known is NaN."""
    box = row.box if row.box is not None else np.full(4, np.nan)
    points = row.landmarks if row.landmarks is not None else np.full((5, 2), np.nan)
    return {
        "sr": label,
        "role": row.sample.role,
        "sample": row.sample.sample_id,
        "subject": row.sample.subject_id or "",
        "status": row.status,
        "message": row.message,
        "width": row.width,
        "height": row.height,
        **dict(zip(BOX, map(float, box), strict=True)),
        "score": row.score,
        **{f"{name}_{axis}": float(points[i, k]) for i, name in enumerate(LANDMARKS) for k, axis in enumerate("xy")},
        "inter_eye_px": row.inter_eye_px,
        "faces": row.faces,
        "scale": row.scale,
        "sharpness": row.sharpness,
    }


def backend_entry(stage: str, label: str, info: BackendInfo, file: Path | None, scale: int = 0) -> dict[str, Any]:
    """Return what run.json says of a backend, with the hash of every weight file it was built from.

    Args:
        stage: of the backend.
        label: `NAME` or `NAME:FILE`.
        info: what the backend says of itself.
        file: of the label.
        scale: asked for; of weights `NAME-xSCALE` only those of this scale are used.
    """
    if file is not None:
        weights = [{"name": file.name, "sha256": sha256_hex(file.read_bytes())}]
    else:
        of_scale = f"{info.name}-x{scale}"
        used = [of_scale] if of_scale in info.weights else info.weights
        weights = [{"name": name, "sha256": spec(name).sha256} for name in used]
    return {"stage": stage, "label": label, **info.as_dict(), "weights": weights}


def alarm_table(
    embeddings: Mapping[str, Embeddings],
    consistency: Mapping[tuple[str, str], float],
    detections: pd.DataFrame,
    record: Mapping[str, Any],
) -> pd.DataFrame:
    """Return the rows of alarm.csv: what each SR system did to each probe, and the flag (`faceup.metrics.alarm`).

    The eye distance comes from the bicubic picture where the run has one, else from the first SR system that found a
    face; it is given in pixels of the picture as it came.

    Args:
        embeddings: of the probes by SR system.
        consistency: by SR system and probe; see `faceup.metrics.alarm.measures`.
        detections: of the run.
        record: content of its run.json.
    """
    probes = detections[(detections["role"] == "probe") & (detections["status"] == "ok")]
    order = sorted(dict.fromkeys(probes["sr"]), key=lambda label: label != "bicubic")
    eyes: dict[str, float] = {}
    for label in order:
        rows = probes[probes["sr"] == label]
        for sample, pixels, scale in zip(rows["sample"], rows["inter_eye_px"], rows["scale"], strict=True):
            eyes.setdefault(sample, pixels / scale)
    content = (resources.files("faceup") / "metrics" / "alarm_calibration.json").read_text(encoding="utf-8")
    calibration = Calibration.parse(json.loads(content))
    measured = measures(embeddings, consistency, eyes)
    return flagged(measured, calibration, recognizer=recognizer_identity(record), scale=int(record["recipe"]["scale"]))


def recognizer_identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run's embeddings depend on beside the pictures: plug-in, version, hashes of the weights, settings.

    Args:
        record: content of run.json.
    """
    entry = next(backend for backend in record["backends"] if backend["stage"] == "embed")
    return {
        "name": entry["name"],
        "version": entry["version"],
        "weights": [weight["sha256"] for weight in entry["weights"]],
        "options": record["recipe"]["recognizer_options"],
    }


def package_versions() -> dict[str, str]:
    """Return the installed version of every package that decides about numbers."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def run_record(
    recipe: RunRecipe,
    gallery: Listing,
    probes: Listing,
    detections: pd.DataFrame,
    *,
    backends: Sequence[Mapping[str, Any]],
    device: str,
    seconds: Mapping[str, float],
    command: Sequence[str],
) -> dict[str, Any]:
    """Return the content of run.json: everything that made the numbers, and what to know before trusting them."""
    import torch  # here, so that jobs whose plug-ins need no torch do not load it

    sides = {name: [_sample(s) for s in side.samples] for name, side in (("gallery", gallery), ("probes", probes))}
    return {
        "faceup": __version__,
        "command": list(command),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "recipe": recipe.as_dict(),
        "defaults": recipe.defaults_used(),
        "versions": {"python": platform.python_version(), **package_versions()},
        "device": device,
        "threads": torch.get_num_threads(),
        "seed": recipe.seed,
        "pairs_sha256": sha256_hex(Path(recipe.pairs).read_bytes()) if recipe.pairs else "",
        "candidates": drawn_candidates(recipe, gallery, probes),
        "backends": list(backends),
        **sides,
        "timings": {stage: round(value, 4) for stage, value in sorted(seconds.items())},
        "warnings": _warnings(gallery, probes, detections),
    }


def drawn_candidates(recipe: RunRecipe, gallery: Listing, probes: Listing) -> list[str]:
    """Return the candidates that the recipe has drawn with its seed, sorted; none where it asks for none.

    A candidate is a subject with gallery pictures and probes.
    """
    enrolled = {s.subject_id for s in gallery.samples}
    subjects = sorted({s.subject_id for s in probes.samples if s.subject_id and s.subject_id in enrolled})
    if not recipe.candidates:
        return []
    order = np.random.default_rng(recipe.seed).permutation(len(subjects))
    return sorted(subjects[k] for k in order[: recipe.candidates])


def _sample(s: Sample) -> dict[str, Any]:
    known = {"split": s.split or "", "attrs": dict(s.attrs)}
    return {"sample": s.sample_id, "subject": s.subject_id or "", "sha256": s.sha256, **known}


def _warnings(gallery: Listing, probes: Listing, detections: pd.DataFrame) -> list[str]:
    notes = []
    for listing, role in ((gallery, "gallery"), (probes, "probe")):
        every = detections[detections["role"] == role]
        rows = every.drop_duplicates("sample")
        faceless = rows[rows["status"] == "no_face"]
        links = [name for name in listing.ignored if name.endswith(LINK)]
        unnamed = [name for name in listing.ignored if not name.endswith(LINK)]
        for left, what in ((unnamed, "files are not named as pictures"), (links, "folders are links")):
            if left:
                notes.append(f"{len(left)} {role} {what}: left out, e.g. {left[0]}")
        # A picture may be too large for a system that enlarges it, and be read by another.
        unreadable = every[every["status"] == "unreadable"]
        counts = unreadable["sr"].value_counts(sort=False)
        whole = len(counts) == every["sr"].nunique() and counts.nunique() == 1
        for label, count in list(counts.items())[: 1 if whole else None]:
            example = unreadable[unreadable["sr"] == label].iloc[0]["message"]
            where = "" if whole else f" for {label}"
            notes.append(f"{count} of {len(rows)} {role} pictures could not be read{where}, e.g. {example}")
        if role == "gallery" and len(faceless):
            example = faceless.iloc[0]["sample"]
            notes.append(f"{len(faceless)} of {len(rows)} gallery pictures: no face (failure to enrol), e.g. {example}")
    enrolled = {s.subject_id for s in gallery.samples}
    if strangers := sum(s.subject_id not in enrolled for s in probes.samples):
        notes.append(f"{strangers} of {len(probes.samples)} probes show nobody of the gallery: not in the table")
    return notes
