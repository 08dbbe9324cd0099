"""Measure every SR backend with weights on the Face Research Lab London Set, into one folder of results.

    faceup models pull lpips-alex
    PYTHONPATH=. python tools/compare_backends.py LONDON OUT [cost] [quality] [clean] [camera]

LONDON holds `neutral` and `smiling`; without the names of parts all are made. What is written:

    quality-x4.csv, quality-x8.csv   PSNR, SSIM, LPIPS and MPS of the neutral photos at 256 px (paper, table 3)
    clean/                           run folder: the smiling photos at 256 px reduced 4 times, against the neutral ones
    camera/                          run folder: the smiling photos through the simulated camera at d1, d2 and d3
    cost.csv                         parameters, multiply-adds and milliseconds for a 42 x 56 crop

Recognition sees the neutral photos as the gallery. `tools/update_results.py` turns the folder into tables,
`tools/london_results.py` the run folder `camera` into docs/results/london/.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import faceup
from faceup import registry
from faceup.evaluate_sr import evaluate_sr
from faceup.files import whole_or_not_at_all
from faceup.frames import write_csv
from faceup.images import encode_png, read_image, reduced_pair, resize
from faceup.runtime.cost import multiply_adds
from faceup.simulate import simulate
from faceup.weights import store

ROOT = Path(__file__).resolve().parents[1]
SIDE, SCALE = 256, 4
# It was taught nothing about poor pictures, so that a difference is that of the SR backends.
RECOGNIZER = "mobilefacenet"
CROP = ROOT / "examples" / "probes" / "hopper_cam1_paper.jpg"  # 42 x 56 px
CROPS, ROUNDS = 16, 7
PARTS = ("cost", "quality", "clean", "camera")


def trained(weights: str) -> int:
    """Return how many parameters a shipped network was trained with, statistics of batch norms left out."""
    statistics_of_norms = ("running_mean", "running_var", "num_batches_tracked")
    tensors = store.load(weights).tensors
    return sum(value.numel() for key, value in tensors.items() if not key.endswith(statistics_of_norms))


def cost(label: str) -> dict[str, Any]:
    """Return parameters, multiply-adds and milliseconds for a crop of 42 x 56 px, among `CROPS` in one call."""
    backend = registry.build("sr", label, registry.Options(SCALE))
    crop = read_image(CROP)
    # Only what torch computes can be counted; and it folds batch norms, so parameters are counted in the weight file.
    has_engines = hasattr(backend, "engine")
    counted = backend
    if has_engines:
        counted = registry.build("sr", label, registry.Options(SCALE, extra={"engine": "torch"}))
    net = getattr(backend, "net", None)
    own = sum(p.numel() for p in net.parameters()) if net is not None else 0
    seconds = []
    for _ in range(ROUNDS + 1):  # The first is the warm-up.
        started = time.perf_counter()
        backend.upscale([crop] * CROPS)
        seconds.append(time.perf_counter() - started)
    return {
        "sr": label,
        "width": crop.width,
        "height": crop.height,
        "parameters": trained(f"{label}-x{SCALE}") if has_engines else own,
        "multiply_adds": multiply_adds(lambda: counted.upscale([crop])),
        "ms_per_crop": 1000 * statistics.median(seconds[1:]) / CROPS,
        "ms_spread": 1000 * (max(seconds[1:]) - min(seconds[1:])) / CROPS,
        "threads": torch.get_num_threads(),
        "crops_per_call": CROPS,
    }


def reduced(source: Path, target: Path) -> None:
    """Write the pictures of `source` at `SIDE` px, reduced `SCALE` times by antialiased bicubic, as PNG."""
    for path in sorted(source.glob("*.jpg")):
        _, low = reduced_pair(resize(read_image(path), SIDE, SIDE), SCALE)
        (target / f"{path.stem}.png").write_bytes(encode_png(low))


def save(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as CSV, whole or not at all."""
    with whole_or_not_at_all(path) as temporary:
        write_csv(frame, temporary)
    print(f"wrote {path}")


def recognition(london: Path, out: Path, part: str) -> None:
    """Write the run folder of `clean` or `camera`."""
    backends = registry.expanded([registry.ALL], SCALE)
    with tempfile.TemporaryDirectory() as folder:
        probes = Path(folder) / part
        if part == "clean":
            probes.mkdir()
            reduced(london / "smiling", probes)
        else:
            simulate(london / "smiling", probes, distances=["d1", "d2", "d3"], seed=0)
        gain = part == "camera"
        result = faceup.run(
            london / "neutral", probes, sr=backends, scale=SCALE, split_gain=gain, recognizer=RECOGNIZER
        )
        result.save(out / part, force=True)
    print(f"wrote {out / part}")


def main(london: Path, out: Path, parts: Sequence[str]) -> None:
    """Measure the named parts."""
    for part in parts:
        if part == "cost":
            labels = registry.expanded([registry.ALL], SCALE)
            save(pd.DataFrame([cost(label) for label in labels]), out / "cost.csv")
        elif part == "quality":
            for scale in (4, 8):
                save(evaluate_sr(london / "neutral", ["all"], scale=scale, size=SIDE), out / f"quality-x{scale}.csv")
        elif part in ("clean", "camera"):
            recognition(london, out, part)
        else:
            raise SystemExit(f"{part!r} is none of {', '.join(PARTS)}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or PARTS)
