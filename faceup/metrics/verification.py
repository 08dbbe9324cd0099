"""One-to-one comparison: ROC and DET, EER, true accept rate at a false match rate, thresholds, failures to acquire.

A comparison is accepted when its score is at least the threshold. FMR and FNMR (ISO/IEC 19795-1) are shares of the
comparisons that could be made; FAR and FRR are shares of all attempts, with the failure-to-acquire rate in them:
FAR = FMR (1 - FTA), FRR = FTA + FNMR (1 - FTA). Scores that are NaN were never made and are left out of FMR and FNMR.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceup.errors import DataError
from faceup.metrics.bootstrap import Array, Statistic
from faceup.metrics.separation import histogram


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Error rates at every distinct score, thresholds ascending; the last threshold is infinite and accepts nothing.

    Attributes:
        thresholds: (T,) ascending.
        fmr: (T,) share of the impostor scores at or above the threshold, falling.
        fnmr: (T,) share of the genuine scores below it, rising.
    """

    thresholds: Array
    fmr: Array
    fnmr: Array


def _scores(values: npt.ArrayLike) -> Array:
    array = np.asarray(values, np.float64).ravel()
    return array[~np.isnan(array)]


def error_rates(genuine: npt.ArrayLike, impostor: npt.ArrayLike, threshold: float) -> tuple[float, float]:
    """Return (FMR, FNMR) at a threshold; NaN for a side without scores.

    >>> error_rates([0.9, 0.4], [0.1, 0.4, 0.2, np.nan], 0.4)
    (0.3333333333333333, 0.0)
    """
    g, i = _scores(genuine), _scores(impostor)
    fmr = float((i >= threshold).mean()) if len(i) else float("nan")
    fnmr = float((g < threshold).mean()) if len(g) else float("nan")
    return fmr, fnmr


def error_curve(genuine: npt.ArrayLike, impostor: npt.ArrayLike) -> Curve:
    """Return FMR and FNMR at every distinct score: the ROC is (FMR, 1 - FNMR), the DET (FMR, FNMR).

    Raises:
        DataError: one side has no score.

    Example:
        >>> curve = error_curve([0.8, 0.6], [0.6, 0.1])
        >>> curve.thresholds, curve.fmr, curve.fnmr
        (array([0.1, 0.6, 0.8, inf]), array([1. , 0.5, 0. , 0. ]), array([0. , 0. , 0.5, 1. ]))
    """
    g, i = np.sort(_scores(genuine)), np.sort(_scores(impostor))
    if not len(g) or not len(i):
        raise DataError(f"Error rates need genuine and impostor scores, got {len(g)} and {len(i)}.")
    thresholds = np.append(np.unique(np.concatenate([g, i])), np.inf)
    fmr = (len(i) - np.searchsorted(i, thresholds, side="left")) / len(i)
    fnmr = np.searchsorted(g, thresholds, side="left") / len(g)
    return Curve(thresholds, fmr, fnmr)


def threshold_at_fmr(impostor: npt.ArrayLike, target: float) -> float:
    """Return the smallest threshold at which at most `target` of the impostor scores are accepted.

    It lies just above one of the scores, so that ties are accepted together or not at all.

    Args:
        impostor: scores.
        target: false match rate, 0 to below 1.

    Raises:
        DataError: no score, or `target` out of range.

    Example:
        >>> round(threshold_at_fmr([0.1, 0.2, 0.3, 0.4], 0.25), 6)
        0.3
    """
    scores = np.sort(_scores(impostor))[::-1]
    if not len(scores) or not 0 <= target < 1:
        raise DataError(f"A threshold needs impostor scores and a target from 0 to below 1, got {target}.")
    # A share that is a whole number of comparisons in decimals may lie a bit below it in binary.
    return float(np.nextafter(scores[int(np.floor(target * len(scores) + 1e-9))], np.inf))


def tar_at_fmr(genuine: npt.ArrayLike, impostor: npt.ArrayLike, target: float) -> float:
    """Return the true accept rate, 1 - FNMR, at the smallest threshold whose FMR is at most `target`.

    >>> tar_at_fmr([0.35, 0.9], [0.1, 0.2, 0.3, 0.4], 0.25)
    1.0
    """
    return 1 - error_rates(genuine, impostor, threshold_at_fmr(impostor, target))[1]


def with_failures(fmr: float, fnmr: float, fta: float) -> tuple[float, float]:
    """Return (FAR, FRR): the rates of all attempts, of which `fta` could not be acquired and so were rejected.

    >>> with_failures(0.02, 0.1, 0.5)
    (0.01, 0.55)
    """
    return fmr * (1 - fta), fta + fnmr * (1 - fta)


