"""Times faceup's MTCNN beside facenet-pytorch's `detect` on the same batches of super-resolved crops of 168 x 224 px.

    python benchmarks/bench_detector.py --json bench_detector.json
    python benchmarks/bench_detector.py --shared SHARED --batches 1 32 --threads 1 --rounds 5

Both get the same crops as arrays, as many at once as a batch has, and as many threads, and give boxes, scores
and landmarks. The crops are 42 x 56 px (others are brought to that size) enlarged four times by the SR backend: the
example probes or, with `--shared`, the London photos of smiling people through the camera simulator at `--distance`.
A batch that is larger than the number of crops repeats them. Every round times both, in turns; the first round of each
is a warm-up. Before anything is timed the two must find the same faces within 0.5 px.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import facenet_pytorch
import numpy as np
import torch

from faceup.detect.mtcnn import Mtcnn
from faceup.images import read_image, resize
from faceup.registry import Options, build
from faceup.simulate import simulate
from faceup.types import Image

ROOT = Path(__file__).resolve().parents[1]
FORMAT = {"bench": "detector", "format": 1}
CROP, SCALE = (42, 56), 4
BAR, BAR_FROM = 4.0, 32
PEER, OWN = "facenet-pytorch detect", "faceup"


def low_resolution(shared: Path | None, distance: str) -> list[Image]:
    """Return the crops before super-resolution."""
    if shared is None:
        paths = sorted((ROOT / "examples" / "probes").glob("*.jpg"))
        crops = [read_image(path) for path in paths]
    else:
        with tempfile.TemporaryDirectory(prefix="faceup-bench-") as folder:
            simulate(shared / "data" / "london" / "smiling", Path(folder) / "out", distances=[distance], seed=0)
            crops = [read_image(path) for path in sorted((Path(folder) / "out").rglob("*.jpg"))]
    return [crop if (crop.width, crop.height) == CROP else resize(crop, *CROP) for crop in crops]


def in_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every call; each round calls all, in another order than the one before."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(rounds + 1):
        for name in names if number % 2 else names[::-1]:
            gc.collect()
            begun = time.perf_counter()
            calls[name]()
            if number:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def differing(peer: facenet_pytorch.MTCNN, own: Mtcnn, images: Sequence[Image]) -> int:
    """Return in how many pictures the two do not find the same faces within 0.5 px."""
    found = peer.detect(np.stack([image.pixels for image in images]), landmarks=True)
    count = 0
    for boxes, _, points, got in zip(*found, own.detect(images), strict=True):
        if boxes is None or len(boxes) != len(got):
            count += (0 if boxes is None else len(boxes)) != len(got)
            continue
        wanted = np.concatenate([boxes.reshape(-1), points.reshape(-1)]).astype(np.float32)
        count += bool(np.abs(wanted - np.concatenate([got.boxes.reshape(-1), got.landmarks.reshape(-1)])).max() > 0.5)
    return count


def measure(
    images: Sequence[Image], batches: Sequence[int], threads: Sequence[int], rounds: int
) -> list[dict[str, Any]]:
    """Return one row for each number of threads and size of batch."""
    rows = []
    for count in threads:
        # ONNX Runtime takes its threads when the detector is built.
        torch.set_num_threads(count)
        peer, own = facenet_pytorch.MTCNN(keep_all=True), Mtcnn("cpu")
        for size in batches:
            batch = [images[i % len(images)] for i in range(size)]
            stacked = np.stack([image.pixels for image in batch])
            calls: dict[str, Callable[[], object]] = {
                PEER: lambda peer=peer, stacked=stacked: peer.detect(stacked, landmarks=True),
                OWN: lambda own=own, batch=batch: own.detect(batch),
            }
            apart = differing(peer, own, batch)
            seconds = in_turns(calls, rounds)
            milliseconds = {name: [1000 * s / size for s in values] for name, values in seconds.items()}
            times = statistics.median(seconds[PEER]) / statistics.median(seconds[OWN])
            rows.append(
                {"threads": count, "batch": size, "ms_per_crop": milliseconds, "times": times, "differing": apart}
            )
    return rows


def spread(values: Sequence[float]) -> str:
    """Return the median and, in brackets, the smallest and largest value."""
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, help="folder with data/london")
    parser.add_argument("--distance", default="paper", help="preset of the camera simulator, with --shared")
    parser.add_argument("--sr", default="bicubic", help="SR backend that enlarges the crops")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    low = low_resolution(given.shared, given.distance)
    images = build("sr", given.sr, Options(scale=SCALE)).upscale(low[: max(given.batches)])
    rows = measure(images, given.batches, given.threads, given.rounds)

    source = f"London, smiling, {given.distance}" if given.shared else "examples/probes"
    print(f"{len(images)} crops ({source}), {given.sr} x{SCALE}, {given.rounds} rounds; median [smallest, largest]\n")
    print(f"| threads | batch | {PEER}, ms a crop | {OWN}, ms a crop | times as fast | pictures that differ |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        peer, own = (spread(row["ms_per_crop"][name]) for name in (PEER, OWN))
        print(
            f"| {row['threads']} | {row['batch']} | {peer} | {own} | {row['times']:.2f} "
            f"| {row['differing']}/{row['batch']} |"
        )
    large = [row["times"] for row in rows if row["batch"] >= BAR_FROM]
    if large:
        met = "met" if min(large) >= BAR else "NOT met"
        print(f"\nAt least {BAR:g} times at batches of {BAR_FROM} and more: {min(large):.2f}, {met}")
    if given.json:
        packages = ("torch", "torchvision", "facenet-pytorch", "numpy")
        about = {
            "inputs": source,
            "sr": given.sr,
            "crops": len(images),
            "rounds": given.rounds,
            "processor": platform.processor() or platform.machine(),
            "versions": {name: metadata.version(name) for name in packages},
            "bar": {"at_least": BAR, "from_batch": BAR_FROM, "value": min(large, default=None)},
        }
        given.json.write_text(json.dumps({**FORMAT, **about, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
