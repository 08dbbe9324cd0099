"""Published numbers beside ours: Table 5 of the SISN paper, and rank-1 on SCface."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from faceup.metrics.significance import holm, paired_t, sign_flip_p, verdict
from faceup.recipe import parse_yaml
from faceup.report.evaluation import Shown
from faceup.report.run_folder import Run
from faceup.report.text import DASH, method_name, number

BEST = "sisn"


def published_table5() -> pd.DataFrame:
    """Return Table 5 of the paper: method, sr (our name), candidate_1 to candidate_6, average; NaN is its `-`."""
    return pd.read_csv(io.StringIO(_text("published_table5.csv")), dtype={"method": str, "sr": str})


def _text(name: str) -> str:
    return (resources.files("faceup") / "data_manifests" / name).read_text(encoding="utf-8")


def paper_cells(paper: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the six similarities of every method, a candidate without a face as 0 as in the paper's average."""
    cells = paper.set_index("sr")[[f"candidate_{k}" for k in range(1, 7)]]
    return {str(sr): np.nan_to_num(values.to_numpy(np.float64)) for sr, values in cells.iterrows()}


def published_tables(runs: Sequence[Run]) -> Iterator[Shown]:
    """Yield the tables that a run's recipe asks for."""
    for run in runs:
        recipe = run.record["recipe"]
        wanted = recipe.get("published", "")
        if wanted == "table5":
            yield _beside(run)
            yield _gaps(run)
        if wanted in ("table5", "scface") or recipe.get("data", {}).get("kind") == "scface":
            yield _scface(run)
        elif wanted == "tinyface" or recipe.get("data", {}).get("kind") == "tinyface":
            yield _tinyface(run)


def _means(run: Run, subjects: set[str] | None) -> dict[str, dict[str, float]]:
    """Return, by SR system, each candidate's mean similarity with a probe without a face as 0."""
    rows = run.similarity[run.similarity["genuine"] == 1]
    if subjects is not None:
        rows = rows[rows["probe_subject"].isin(subjects)]
    best = rows.groupby(["sr", "probe_subject", "probe"])["similarity"].max().fillna(0.0)
    means = best.groupby(level=["sr", "probe_subject"]).mean()
    return {label: means[label].to_dict() for label in run.sr if label in means.index.get_level_values(0)}


def _average(values: dict[str, float] | None) -> str:
    return number(float(np.mean(list(values.values())))) if values else DASH


def _beside(run: Run) -> Shown:
    paper = published_table5()
    drawn = set(run.record.get("candidates", [])) or None
    few, everyone = _means(run, drawn), _means(run, None)
    labels = [*paper["sr"], *(label for label in run.sr if label not in set(paper["sr"]))]
    average = dict(zip(paper["sr"], paper["average"], strict=True))
    lines = [
        (
            method_name(label),
            number(average[label]) if label in average else DASH,
            _average(few.get(label)),
            _average(everyone.get(label)),
        )
        for label in labels
    ]
    n_few, n_all = (len(next(iter(m.values()), {})) for m in (few, everyone))
    seed = run.record["seed"]
    note = (
        "Averages with a probe without a face as 0. Paper: six candidates whose names are not published, so these are "
        f"other people, and other weights. Ours: {n_few} candidates drawn with seed {seed}, and all {n_all}. At n = 6 "
        "a mean says little: see the differences."
    )
    headings = ("Method", "Paper, n = 6", f"Ours, n = {n_few}", f"Ours, all {n_all}")
    return Shown("Table 5 of the paper beside ours", headings, tuple(lines), note)