def equal_error_rate(genuine: npt.ArrayLike, impostor: npt.ArrayLike) -> tuple[float, float]:
    """Return (EER, threshold): where FMR and FNMR cross, straight lines between the points of the curve.

    The threshold is the first at which FNMR is at least FMR.

    >>> equal_error_rate([0.9, 0.8, 0.3], [0.4, 0.2, 0.1])
    (0.3333333333333333, 0.4)
    """
    curve = error_curve(genuine, impostor)
    after = int(np.argmax(curve.fnmr >= curve.fmr))
    rate = crossing(curve.fmr[None, :], curve.fnmr[None, :])[0]
    return float(rate), float(curve.thresholds[after])


def crossing(fmr: Array, fnmr: Array) -> Array:
    """Return where falling FMR and rising FNMR cross; rows are curves.

    >>> crossing(np.array([[1.0, 0.5, 0.0]]), np.array([[0.0, 0.5, 1.0]]))
    array([0.5])
    """
    after = np.argmax(fnmr >= fmr, axis=1)
    rows, before = np.arange(len(fmr)), np.maximum(after - 1, 0)
    gap_before, gap_after = fmr[rows, before] - fnmr[rows, before], fnmr[rows, after] - fmr[rows, after]
    total = gap_before + gap_after
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where((after > 0) & (total > 0), gap_before / total, 1.0)
    return np.asarray(fmr[rows, before] + share * (fmr[rows, after] - fmr[rows, before]), np.float64)


class Comparisons:
    """Genuine and impostor scores with the subjects they compare, for intervals over subjects.

    Args:
        genuine: scores of a subject with itself.
        genuine_subject: number of that subject, 0..S-1.
        impostor: scores of two different subjects.
        impostor_probe: number of the probe's subject.
        impostor_gallery: number of the gallery's subject.

    Example:
        >>> two = Comparisons([0.9, 0.8], [0, 1], [0.3, 0.1], [0, 1], [1, 0])
        >>> two.eer()(np.array([[1.0, 1.0], [2.0, 0.0]]))  # Nobody is an impostor of a copy of the own self.
        array([ 0., nan])
    """

    def __init__(
        self,
        genuine: npt.ArrayLike,
        genuine_subject: npt.ArrayLike,
        impostor: npt.ArrayLike,
        impostor_probe: npt.ArrayLike,
        impostor_gallery: npt.ArrayLike,
    ) -> None:
        g, i = np.asarray(genuine, np.float64), np.asarray(impostor, np.float64)
        by_genuine = np.argsort(g, kind="stable")[: int((~np.isnan(g)).sum())]
        by_impostor = np.argsort(i, kind="stable")[: int((~np.isnan(i)).sum())]
        self.genuine, self.impostor = g[by_genuine], i[by_impostor]
        self.owner = np.asarray(genuine_subject, np.intp)[by_genuine]
        self.probe = np.asarray(impostor_probe, np.intp)[by_impostor]
        self.gallery = np.asarray(impostor_gallery, np.intp)[by_impostor]

    note = ""

    def __len__(self) -> int:
        return len(self.genuine) + len(self.impostor)

    @property
    def impostors(self) -> int:
        """How many impostor comparisons there are."""
        return len(self.impostor)

    @property
    def cost(self) -> int:
        """How many numbers a statistic makes of one row of weights."""
        return 2 * len(self)

    def accepted(self, threshold: float) -> int:
        """Return how many impostor scores are at or above a threshold."""
        return int((self.impostor >= threshold).sum())

    def threshold(self, target: float) -> float:
        """Return the smallest threshold at which at most `target` of the impostor scores are accepted."""
        return threshold_at_fmr(self.impostor, target)

    def curve(self) -> Curve:
        """Return the error rates at every score."""
        return error_curve(self.genuine, self.impostor)

    def impostor_shares(self, bins: int) -> tuple[Array, Array]:
        """Return the shares of the impostor scores in bins of equal width from -1 to 1, and their edges."""
        return histogram(self.impostor, bins)[:2]

    def _cumulated(self, weights: Array) -> tuple[Array, Array]:
        """Return the weight of the lowest k scores of either side, k from 0."""
        parts = weights[:, self.owner], weights[:, self.probe] * weights[:, self.gallery]
        genuine, impostor = (np.pad(np.cumsum(part, axis=1), ((0, 0), (1, 0))) for part in parts)
        return genuine, impostor

    def eer(self) -> Statistic:
        """Return the equal error rate as a statistic."""
        thresholds = np.append(np.unique(np.concatenate([self.genuine, self.impostor])), np.inf)
        at_genuine, at_impostor = (np.searchsorted(s, thresholds, side="left") for s in (self.genuine, self.impostor))

        def statistic(weights: Array) -> Array:
            genuine, impostor = self._cumulated(weights)
            with np.errstate(invalid="ignore", divide="ignore"):
                fnmr = genuine[:, at_genuine] / genuine[:, -1:]
                fmr = (impostor[:, -1:] - impostor[:, at_impostor]) / impostor[:, -1:]
            return np.where(np.isnan(fmr[:, 0] + fnmr[:, 0]), np.nan, crossing(fmr, fnmr))

        return statistic

    def tar_at_fmr(self, target: float) -> Statistic:
        """Return the true accept rate at a false match rate as a statistic; the threshold moves with the resample."""

        def statistic(weights: Array) -> Array:
            genuine, impostor = self._cumulated(weights)
            total = impostor[:, -1]
            # The weight at or above score k is total - impostor[:, k]; the highest score at which it passes the target
            # is the last that must be refused.
            above = total[:, None] - impostor[:, :-1]
            over = above > (target * total + 1e-9)[:, None]
            refused = over.sum(axis=1) - 1
            limit = np.where(refused >= 0, self.impostor[np.maximum(refused, 0)] if len(self.impostor) else 0.0, np.nan)
            below = np.searchsorted(self.genuine, limit, side="right")
            with np.errstate(invalid="ignore", divide="ignore"):
                accepted = 1 - genuine[np.arange(len(weights)), below] / genuine[:, -1]
            return np.where(np.isnan(limit), np.nan, accepted)

        return statistic

    def d_prime(self) -> Statistic:
        """Return d' (`faceup.metrics.separation.d_prime`) as a statistic; a comparison counts as often as it weighs."""
        return d_prime_statistic(
            (self.genuine, lambda weights: weights[:, self.owner]),
            (self.impostor, lambda weights: weights[:, self.probe] * weights[:, self.gallery]),
        )

    def fmr(self, threshold: float) -> Statistic:
        """Return the false match rate at a fixed threshold as a statistic."""
        index = int(np.searchsorted(self.impostor, threshold, side="left"))

        def statistic(weights: Array) -> Array:
            pairs = weights[:, self.probe] * weights[:, self.gallery]
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.asarray(pairs[:, index:].sum(axis=1) / pairs.sum(axis=1), np.float64)

        return statistic

    def fnmr(self, threshold: float) -> Statistic:
        """Return the false non-match rate at a fixed threshold as a statistic."""
        return fnmr_statistic(self.genuine, self.owner, threshold)


