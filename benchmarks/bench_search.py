"""Compares as many made-up embeddings as whole TinyFace has, and evaluates what is kept: seconds and peak memory.

    python -m benchmarks.bench_search compare RUN --probes 3728 --people 2569 --gallery 4443 --distractors 153428
    python -m benchmarks.bench_search evaluate RUN

`compare` does what `faceup run` does after the networks, with one SR system, and writes the run folder; `evaluate` is
`faceup evaluate --no-plots`. Each is a process of its own, so that the peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from faceup.compare import compared
from faceup.evaluate.evaluation import evaluate
from faceup.pictures import PictureStore
from faceup.result import RunResult
from faceup.types import BOX, LANDMARKS, Embeddings, Role, Sample

DIMENSION = 512
# Of this strength beside a person's centre it gives genuine pairs a cosine of about 0.17, so that some are not found.
NOISE = 2.2
FACE = (*BOX, "score", *(f"{n}_{a}" for n in LANDMARKS for a in "xy"), "inter_eye_px", "faces", "scale", "sharpness")


def side(
    role: Role, people: np.ndarray, centres: np.ndarray, rng: np.random.Generator
) -> tuple[Embeddings, list[Sample]]:
    """Return embeddings around their people's centres; a person -1 is somebody else each time."""
    vectors = rng.standard_normal((len(people), DIMENSION), dtype=np.float32) * np.float32(NOISE)
    known = people >= 0
    vectors[known] += centres[people[known]]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [f"{role}/{k:06d}.jpg" for k in range(len(people))]
    subjects = [str(p) if p >= 0 else f"distractor {k}" for k, p in enumerate(people)]
    samples = [Sample(n, s, Path(n), role, "ab" * 32) for n, s in zip(names, subjects, strict=True)]
    return Embeddings(vectors, tuple(names), np.zeros(len(people), bool)), samples


def rows_of(samples: list[Sample]) -> pd.DataFrame:
    """Return rows of detections.csv in which every picture has a face."""
    frame = pd.DataFrame({"sr": "none", "role": samples[0].role, "sample": [s.sample_id for s in samples]})
    frame["subject"] = [s.subject_id for s in samples]
    frame["status"], frame["message"], frame["width"], frame["height"] = "ok", "", 30, 40
    return frame.assign(**dict.fromkeys(FACE, 9.0))


def compare(given: argparse.Namespace) -> dict[str, float]:
    """Compare and write the run folder."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((given.people, DIMENSION), dtype=np.float32)
    enrolled = np.append(np.arange(given.people), rng.integers(0, given.people, given.gallery - given.people))
    gallery, known = side("gallery", np.append(enrolled, np.full(given.distractors, -1)), centres, rng)
    probes, wanted = side("probe", rng.integers(0, given.people, given.probes), centres, rng)
    start = time.perf_counter()
    frame, searched = compared("none", gallery, probes, known, wanted, kind="clipped")
    seconds = {"compare": time.perf_counter() - start}
    sides: dict[str, Any] = {
        name: [{"sample": s.sample_id, "subject": s.subject_id, "sha256": s.sha256} for s in samples]
        for name, samples in (("gallery", known), ("probes", wanted))
    }
    record = {
        **{"faceup": "0", "command": [], "created": "", "versions": {}, "device": "cpu", "threads": 1, "seed": 0},
        **{"backends": [], "timings": {}, "warnings": []},
        "recipe": {"sr": ["none"], "similarity": "clipped", "scale": 4},
        **sides,
    }
    start = time.perf_counter()
    kept = None if searched is None else {"none": searched}
    detections = pd.concat([rows_of(known), rows_of(wanted)], ignore_index=True)
    RunResult(frame, detections, record, PictureStore(), searches=kept).save(given.run)
    seconds["save"] = time.perf_counter() - start
    return seconds


def main() -> None:
    """Measure one stage and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=["compare", "evaluate"])
    parser.add_argument("run", type=Path)
    for name, default in (("probes", 3728), ("people", 2569), ("gallery", 4443), ("distractors", 153_428)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    if given.stage == "compare":
        seconds = compare(given)
    else:
        start = time.perf_counter()
        evaluate([given.run], plots=False)
        seconds = {"evaluate": time.perf_counter() - start}
    size = sum(path.stat().st_size for path in given.run.rglob("*") if path.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told = {**{name: round(value, 1) for name, value in seconds.items()}, "peak_GiB": round(peak, 2)}
    print(json.dumps({**told, "folder_MB": round(size / 1e6, 1)}))


if __name__ == "__main__":
    main()
