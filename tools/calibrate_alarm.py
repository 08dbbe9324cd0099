"""Measure the limits of the hallucination alarm and write faceup/metrics/alarm_calibration.json.

    mkdir hr && cp FACES256/14[0-9][0-9].jpg FACES256/15[01][0-9].jpg hr   # synthetic portraits kept out of training
    faceup simulate hr cam --distances d1,d2,d3 --seed 0
    faceup run --gallery hr --probes cam --sr none --sr bicubic --sr sisn --out runs/calibration
    PYTHONPATH=. python tools/calibrate_alarm.py runs/calibration "faceup simulate ..., faceup run ..."

A limit is a low quantile of a measure over the pictures of all SR systems, bicubic with them, whose identity was kept:
the own person comes first both after bicubic and after the SR system. Each of the four measures gets a quarter of
`SHARE`, so that of such pictures at most about `SHARE` are flagged. Nobody types a limit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from faceup import __version__
from faceup.evaluate.systems import systems
from faceup.files import sha256_hex, whole_or_not_at_all
from faceup.metrics.alarm import MEASURES
from faceup.metrics.face_quality import EYE_EDGES, eye_distance_band
from faceup.report.run_folder import read_run

TARGET = Path(__file__).resolve().parents[1] / "faceup/metrics/alarm_calibration.json"
SHARE = 0.05
FEWEST = 50


def main(folder: Path, source: str) -> None:
    """Write the limits measured on a run."""
    run = read_run(folder)
    if run.alarm is None:
        raise SystemExit(f"{folder} has no alarm.csv: make the run with this version of faceup.")
    first = {s.sr: dict(zip(s.probes, s.ranks() == 1, strict=True)) for s in systems([run])}
    if "bicubic" not in first:
        raise SystemExit(f"{folder} lacks the SR system bicubic.")
    rows = run.alarm
    kept = rows[[first["bicubic"][p] and first[sr][p] for sr, p in zip(rows["sr"], rows["probe"], strict=True)]]
    bands = []
    for start in (0.0, *EYE_EDGES):
        name = eye_distance_band(start, EYE_EDGES)
        inside = kept[[eye_distance_band(v, EYE_EDGES) == name for v in kept["eye_lr_px"]]]
        limits = {}
        for measure in MEASURES:
            values = inside[measure].dropna().to_numpy(np.float64)
            # From fewer pictures a limit would be chance.
            if len(values) >= FEWEST:
                limits[measure] = round(float(np.quantile(values, SHARE / len(MEASURES))), 6)
        bands.append({"eyes": name, "pictures": len(inside), "limits": limits})
    content = {
        "source": source,
        "faceup": __version__,
        "recognizer": run.record["recipe"]["recognizer"],
        "scale": run.record["recipe"]["scale"],
        "systems": list(dict.fromkeys(rows["sr"])),
        "quantile": SHARE / len(MEASURES),
        "eye_edges": list(EYE_EDGES),
        "similarity_sha256": sha256_hex((folder / "similarity.csv").read_bytes()),
        "alarm_sha256": sha256_hex((folder / "alarm.csv").read_bytes()),
        "bands": bands,
    }
    with whole_or_not_at_all(TARGET) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
