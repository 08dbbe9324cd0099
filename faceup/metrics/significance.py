"""Whether a difference can be chance: paired tests over subjects, correction for several, and what no error means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ALPHA = 0.05
# Up to 2 ** 12 patterns of signs are tried one by one.
_EXACT = 12


def sign_flip_p(differences: npt.ArrayLike, *, rounds: int = 10_000, seed: int = 0) -> float:
    """Return the two-sided p of the mean of paired differences, by flipping their signs (Fisher's randomisation test).

    Exact up to 12 subjects, else by `rounds` random patterns, which can give no less than 1 / (rounds + 1). With n
    subjects p is at least 2 / 2 ** n: with fewer than six nothing can be significant at 0.05.

    Args:
        differences: one finite number per subject.
        rounds: patterns of signs tried where not all are.
        seed: of the generator.

    Example:
        >>> sign_flip_p([1.0, 2.0, 3.0])
        0.25
    """
    array = np.asarray(differences, np.float64)
    if not len(array):
        return float("nan")
    seen = abs(array.sum()) - 1e-12 * np.abs(array).sum()
    if len(array) <= _EXACT:
        signs = 1.0 - 2 * (np.arange(2 ** len(array))[:, None] >> np.arange(len(array)) & 1)
        return float((np.abs(signs @ array) >= seen).mean())
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, rounds, 1000):
        signs = rng.integers(0, 2, (min(1000, rounds - start), len(array))) * 2.0 - 1
        hits += int((np.abs(signs @ array) >= seen).sum())
    return (hits + 1) / (rounds + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p values, in the order given; they hold the family-wise error rate.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, k in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[k]))
        adjusted[k] = highest
    return adjusted


def verdict(p: float, subjects: int, alpha: float = ALPHA) -> str:
    """Return what a table prints of a difference.

    >>> verdict(0.2, 6)
    'not significant at n = 6'
    """
    return f"significant at n = {subjects}" if p < alpha else f"not significant at n = {subjects}"


def zero_error_bound(trials: int, level: float = 0.95) -> float:
    """Return the upper limit of an error rate of which no error was seen in independent trials ('rule of three').

    Exact, 1 - (1 - level) ** (1 / trials), which is about 3 / trials at 95 %.

    >>> round(zero_error_bound(300), 4)
    0.0099
    """
    return float(1 - (1 - level) ** (1 / trials)) if trials > 0 else float("nan")


def paired_t(differences: npt.ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Return mean, low and high of paired differences after Student's t, as papers print it.

    >>> tuple(round(v, 3) for v in paired_t([0.1, 0.2, 0.3]))
    (0.2, -0.048, 0.448)
    """
    from scipy.stats import t

    array = np.asarray(differences, np.float64)
    mean = float(array.mean())
    if len(array) < 2:
        return mean, float("nan"), float("nan")
    half = float(t.ppf((1 + level) / 2, len(array) - 1)) * float(array.std(ddof=1)) / len(array) ** 0.5
    return mean, mean - half, mean + half
