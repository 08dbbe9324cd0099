"""One-to-many search: ranks, CMC and mean average precision, and open-set FPIR, FNIR and TPIR (ISO/IEC 19795-1).

Scores are (P, G): P probes against G enrolled subjects, NaN where no comparison could be made. `mate` tells for each
probe the column of its own subject, -1 for a person who is not enrolled. A failure to acquire is a miss: it stays in
every denominator.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from faceup.errors import DataError
from faceup.metrics.bootstrap import Array, Statistic

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


def average_precision(ranks: npt.ArrayLike) -> float:
    """Return the average precision of one probe's search among gallery pictures, as the code for TinyFace has it.

    The area below the curve of precision over recall, with straight lines between its points (Oxford Buildings, later
    Market-1501 and TinyFace): at each picture of the own person the mean of the precisions just before it and with it.
    The mean over probes is mAP.

    Args:
        ranks: of every gallery picture of the probe's person, 1 + the pictures of other people that score at least as
            high, as in similarity.csv; NaN for a picture that could not be compared: it is never found.

    Raises:
        DataError: the person has no gallery picture.

    Example:
        >>> average_precision([1, 1]), average_precision([2]), average_precision([1, float("nan")])
        (1.0, 0.25, 0.5)
    """
    every = np.asarray(ranks, np.float64)
    if not len(every):
        raise DataError("An average precision needs at least one gallery picture of the probe's person.")
    found = np.sort(every[~np.isnan(every)])
    before = np.arange(len(found))
    place = found + before
    with np.errstate(invalid="ignore", divide="ignore"):
        earlier = np.where(place > 1, before / (place - 1), 1.0)
    return float(((earlier + (before + 1) / place) / 2).sum() / len(every))


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


def tpir_at_fpir(
    own: npt.ArrayLike, ranks: npt.ArrayLike, tops: npt.ArrayLike, target: float, depth: int = 20
) -> float:
    """Return the true positive identification rate at a false positive one, as QMUL-SurvFace's protocol has it.

    The threshold is the smallest at which at most `target` of the non-mated searches give a candidate, taken on the
    very searches that are judged; TPIR = 1 - FNIR(N, `depth`, T). A rate for comparison with published ones: who
    has to choose a threshold chooses it on other people.

    Args:
        own: (P,) scores of mated probes with their own subject, NaN where it could not be compared: a miss.
        ranks: (P,) of `mate_ranks`.
        tops: of `nonmated_tops`.
        target: false positive identification rate.
        depth: how many candidates are looked at.

    Example:
        >>> tpir_at_fpir([0.9, 0.3, np.nan, 0.8], [1, 1, 0, 21], tops=[0.5, 0.1], target=0.0)
        0.25
    """
    return 1 - fnir(own, ranks, threshold_at_fpir(tops, target), depth)


def tpir_statistic(
    own: npt.ArrayLike, own_person: npt.ArrayLike, tops: npt.ArrayLike, tops_person: npt.ArrayLike, target: float
) -> Statistic:
    """Return `tpir_at_fpir` as a statistic over people; the threshold moves with the resample.

    Args:
        own: (P,) scores of mated probes with their own subject; NaN for misses, those beyond the depth among them.
        own_person: (P,) number of the person who is searched for.
        tops: (Q,) of `nonmated_tops`.
        tops_person: (Q,) number of the person of each non-mated search.
        target: false positive identification rate.

    Example:
        >>> rate = tpir_statistic([0.9, 0.3], [0, 1], [0.5, 0.1], [2, 3], target=0.0)
        >>> rate(np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 1.0, 0.0, 1.0]]))
        array([0.5, 1. ])
    """
    mine, highest = (np.nan_to_num(np.asarray(v, np.float64), nan=-np.inf) for v in (own, tops))
    up, down = np.argsort(mine, kind="stable"), np.argsort(-highest, kind="stable")
    mine, highest = mine[up], highest[down]
    person, stranger = np.asarray(own_person, np.intp)[up], np.asarray(tops_person, np.intp)[down]

    def statistic(weights: Array) -> Array:
        searches = np.cumsum(weights[:, stranger], axis=1)
        mated = np.pad(np.cumsum(weights[:, person], axis=1), ((0, 0), (1, 0)))
        total = searches[:, -1:]
        # The first score down from the highest at which the target is passed is the last that must be refused.
        refused = np.argmax(searches > target * total + 1e-9, axis=1)
        below = np.searchsorted(mine, highest[refused], side="right")
        with np.errstate(invalid="ignore", divide="ignore"):
            found = 1 - mated[np.arange(len(weights)), below] / mated[:, -1]
        return np.where(total[:, 0] > 0, found, np.nan)

    return statistic
