"""Published numbers beside those of a run: Table 5 of the SISN paper, and rank-1 on SCface and TinyFace."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from faceup.metrics.significance import holm, paired_t, sign_flip_p, verdict
from faceup.metrics.table5 import DECIMALS
from faceup.recipe import parse_yaml
from faceup.report.evaluation import Shown
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


@dataclass(frozen=True, slots=True)
class _Ours:
    """What stands beside published numbers: the record and the genuine comparisons of a run, and its name."""

    record: Mapping[str, Any]
    genuine: pd.DataFrame
    name: str

    @property
    def sr(self) -> list[str]:
        return list(self.record["recipe"]["sr"])


def published_tables(record: Mapping[str, Any], similarity: pd.DataFrame, name: str) -> Iterator[Shown]:
    """Yield the tables that a run's recipe asks for.

    Args:
        record: the content of run.json.
        similarity: its comparisons, in the columns of similarity.csv.
        name: of the run.
    """
    recipe = record["recipe"]
    wanted, kind = recipe.get("published", ""), recipe.get("data", {}).get("kind")
    if recipe.get("pairs") or not (wanted or kind in ("scface", "tinyface")):
        return
    run = _Ours(record, similarity[similarity["genuine"] == 1], name)
    if wanted == "table5":
        yield _beside(run)
        yield _gaps(run)
    if wanted in ("table5", "scface") or kind == "scface":
        yield _scface(run)
    elif wanted == "tinyface" or kind == "tinyface":
        yield _tinyface(run)


def _means(run: _Ours, subjects: set[str] | None) -> dict[str, dict[str, float]]:
    """Return, by SR system, each candidate's mean similarity with a probe without a face as 0."""
    rows = run.genuine
    if subjects is not None:
        rows = rows[rows["probe_subject"].isin(subjects)]
    # With the decimals of similarity.csv, so that a run and its folder read back give the same.
    seen = rows["similarity"].astype(float).round(DECIMALS)
    best = seen.groupby([rows[key] for key in ("sr", "probe_subject", "probe")]).max().fillna(0.0)
    means: dict[str, dict[str, float]] = {}
    each = best.groupby(level=["sr", "probe_subject"]).mean().reset_index()
    for label, subject, mean in zip(each["sr"], each["probe_subject"], each["similarity"], strict=True):
        means.setdefault(label, {})[subject] = mean
    return {label: means[label] for label in run.sr if label in means}


def _average(values: dict[str, float] | None) -> str:
    return number(float(np.mean(list(values.values())))) if values else DASH


def _beside(run: _Ours) -> Shown:
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


def _gaps(run: _Ours) -> Shown:
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


def _scface(run: _Ours) -> Shown:
    lines: list[tuple[str, ...]] = [
        (method_name(label), *(_hits(run, label, 1, d) for d in "123"), "ours", "ours", f"run {run.name}")
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


def _tinyface(run: _Ours) -> Shown:
    lines: list[tuple[str, ...]] = [
        (method_name(label), _hits(run, label, 1), _hits(run, label, 5), "ours", f"run {run.name}") for label in run.sr
    ]
    for entry in _facts("tinyface")["published_rank1"]:
        values = tuple(_percent(entry, key) for key in ("rank1", "rank5"))
        lines.append((str(entry["method"]), *values, _status(entry), str(entry["source"])))
    note = (
        "TinyFace 1:N. Ours compare with published figures only where all people and all distractors are in the run; "
        "failures to acquire are misses, and others crop and align in ways of their own. Rank-5: an own picture among "
        "the first five pictures, of however few people; an evaluation counts people."
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


def _hits(run: _Ours, label: str, depth: int, distance: str | None = None) -> str:
    """Return the share of an SR system's mated probes with an own picture among the first, and its counts."""
    rows = run.genuine[run.genuine["sr"] == label]
    if distance is not None:
        told = {row["sample"]: str(row.get("attrs", {}).get("distance", "")) for row in run.record["probes"]}
        rows = rows[[told.get(probe) == distance for probe in rows["probe"]]]
    if not len(rows):
        return DASH
    best = rows["rank"].astype(float).groupby(rows["probe"]).min()
    hits = int((best <= depth).sum())
    return f"{100 * hits / len(best):.1f} %, {hits}/{len(best)}"
