"""How long the command line takes to answer: `faceup --help`, and `faceup run` on two pictures.

    python -m benchmarks.bench_start --json benchmarks/results/start.json

Whole processes, from their start to their end, with the files of Python and of the packages in the page cache. Beside
them stand `python -c pass` and the import of torch, which nothing that runs a torch network can do without.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import method
from benchmarks.method import ROOT, Bar, Cell, Column, Table

GALLERY = ROOT / "examples" / "gallery" / "obama_frontal.jpg"
PROBE = ROOT / "examples" / "probes" / "obama_cam1_1.jpg"
HELP, RUN = "faceup --help", "faceup run, two pictures"
HELP_LIMIT_S, RUN_LIMIT_S = 0.5, 6.0


def commands(folder: Path) -> dict[str, list[str]]:
    """Return the command lines, by what they are called in the table; `folder` gets pictures and run folder."""
    for side, picture in (("gallery", GALLERY), ("probes", PROBE)):
        (folder / side).mkdir()
        (folder / side / picture.name).write_bytes(picture.read_bytes())
    sides = ["--gallery", str(folder / "gallery"), "--probes", str(folder / "probes")]
    return {
        "python -c pass": ["-c", "pass"],
        "import torch": ["-c", "import torch"],
        "import faceup": ["-c", "import faceup"],
        HELP: ["-m", "faceup", "--help"],
        RUN: ["-m", "faceup", "run", *sides, "--out", str(folder / "run"), "--force"],
    }


def measure(*, rounds: int, threads: int, names: list[str] | None = None, arguments: list[str] | None = None) -> Any:
    """Return the record; `names` picks commands, all if None."""
    environment = method.environment(threads)
    with tempfile.TemporaryDirectory(prefix="faceup-bench-") as name:
        systems: dict[str, Callable[[], object]] = {}
        for label, command in commands(Path(name)).items():
            if names is None or label in names:
                systems[label] = partial(_ended, [sys.executable, *command], environment)
        seconds = method.interleaved(systems, rounds=rounds)
    rows: list[dict[str, Cell]] = [{"command": k, "seconds": method.samples(v)} for k, v in seconds.items()]
    limits = {HELP: HELP_LIMIT_S, RUN: RUN_LIMIT_S}
    bars = [
        Bar(f"{label} ends", "at most", limit, method.median(seconds[label]) if label in seconds else None, "s")
        for label, limit in limits.items()
    ]
    return method.record(
        "start",
        "Seconds from the start of a process to its end, with everything it reads in the page cache.",
        [Table("Whole processes", [Column("command", "command"), Column("seconds", "s", 2)], rows)],
        bars,
        inputs="one gallery picture and one probe of examples/, default settings",
        inputs_sha256=method.digest([GALLERY.read_bytes(), PROBE.read_bytes()]),
        rounds=rounds,
        warm_ups=1,
        threads=threads,
        arguments=arguments,
    )


def _ended(line: list[str], environment: dict[str, str]) -> None:
    subprocess.run(line, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)


def main() -> None:
    """Measure, print, write."""
    given = method.options(__doc__, rounds=5).parse_args()
    method.publish(measure(rounds=given.rounds, threads=given.threads), given.json)


if __name__ == "__main__":
    main()
