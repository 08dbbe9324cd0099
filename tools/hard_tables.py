"""The page of tools/measure_hard.py: statistics of the kept vectors, with intervals over subjects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from faceup.metrics.bootstrap import draw_weights
from faceup.metrics.verification import threshold_at_fmr

Array = npt.NDArray[np.float64]
FMR = 1e-3
ROUNDS = 2000
TEACHER, STUDENT, BASE = "mobilefacenet", "mobilefacenet-lr", "bicubic"
HARD = "hard"
# Number of the last portrait of `faces256` that a recipe's `train` names.
LAST_TRAINED = 1399
ORDER = ("none", "bicubic", "sisn", "sisn-surveillance")
# Bins of the impostor scores, from which their 99.9th percentile is read; scores are cosines, and one below 0 is in the
# first bin.
BINS = np.append(-2, np.linspace(0, 1.0001, 2001))
# The bars of the project for the combination that it ships as its default.
GENUINE_BAR, ORIGINALS_BAR, FMR_BAR = 0.10, 0.005, 1.25
COLUMNS = ("rank-1", "mean genuine", "impostor mean", "impostor 99.9 %", "FMR", "TAR at 99.9 %", "d'")


@dataclass(frozen=True, slots=True)
class Judge:
    """Which recogniser sees the gallery and which the probes."""

    title: str
    gallery: str
    probes: str


class Scores:
    """All comparisons of one set of probes, summed up by the probes' subject, so that subjects can be resampled.

    Args:
        probes: (seeds * S, D) unit rows, subject by subject for each seed; NaN where no face was found.
        gallery: (G, D) unit rows; the first S are those of the subjects, in the same order.
        subjects: S.
    """

    def __init__(self, probes: Array, gallery: Array, subjects: int) -> None:
        scores = probes @ gallery.T
        owner = np.tile(np.arange(subjects), len(probes) // subjects)
        rows = np.arange(len(scores))
        self.genuine = scores[rows, owner]
        others = scores.copy()
        others[rows, owner] = np.nan
        self.owner, self.subjects = owner, subjects
        self.found = ~np.isnan(self.genuine)
        best = np.full(len(scores), np.inf)
        best[self.found] = np.nanmax(others[self.found], axis=1)
        self.hits = self.found & (self.genuine > best)
        self.impostor = others
        self.counts = self._summed(~np.isnan(others))
        self.sums = self._summed(np.nan_to_num(others))
        self.squares = self._summed(np.nan_to_num(others) ** 2)

    def _summed(self, values: npt.NDArray[np.generic]) -> Array:
        summed = np.bincount(self.owner, values.sum(axis=1).astype(np.float64), minlength=self.subjects)
        return np.asarray(summed, np.float64)

    def _by_subject(self, values: npt.NDArray[np.generic]) -> Array:
        return np.asarray(np.bincount(self.owner, values.astype(np.float64), minlength=self.subjects), np.float64)

    def rank1(self, weights: Array) -> Array:
        """Return the share of all probes that are first; one without a face is a miss."""
        return (weights @ self._by_subject(self.hits)) / (weights @ self._by_subject(np.ones(len(self.hits))))

    def mean_genuine(self, weights: Array) -> Array:
        """Return the mean similarity to the own photo over the probes with a face."""
        top = self._by_subject(np.where(self.found, np.nan_to_num(self.genuine), 0))
        return (weights @ top) / (weights @ self._by_subject(self.found))

    def impostor_mean(self, weights: Array) -> Array:
        """Return the mean similarity to the photos of others."""
        return (weights @ self.sums) / (weights @ self.counts)

    def percentile(self, weights: Array) -> Array:
        """Return the 99.9th percentile of the impostor scores, to half a thousandth."""
        histograms = np.stack(
            [
                np.histogram(self.impostor[(self.owner == s) & self.found], BINS)[0].astype(np.float64)
                for s in range(self.subjects)
            ]
        )
        cumulated = np.cumsum(weights @ histograms, axis=1)
        return BINS[1:][np.argmax(cumulated >= 0.999 * cumulated[:, -1:], axis=1)]

    def accepted(self, weights: Array) -> Array:
        """Return the share of all probes above the 99.9th percentile of the impostors; one without a face is not."""
        over = np.nan_to_num(self.genuine, nan=-2.0) > self.percentile(weights)[:, None]
        each = weights[:, self.owner]
        return np.asarray((each * over).sum(axis=1) / each.sum(axis=1), np.float64)

    def fmr(self, threshold: float) -> Callable[[Array], Array]:
        """Return the false match rate at a threshold as a function of the weights."""
        over = self._summed(np.nan_to_num(self.impostor, nan=-2.0) >= threshold)
        return lambda weights: (weights @ over) / (weights @ self.counts)

    def separation(self, weights: Array) -> Array:
        """Return d': the difference of the means in pooled standard deviations."""
        mean, other = self.mean_genuine(weights), self.impostor_mean(weights)
        square = self._by_subject(np.where(self.found, np.nan_to_num(self.genuine) ** 2, 0))
        spread = (weights @ square) / (weights @ self._by_subject(self.found)) - mean**2
        others = (weights @ self.squares) / (weights @ self.counts) - other**2
        return np.asarray((mean - other) / np.sqrt((spread + others) / 2), np.float64)


