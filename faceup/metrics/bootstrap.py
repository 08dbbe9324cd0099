"""Intervals by bootstrap over subjects.

Probes of one person are alike, and every impostor comparison involves two people; so people are resampled, never
comparisons. A statistic is a function of the weights of the S subjects, one row per resample: how often each was drawn.
A comparison of subject a with subject b weighs w[a] * w[b], one of a subject with itself w[a]: pairs are kept among the
people drawn, and copies of one person are never impostors of each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from faceup.errors import DataError

Array = npt.NDArray[np.float64]
Statistic = Callable[[Array], Array]
Method = Literal["bca", "percentile"]
LEVEL = 0.95
ROUNDS = 2000
# Weights of so many comparisons are held at once.
_CHUNK = 8_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        estimate: the statistic of the data as they are.
        low: lower end; NaN where no interval can be given.
        high: upper end.
        method: `bca`, `percentile`, or `none`.
    """

    estimate: float
    low: float
    high: float
    method: str


def draw_weights(subjects: int, rounds: int = ROUNDS, seed: int = 0) -> Array:
    """Return how often each subject is drawn in each resample: (rounds, subjects) whole numbers, rows sum to subjects.

    >>> draw_weights(3, rounds=2, seed=1).sum(axis=1)
    array([3., 3.])
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=rounds).astype(np.float64)


def subject_interval(
    statistic: Statistic,
    subjects: int,
    *,
    level: float = LEVEL,
    rounds: int = ROUNDS,
    seed: int = 0,
    method: Method = "bca",
    comparisons: int = 1,
) -> Interval:
    """Return a statistic with its bootstrap interval over subjects.

    BCa (Efron 1987: bias-corrected and accelerated, jackknife over subjects) falls back to the percentile interval
    where its correction is not defined. Resamples in which the statistic is not defined are left out. With fewer than
    two subjects, or where the estimate itself is NaN, there is no interval.

    Args:
        statistic: (R, S) weights to (R,) values.
        subjects: S.
        level: share of the resampled values inside.
        rounds: number of resamples.
        seed: of the generator, so that the same data give the same interval.
        method: `bca` or `percentile`.
        comparisons: how many weights the statistic makes of one row, so that memory stays bounded.

    Example:
        >>> values = np.array([0.2, 0.4, 0.9, 0.5])
        >>> got = subject_interval(mean_statistic(values), 4, rounds=200)
        >>> bool(got.low < got.estimate == 0.5 < got.high)
        True
    """
    if subjects < 1:
        return Interval(float("nan"), float("nan"), float("nan"), "none")
    estimate = float(statistic(np.ones((1, subjects)))[0])
    if subjects < 2 or np.isnan(estimate):
        return Interval(estimate, float("nan"), float("nan"), "none")
    values = _evaluated(statistic, draw_weights(subjects, rounds, seed), comparisons)
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(estimate, float("nan"), float("nan"), "none")
    tails = (1 - level) / 2
    quantiles: tuple[float, float] | None = None
    if method == "bca":
        left_out = _without_each(statistic, subjects, comparisons)
        quantiles = _bca_quantiles(values, left_out[~np.isnan(left_out)], estimate, tails)
    used = "percentile" if quantiles is None else "bca"
    low, high = np.quantile(values, quantiles or (tails, 1 - tails))
    return Interval(estimate, float(low), float(high), used)


def _evaluated(statistic: Statistic, weights: Array, comparisons: int) -> Array:
    step = max(1, _CHUNK // max(1, comparisons))
    return np.concatenate([statistic(weights[i : i + step]) for i in range(0, len(weights), step)])


def _without_each(statistic: Statistic, subjects: int, comparisons: int) -> Array:
    """Return the statistic without each subject in turn, in portions: all weights at once would be S x S."""
    step = max(1, _CHUNK // max(1, comparisons, subjects))
    parts = []
    for start in range(0, subjects, step):
        weights = np.ones((min(step, subjects - start), subjects))
        weights[np.arange(len(weights)), start + np.arange(len(weights))] = 0
        parts.append(statistic(weights))
    return np.concatenate(parts)


def _bca_quantiles(values: Array, jackknife: Array, estimate: float, tails: float) -> tuple[float, float] | None:
    """Return the quantiles of the resampled values that BCa takes, None where they are not defined."""
    normal = NormalDist()
    # Values that equal the estimate count half, else a rate with few steps is pushed aside.
    below = float(((values < estimate).mean() + (values <= estimate).mean()) / 2)
    away = jackknife.mean() - jackknife if len(jackknife) else jackknife
    spread = float((away**2).sum())
    if not 0 < below < 1 or spread <= 1e-20:
        return None
    bias = normal.inv_cdf(below)
    acceleration = float((away**3).sum()) / (6 * spread**1.5)
    ends = []
    for tail in (tails, 1 - tails):
        z = bias + normal.inv_cdf(tail)
        if acceleration * z >= 1:
            return None
        ends.append(normal.cdf(bias + z / (1 - acceleration * z)))
    return ends[0], ends[1]


def mean_statistic(values: npt.ArrayLike) -> Statistic:
    """Return the statistic 'mean over subjects' of one number per subject; NaN is a subject without one.

    >>> mean_statistic([1.0, 3.0, np.nan])(np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 5.0]]))
    array([2. , 1.5])
    """
    array = np.asarray(values, np.float64)
    known = ~np.isnan(array)
    return ratio_statistic(np.where(known, array, 0.0), known.astype(np.float64))


def ratio_statistic(numerators: npt.ArrayLike, denominators: npt.ArrayLike) -> Statistic:
    """Return the statistic 'sum over sum' of two numbers per subject, e.g. hits and probes.

    >>> float(ratio_statistic([2, 0], [3, 1])(np.ones((1, 2)))[0])
    0.5
    """
    top, bottom = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)

    def statistic(weights: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ top) / (weights @ bottom), np.float64)

    return statistic


def difference(first: Statistic, second: Statistic) -> Statistic:
    """Return the statistic `first` - `second` on the same resamples, which makes it paired.

    >>> difference(mean_statistic([3.0]), mean_statistic([1.0]))(np.ones((1, 1)))
    array([2.])
    """
    return lambda weights: first(weights) - second(weights)


def bootstrap_interval(
    values: npt.ArrayLike, *, level: float = LEVEL, rounds: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of independent values.

    Args:
        values: one finite number per independent unit (picture or subject), at least one.
        level: share of the resampled means inside.
        rounds: number of resamples.
        seed: of the generator, so that the same values give the same interval.

    Raises:
        DataError: there is no value.

    Example:
        >>> bootstrap_interval([1.0, 1.0])
        (1.0, 1.0)
    """
    array = np.asarray(values, np.float64)
    if not len(array):
        raise DataError("An interval needs at least one value.")
    rng = np.random.default_rng(seed)
    means = array[rng.integers(len(array), size=(rounds, len(array)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
