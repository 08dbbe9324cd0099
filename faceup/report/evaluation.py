"""The results of `faceup evaluate` as tables for people, for metrics.md and for the HTML report alike."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from faceup.errors import DataError
from faceup.files import plain_text
from faceup.images import encode_png, read_image
from faceup.report.run_folder import damaged
from faceup.report.text import DASH, method_name

FOLDER = "evaluation"
RECORD = "evaluation.json"
PLOTS = {
    "cmc": "CMC: share of probes whose person is among the first k",
    "det": "DET: false non-match rate against false match rate, log axes",
    "scores": "Distributions of the cosines of the same person and of other people",
    "eye_distance": "Similarity by the distance between the eyes",
}
NUMBERS = {
    "metrics.csv": ("value", "low", "high", "count", "total", "people"),
    "comparisons.csv": ("difference", "low", "high", "people", "p", "p_holm"),
    "gain.csv": ("value", "low", "high", "people"),
}
_TITLES = {
    "average_paper": "Similarity, not found = 0",
    "average_detected": "Similarity, found only",
    "fta": "Failures to acquire",
    "rank1": "Rank-1",
    "rank5": "Rank-5",
    "rank10": "Rank-10",
    "eer": "EER",
    "d_prime": "d'",
    "map": "mAP",
    "flagged": "Flagged",
}
_COUNTED = frozenset({"fta", "rank1", "rank5", "rank10", "fmr", "fnmr", "fpir", "fnir", "flagged", "fta_pairs"})


@dataclass(frozen=True, slots=True)
class Shown:
    """A table as people read it.

    Attributes:
        title: what it is.
        headings: of the columns; the first names the rows.
        rows: one text per column.
        note: how to read it, and what weakens it.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of the report.

    Attributes:
        name: of its file.
        title: what it shows.
        uri: `data:` URI of the PNG.
        width: in pixels.
        height: in pixels.
    """

    name: str
    title: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `faceup evaluate` wrote into a run folder."""

    tables: tuple[Shown, ...]
    plots: tuple[Plot, ...]


def read_evaluation(run: Path) -> Evaluation | None:
    """Return the evaluation that lies in a run folder, None without one.

    Raises:
        DataError: a file of it is damaged.
    """
    folder = run / FOLDER
    if not (folder / RECORD).is_file():
        return None
    frames = {name: read_frame(folder / name) for name in NUMBERS if (folder / name).is_file()}
    if "metrics.csv" not in frames:
        raise damaged(folder / "metrics.csv", "missing")
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        made = tuple(tables(frames["metrics.csv"], frames.get("comparisons.csv"), frames.get("gain.csv")))
        made += tuple(Shown(str(t["title"]), tuple(map(str, t["headings"])),
                            tuple(tuple(map(str, row)) for row in t["rows"]), str(t["note"]))
                      for t in record.get("tables", []))  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(folder, f"not an evaluation ({type(error).__name__}: {error})") from error
    return Evaluation(made, tuple(_plots(folder / "plots")))


def read_frame(path: Path) -> pd.DataFrame:
    """Read a CSV file of an evaluation, texts as they were before spreadsheets were kept from running them."""
    try:
        read: pd.DataFrame = pd.read_csv(path, dtype=str, keep_default_na=False, na_filter=False, encoding="utf-8")
        for column in read.columns:
            if column in NUMBERS[path.name]:
                read[column] = [float(text or "nan") for text in read[column]]
            else:
                read[column] = [plain_text(cell) for cell in read[column]]
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} of the evaluation cannot be read ({error}): evaluate the run again.") from error
    return read


def _plots(folder: Path) -> Iterator[Plot]:
    for name, title in PLOTS.items():
        path = folder / f"{name}.png"
        if path.is_file():
            if path.resolve().parent != path.parent.resolve():
                raise damaged(path, "a link to a file outside the evaluation")
            # Encoded anew, so that nothing but pixels gets from a file into the page.
            image = read_image(path, max_pixels=8_000_000)
            uri = "data:image/png;base64," + base64.b64encode(encode_png(image)).decode("ascii")
            yield Plot(name, title, uri, image.width, image.height)


