"""`evaluate`: run folders in, metrics, comparisons, thresholds and plots out; no picture is read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from faceup import __version__
from faceup.errors import ConfigError, DataError
from faceup.evaluate.alarms import alarm_rates
from faceup.evaluate.benchmarks import benchmark_rates
from faceup.evaluate.compare import differences
from faceup.evaluate.gain import decompositions
from faceup.evaluate.measure import Settings, at_thresholds, closed_set, verification
from faceup.evaluate.pairs import pair_rates
from faceup.evaluate.plots import need_matplotlib, write_plots
from faceup.evaluate.rows import Row, frame
from faceup.evaluate.splits import split
from faceup.evaluate.systems import read_runs, run_names, system_names, systems
from faceup.evaluate.text import markdown
from faceup.files import refuse_existing, sha256_hex, whole_folder
from faceup.frames import write_csv
from faceup.report.evaluation import FOLDER, RECORD, Shown, tables
from faceup.report.html import write_report
from faceup.report.published import published_tables
from faceup.report.run_folder import Run
from faceup.result import EVALUATION_FILES
from faceup.search import FILE


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What an evaluation found.

    Attributes:
        metrics: the rows of metrics.csv.
        comparisons: those of comparisons.csv.
        gain: those of gain.csv; empty where no run has shared landmarks.
        thresholds: the content of thresholds.json.
        tables: further tables, e.g. published numbers.
        record: the content of evaluation.json.
    """

    metrics: pd.DataFrame
    comparisons: pd.DataFrame
    gain: pd.DataFrame
    thresholds: list[dict[str, object]]
    tables: tuple[Shown, ...]
    record: dict[str, Any] = field(default_factory=dict)

    def shown(self) -> list[Shown]:
        """Return every table for people."""
        return [*tables(self.metrics, self.comparisons, self.gain), *self.tables]


def evaluate(
    runs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str] | None = None,
    *,
    settings: Settings | None = None,
    plots: bool = True,
    reports: bool = True,
    force: bool = False,
    command: Sequence[str] = (),
) -> Results:
    """Measure run folders and write what was found.

    Args:
        runs: folders of `faceup run`; several are compared side by side.
        out: folder to make; without it only the run folders get their evaluation.
        settings: seed, numbers of resamples, operating points.
        plots: draw them; needs matplotlib (the extra `plots`).
        reports: write `evaluation/` into every run folder and make its report.html anew.
        force: replace an earlier evaluation at `out`.
        command: what the user typed, for the record.

    Returns:
        The results of all runs together.

    Raises:
        ConfigError: nothing would be written, or matplotlib is missing.
        DataError: a run folder is damaged, runs cannot be compared, or something cannot be written.
    """
    folders = [Path(run) for run in runs]
    if not folders:
        raise ConfigError("Give at least one run folder to evaluate.")
    if out is None and not reports:
        raise ConfigError("Nothing to write: give an output folder or let the reports be written.")
    if out is None and len(folders) > 1:
        raise ConfigError("Several runs are compared in a folder of their own: give one with --out.")
    if plots:
        need_matplotlib()
    settings = settings or Settings()
    read = read_runs(folders)
    if out is not None:
        refuse_other(Path(out), force=force)
    results = measured(read, settings, command)
    if out is not None:
        with whole_folder(Path(out), lambda existing: refuse_other(existing, force=force)) as staging:
            _write(results, read, staging, plots=plots)
    if reports:
        for folder, run in zip(folders, read, strict=True):
            own = results if len(read) == 1 else measured([run], settings, command)
            with whole_folder(folder / FOLDER, lambda existing: refuse_other(existing, force=True)) as staging:
                _write(own, [run], staging, plots=plots)
            write_report(folder)
    return results


def measured(runs: Sequence[Run], settings: Settings, command: Sequence[str] = ()) -> Results:
    """Return everything that can be said of runs; nothing is written."""
    rows: list[Row] = []
    thresholds: list[dict[str, object]] = []
    whole = [run for run in runs if not run.record["recipe"].get("pairs")]
    if len(whole) < len(runs):
        if whole:
            raise DataError("Runs on listed pairs and runs on whole galleries cannot be compared: evaluate them apart.")
        # Of listed pairs no table of all probes and all people is made: it could be far larger than the list.
        for run, name in zip(runs, run_names(runs), strict=True):
            rows += pair_rates(run, system_names(run, name, len(runs)), settings)
        nothing = pd.DataFrame()
        return Results(frame(rows), nothing, nothing, [], (), _record(runs, settings, command, "pairs"))
    everyone = systems(runs)
    halves = split(runs, everyone, settings.seed)
    for system in everyone:
        rows += closed_set(system, settings)
        rows += verification(system, settings)
        rows += benchmark_rates(system, settings)
        made, kept = at_thresholds(system, halves, settings)
        rows += made
        thresholds += kept
    rows += alarm_rates(runs, everyone, settings)
    return Results(
        frame(rows),
        differences(everyone, settings),
        decompositions(runs, everyone, settings),
        thresholds,
        tuple(
            table
            for run, name in zip(runs, run_names(runs), strict=True)
            for table in published_tables(run.record, run.similarity, name)
        ),
        {
            **_record(runs, settings, command, halves.source),
            "development": sorted(halves.development),
            "test": sorted(halves.test),
        },
    )


def _record(runs: Sequence[Run], settings: Settings, command: Sequence[str], source: str) -> dict[str, Any]:
    return {
        "faceup": __version__,
        "command": list(command),
        "runs": [{"name": name, **_hashes(run.folder)} for name, run in zip(run_names(runs), runs, strict=True)],
        "settings": {name: getattr(settings, name) for name in Settings.__slots__},
        "split": source,
    }


def _hashes(folder: Path) -> dict[str, str]:
    read = {"similarity_sha256": folder / "similarity.csv", "searches_sha256": folder / FILE}
    return {name: sha256_hex(path.read_bytes()) for name, path in read.items() if path.is_file()}


def _write(results: Results, runs: Sequence[Run], folder: Path, *, plots: bool) -> None:
    write_csv(results.metrics, folder / "metrics.csv")
    if len(results.comparisons):
        write_csv(results.comparisons, folder / "comparisons.csv")
    if len(results.gain):
        write_csv(results.gain, folder / "gain.csv")
    drawn: list[str] = []
    pairs_only = any(run.record["recipe"].get("pairs") for run in runs)
    if plots and not pairs_only:
        (folder / "plots").mkdir()
        drawn = write_plots(systems(runs), folder / "plots")
    for name, content in (
        ("thresholds.json", results.thresholds),
        (RECORD, {**results.record, "tables": [_plain(table) for table in results.tables]}),
    ):
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=True, allow_nan=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    text = markdown(results.shown(), results.record, drawn)
    (folder / "metrics.md").write_bytes(text.encode("utf-8", "backslashreplace"))


def _plain(table: Shown) -> dict[str, Any]:
    return {name: getattr(table, name) for name in Shown.__slots__}


def refuse_other(target: Path, *, force: bool) -> None:
    """Raise DataError if an evaluation must not be written to `target`; only a mere evaluation is ever replaced."""
    refuse_existing(target, "`faceup evaluate`", RECORD, re.compile(EVALUATION_FILES).fullmatch, force=force)
