"""Times faceup's MTCNN beside facenet-pytorch's `detect` on the same batches of super-resolved crops of 168 x 224 px.

    python -m benchmarks.bench_detector --shared SHARED --json benchmarks/results/detector.json

Both get the same crops as arrays, as many at once as a batch has, and as many threads, and give boxes, scores
and landmarks. The crops are 42 x 56 px (others are brought to that size) enlarged four times by bicubic: the
example probes or, with `--shared`, the London photos of smiling people through the camera simulator. A batch that is
larger than the number of crops repeats them. Every table also says in how many pictures the two do not find the same
faces within 0.5 px.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import method
from benchmarks.method import Bar, Cell, Column, Table
from faceup.detect.mtcnn import Mtcnn
from faceup.images import read_image, resize
from faceup.registry import Options, build
from faceup.simulate import simulate
from faceup.types import Detections, Image

CROP, SCALE, DISTANCE = (42, 56), 4, "paper"
BATCHES = (1, 8, 32, 64)
BAR, BAR_FROM = 4.0, 32
SAME_PX = 0.5


def crops(shared: Path | None) -> list[Image]:
    """Return the enlarged crops."""
    if shared is None:
        low = [read_image(path) for path in sorted((method.ROOT / "examples" / "probes").glob("*.jpg"))]
    else:
        with tempfile.TemporaryDirectory(prefix="faceup-bench-") as folder:
            simulate(shared / "data" / "london" / "smiling", Path(folder) / "out", distances=[DISTANCE], seed=0)
            low = [read_image(path) for path in sorted((Path(folder) / "out").rglob("*.jpg"))]
    sized = [crop if (crop.width, crop.height) == CROP else resize(crop, *CROP) for crop in low]
    done: list[Image] = build("sr", "bicubic", Options(scale=SCALE)).upscale(sized)
    return done


def as_detections(found: Sequence[Any]) -> list[Detections]:
    """Return what facenet-pytorch's `detect` gives with landmarks as faceup has it."""
    return [
        Detections.none()
        if boxes is None
        else Detections(*(np.asarray(part, np.float32) for part in (boxes, scores, points)))
        for boxes, scores, points in zip(*found, strict=True)
    ]


def differing(wanted: Sequence[Detections], got: Sequence[Detections]) -> str:
    """Return in how many of the pictures the two do not have the same faces within half a pixel."""
    same = [
        len(a) == len(b)
        and np.abs(a.boxes - b.boxes).max(initial=0) <= SAME_PX
        and np.abs(a.landmarks - b.landmarks).max(initial=0) <= SAME_PX
        for a, b in zip(wanted, got, strict=True)
    ]
    return f"{len(same) - sum(same)}/{len(same)}"


def measure(
    images: Sequence[Image],
    batches: Sequence[int],
    threads: Sequence[int],
    *,
    rounds: int,
    inputs: str,
    arguments: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the record."""
    import facenet_pytorch

    tables, bars = [], []
    for count in threads:
        # ONNX Runtime takes its threads when the detector is built.
        method.set_threads(count)
        peer, own = facenet_pytorch.MTCNN(keep_all=True), Mtcnn("cpu")
        rows: list[dict[str, Cell]] = []
        large = []
        for size in batches:
            batch = [images[i % len(images)] for i in range(size)]
            stacked = np.stack([image.pixels for image in batch])
            search = partial(peer.detect, stacked, landmarks=True)
            seconds = method.interleaved({"peer": search, "own": partial(own.detect, batch)}, rounds=rounds)
            times = method.median(seconds["peer"]) / method.median(seconds["own"])
            if size >= BAR_FROM:
                large.append(times)
            rows.append(
                {
                    "batch": size,
                    **{name: method.samples(1000 * s / size for s in values) for name, values in seconds.items()},
                    "times": times,
                    "apart": differing(as_detections(search()), own.detect(batch)),
                }
            )
        columns = [
            Column("batch", "batch", 0),
            Column("peer", "facenet-pytorch, ms a crop", 1),
            Column("own", "faceup, ms a crop", 1),
            Column("times", "times as fast"),
            Column("apart", "pictures that differ"),
        ]
        tables.append(Table(f"Threads: {count}", columns, rows))
        text = (
            f"threads: {count}, batches of {BAR_FROM} and more: faceup's detector, times as fast as facenet-pytorch's"
        )
        bars.append(Bar(text, "at least", BAR, min(large, default=None), "times"))
    return method.record(
        "detector",
        "MTCNN with the same networks and thresholds on batches of crops of 168 x 224 px, as facenet-pytorch runs it "
        "and as faceup does.",
        tables,
        bars,
        inputs=inputs,
        inputs_sha256=method.digest(image.pixels.tobytes() for image in images),
        rounds=rounds,
        warm_ups=1,
        threads=max(threads),
        arguments=arguments,
    )


def main() -> None:
    """Measure, print, write."""
    parser = method.options(__doc__, rounds=5, threads=None)
    parser.add_argument("--shared", type=Path, help="folder with data/london")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    given = parser.parse_args()
    counts = method.thread_counts(given.threads)
    images = crops(given.shared)[: max(given.batches)]
    source = f"London, smiling, {DISTANCE}" if given.shared else "examples/probes"
    inputs = f"{len(images)} crops ({source}), bicubic x{SCALE}"
    method.publish(measure(images, given.batches, counts, rounds=given.rounds, inputs=inputs), given.json)


if __name__ == "__main__":
    main()
