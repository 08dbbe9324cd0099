"""Peak memory of `faceup batch` over archives of different lengths: it must not grow with them.

    python -m benchmarks.bench_memory --json benchmarks/results/memory.json
    python -m benchmarks.bench_memory --crops 200 10000

Each length runs in a process of its own, with the same settings and a gallery of the four example people; crops are
the example probes, repeated with a little noise, so that no two are the same.
`--sr` decides how long it takes; memory is what the kernel counted at most (VmHWM).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage

from benchmarks import method
from benchmarks.method import ROOT, SEED, Bar, Cell, Column, Table
from benchmarks.workers import Round, Worker, serve
from faceup.images import read_image

LIMIT = 1.1


def crops(folder: Path, count: int) -> Path:
    """Write `count` different crops in folders of 1,000."""
    sources = [read_image(path).pixels for path in sorted((ROOT / "examples" / "probes").glob("*.jpg"))]
    rng = np.random.default_rng(SEED)
    for i in range(count):
        pixels = sources[i % len(sources)]
        noise = rng.integers(-3, 4, pixels.shape)
        path = folder / f"cam{i // 1000:03d}" / f"{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        PilImage.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(path, quality=90)
    return folder


def build(folder: str, sr: str) -> Callable[[], Round]:
    """Return what runs one job over the archive in a folder."""
    from faceup.archive.batch import Batch
    from faceup.archive.job import run_batch
    from faceup.archive.settings import FaceSettings, ResultSettings, parse_every

    batch = Batch(
        ROOT / "examples" / "gallery",
        [Path(folder) / "archive"],
        Path(folder) / "job",
        FaceSettings(sr=sr),
        ResultSettings(top=2),
        parse_every("0.2s"),
    )

    def work() -> Round:
        begun = time.perf_counter()
        totals = run_batch(batch)
        return {"seconds": time.perf_counter() - begun, "faces": totals.faces}

    return work


def measure(*, lengths: list[int], sr: str, threads: int, arguments: list[str] | None = None) -> dict[str, Any]:
    """Return the record."""
    rows: list[dict[str, Cell]] = []
    peaks: list[float] = []
    for count in lengths:
        with tempfile.TemporaryDirectory(prefix="faceup-bench-") as folder:
            crops(Path(folder) / "archive", count)
            with Worker("benchmarks.bench_memory", [folder, sr], threads=threads) as worker:
                done = worker.round()
        assert worker.peak_mib is not None
        peaks.append(worker.peak_mib)
        rate = count / done["seconds"]
        rows.append(
            {"crops": count, "peak": peaks[-1], "times": peaks[-1] / peaks[0], "faces": done["faces"], "rate": rate}
        )
    columns = [
        Column("crops", "crops", 0),
        Column("peak", "peak, MiB", 0),
        Column("times", "times the first", 3),
        Column("faces", "faces", 0),
        Column("rate", "crops/s", 1),
    ]
    text = f"peak memory of {lengths[-1]:,} crops, times that of {lengths[0]:,}"
    return method.record(
        "memory",
        f"Peak memory of `faceup batch` over archives of different lengths, SR {sr}.",
        [Table("Memory", columns, rows)],
        [Bar(text, "at most", LIMIT, peaks[-1] / peaks[0], "times", 3)],
        inputs="the pictures of examples/probes, repeated with noise; gallery: examples/gallery",
        rounds=1,
        warm_ups=0,
        threads=threads,
        arguments=arguments,
    )


def main() -> None:
    """Measure, print, write."""
    if sys.argv[1:2] == ["--serve"]:
        serve(lambda: build(*sys.argv[2:]))
        return
    parser = method.options(__doc__, rounds=1)
    parser.add_argument("--crops", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--sr", default="bicubic")
    given = parser.parse_args()
    method.publish(measure(lengths=given.crops, sr=given.sr, threads=given.threads), given.json)


if __name__ == "__main__":
    main()