@dataclass(frozen=True, slots=True)
class System:
    """A measured system: its values on the data (row 0) and on every resample of the subjects."""

    values: dict[str, Array]
    probes: int
    found: int

    def value(self, column: str) -> float:
        """Return the value on the data themselves."""
        return float(self.values[column][0])

    def minus(self, other: System, column: str) -> tuple[float, float, float]:
        """Return the paired difference to another system and its 95 % interval."""
        difference = self.values[column] - other.values[column]
        low, high = np.nanquantile(difference[1:], [0.025, 0.975])
        return float(difference[0]), float(low), float(high)


def measured(scores: Scores, threshold: float, weights: Array) -> System:
    """Return everything that the tables show of a system."""
    statistics = (scores.rank1, scores.mean_genuine, scores.impostor_mean, scores.percentile, scores.fmr(threshold),
                  scores.accepted, scores.separation)  # fmt: skip
    values = {name: statistic(weights) for name, statistic in zip(COLUMNS, statistics, strict=True)}
    return System(values, len(scores.found), int(scores.found.sum()))


class Measurement:
    """The vectors of a work folder, and the systems made of them."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.subjects = len(json.loads((work / "people.json").read_text()))
        self.weights = np.vstack([np.ones(self.subjects), draw_weights(self.subjects, ROUNDS, 0)])
        self.known: dict[tuple[Judge, str, str], System] = {}
        self.thresholds: dict[tuple[Judge, bool], float] = {}
        folders = sorted(path.name for path in (work / "vectors").iterdir())
        self.judges = [Judge(TEACHER, TEACHER, TEACHER)]
        if STUDENT in folders:
            self.judges += [
                Judge(f"{STUDENT} on the probes", TEACHER, STUDENT),
                Judge(f"{STUDENT} on both sides", STUDENT, STUDENT),
            ]
        self.second = [Judge(name, name, name) for name in folders if name not in (TEACHER, STUDENT)]

    def sets(self, judge: Judge) -> dict[str, dict[str, list[Path]]]:
        """Return the files of probes by distance and SR backend, one for each noise seed."""
        found: dict[str, dict[str, list[Path]]] = {}
        for path in sorted((self.work / "vectors" / judge.probes).glob("probes-*.npz")):
            _, distance, _, sr = path.stem.split("-", 3)
            found.setdefault(distance, {}).setdefault(sr, []).append(path)
        return found

    def _vectors(self, recogniser: str, name: str) -> Array:
        with np.load(self.work / "vectors" / recogniser / f"{name}.npz") as stored:
            return np.asarray(stored["vectors"], np.float64)

    def gallery(self, judge: Judge, *, trained_on: bool = True) -> Array:
        """Return the rows of the gallery; pictures without a face can be nobody's match.

        `trained_on=False` leaves out the portraits that the project's networks learned from.
        """
        rows = self._vectors(judge.gallery, "gallery")
        if not trained_on:
            names = json.loads((self.work / "gallery.json").read_text())
            kept = [i < self.subjects or int(name) > LAST_TRAINED for i, name in enumerate(names)]
            rows = rows[kept]
        lost = int(np.isnan(rows[: self.subjects, 0]).sum())
        assert lost == 0, f"{lost} gallery photos of subjects have no face"
        return rows[~np.isnan(rows[:, 0])]

    def originals(self, judge: Judge, *, trained_on: bool = True) -> Scores:
        """Return the comparisons of the undegraded probes; see `gallery` for `trained_on`."""
        gallery = self.gallery(judge, trained_on=trained_on)
        return Scores(self._vectors(judge.probes, "originals"), gallery, self.subjects)

    def threshold(self, judge: Judge, *, trained_on: bool = True) -> float:
        """Return the threshold at which the originals have a false match rate of at most `FMR`."""
        key = (judge, trained_on)
        if key not in self.thresholds:
            self.thresholds[key] = threshold_at_fmr(self.originals(judge, trained_on=trained_on).impostor, FMR)
        return self.thresholds[key]

    def scores(self, judge: Judge, distance: str, sr: str, *, trained_on: bool = True) -> Scores:
        """Return the comparisons of a system, all noise seeds together; see `gallery` for `trained_on`."""
        files = self.sets(judge)[distance][sr]
        rows = np.vstack([self._vectors(judge.probes, path.stem) for path in files])
        return Scores(rows, self.gallery(judge, trained_on=trained_on), self.subjects)

    def system(self, judge: Judge, distance: str, sr: str) -> System:
        """Return a system: all noise seeds together."""
        key = (judge, distance, sr)
        if key not in self.known:
            scores = self.originals(judge) if distance == "originals" else self.scores(judge, distance, sr)
            self.known[key] = measured(scores, self.threshold(judge), self.weights)
        return self.known[key]


def hard_report(data: Measurement) -> str:
    """Return the page as Markdown."""
    return "\n".join([*_head(data), *_tables(data), *_differences(data), *_unseen(data), *_bars(data)]) + "\n"


def hard_summary(data: Measurement) -> str:
    """Return the README's table: rank-1 and TAR of every system on `hard`."""
    backends = [sr for sr in ORDER if sr in data.sets(data.judges[0]).get(HARD, {})]
    lines = ["| recogniser | " + " | ".join(backends) + " |", "|---|" + "---|" * len(backends)]
    for judge in [data.judges[0], *data.judges[2:], *data.second]:
        systems = [data.system(judge, HARD, sr) for sr in backends]
        cells = [f"{s.value('rank-1'):.3f}; {s.value('TAR at 99.9 %'):.3f}" for s in systems]
        lines.append(f"| {judge.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _head(data: Measurement) -> Iterator[str]:
    distractors = len(data.gallery(data.judges[0])) - data.subjects
    seeds = {d: len(next(iter(s.values()))) for d, s in data.sets(data.judges[0]).items()}
    noise = ", ".join(f"{n} at `{d}`" for d, n in sorted(seeds.items()))
    yield f"""# Recognition of hard pictures

Written by `tools/measure_hard.py report`; no number is typed by hand.

- Gallery: {data.subjects} neutral photos of the Face Research Lab London Set and, as distractors, the {distractors:,}
  AI-generated portraits (`faces256`) in which a face was found. 1,400 of these are training data of
  `sisn-surveillance` and `mobilefacenet-lr`; no London photo is.
- Probes: the {data.subjects} smiling photos, as they are (`originals`) and through `faceup simulate` with several noise
  seeds ({noise}); x4; MTCNN finds the face.
- Rank-1 and TAR count a probe without a face as a miss. All other columns are over the probes with a face.
- The threshold of a recogniser lies where the impostor comparisons of its originals have an FMR of {FMR:g}.
- TAR at 99.9 %: share of all probes whose similarity to their own photo is above the 99.9th percentile of these very
  impostor comparisons. It compares systems at one and the same FMR of 0.001, whatever their scores' range.
- d': difference of the mean genuine and impostor similarity in pooled standard deviations.
- Intervals: 95 % percentile bootstrap, {ROUNDS:,} resamples of the subjects with all their probes; the gallery stays as
  it is. Differences are paired: both systems see the same resamples.
"""


def _tables(data: Measurement) -> Iterator[str]:
    for judge in [*data.judges, *data.second]:
        yield f"## {judge.title}"
        yield ""
        yield f"Threshold {data.threshold(judge):.4f}."
        yield ""
        yield "| probes | SR | found | " + " | ".join(COLUMNS) + " |"
        yield "|---|---|---|" + "---|" * len(COLUMNS)
        rows = [("originals", "none"), *((d, sr) for d, srs in sorted(data.sets(judge).items()) for sr in srs)]
        for distance, sr in rows:
            system = data.system(judge, distance, sr)
            shown = [
                f"{system.value(name):.5f}" if name == "FMR" else
                f"{system.value(name):.2f}" if name == "d'" else f"{system.value(name):.3f}"
                for name in COLUMNS
            ]  # fmt: skip
            yield f"| {distance} | {sr} | {system.found}/{system.probes} | " + " | ".join(shown) + " |"
        yield ""


def _interval(difference: tuple[float, float, float], digits: int = 3) -> str:
    value, low, high = difference
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _differences(data: Measurement) -> Iterator[str]:
    yield "## Paired differences to bicubic"
    yield ""
    for title, base in (("with the same recogniser", None), (f"with {TEACHER}", data.judges[0])):
        yield f"Difference to bicubic {title}, with 95 % intervals:"
        yield ""
        yield "| recogniser | probes | SR | " + " | ".join(COLUMNS) + " |"
        yield "|---|---|---|" + "---|" * len(COLUMNS)
        for judge in data.judges if base else [*data.judges, *data.second]:
            for distance, srs in sorted(data.sets(judge).items()):
                for sr in srs:
                    if sr == BASE and judge == (base or judge):
                        continue
                    system, other = data.system(judge, distance, sr), data.system(base or judge, distance, BASE)
                    cells = [
                        _interval(system.minus(other, name), 5 if name == "FMR" else 2 if name == "d'" else 3)
                        for name in COLUMNS
                    ]
                    yield f"| {judge.title} | {distance} | {sr} | " + " | ".join(cells) + " |"
        yield ""


def _unseen(data: Measurement) -> Iterator[str]:
    """A student might push probes away from the very portraits that it learned from."""
    first = data.judges[0]
    left = len(data.gallery(first, trained_on=False))
    yield f"## `{HARD}`, without the portraits that the networks learned from"
    yield ""
    yield f"Gallery: {left} pictures, the {data.subjects} neutral photos among them, and thresholds of its own."
    yield ""
    yield "| recogniser | SR | rank-1 [95 %] | TAR at 99.9 % [95 %] | d' [95 %] | FMR [95 %] |"
    yield "|---|---|---|---|---|---|"
    for judge in [*data.judges, *data.second]:
        for sr in data.sets(judge).get(HARD, {}):
            scores = data.scores(judge, HARD, sr, trained_on=False)
            cells = [
                _range(scores.rank1(data.weights)),
                _range(scores.accepted(data.weights)),
                _range(scores.separation(data.weights), 2),
                _range(scores.fmr(data.threshold(judge, trained_on=False))(data.weights), 5),
            ]
            yield f"| {judge.title} | {sr} | " + " | ".join(cells) + " |"
    yield ""


def _range(values: Array, digits: int = 3) -> str:
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return f"{values[0]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _bars(data: Measurement) -> Iterator[str]:
    yield f"## The bars, on `{HARD}`"
    yield ""
    best = best_combination(data)
    if best is None:
        yield "No combination of what is shipped was measured."
        return
    judge, sr = best
    base = data.judges[0]
    yield f"The combination with the highest d' among those shipped: `{sr}` with {judge.title}."
    yield ""
    yield "| bar | measured | met |"
    yield "|---|---|---|"
    ours = data.system(judge, HARD, sr)
    comparisons = [
        (f"`{sr}` against bicubic, both {judge.title}", ours, data.system(judge, HARD, BASE)),
        (f"`{sr}` with {judge.title} against bicubic with {base.title}", ours, data.system(base, HARD, BASE)),
    ]
    # Recognisers without a student: what SR alone does for them.
    for other in [base, *data.second]:
        alone = best_sr(data, other)
        if alone is not None and (other, alone) != (judge, sr):
            comparisons.append(
                (f"`{alone}` against bicubic, both {other.title}", data.system(other, HARD, alone),
                 data.system(other, HARD, BASE))
            )  # fmt: skip
    for title, system, reference in comparisons:
        if system is reference:
            continue
        genuine, first, apart = (system.minus(reference, name) for name in ("mean genuine", "rank-1", "d'"))
        enough = _yes(genuine[0] >= GENUINE_BAR and genuine[1] > 0)
        yield f"| mean genuine at least +{GENUINE_BAR:.2f}: {title} | {_interval(genuine)} | {enough} |"
        yield f"| rank-1 not lower: {title} | {_interval(first)} | {_yes(first[0] >= 0)} |"
        yield f"| d' higher: {title} | {_interval(apart, 2)} | {_yes(apart[1] > 0)} |"
        ratio = system.value("FMR") / max(reference.value("FMR"), 1e-12)
        yield f"| FMR at most {FMR_BAR} times: {title} | {ratio:.2f} times | {_yes(ratio <= FMR_BAR)} |"
    kept = data.system(judge, "originals", "none").minus(data.system(base, "originals", "none"), "rank-1")
    met = _yes(kept[0] >= -ORIGINALS_BAR)
    yield f"| rank-1 of the originals at most {ORIGINALS_BAR} lower | {_interval(kept)} | {met} |"
    for name in ("rank-1", "mean genuine"):
        low, high = data.system(base, HARD, BASE).value(name), data.system(base, "originals", "none").value(name)
        closed = (ours.value(name) - low) / max(high - low, 1e-12)
        met = _yes(closed >= 0.5)
        yield f"| goal: half of the gap between bicubic and the originals, {name} | {closed:.0%} | {met} |"


def best_combination(data: Measurement) -> tuple[Judge, str] | None:
    """Return the recogniser and SR backend with the highest d' on `hard`."""
    found = [(judge, sr) for judge in data.judges for sr in data.sets(judge).get(HARD, {})]
    if not found or BASE not in data.sets(data.judges[0]).get(HARD, {}):
        return None
    return max(found, key=lambda pair: data.system(pair[0], HARD, pair[1]).value("d'"))


def best_sr(data: Measurement, judge: Judge) -> str | None:
    """Return the trained SR backend with the highest d' on `hard` for one recogniser."""
    found = [sr for sr in data.sets(judge).get(HARD, {}) if sr not in ("none", BASE)]
    return max(found, key=lambda sr: data.system(judge, HARD, sr).value("d'")) if found else None


def _yes(met: bool) -> str:
    return "yes" if met else "**no**"
