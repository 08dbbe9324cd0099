"""Development and test: thresholds are chosen on some people and judged on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceup.errors import DataError
from faceup.evaluate.systems import Mask, System
from faceup.report.run_folder import Run

DEVELOPMENT = frozenset({"dev", "development", "val", "validation"})
TEST = frozenset({"test", "eval", "evaluation"})


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Who is in which half.

    Attributes:
        development: names of the people thresholds are chosen on.
        test: names of the people they are applied to.
        source: where the halves come from, in words.
    """

    development: frozenset[str]
    test: frozenset[str]
    source: str

    def masks(self, system: System, part: frozenset[str]) -> tuple[Mask, Mask]:
        """Return which probes and which enrolled subjects of a system belong to a half."""
        people = np.array([name in part for name in system.people])
        return people[system.probe_person], people[system.gallery_person]


def split(runs: Sequence[Run], everyone: Sequence[System], seed: int) -> Split:
    """Return the halves: those of the manifests where they name both, else a seeded half of the people.

    In a manifest, `dev`, `development`, `val` or `validation` is the development half; `test`, `eval` or `evaluation`
    the test half; other splits are in neither.

    Raises:
        DataError: a manifest puts one person into both halves.
    """
    named: dict[str, set[str]] = {"development": set(), "test": set()}
    for run in runs:
        for row in (*run.record["probes"], *run.record["gallery"]):
            part = str(row.get("split", "")).lower()
            person = row["subject"] or f"unknown, {row['sample']}"
            if part in DEVELOPMENT:
                named["development"].add(person)
            elif part in TEST:
                named["test"].add(person)
    if named["development"] and named["test"]:
        if both := sorted(named["development"] & named["test"]):
            raise DataError(
                f"{len(both)} people are in the development and in the test split, e.g. {both[0]!r}: a threshold "
                "would be judged on people it was chosen on. Give each person one split in the manifest."
            )
        return Split(frozenset(named["development"]), frozenset(named["test"]), "splits of the manifest")
    people = sorted(everyone[0].people)
    order = np.random.default_rng(seed).permutation(len(people))
    half = len(people) // 2
    first = frozenset(people[k] for k in order[:half])
    return Split(first, frozenset(people) - first, f"half of the people, drawn with seed {seed}")