def tables(metrics: pd.DataFrame, comparisons: pd.DataFrame | None, gain: pd.DataFrame | None) -> Iterator[Shown]:
    """Yield the tables that an evaluation has data for.

    Args:
        metrics: metrics.csv.
        comparisons: comparisons.csv.
        gain: gain.csv.
    """
    everything = metrics[(metrics["part"] == "all")]
    whole = everything[everything["stratum"] == "all"]
    picked = [
        m for m in ("average_paper", "average_detected", "fta", "rank1", "rank5", "eer") if m in set(whole["metric"])
    ]
    headings = [(m, "") for m in picked] + [("tar", at) for at in dict.fromkeys(whole[whole["metric"] == "tar"]["at"])]
    headings += [("d_prime", "")] if "d_prime" in set(whole["metric"]) else []
    if len(whole):
        yield _by_system(
            "Systems, all probes",
            whole,
            headings,
            "95 % intervals over people. Similarity: mean over people of the mean over their probes. Ties count "
            "against the probe; a failure to acquire is a miss and is not in EER, TAR and d'.",
        )
    for key, title, note in (
        ("distance", "By distance", "1, 2, 3 are the distances that the names of the probes tell."),
        ("camera", "By camera", ""),
        ("eyes", "By eye distance", "In pixels of the picture as it came, as found in the reference's picture."),
        ("sharpness", "By sharpness", "Thirds of the variance of the Laplacian of the reference's aligned face."),
        ("detector score", "By detector score", "Thirds of the detector's confidence in the reference's picture."),
        ("no face", "Where the reference found no face", ""),
    ):
        part = everything[everything["stratum"].str.startswith(key)]
        if len(part):
            yield _strata(title, part, note)
    benchmark = metrics[metrics["part"] == "benchmark"]
    if len(benchmark):
        yield _by_system(
            "Search, as benchmarks print it",
            benchmark,
            list(dict.fromkeys(zip(benchmark["metric"], benchmark["at"], strict=True))),
            "mAP: of mated probes, among gallery pictures (TinyFace). TPIR20 (QMUL-SurvFace, only with probes of "
            "people who are not enrolled): own person among the first 20 and at or above the threshold, which is taken "
            "on these very searches. Failures to acquire are misses.",
        )
    test = metrics[metrics["part"] == "test"]
    closed = test[test["metric"].isin(["fmr", "fnmr", "far", "frr"])]
    if len(closed):
        yield _points(
            "At thresholds of the development half, judged on the test half",
            closed,
            ["fmr", "fnmr", "far", "frr"],
            "The threshold was chosen on other people (thresholds.json). FMR and FNMR: of the comparisons "
            "made. FAR = FMR (1 - FTA) and FRR = FTA + FNMR (1 - FTA): of all attempts.",
        )
    opened = test[test["metric"].isin(["fpir", "fnir"])]
    if len(opened):
        searched = opened[opened["metric"] == "fpir"]["note"].str.extract("(N = .*)")[0].dropna()
        notes = "; ".join(dict.fromkeys(searched))
        yield _points(
            "Open-set search at thresholds of the development half",
            opened,
            ["fpir", "fnir"],
            f"FNIR with rank 1: failures to acquire are misses. FPIR: of non-mated searches ({notes}).",
        )
    if comparisons is not None and len(comparisons):
        yield _comparisons(comparisons)
    if gain is not None and len(gain):
        yield _gain(gain)
    alarm = metrics[(metrics["part"] == "alarm")]
    flagged = metrics[metrics["metric"] == "flagged"]
    if len(alarm):
        joined = pd.concat([flagged.assign(at="share"), alarm])
        columns = [("flagged", "share"), *(("rank1", at) for at in ("not flagged", "flagged", "both"))]
        yield _by_system(
            "Hallucination alarm: rank-1 with and without flagged probes",
            joined,
            columns,
            "Probes in which a face was found. A flag says that the picture departs from what came more than is usual "
            "where identity is kept; no flag is no clearance.",
            lambda metric, at: "Flagged" if metric == "flagged" else f"Rank-1, {at}",
        )
    pairs = metrics[metrics["part"] == "pairs"]
    if len(pairs):
        yield _by_system(
            "Verification on the listed pairs",
            pairs,
            list(dict.fromkeys(zip(pairs["metric"], pairs["at"], strict=True))),
            "Accuracy: mean over the folds, each at the threshold of the other folds, with the standard error; pairs "
            "that could not be compared are refused.",
        )


def _number(value: float, metric: str) -> str:
    if pd.isna(value):
        return DASH
    return f"{value:.2f}" if metric == "d_prime" else f"{value:.3f}"


def _cell(rows: pd.DataFrame) -> str:
    if not len(rows):
        return DASH
    row = rows.iloc[0]
    metric = str(row["metric"])
    text = _number(row["value"], metric)
    if metric in _COUNTED and not pd.isna(row["count"]) and not pd.isna(row["total"]):
        text = f"{row['count']:.0f}/{row['total']:.0f}, {text}"
    if not pd.isna(row["low"]):
        text += f" [{_number(row['low'], metric)}, {_number(row['high'], metric)}]"
    return text + (" *" if "errors" in str(row["note"]) and "only" in str(row["note"]) else "")