def fnmr_statistic(genuine: Array, owner: npt.NDArray[np.intp], threshold: float) -> Statistic:
    """Return the false non-match rate at a fixed threshold as a statistic of ascending scores and their subjects.

    >>> fnmr_statistic(np.array([0.2, 0.9]), np.array([0, 1]), 0.5)(np.array([[1.0, 1.0], [2.0, 0.0]]))
    array([0.5, 1. ])
    """
    index = int(np.searchsorted(genuine, threshold, side="left"))

    def statistic(weights: Array) -> Array:
        own = weights[:, owner]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(own[:, :index].sum(axis=1) / own.sum(axis=1), np.float64)

    return statistic


Weighted = tuple[Array, Callable[[Array], Array]]


def d_prime_statistic(genuine: Weighted, impostor: Weighted) -> Statistic:
    """Return d' as a statistic of the scores of both sides, each with how its weights follow from the subjects'.

    >>> sides = [(np.array(scores), lambda weights: weights) for scores in ([1.0, 3.0], [-1.0, 1.0])]
    >>> d_prime_statistic(*sides)(np.ones((1, 2))).round(4)
    array([1.4142])
    """

    def moments(weights: Array, scores: Array) -> tuple[Array, Array]:
        total = weights.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = weights @ scores / total
            variance = (weights @ scores**2 - total * mean**2) / (total - 1)
        return np.where(total > 1, mean, np.nan), np.where(total > 1, np.maximum(variance, 0), np.nan)

    def statistic(weights: Array) -> Array:
        own, own_variance = moments(genuine[1](weights), genuine[0])
        other, other_variance = moments(impostor[1](weights), impostor[0])
        spread = (own_variance + other_variance) / 2
        # Squares of cosines are exact to about 1e-16.
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(spread > 1e-14, (own - other) / np.sqrt(spread), np.nan)

    return statistic
