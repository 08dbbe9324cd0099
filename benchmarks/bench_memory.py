"""Peak memory of `faceup batch` over archives of different lengths: it must not grow with them.

    python benchmarks/bench_memory.py --crops 200 10000 --json bench_memory.json

Each length runs in a process of its own, with the same settings and a gallery of the four example people; crops are
the example probes, repeated with a little noise, so that no two are the same.
`--sr` decides how long it takes; memory is what the kernel counted at most (VmHWM).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FORMAT = {"bench": "memory", "format": 1}


def crops(folder: Path, count: int) -> Path:
    """Write `count` different crops in folders of 1,000."""
    import numpy as np
    from PIL import Image

    from faceup.images import read_image

    sources = [read_image(path).pixels for path in sorted((ROOT / "examples" / "probes").glob("*.jpg"))]
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = sources[i % len(sources)]
        noise = rng.integers(-3, 4, pixels.shape)
        path = folder / f"cam{i // 1000:03d}" / f"{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(path, quality=90)
    return folder


def measure(archive: str, job: str, sr: str, pipe: Any) -> None:
    """Run one job and send its peak memory in MiB and its seconds."""
    import torch

    torch.set_num_threads(1)
    from faceup.archive.job import Batch, run_batch
    from faceup.archive.settings import FaceSettings, ResultSettings, parse_every

    batch = Batch(
        ROOT / "examples" / "gallery",
        [Path(archive)],
        Path(job),
        FaceSettings(sr=sr),
        ResultSettings(top=2),
        parse_every("0.2s"),
    )
    begun = time.perf_counter()
    totals = run_batch(batch)
    seconds = time.perf_counter() - begun
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    pipe.send({"peak_mib": peak / 1024, "seconds": seconds, "faces": totals.faces, "appearances": totals.appearances})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=int, nargs="+", default=[200, 10_000])
    parser.add_argument("--sr", default="bicubic")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    context = multiprocessing.get_context("spawn")
    rows = []
    for count in given.crops:
        folder = Path(tempfile.mkdtemp(prefix="faceup-bench-"))
        try:
            here, there = context.Pipe()
            archive = crops(folder / "archive", count)
            process = context.Process(target=measure, args=(str(archive), str(folder / "job"), given.sr, there))
            process.start()
            there.close()
            rows.append({"crops": count, **here.recv()})
            process.join()
        finally:
            shutil.rmtree(folder)
    print(f"sr {given.sr}, one thread\n")
    print("| crops | peak, MiB | times the first | faces | crops a second |\n|---|---|---|---|---|")
    for row in rows:
        ratio = row["peak_mib"] / rows[0]["peak_mib"]
        rate = row["crops"] / row["seconds"]
        print(f"| {row['crops']} | {row['peak_mib']:.0f} | {ratio:.3f} | {row['faces']} | {rate:.1f} |")
    if given.json:
        given.json.write_text(json.dumps({**FORMAT, "sr": given.sr, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
