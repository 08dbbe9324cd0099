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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import method
from benchmarks.method import Bar, Cell, Column, Table
from faceup.detect.mtcnn import Mtcnn
from faceup.images import read_image, resize
from faceup.registry import Options, build
from faceup.simulate import simulate
from faceup.types import Image

if TYPE_CHECKING:
    import facenet_pytorch

CROP, SCALE, DISTANCE = (42, 56), 4, "paper"
BATCHES = (1, 8, 32, 64)
BAR, BAR_FROM = 4.0, 32


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

    tables, large = [], []
    for count in threads:
        # ONNX Runtime takes its threads when the detector is built.
        method.set_threads(count)
        peer, own = facenet_pytorch.MTCNN(keep_all=True), Mtcnn("cpu")
        rows: list[dict[str, Cell]] = []
        for size in batches:
            batch = [images[i % len(images)] for i in range(size)]
            stacked = np.stack([image.pixels for image in batch])
            seconds = method.interleaved(
                {
                    "peer": lambda peer=peer, stacked=stacked: peer.detect(stacked, landmarks=True),
                    "own": lambda own=own, batch=batch: own.detect(batch),
                },
                rounds=rounds,
            )
            times = method.median(seconds["peer"]) / method.median(seconds["own"])
            if size >= BAR_FROM:
                large.append(times)
            rows.append(
                {
                    "batch": size,
                    **{name: method.samples(1000 * s / size for s in values) for name, values in seconds.items()},
                    "times": times,
                    "apart": f"{differing(peer, own, batch)}/{size}",
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
    text = f"faceup's detector at batches of {BAR_FROM} and more, times as fast as facenet-pytorch's"
    return method.record(
        "detector",
        "MTCNN with the same networks and thresholds on batches of crops of 168 x 224 px, as facenet-pytorch runs it "
        "and as faceup does.",
        tables,
        [Bar(text, "at least", BAR, min(large, default=None))],
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
