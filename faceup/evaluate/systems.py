"""A run folder as numbers: for each SR system, every probe against every enrolled subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceup.errors import DataError
from faceup.files import shown
from faceup.metrics.binned import BinnedComparisons
from faceup.metrics.bootstrap import Array
from faceup.metrics.identification import average_precision, mate_ranks, mate_scores, nonmated_tops
from faceup.metrics.verification import Comparisons
from faceup.report.run_folder import Run, read_run
from faceup.report.text import method_name
from faceup.search import Searched

Ints = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """One SR system of one run.

    A person is a unit of the bootstrap: every enrolled or named subject, and every unknown probe by itself.

    Attributes:
        name: what tables call it: the SR system, after the name of the run where several runs are compared.
        run: name of the run folder.
        sr: label of the SR system.
        probes: P ids.
        people: names of the units of the whole evaluation.
        probe_person: (P,) unit of each probe.
        gallery_person: (G,) unit of each enrolled subject.
        mate: (P,) column of the probe's own subject, -1 for people who are not enrolled.
        scores: (P, G) best cosine with the subject's gallery pictures, NaN where no comparison could be made.
        printed: (P,) best similarity with the own subject, as similarity.csv prints it; NaN without.
        precision: (P,) average precision among the gallery pictures; 0 where nothing could be compared, NaN for people
            who are not enrolled.
        failed: (P,) failures to acquire: unreadable, or no face.
        about: one row per probe: what is known of it (split, camera, distance, quality).
    """

    name: str
    run: str
    sr: str
    probes: tuple[str, ...]
    people: tuple[str, ...]
    probe_person: Ints
    gallery_person: Ints
    mate: Ints
    scores: Array
    printed: Array
    precision: Array
    failed: Mask
    about: pd.DataFrame

    @property
    def title(self) -> str:
        """The name for people to read: `none` is the paper's `LR image`."""
        return method_name(self.sr) if self.name == self.sr else f"{self.run}: {method_name(self.sr)}"

    @property
    def units(self) -> int:
        """How many people the bootstrap draws from: all."""
        return len(self.people)

    @property
    def mated(self) -> Mask:
        """(P,) whether the probe shows an enrolled person."""
        return self.mate >= 0

    def ranks(self, gallery: Mask | None = None) -> npt.NDArray[np.int64]:
        """(P,) rank of the own subject among the enrolled subjects, or some of them; 0 without a comparison."""
        scores = self.scores if gallery is None else np.where(gallery[None, :], self.scores, np.nan)
        return mate_ranks(scores, self.mate)

    def own_scores(self) -> Array:
        """(P,) cosine with the own subject."""
        return mate_scores(self.scores, self.mate)

    def tops(self, probes: Mask, gallery: Mask | None = None, *, leave_out: bool = False) -> Array:
        """Return `nonmated_tops` of some probes among the enrolled subjects, or some of them."""
        scores = self.scores if gallery is None else np.where(gallery[None, :], self.scores, np.nan)
        return nonmated_tops(scores[probes], self.mate[probes], leave_out=leave_out)

    def comparisons(self, probes: Mask | None = None, gallery: Mask | None = None) -> Comparisons | BinnedComparisons:
        """Return genuine and impostor comparisons of some probes with some of the enrolled subjects."""
        rows = np.ones(len(self.probes), bool) if probes is None else probes
        columns = np.ones(len(self.gallery_person), bool) if gallery is None else gallery
        use = rows[:, None] & columns[None, :]
        own = self.mate[:, None] == np.arange(len(self.gallery_person))
        g_row, g_column = np.nonzero(use & own)
        i_row, i_column = np.nonzero(use & ~own)
        return Comparisons(
            self.scores[g_row, g_column],
            self.probe_person[g_row],
            self.scores[i_row, i_column],
            self.probe_person[i_row],
            self.gallery_person[i_column],
        )

    def sums(self, values: npt.ArrayLike, probes: Mask) -> Array:
        """Return the sum of one number per probe over some probes, for each person who has one, by unit."""
        _, index = np.unique(self.probe_person[probes], return_inverse=True)
        return np.bincount(index, weights=np.asarray(values, np.float64)[probes]).astype(np.float64)

    def means(self, values: npt.ArrayLike, probes: Mask) -> Array:
        """Return the mean over some probes for each person who has one, by unit."""
        return self.sums(values, probes) / self.sums(np.ones(len(self.probes)), probes)


