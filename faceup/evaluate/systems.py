"""A run folder as numbers: for each SR system, every probe against every enrolled subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceup.errors import DataError
from faceup.files import shown
from faceup.metrics.bootstrap import Array
from faceup.metrics.identification import average_precision, mate_ranks, mate_scores
from faceup.metrics.verification import Comparisons
from faceup.report.run_folder import Run, read_run
from faceup.report.text import method_name

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
    def mated(self) -> Mask:
        """(P,) whether the probe shows an enrolled person."""
        return self.mate >= 0

    def ranks(self) -> npt.NDArray[np.int64]:
        """(P,) rank of the own subject among the enrolled subjects; 0 without a comparison."""
        return mate_ranks(self.scores, self.mate)

    def own_scores(self) -> Array:
        """(P,) cosine with the own subject."""
        return mate_scores(self.scores, self.mate)

    def comparisons(self, probes: Mask | None = None, gallery: Mask | None = None) -> Comparisons:
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
        names.append(name if name not in names else f"{name} ({len(names) + 1})")
    return names


def systems(runs: Sequence[Run]) -> list[System]:
    """Return every SR system of every run, with one numbering of the people."""
    people: dict[str, int] = {}
    for run in runs:
        for row in run.record["gallery"]:
            people.setdefault(row["subject"], len(people))
        for row in run.record["probes"]:
            people.setdefault(_person(row), len(people))
    names = run_names(runs)
    return [
        _system(run, label, names[k], label if len(runs) == 1 else f"{names[k]}: {label}", people)
        for k, run in enumerate(runs)
        for label in run.sr
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
    scores = np.full((len(probes), len(subjects)), np.nan)
    np.fmax.at(scores, (p, g), rows["cosine"].to_numpy(np.float64))
    own = (rows["genuine"] == 1).to_numpy()
    printed = np.full(len(probes), np.nan)
    np.fmax.at(printed, p[own], rows["similarity"].to_numpy(np.float64)[own])
    about = _about(run)
    found = run.detections[(run.detections["role"] == "probe") & (run.detections["sr"] == label)]
    failed = dict(zip(found["sample"], found["status"] != "ok", strict=True))
    return System(
        name=name,
        run=run_name,
        sr=label,
        probes=tuple(probes),
        people=tuple(people),
        probe_person=np.array([people[_person(row)] for row in run.record["probes"]], np.intp),
        gallery_person=np.array([people[subject] for subject in subjects], np.intp),
        mate=np.array([place.get(row["subject"], -1) for row in run.record["probes"]], np.intp),
        scores=scores,
        printed=printed,
        precision=_precisions(p[own], rows["rank"].to_numpy(np.float64)[own], len(probes)),
        failed=np.array([bool(failed.get(probe, True)) for probe in probes]),
        about=about,
    )


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
