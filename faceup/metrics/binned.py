"""Error rates from a histogram of the impostor scores, for searches with too many comparisons to keep each.

The same as `faceup.metrics.verification.Comparisons`, with two differences. A threshold is an edge of a bin, so a rate
at a target is known to `WIDTH` of the cosine. And a comparison weighs as often as the probe's person was drawn: the
gallery stays as it is, whose people are far too many to make a difference by being drawn.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from faceup.errors import DataError
from faceup.metrics.bootstrap import Array, Statistic
from faceup.metrics.verification import Curve, crossing, d_prime_statistic, fnmr_statistic

BINS = 800
WIDTH = 2 / BINS
EDGES: Array = np.arange(BINS + 1) / (BINS / 2) - 1


def bins_of(scores: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the numbers of the bins of cosines: k from `EDGES[k]` to below `EDGES[k + 1]`, the last with 1 in it.

    >>> bins_of([-1.0, 0.0, 1.0]), BINS
    (array([  0, 400, 799]), 800)
    """
    places = ((np.asarray(scores, np.float64) + 1) * (BINS / 2)).astype(np.int64)
    return np.clip(places, 0, BINS - 1)


class BinnedComparisons:
    """Genuine scores and, for each person searched for, how many impostor scores fall in each bin.

    Args:
        genuine: scores of a subject with itself; NaN were never made.
        genuine_subject: number of that subject, 0..S-1.
        impostors: (Q, `BINS`) counts.
        impostor_probe: (Q,) number of the subject of each row.

    Example:
        >>> counts = np.stack([np.bincount(bins_of(x), minlength=BINS) for x in ([0.1, 0.1, 0.1], [0.3])])
        >>> two = BinnedComparisons([0.9, 0.2], [0, 1], counts, [0, 1])
        >>> two.fmr(0.25)(np.ones((1, 2))), two.tar_at_fmr(0.25)(np.ones((1, 2)))
        (array([0.25]), array([1.]))
    """

    def __init__(
        self,
        genuine: npt.ArrayLike,
        genuine_subject: npt.ArrayLike,
        impostors: npt.ArrayLike,
        impostor_probe: npt.ArrayLike,
    ) -> None:
        g = np.asarray(genuine, np.float64)
        order = np.argsort(g, kind="stable")[: int((~np.isnan(g)).sum())]
        self.genuine = g[order]
        self.owner = np.asarray(genuine_subject, np.intp)[order]
        # One row a person is enough: they are drawn together.
        self.person, place = np.unique(np.asarray(impostor_probe, np.intp), return_inverse=True)
        self.counts: Array = np.zeros((len(self.person), BINS))
        np.add.at(self.counts, place, np.asarray(impostors, np.float64))
        self.below = np.searchsorted(self.genuine, EDGES, side="left")

    note = f"impostor scores with the whole gallery, in bins of {WIDTH:g}"

    def __len__(self) -> int:
        return len(self.genuine) + self.impostors

    @property
    def cost(self) -> int:
        """How many numbers a statistic makes of one row of weights."""
        return len(self.genuine) + BINS + len(self.person)

    @property
    def impostors(self) -> int:
        """How many impostor comparisons there are."""
        return int(self.counts.sum())

    def accepted(self, threshold: float) -> int:
        """Return how many impostor scores are at or above a threshold, which is an edge of a bin."""
        return int(self.counts[:, _edge(threshold) :].sum())

    def threshold(self, target: float) -> float:
        """Return the smallest edge at which at most `target` of the impostor scores are accepted."""
        if not self.impostors or not 0 <= target < 1:
            raise DataError(f"A threshold needs impostor scores and a target from 0 to below 1, got {target}.")
        place = int(_refusing(self.counts.sum(axis=0)[None, :], target)[0])
        return float(EDGES[place]) if place < BINS else float(np.nextafter(1, 2))

    def curve(self) -> Curve:
        """Return the error rates at every edge."""
        counts = self.counts.sum(axis=0)[None, :]
        return Curve(np.append(EDGES, np.inf), np.append(_shares(counts)[0], 0.0), np.append(self._fnmr()[0], 1.0))

    def impostor_shares(self, bins: int) -> tuple[Array, Array]:
        """Return the shares of the impostor scores in bins of equal width from -1 to 1, and their edges.

        Args:
            bins: a divisor of `BINS`.
        """
        counts = self.counts.sum(axis=0).reshape(bins, -1).sum(axis=1)
        return counts / max(self.impostors, 1), EDGES[:: BINS // bins]

    def _impostor(self, weights: Array) -> Array:
        return np.asarray(weights[:, self.person] @ self.counts, np.float64)

    def _fnmr(self, weights: Array | None = None) -> Array:
        """Return FNMR at every edge."""
        own = np.ones((1, len(self.genuine))) if weights is None else weights[:, self.owner]
        total = np.pad(np.cumsum(own, axis=1), ((0, 0), (1, 0)))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(total[:, self.below] / total[:, -1:], np.float64)

    def eer(self) -> Statistic:
        """Return the equal error rate as a statistic."""

        def statistic(weights: Array) -> Array:
            # Above the last edge nothing is accepted.
            fmr = np.pad(_shares(self._impostor(weights)), ((0, 0), (0, 1)))
            fnmr = np.pad(self._fnmr(weights), ((0, 0), (0, 1)), constant_values=1.0)
            return np.where(np.isnan(fmr[:, 0] + fnmr[:, 0]), np.nan, crossing(fmr, fnmr))

        return statistic

    def tar_at_fmr(self, target: float) -> Statistic:
        """Return the true accept rate at a false match rate as a statistic; the threshold moves with the resample."""

        def statistic(weights: Array) -> Array:
            impostor = self._impostor(weights)
            refused = self._fnmr(weights)[np.arange(len(weights)), _refusing(impostor, target)]
            return np.where(impostor.sum(axis=1) > 0, 1 - refused, np.nan)

        return statistic

    def d_prime(self) -> Statistic:
        """Return d' as a statistic, impostor scores taken for the middles of their bins."""
        middles = EDGES[:-1] + WIDTH / 2
        return d_prime_statistic((self.genuine, lambda weights: weights[:, self.owner]), (middles, self._impostor))

    def fmr(self, threshold: float) -> Statistic:
        """Return the false match rate at a fixed threshold, an edge of a bin, as a statistic."""
        index = _edge(threshold)

        def statistic(weights: Array) -> Array:
            impostor = self._impostor(weights)
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.asarray(impostor[:, index:].sum(axis=1) / impostor.sum(axis=1), np.float64)

        return statistic

    def fnmr(self, threshold: float) -> Statistic:
        """Return the false non-match rate at a fixed threshold as a statistic."""
        return fnmr_statistic(self.genuine, self.owner, threshold)


def _edge(threshold: float) -> int:
    return int(np.searchsorted(EDGES[:-1], threshold, side="left"))


def _shares(counts: Array) -> Array:
    """Return FMR at every edge from counts per bin; rows are resamples."""
    above = np.pad(np.cumsum(counts[:, ::-1], axis=1)[:, ::-1], ((0, 0), (0, 1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(above / above[:, :1], np.float64)


def _refusing(counts: Array, target: float) -> npt.NDArray[np.intp]:
    """Return the number of the smallest edge at which at most `target` of the counted scores are accepted."""
    above = np.pad(np.cumsum(counts[:, ::-1], axis=1)[:, ::-1], ((0, 0), (0, 1)))
    return np.argmax(above <= target * above[:, :1] + 1e-9, axis=1)
