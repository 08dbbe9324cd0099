"""One-to-many search: ranks and CMC, and open-set FPIR and FNIR (ISO/IEC 19795-1).

Scores are (P, G): P probes against G enrolled subjects, NaN where no comparison could be made. `mate` tells for each
probe the column of its own subject, -1 for a person who is not enrolled. A failure to acquire is a miss: it stays in
every denominator.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from faceup.errors import DataError
from faceup.metrics.bootstrap import Array

Ints = npt.NDArray[np.int64]


def mate_ranks(scores: npt.ArrayLike, mate: npt.ArrayLike) -> Ints:
    """Return, for each probe, 1 + the other subjects that score at least as high as its own: ties count against it.

    0 where the probe has no mate or no score with it.

    >>> mate_ranks([[0.9, 0.1], [0.5, 0.5], [np.nan, np.nan]], [0, 0, 1])
    array([1, 2, 0])
    """
    matrix, own = np.asarray(scores, np.float64), np.asarray(mate, np.intp)
    mine = mate_scores(matrix, own)
    with np.errstate(invalid="ignore"):
        at_least = (matrix >= mine[:, None]).sum(axis=1)
    # The own column is one of those counted.
    return np.where(np.isnan(mine), 0, at_least).astype(np.int64)


def mate_scores(scores: npt.ArrayLike, mate: npt.ArrayLike) -> Array:
    """Return the score of each probe with its own subject, NaN without one.

    >>> mate_scores([[0.9, 0.1], [0.5, 0.4]], [1, -1])
    array([0.1, nan])
    """
    matrix, own = np.asarray(scores, np.float64), np.asarray(mate, np.intp)
    mine: Array = np.full(len(matrix), np.nan)
    has = own >= 0
    mine[has] = matrix[np.flatnonzero(has), own[has]]
    return mine


def cmc(ranks: npt.ArrayLike, depth: int) -> Array:
    """Return the cumulative match characteristic: the share of probes whose mate is among the first 1, 2, ... `depth`.

    Args:
        ranks: of all mated probes, 0 for those that could not be compared, which are misses.
        depth: largest rank.

    Raises:
        DataError: there is no probe.

    Example:
        >>> cmc([1, 3, 0, 1], depth=3)
        array([0.5 , 0.5 , 0.75])
    """
    found = np.asarray(ranks, np.int64)
    if not len(found):
        raise DataError("A CMC needs at least one probe of an enrolled subject.")
    counts = np.bincount(found[(found > 0) & (found <= depth)], minlength=depth + 1)[1:]
    return np.asarray(np.cumsum(counts) / len(found), np.float64)


def nonmated_tops(scores: npt.ArrayLike, mate: npt.ArrayLike, *, leave_out: bool = False) -> Array:
    """Return the highest score of each non-mated search, NaN where no comparison could be made.

    Args:
        scores: (P, G).
        mate: (P,) column of the own subject, -1 for people who are not enrolled.
        leave_out: False: only the probes without a mate are searched. True: every probe is searched, without its own
            subject in the gallery, which is what can be done when nobody else is at hand.

    Example:
        >>> nonmated_tops([[0.9, 0.1], [0.5, 0.4]], [0, -1]), nonmated_tops([[0.9, 0.1]], [0], leave_out=True)
        (array([0.5]), array([0.1]))
    """
    matrix, own = np.array(scores, np.float64), np.asarray(mate, np.intp)
    if leave_out:
        has = own >= 0
        matrix[np.flatnonzero(has), own[has]] = np.nan
    else:
        matrix = matrix[own < 0]
    known = ~np.isnan(matrix)
    tops = np.where(known, matrix, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(known.any(axis=1), tops, np.nan)


def fpir(tops: npt.ArrayLike, threshold: float) -> float:
    """Return the false positive identification rate: non-mated searches with any candidate at or above the threshold.

    Searches that could not be acquired give no candidate and stay in the denominator.

    >>> fpir([0.5, 0.1, np.nan, 0.2], 0.2)
    0.5
    """
    array = np.asarray(tops, np.float64)
    with np.errstate(invalid="ignore"):
        return float((array >= threshold).mean()) if len(array) else float("nan")


def fnir(own: npt.ArrayLike, ranks: npt.ArrayLike, threshold: float, depth: int = 1) -> float:
    """Return FNIR(N, R, T): mated searches whose mate is not among the first R, or is below the threshold T.

    1 - FNIR is the detection and identification rate (DIR).

    Args:
        own: (P,) scores of mated probes with their own subject, NaN where it could not be compared: a miss.
        ranks: (P,) of `mate_ranks`.
        threshold: T.
        depth: R.

    Example:
        >>> fnir([0.9, 0.3, np.nan, 0.8], [1, 1, 0, 2], threshold=0.5)
        0.75
    """
    score, rank = np.asarray(own, np.float64), np.asarray(ranks, np.int64)
    with np.errstate(invalid="ignore"):
        hit = (score >= threshold) & (rank >= 1) & (rank <= depth)
    return float(1 - hit.mean()) if len(score) else float("nan")


def threshold_at_fpir(tops: npt.ArrayLike, target: float) -> float:
    """Return the smallest threshold at which at most `target` of the non-mated searches give a candidate.

    Args:
        tops: of `nonmated_tops`; NaN never gives a candidate.
        target: false positive identification rate, 0 to below 1.

    Raises:
        DataError: no search, or `target` out of range.

    Example:
        >>> round(threshold_at_fpir([0.1, 0.2, 0.3, np.nan], 0.25), 6)
        0.2
    """
    array = np.asarray(tops, np.float64)
    if not len(array) or not 0 <= target < 1:
        raise DataError(f"A threshold needs non-mated searches and a target from 0 to below 1, got {target}.")
    found = np.sort(array[~np.isnan(array)])[::-1]
    allowed = int(np.floor(target * len(array) + 1e-9))
    return float(np.nextafter(found[allowed], np.inf)) if allowed < len(found) else -np.inf