def _title(metric: str, at: str) -> str:
    name = {"tar": "TAR at", "tpir20": "TPIR20 at", "accuracy": "Accuracy,", "fta_pairs": "Pairs not compared"}.get(
        metric
    )
    return f"{name or _TITLES.get(metric, metric.upper())} {at}".strip()


def _name(system: str) -> str:
    run, colon, label = system.rpartition(": ")
    return f"{run}{colon}{method_name(label)}" if colon else method_name(system)


def _starred(rows: pd.DataFrame, note: str) -> str:
    notes = "; ".join(rows["note"].astype(str)).split("; ")
    few = dict.fromkeys(text for text in notes if text.startswith("only") and "errors" in text)
    return f"{note} * {'; '.join(few)}." if few else note


def _by_system(
    title: str,
    rows: pd.DataFrame,
    columns: Sequence[tuple[str, str]],
    note: str,
    heading: Callable[[str, str], str] = _title,
) -> Shown:
    lines = []
    for system in dict.fromkeys(rows["system"]):
        own = rows[rows["system"] == system]
        cells = [_cell(own[(own["metric"] == m) & (own["at"] == at)]) for m, at in columns]
        lines.append((_name(system), *cells))
    return Shown(title, ("Method", *(heading(m, at) for m, at in columns)), tuple(lines), _starred(rows, note))


def _strata(title: str, rows: pd.DataFrame, note: str) -> Shown:
    metrics = [m for m in ("average_paper", "fta", "rank1", "eer") if m in set(rows["metric"])]
    lines = []
    for stratum in dict.fromkeys(rows["stratum"]):
        for system in dict.fromkeys(rows["system"]):
            own = rows[(rows["stratum"] == stratum) & (rows["system"] == system)]
            if len(own):
                lines.append((stratum, _name(system), *(_cell(own[own["metric"] == m]) for m in metrics)))
    return Shown(title, ("Probes", "Method", *(_title(m, "") for m in metrics)), tuple(lines), note)


def _points(title: str, rows: pd.DataFrame, metrics: list[str], note: str) -> Shown:
    lines = []
    for at in dict.fromkeys(rows["at"]):
        for system in dict.fromkeys(rows["system"]):
            own = rows[(rows["at"] == at) & (rows["system"] == system)]
            if len(own):
                lines.append((f"chosen for {at}", _name(system), *(_cell(own[own["metric"] == m]) for m in metrics)))
    return Shown(title, ("Threshold", "Method", *(m.upper() for m in metrics)), tuple(lines), _starred(rows, note))


def _comparisons(rows: pd.DataFrame) -> Shown:
    lines = [
        (
            f"{_name(row['first'])} minus {_name(row['second'])}",
            str(row["stratum"]),
            _TITLES.get(row["metric"], row["metric"]),
            f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]",
            f"{row['p']:.4f}",
            f"{row['p_holm']:.4f}",
            str(row["verdict"]),
        )
        for row in rows.to_dict("records")
    ]
    note = (
        "Paired over people. p: sign-flip test, two-sided; with Holm's correction for all pairs of systems of the same "
        "metric and stratum. The verdict is at 5 % after correction."
    )
    headings = ("Difference", "Probes", "Of", "Mean [95 %]", "p", "p, Holm", "Verdict")
    return Shown("Differences between systems", headings, tuple(lines), note)


def _gain(rows: pd.DataFrame) -> Shown:
    names = {
        "gain": "Gain",
        "better_embedding": "Better embedding",
        "faces": "More or better found faces",
        "more_found": "of these: more faces found",
        "landmarks": "of these: landmarks",
    }
    lines = []
    keys = ["system", "against", "stratum"]
    for key in dict.fromkeys(map(tuple, rows[keys].to_numpy().tolist())):
        own = rows[(rows[keys] == list(key)).all(axis=1)].set_index("part")
        cells = [
            f"{own.loc[p, 'value']:+.4f} [{own.loc[p, 'low']:+.3f}, {own.loc[p, 'high']:+.3f}]"
            if p in own.index
            else DASH
            for p in names
        ]
        lines.append((f"{_name(key[0])} against {_name(key[1])}", key[2], *cells))
    note = (
        "Of the average similarity with a probe without a face as 0. Better embedding: the same landmarks, those of "
        "the bicubic picture, for both. The first two parts add up to the gain, the last two to the second."
    )
    return Shown("Where the gain comes from", ("Method", "Probes", *names.values()), tuple(lines), note)