@dataclass(frozen=True, slots=True, eq=False)
class LargeSystem(System):
    """One SR system of a run that kept only a part of its comparisons; `scores` is empty.

    Attributes:
        own: (P,) best cosine with the own subject, NaN without.
        candidates: (P, K) enrolled subjects most like the probe, its own left out; -1 where there are fewer.
        candidate_scores: (P, K) their cosines, -inf where there is none.
        searched: ranks and histograms.
    """

    own: Array
    candidates: Ints
    candidate_scores: Array
    searched: Searched

    def ranks(self, gallery: Mask | None = None) -> npt.NDArray[np.int64]:
        """As of `System`; among some of the people a rank behind all candidates is at least 2 and not exact."""
        rank = self.searched.rank.astype(np.int64)
        if gallery is None:
            return rank
        ahead = (self.candidate_scores >= np.nan_to_num(self.own, nan=np.inf)[:, None]) & self._inside(gallery)
        within = 1 + ahead.sum(axis=1)
        unseen = rank > self.candidates.shape[1] + 1
        inside = np.zeros(len(rank), bool)
        inside[self.mated] = gallery[self.mate[self.mated]]
        return np.where(inside & (rank > 0), np.where(unseen, np.maximum(within, 2), within), 0)

    @property
    def units(self) -> int:
        """How many people the bootstrap draws from: those with a probe, who are numbered first."""
        return int(self.probe_person.max()) + 1

    def own_scores(self) -> Array:
        """As of `System`."""
        return self.own

    def tops(self, probes: Mask, gallery: Mask | None = None, *, leave_out: bool = False) -> Array:
        """As of `System`; among some of the people NaN where none of the candidates is one of them."""
        inside = self._inside(gallery) & probes[:, None] & (leave_out | ~self.mated[:, None])
        best = np.where(inside, self.candidate_scores, -np.inf).max(axis=1, initial=-np.inf)
        chosen = probes if leave_out else probes & ~self.mated
        return np.where(np.isinf(best), np.nan, best)[chosen]

    def comparisons(self, probes: Mask | None = None, gallery: Mask | None = None) -> Comparisons | BinnedComparisons:
        """Return the comparisons of some probes; impostor scores are those with the whole gallery."""
        rows = np.ones(len(self.probes), bool) if probes is None else probes
        mated = rows & self.mated
        if gallery is not None:
            mated[mated] = gallery[self.mate[mated]]
        person = self.probe_person
        return BinnedComparisons(self.own[mated], person[mated], self.searched.impostors[rows], person[rows])

    def _inside(self, gallery: Mask | None) -> Mask:
        made = self.candidates >= 0
        return made if gallery is None else made & gallery[self.candidates]


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read run folders that can be compared.

    Raises:
        DataError: a folder is no run, is given twice, holds single pairs beside whole galleries, or prints another
            similarity than the first.
    """
    if len({folder.resolve() for folder in folders}) != len(folders):
        raise DataError("A run folder is given twice: compare different runs.")
    runs = [read_run(folder) for folder in folders]
    kinds = {run.record["recipe"]["similarity"] for run in runs}
    if len(kinds) > 1:
        raise DataError(f"The runs print different similarities ({', '.join(sorted(kinds))}): evaluate them apart.")
    return runs


def run_names(runs: Sequence[Run]) -> list[str]:
    """Return a name for every run: its folder's, with a number where two folders are called the same."""
    names: list[str] = []
    for run in runs:
        name = shown(Path(run.folder).resolve().name)
        numbered = (f"{name} ({n})" for n in count(2))
        names.append(name if name not in names else next(other for other in numbered if other not in names))
    return names


def system_names(run: Run, run_name: str, runs: int) -> list[str]:
    """Return the names of a run's SR systems, one of so many runs that are evaluated together."""
    return [label if runs == 1 else f"{run_name}: {label}" for label in run.sr]


def systems(runs: Sequence[Run]) -> list[System]:
    """Return every SR system of every run, with one numbering of the people."""
    people: dict[str, int] = {}
    if any(run.searches is not None for run in runs):
        # The bootstrap leaves the others alone: they are numbered last.
        for run in runs:
            for row in run.record["probes"]:
                people.setdefault(_person(row), len(people))
    for run in runs:
        for row in run.record["gallery"]:
            people.setdefault(row["subject"], len(people))
        for row in run.record["probes"]:
            people.setdefault(_person(row), len(people))
    return [
        _system(run, label, run_name, name, people)
        for run, run_name in zip(runs, run_names(runs), strict=True)
        for label, name in zip(run.sr, system_names(run, run_name, len(runs)), strict=True)
    ]


def _person(row: Mapping[str, str]) -> str:
    return row["subject"] or f"unknown, {row['sample']}"


