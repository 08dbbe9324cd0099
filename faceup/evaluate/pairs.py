"""Verification on listed pairs, as LFW's protocol has it: the threshold of each fold comes from the other folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceup.evaluate.measure import Settings, bounded, pair_interval, too_few
from faceup.evaluate.rows import Row, row
from faceup.metrics.bootstrap import Interval
from faceup.metrics.verification import Comparisons
from faceup.report.run_folder import Run


def best_threshold(scores: np.ndarray, genuine: np.ndarray) -> float:
    """Return the lowest of the thresholds at which most pairs are told right.

    Pairs that could not be compared are refused at every threshold.

    >>> best_threshold(np.array([0.9, 0.2, np.nan]), np.array([True, False, True]))
    0.9
    """
    known = ~np.isnan(scores)
    order = np.argsort(scores[known], kind="stable")
    sorted_scores, right = scores[known][order], genuine[known][order]
    candidates = np.append(np.unique(sorted_scores), np.inf)
    below = np.searchsorted(sorted_scores, candidates, side="left")
    genuine_below = np.concatenate([[0], np.cumsum(right)])[below]
    told_right = (right.sum() - genuine_below) + (below - genuine_below)
    return float(candidates[int(np.argmax(told_right))])


def fold_accuracies(scores: np.ndarray, genuine: np.ndarray, folds: np.ndarray) -> list[float]:
    """Return the share of pairs of each fold that are told right at the threshold of all other folds."""
    accuracies = []
    for fold in np.unique(folds):
        inside = folds == fold
        threshold = best_threshold(scores[~inside], genuine[~inside])
        with np.errstate(invalid="ignore"):
            accepted = scores[inside] >= threshold
        accuracies.append(float((accepted == genuine[inside]).mean()))
    return accuracies


def pair_rates(run: Run, names: Sequence[str], settings: Settings) -> list[Row]:
    """Return accuracy over folds with its standard error, EER and TAR for every SR system of a run on pairs.

    Args:
        run: made with `pairs`.
        names: of its SR systems, in the order of `run.sr`.
        settings: the false match rates.
    """
    rows = []
    for label, name in zip(run.sr, names, strict=True):
        part = run.similarity[run.similarity["sr"] == label]
        scores, genuine = part["cosine"].to_numpy(np.float64), (part["genuine"] == 1).to_numpy()
        folds = part["fold"].fillna(0).to_numpy(np.int64)
        people = len({*part["probe_subject"], *part["gallery_subject"]})
        failed = int(np.isnan(scores).sum())
        said = f"{failed} of {len(scores)} pairs could not be compared and are refused"

        def add(metric: str, value: Interval, at: str = "", note: str = "", count: float = float("nan")) -> None:
            rows.append(
                row(name, metric, value, part="pairs", at=at, count=count, total=len(scores), people=people, note=note)  # noqa: B023
            )

        add("fta_pairs", Interval(failed / len(scores), np.nan, np.nan, "none"), count=failed)
        if len(np.unique(folds)) > 1:
            each = np.array(fold_accuracies(scores, genuine, folds))
            mean, error = float(each.mean()), float(each.std(ddof=1) / len(each) ** 0.5)
            spread = Interval(mean, mean - error, mean + error, "standard error of the folds")
            add("accuracy", spread, f"{len(each)} folds", said)
        number = {name: k for k, name in enumerate(sorted({*part["probe_subject"], *part["gallery_subject"]}))}
        probe, other = (part[c].map(number).to_numpy(np.intp) for c in ("probe_subject", "gallery_subject"))
        compared = Comparisons(scores[genuine], probe[genuine], scores[~genuine], probe[~genuine], other[~genuine])
        if len(compared.genuine) and len(compared.impostor):
            for metric, at, statistic in (
                ("eer", "", compared.eer()),
                *(("tar", f"FMR {target:g}", compared.tar_at_fmr(target)) for target in settings.fmr_targets),
            ):
                interval = bounded(pair_interval(statistic, people, settings, 2 * len(compared)), people)
                few = too_few(float(at.removeprefix("FMR ")), len(compared.impostor)) if at else ""
                add(metric, interval, at, few)
    return rows
