"""What a probe costs in runs of different lengths: `faceup run` must not grow faster than its probes.

    python -m benchmarks.bench_scale --json benchmarks/results/scale.json

Each length runs in a process of its own, in which a run of a few probes went before. Probes are the example probes of
42 x 56 px, repeated with a little noise, so that no two are the same; the gallery is made likewise of the four example
people under more names. Counted is what comes after the enrolment of the gallery: reading, SR, search, embedding,
comparison, and the writing of the run folder with its report.
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
from faceup.images import at_most, read_image

LIMIT = 1.2
WARM_UP = 8
GALLERY_SIDE = 192
STAGES = ("read", "sr", "detect", "align", "embed")


def pictures(folder: Path, sources: list[Path], people: int, count: int) -> None:
    """Write `count` different pictures `<person>_<number>.jpg` of so many people, made of those of the sources."""
    folder.mkdir(parents=True)
    loaded = [at_most(read_image(path), GALLERY_SIDE).pixels for path in sources]
    rng = np.random.default_rng(SEED)
    for i in range(count):
        person = i % people
        pixels = loaded[person % len(loaded)]
        noisy = np.clip(pixels + rng.integers(-3, 4, pixels.shape), 0, 255).astype(np.uint8)
        PilImage.fromarray(noisy).save(folder / f"p{person:03d}_{i:06d}.jpg", quality=90)


def make(folder: Path, people: int, count: int) -> None:
    """Write the gallery, `count` probes, and a few to warm up with."""
    gallery = sorted((ROOT / "examples" / "gallery").glob("*.jpg"))
    probes = [ROOT / "examples" / "probes" / f"{path.stem.split('_')[0]}_cam1_paper.jpg" for path in gallery]
    pictures(folder / "gallery", gallery, people, people)
    pictures(folder / "warm", probes, people, WARM_UP)
    pictures(folder / "probes", probes, people, count)


def build(folder: Path, sr: str) -> Callable[[], Round]:
    """Return what runs the probes of a folder once and saves the result."""
    from faceup.pipeline import listed, run_listed
    from faceup.recipe import RunRecipe, make_recipe
    from faceup.runtime.threads import wait_passively

    wait_passively()
    recipe = make_recipe(RunRecipe, {"sr": (sr,), "device": "cpu"})

    def run(probes: Path) -> Round:
        enrolled = 0.0

        def progress(step: str, done: int, total: int) -> None:
            nonlocal enrolled
            if step == "gallery" and done == total:
                enrolled = time.perf_counter()

        known, wanted = listed(recipe, folder / "gallery", probes)
        result = run_listed(recipe, known, wanted, progress=progress)
        ended = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="faceup-bench-") as name:
            begun = time.perf_counter()
            result.save(Path(name) / "run")
            saved = time.perf_counter() - begun
        stages = {stage: result.record["timings"].get(stage, 0.0) for stage in STAGES}
        return {"run_s": ended - enrolled, "save_s": saved, "found": int(result.table["detected"].iloc[0]), **stages}

    run(folder / "warm")
    return lambda: run(folder / "probes")


def measure(
    *, lengths: list[int], people: int, sr: str, rounds: int, threads: int, arguments: list[str] | None = None
) -> dict[str, Any]:
    """Return the record."""
    rows: list[dict[str, Cell]] = []
    seconds: list[float] = []
    for count in lengths:
        with tempfile.TemporaryDirectory(prefix="faceup-bench-") as name:
            folder = Path(name) / "pictures"
            make(folder, people, count)
            with Worker("benchmarks.bench_scale", [str(folder), sr], threads=threads) as worker:
                done = [worker.round() for _ in range(rounds)]
        seconds.append(method.median([one["run_s"] + one["save_s"] for one in done]))
        per_probe = {
            key: 1000 * method.median([one[key] for one in done]) / count for key in ("run_s", "save_s", *STAGES)
        }
        rows.append(
            {
                "probes": count,
                "all": method.samples(1000 * (one["run_s"] + one["save_s"]) / count for one in done),
                **per_probe,
                "found": done[-1]["found"],
                "peak": worker.peak_mib,
            }
        )
    columns = [
        Column("probes", "probes", 0),
        Column("all", "ms a probe", 2),
        Column("run_s", "of it run"),
        Column("save_s", "of it saving"),
        *(Column(stage, stage) for stage in STAGES),
        Column("found", "faces found", 0),
        Column("peak", "peak, MiB", 0),
    ]
    few, many = lengths[0], lengths[-1]
    text = f"cost of a probe among {many:,}, that among {few:,}"
    return method.record(
        "scale",
        f"Cost of a probe in `faceup run`, SR {sr}, against {people} gallery pictures, by how many probes there are.",
        [Table("Milliseconds a probe", columns, rows)],
        [Bar(text, "at most", LIMIT, (seconds[-1] / many) / (seconds[0] / few), "times", 3)],
        inputs=f"pictures of examples/, repeated with noise: {people} gallery pictures, probes of 42 x 56 px",
        rounds=rounds,
        warm_ups=1,
        threads=threads,
        notes=["The stages hold the gallery's share, too, which is what makes them larger where there are few probes."],
        arguments=arguments,
    )


def main() -> None:
    """Measure, print, write."""
    if sys.argv[1:2] == ["--serve"]:
        serve(lambda: build(Path(sys.argv[2]), sys.argv[3]))
        return
    parser = method.options(__doc__, rounds=1)
    parser.add_argument("--probes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--sr", default="none")
    given = parser.parse_args()
    done = measure(
        lengths=given.probes, people=given.people, sr=given.sr, rounds=given.rounds, threads=given.threads
    )  # fmt: skip
    method.publish(done, given.json)


if __name__ == "__main__":
    main()