def _system(run: Run, label: str, run_name: str, name: str, people: Mapping[str, int]) -> System:
    rows = run.similarity[run.similarity["sr"] == label]
    probes = [row["sample"] for row in run.record["probes"]]
    subjects = list(dict.fromkeys(row["subject"] for row in run.record["gallery"]))
    place = {subject: k for k, subject in enumerate(subjects)}
    number = {probe: k for k, probe in enumerate(probes)}
    if not set(rows["probe"]) <= set(number) or not set(rows["gallery_subject"]) <= set(place):
        raise DataError(f"{shown(run.folder)}: similarity.csv names pictures that run.json does not: do the run again.")
    p, g = (rows[c].map(m).to_numpy(np.intp) for c, m in (("probe", number), ("gallery_subject", place)))
    genuine = (rows["genuine"] == 1).to_numpy()
    cosine = rows["cosine"].to_numpy(np.float64)
    own, printed = np.full(len(probes), np.nan), np.full(len(probes), np.nan)
    np.fmax.at(own, p[genuine], cosine[genuine])
    np.fmax.at(printed, p[genuine], rows["similarity"].to_numpy(np.float64)[genuine])
    scores = np.full((0, 0), np.nan)
    if run.searches is None:
        scores = np.full((len(probes), len(subjects)), np.nan)
        np.fmax.at(scores, (p, g), cosine)
    found = run.detections[(run.detections["role"] == "probe") & (run.detections["sr"] == label)]
    failed = dict(zip(found["sample"], found["status"] != "ok", strict=True))
    about: dict[str, Any] = {
        "name": name,
        "run": run_name,
        "sr": label,
        "probes": tuple(probes),
        "people": tuple(people),
        "probe_person": np.array([people[_person(row)] for row in run.record["probes"]], np.intp),
        "gallery_person": np.array([people[subject] for subject in subjects], np.intp),
        "mate": np.array([place.get(row["subject"], -1) for row in run.record["probes"]], np.intp),
        "scores": scores,
        "printed": printed,
        "precision": _precisions(p[genuine], rows["rank"].to_numpy(np.float64)[genuine], len(probes)),
        "failed": np.array([bool(failed.get(probe, True)) for probe in probes]),
        "about": _about(run),
    }
    if run.searches is None:
        return System(**about)
    candidates, candidate_scores = _candidates(p[~genuine], g[~genuine], cosine[~genuine], len(probes))
    kept = run.searches[label]
    return LargeSystem(**about, own=own, candidates=candidates, candidate_scores=candidate_scores, searched=kept)


def _candidates(probe: Ints, subject: Ints, cosine: Array, probes: int) -> tuple[Ints, Array]:
    """Return (P, K) subjects and cosines of the kept comparisons with other people, in the order of the rows."""
    order = np.argsort(probe, kind="stable")
    place = np.arange(len(order)) - np.searchsorted(probe[order], probe[order], side="left")
    width = int(place.max(initial=-1)) + 1
    subjects, cosines = np.full((probes, width), -1, np.intp), np.full((probes, width), -np.inf)
    subjects[probe[order], place], cosines[probe[order], place] = subject[order], cosine[order]
    return subjects, cosines


def _precisions(probe: Ints, rank: Array, probes: int) -> Array:
    """Return the average precision of every probe from the ranks of its own person's gallery pictures."""
    order = np.argsort(probe, kind="stable")
    starts = np.searchsorted(probe[order], np.arange(probes + 1))
    out: Array = np.full(probes, np.nan)
    for k in np.flatnonzero(np.diff(starts)):
        out[k] = average_precision(rank[order[starts[k] : starts[k + 1]]])
    return out


def _about(run: Run) -> pd.DataFrame:
    """Return what is known of every probe; quality is that of one system's pictures, the same for all systems.

    That is `bicubic` where the run has it, which alters least and finds most faces, else the run's first.
    """
    probes = run.record["probes"]
    out = pd.DataFrame({"probe": [row["sample"] for row in probes]}, dtype=object)
    out["split"] = [row.get("split", "") for row in probes]
    for key in ("camera", "distance"):
        out[key] = [str(row.get("attrs", {}).get(key, "")) for row in probes]
    reference = "bicubic" if "bicubic" in run.sr else run.sr[0]
    rows = run.detections[(run.detections["role"] == "probe") & (run.detections["sr"] == reference)]
    rows = rows[rows["status"] == "ok"].set_index("sample")
    scale = rows["scale"].fillna(1.0)
    eyes = (rows["inter_eye_px"] / scale).reindex(out["probe"])
    out["eye_px"] = eyes.to_numpy()
    out["sharpness"] = rows["sharpness"].reindex(out["probe"]).to_numpy()
    out["score"] = rows["score"].reindex(out["probe"]).to_numpy()
    out["reference"] = reference
    return out