def _gaps(run: Run) -> Shown:
    drawn = set(run.record.get("candidates", [])) or None
    lines = []
    for source, cells in (
        ("paper", paper_cells(published_table5())),
        ("ours, drawn", _arrays(_means(run, drawn))),
        ("ours, all", _arrays(_means(run, None))),
    ):
        if BEST not in cells:
            continue
        gaps = {label: cells[BEST] - values for label, values in cells.items() if label != BEST}
        adjusted = holm([sign_flip_p(gap) for gap in gaps.values()])
        for (label, gap), p in zip(gaps.items(), adjusted, strict=True):
            mean, low, high = paired_t(gap)
            lines.append(
                (
                    f"{BEST} minus {method_name(label)}",
                    source,
                    f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]",
                    f"{sign_flip_p(gap):.4f}",
                    f"{p:.4f}",
                    verdict(p, len(gap)),
                )
            )
    note = (
        "Paired over candidates, a candidate without a face as 0; interval: Student's t, not corrected for several "
        "differences. p: sign-flip test; with Holm's correction within the source. With six candidates p is never "
        "below 2/64, so no difference of the paper can be significant after the correction for six."
    )
    headings = ("Difference", "Source", "Mean [95 %]", "p", "p, Holm", "Verdict")
    return Shown(f"Differences to {BEST}: the paper's and ours", headings, tuple(lines), note)


def _arrays(means: dict[str, dict[str, float]]) -> dict[str, np.ndarray]:
    return {label: np.array([values[s] for s in sorted(values)]) for label, values in means.items()}


def _scface(run: Run) -> Shown:
    lines: list[tuple[str, ...]] = [
        (method_name(label), *(_hits(run, label, 1, d) for d in "123"), "ours", "ours", f"run {run.folder.name}")
        for label in run.sr
    ]
    for entry in _facts("scface")["published_rank1"]:
        values = tuple(_percent(entry, key) for key in ("d1", "d2", "d3"))
        lines.append((str(entry["method"]), *values, str(entry["protocol"]), _status(entry), str(entry["source"])))
    note = (
        "Rank-1 on SCface, ours and as others published it: other recognisers and, in part, other protocols. Protocol "
        "A has all 130 people as gallery and probes, B 80 of them after tuning on the other 50: never compare "
        "A with B. Failures to acquire are misses in ours."
    )
    headings = ("Method", "d1", "d2", "d3", "Protocol", "Status", "Source")
    return Shown("Rank-1 on SCface beside published figures", headings, tuple(lines), note)


def _tinyface(run: Run) -> Shown:
    lines: list[tuple[str, ...]] = [
        (method_name(label), _hits(run, label, 1), _hits(run, label, 5), "ours", f"run {run.folder.name}")
        for label in run.sr
    ]
    for entry in _facts("tinyface")["published_rank1"]:
        values = tuple(_percent(entry, key) for key in ("rank1", "rank5"))
        lines.append((str(entry["method"]), *values, _status(entry), str(entry["source"])))
    note = (
        "TinyFace 1:N. Ours compare with published figures only where all people and all distractors are in the run; "
        "failures to acquire are misses, and others crop and align in ways of their own."
    )
    return Shown(
        "TinyFace beside published figures", ("Method", "Rank-1", "Rank-5", "Status", "Source"), tuple(lines), note
    )


def _facts(kind: str) -> dict[str, Any]:
    content: dict[str, Any] = parse_yaml(_text(f"{kind}.yaml"), f"{kind}.yaml")
    return content


def _percent(entry: dict[str, Any], key: str) -> str:
    return f"{entry[key]:.1f} %" if entry.get(key) is not None else DASH


def _status(entry: dict[str, Any]) -> str:
    return "published" if entry["verified"] else "published, unverified (from memory)"


def _hits(run: Run, label: str, depth: int, distance: str | None = None) -> str:
    """Return the share of an SR system's mated probes whose own person is among the first, with its counts."""
    rows = run.similarity[(run.similarity["sr"] == label) & (run.similarity["genuine"] == 1)]
    if distance is not None:
        told = {row["sample"]: str(row.get("attrs", {}).get("distance", "")) for row in run.record["probes"]}
        rows = rows[[told.get(probe) == distance for probe in rows["probe"]]]
    if not len(rows):
        return DASH
    best = rows.groupby("probe")["rank"].min()
    hits = int((best <= depth).sum())
    return f"{100 * hits / len(best):.1f} %, {hits}/{len(best)}"
