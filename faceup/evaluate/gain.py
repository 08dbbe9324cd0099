"""Where a gain comes from: from faces that are found, or from better embeddings of the same faces.

Every SR system is compared with a reference (the picture as it came, and bicubic) on Table 5's average with a probe
without a face as 0. `own` is the similarity with the face that was found in the system's own picture, `shared` with the
landmarks of the bicubic picture for every system:

    gain             = average own(system) - average own(reference)
    better_embedding = average shared(system) - average shared(reference)
    faces            = gain - better_embedding

With shared landmarks only the pixels differ, so `faces` is what detection did. It is itself the sum of `more_found`,
over the probes in which just one of the two found a face, and `landmarks`, over the others: faces found by both, at
better or worse places. The parts add up to the gain for every probe, and so for every average.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from faceup.evaluate.measure import Settings, strata
from faceup.evaluate.systems import System
from faceup.metrics.bootstrap import mean_statistic, subject_interval
from faceup.report.run_folder import Run

PARTS = ("gain", "better_embedding", "faces", "more_found", "landmarks")
COLUMNS = ("system", "against", "stratum", "part", "value", "low", "high", "people")


def decompositions(runs: Sequence[Run], everyone: Sequence[System], settings: Settings) -> pd.DataFrame:
    """Return the parts of every gain with their intervals; empty where no run has shared landmarks."""
    rows = []
    for run, system, reference in _pairs(runs, everyone):
        parts = split_gain(run, system, reference)
        for stratum, chosen in strata(system):
            mated = chosen & system.mated
            if not mated.any() or not (stratum == "all" or stratum.startswith("distance")):
                continue
            for name, values in parts.items():
                means = system.means(values, mated)
                got = subject_interval(mean_statistic(means), len(means), rounds=settings.rounds, seed=settings.seed)
                rows.append([system.name, reference.name, stratum, name, got.estimate, got.low, got.high, len(means)])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def split_gain(run: Run, system: System, reference: System) -> dict[str, np.ndarray]:
    """Return the parts of the gain of every probe, as `PARTS` names them."""
    own, own_reference = np.nan_to_num(system.printed), np.nan_to_num(reference.printed)
    shared, shared_reference = (_shared(run, s) for s in (system, reference))
    gain, embedding = own - own_reference, shared - shared_reference
    faces = gain - embedding
    one_only = np.isnan(system.printed) != np.isnan(reference.printed)
    return {
        "gain": gain,
        "better_embedding": embedding,
        "faces": faces,
        "more_found": np.where(one_only, faces, 0.0),
        "landmarks": np.where(one_only, 0.0, faces),
    }


def _shared(run: Run, system: System) -> np.ndarray:
    assert run.shared is not None
    rows = run.shared[(run.shared["sr"] == system.sr) & (run.shared["genuine"] == 1)]
    best = rows.groupby("probe")["similarity"].max()
    return np.nan_to_num(best.reindex(list(system.probes)).to_numpy(np.float64))


def _pairs(runs: Sequence[Run], everyone: Sequence[System]) -> Iterator[tuple[Run, System, System]]:
    place = 0
    for run in runs:
        own = everyone[place : place + len(run.sr)]
        place += len(run.sr)
        if run.shared is None:
            continue
        for reference in (s for s in own if s.sr in ("none", "bicubic")):
            for system in own:
                if system is not reference and not (reference.sr == "bicubic" and system.sr == "none"):
                    yield run, system, reference
