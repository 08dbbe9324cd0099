"""Measure the limits of the hallucination alarm and write faceup/metrics/alarm_calibration.json.

    mkdir hr && cp FACES256/14[0-9][0-9].jpg FACES256/15[01][0-9].jpg hr
    faceup simulate hr cam --distances d1,d2,d3 --seed 0
    faceup run --gallery hr --probes cam --sr none --sr bicubic --sr sisn-surveillance --device cpu --threads 1 \\
        --out runs/calibration
    PYTHONPATH=. python tools/calibrate_alarm.py runs/calibration "113 synthetic portraits (1400 to 1512 of the \
    training collection, never trained on); faceup simulate hr cam --distances d1,d2,d3 --seed 0"

FACES256 is the collection that the networks were trained on without these portraits (pipelines/train_*.yaml; 1400 to
1449 validated the trainings), data/faces256 of the project's shared folder. The command of the run is taken from its
run.json. The systems and the recogniser are the defaults, because a limit belongs to what it was measured on: the
agreement with others is checked only in runs of the same systems.

A limit is a low quantile of a measure over the pictures of all SR systems, bicubic with them, whose identity was kept:
the own person comes first both after bicubic and after the SR system. Each of the four measures gets a quarter of
`SHARE`, so that of such pictures at most about `SHARE` are flagged. Nobody types a limit. From fewer than `FEWEST`
pictures in a band there is none.
"""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

import numpy as np

from faceup import __version__
from faceup.evaluate.systems import systems
from faceup.files import sha256_hex, whole_or_not_at_all
from faceup.metrics.alarm import MEASURES
from faceup.metrics.face_quality import EYE_EDGES, eye_distance_band
from faceup.record import recognizer_identity
from faceup.report.run_folder import read_run

TARGET = Path(__file__).resolve().parents[1] / "faceup/metrics/alarm_calibration.json"
SHARE = 0.05
FEWEST = 50


def main(folder: Path, pictures: str, target: Path) -> None:
    """Write the limits measured on a run.

    Args:
        folder: of the run.
        pictures: what was measured, in words, with the command that made the probes.
        target: the file to write.
    """
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
        "source": f"{pictures}; {shlex.join(run.record['command'])}",
        "faceup": __version__,
        "recognizer": recognizer_identity(run.record),
        "scale": run.record["recipe"]["scale"],
        "systems": list(dict.fromkeys(rows["sr"])),
        "versions": {b["label"]: b["version"] for b in run.record["backends"] if b["label"] in set(rows["sr"])},
        "quantile": SHARE / len(MEASURES),
        "eye_edges": list(EYE_EDGES),
        "similarity_sha256": sha256_hex((folder / "similarity.csv").read_bytes()),
        "alarm_sha256": sha256_hex((folder / "alarm.csv").read_bytes()),
        "bands": bands,
    }
    for band in bands:
        print(f"{band['eyes']}: {band['pictures']} pictures, limits {band['limits'] or 'none: too few pictures'}")
    with whole_or_not_at_all(target) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("pictures", help="what was measured, in words, with the command that made the probes")
    parser.add_argument("--out", type=Path, default=TARGET, help="file to write in place of the package's")
    given = parser.parse_args()
    main(given.run, given.pictures, given.out)
