"""What is left of the throughput when another process keeps one core busy.

    python -m benchmarks.bench_busy --json benchmarks/results/busy.json

faceup reads the example probes, searches them for faces, and embeds those, set up as its command line does; beside it
facenet-pytorch as it comes searches the same pictures. Each system runs in a process of its own, alone and beside a
process that does nothing but count, in turn. In proportion means: with one of N cores taken, (N - 1) / N is left.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

from benchmarks import method
from benchmarks.method import ROOT, Bar, Cell, Column, Table
from benchmarks.workers import Round, Worker, serve

PROBES = ROOT / "examples" / "probes"
SYSTEMS = ("faceup", "facenet-pytorch")
CONDITIONS = ("alone", "busy")


def build_faceup(repeats: int, threads: int) -> Any:
    """Return what reads, searches and embeds the probes `repeats` times, as the command line sets it up."""
    from faceup.runtime.threads import wait_passively

    wait_passively()
    import torch

    from faceup import registry
    from faceup.acquire import Stages, acquire
    from faceup.manifest import read_samples

    torch.set_num_threads(threads)
    options = registry.Options(device="cpu")
    none = registry.build("sr", "none", options)
    stages = Stages(registry.build("detect", "mtcnn", options), registry.build("embed", "mobilefacenet", options))
    samples = [sample for _ in range(repeats) for sample in read_samples(PROBES, "probe").samples]

    def work() -> Round:
        begun = time.perf_counter()
        acquire(samples, none, stages)
        return {"seconds": time.perf_counter() - begun, "pictures": len(samples)}

    return work


def build_facenet(repeats: int, threads: int) -> Any:
    """Return what searches the probes one by one with facenet-pytorch, nothing about it changed."""
    import torch
    from facenet_pytorch import MTCNN
    from PIL import Image

    torch.set_num_threads(threads)
    detector = MTCNN(keep_all=True)
    paths = [path for _ in range(repeats) for path in sorted(PROBES.glob("*.jpg"))]

    def work() -> Round:
        begun = time.perf_counter()
        for path in paths:
            detector.detect(Image.open(path).convert("RGB"), landmarks=True)
        return {"seconds": time.perf_counter() - begun, "pictures": len(paths)}

    return work


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep one core busy as long as the context lasts."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(threads: list[int], *, rounds: int, repeats: int, arguments: list[str] | None = None) -> dict[str, Any]:
    """Return the record."""
    keys = [(system, count) for system in SYSTEMS for count in threads]
    rates: dict[tuple[str, int, str], list[float]] = {(s, t, c): [] for s, t in keys for c in CONDITIONS}
    with ExitStack() as stack:
        workers = {
            (system, count): stack.enter_context(
                Worker("benchmarks.bench_busy", [system, str(repeats), str(count)], threads=count)
            )
            for system, count in keys
        }
        for worker in workers.values():
            worker.round()
        for system, count, condition in method.in_turn(list(rates), rounds):
            with busy_process() if condition == "busy" else nullcontext():
                done = workers[system, count].round()
            rates[system, count, condition].append(done["pictures"] / done["seconds"])
    cores = method.machine()["cores"]
    rows: list[dict[str, Cell]] = []
    bars = []
    for system, count in keys:
        alone, busy = (rates[system, count, condition] for condition in CONDITIONS)
        kept = method.median(busy) / method.median(alone)
        rows.append(
            {
                "system": system, "threads": count, "alone": method.samples(alone), "busy": method.samples(busy),
                "kept": 100 * kept,
            }
        )  # fmt: skip
        if system == "faceup":
            share = 100 * (cores - 1) / cores
            text = f"faceup, {count} {'thread' if count == 1 else 'threads'}, beside one busy process, keeps"
            bars.append(Bar(text, "at least", share, 100 * kept, "%", 0))
    columns = [
        Column("system", "system"),
        Column("threads", "threads", 0),
        Column("alone", "pictures/s alone", 1),
        Column("busy", "pictures/s beside a busy process", 1),
        Column("kept", "kept, %", 0),
    ]
    return method.record(
        "busy",
        "Reading, face search and (faceup) embedding, alone and beside a process that keeps one core busy.",
        [Table("Throughput beside a busy process", columns, rows)],
        bars,
        inputs=f"the {len(list(PROBES.glob('*.jpg')))} pictures of examples/probes, {repeats} times a round",
        inputs_sha256=method.digest(path.read_bytes() for path in sorted(PROBES.glob("*.jpg"))),
        rounds=rounds,
        warm_ups=1,
        threads=max(threads),
        notes=["facenet-pytorch only searches; faceup also aligns and embeds the faces."],
        arguments=arguments,
    )


def main() -> None:
    """Measure, print, write."""
    if sys.argv[1:2] == ["--serve"]:
        system, repeats, threads = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
        build = build_faceup if system == "faceup" else build_facenet
        serve(lambda: build(repeats, threads))
        return
    parser = method.options(__doc__, rounds=5, threads=None)
    parser.add_argument("--repeats", type=int, default=2, help="how often a round goes through the probes [2]")
    given = parser.parse_args()
    counts = method.thread_counts(given.threads)
    method.publish(measure(counts, rounds=given.rounds, repeats=given.repeats), given.json)


if __name__ == "__main__":
    main()
