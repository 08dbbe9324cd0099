"""Differences between SR systems on the same probes: paired, with interval, test and correction for their number."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from faceup.evaluate.measure import Settings, strata
from faceup.evaluate.systems import Mask, System
from faceup.metrics.bootstrap import Array, mean_statistic, subject_interval
from faceup.metrics.significance import holm, sign_flip_p, verdict

COLUMNS = ("first", "second", "stratum", "metric", "difference", "low", "high", "people", "p", "p_holm", "verdict")


def differences(everyone: Sequence[System], settings: Settings) -> pd.DataFrame:
    """Return `first` - `second` of every pair of systems: average similarity (not found = 0) and rank-1.

    A person's value is the mean over the person's probes that both systems were given. p is that of the sign-flip test
    over people, two-sided; `p_holm` is corrected for all pairs of the same metric and stratum.
    """
    rows = []
    chosen = {system.name: dict(strata(system)) for system in everyone}
    names = [name for name in chosen[everyone[0].name] if name == "all" or name.startswith("distance")]
    for stratum, metric in itertools.product(names, ("average_paper", "rank1")):
        family: list[tuple[object, ...]] = []
        people: list[int] = []
        p_values: list[float] = []
        for first, second in itertools.combinations(everyone, 2):
            masks = [chosen[s.name].get(stratum, np.zeros(len(s.probes), bool)) for s in (first, second)]
            each = _per_person((first, second), masks, metric)
            if not len(each):
                continue
            got = subject_interval(mean_statistic(each), len(each), rounds=settings.rounds, seed=settings.seed)
            family.append((first.name, second.name, stratum, metric, got.estimate, got.low, got.high))
            people.append(len(each))
            p_values.append(sign_flip_p(each))
        adjusted = holm(p_values)
        for made, n, p, p_holm in zip(family, people, p_values, adjusted, strict=True):
            rows.append([*made, n, p, p_holm, verdict(p_holm, n)])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _per_person(pair: tuple[System, System], probes: Sequence[Mask], metric: str) -> Array:
    """Return the mean difference of each person over the probes that both systems have."""
    values = []
    for system, stratum in zip(pair, probes, strict=True):
        chosen = stratum & system.mated
        hits = (system.ranks() == 1).astype(np.float64)
        numbers = hits if metric == "rank1" else np.nan_to_num(system.printed)
        keys = zip(system.probe_person[chosen], np.array(system.probes, object)[chosen], strict=True)
        values.append(dict(zip(keys, numbers[chosen], strict=True)))
    shared = sorted(values[0].keys() & values[1].keys())
    if not shared:
        return np.zeros(0)
    people, index = np.unique([person for person, _ in shared], return_inverse=True)
    gaps = np.array([values[0][key] - values[1][key] for key in shared])
    return np.bincount(index, weights=gaps) / np.bincount(index, minlength=len(people))
