"""Measure every SR backend with weights on the Face Research Lab London Set, into one folder of results.

    faceup models pull lpips-alex
    PYTHONPATH=. python tools/compare_backends.py LONDON OUT

LONDON holds `neutral` and `smiling`. What is written:

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

ROOT = Path(__file__).resolve().parents[1]
SIDE, SCALE = 256, 4
CROP = ROOT / "examples" / "probes" / "hopper_cam1_paper.jpg"  # 42 x 56 px
CROPS, ROUNDS = 16, 7


def cost(label: str) -> dict[str, Any]:
    """Return parameters, multiply-adds and milliseconds for a crop of 42 x 56 px, among `CROPS` in one call."""
    backend = registry.build("sr", label, registry.Options(SCALE))
    crop = read_image(CROP)
    net = getattr(backend, "net", None)
    seconds = []
    for _ in range(ROUNDS + 1):  # The first is the warm-up.
        started = time.perf_counter()
        backend.upscale([crop] * CROPS)
        seconds.append(time.perf_counter() - started)
    return {
        "sr": label,
        "width": crop.width,
        "height": crop.height,
        "parameters": sum(p.numel() for p in net.parameters()) if net is not None else 0,
        "multiply_adds": multiply_adds(lambda: backend.upscale([crop])),
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


def main(london: Path, out: Path) -> None:
    """Measure everything."""
    gallery = london / "neutral"
    backends = registry.expanded([registry.ALL], SCALE)
    save(pd.DataFrame([cost(label) for label in backends]), out / "cost.csv")
    for scale in (4, 8):
        save(evaluate_sr(gallery, ["all"], scale=scale, size=SIDE), out / f"quality-x{scale}.csv")
    with tempfile.TemporaryDirectory() as folder:
        clean, camera = Path(folder) / "clean", Path(folder) / "camera"
        clean.mkdir()
        reduced(london / "smiling", clean)
        simulate(london / "smiling", camera, distances=["d1", "d2", "d3"], seed=0)
        for probes, split in ((clean, False), (camera, True)):
            result = faceup.run(gallery, probes, sr=backends, scale=SCALE, split_gain=split)
            result.save(out / probes.name, force=True)
            print(f"wrote {out / probes.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
