"""How far genuine and impostor scores lie apart: d' and histograms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from faceup.metrics.bootstrap import Array


def d_prime(genuine: npt.ArrayLike, impostor: npt.ArrayLike) -> float:
    """Return the difference of the means over the root of the mean variance (ddof = 1); NaN scores are left out.

    NaN where a side has fewer than two scores or neither varies.

    >>> round(d_prime([1.0, 3.0], [-1.0, 1.0]), 4)
    1.4142
    """
    sides = [np.asarray(side, np.float64) for side in (genuine, impostor)]
    g, i = (side[~np.isnan(side)] for side in sides)
    if min(len(g), len(i)) < 2:
        return float("nan")
    spread = (g.var(ddof=1) + i.var(ddof=1)) / 2
    return float((g.mean() - i.mean()) / np.sqrt(spread)) if spread > 0 else float("nan")


def histogram(scores: npt.ArrayLike, bins: int = 80) -> tuple[Array, Array, int]:
    """Return shares per bin of equal width from -1 to 1, the edges, and how many scores are NaN and so in no bin.

    The shares are of all scores, so they sum to 1 only where none is NaN.

    >>> histogram([0.5, -0.5, np.nan, 0.5], bins=2)
    (array([0.25, 0.5 ]), array([-1.,  0.,  1.]), 1)
    """
    array = np.asarray(scores, np.float64)
    known = array[~np.isnan(array)]
    counts, edges = np.histogram(np.clip(known, -1, 1), bins=bins, range=(-1, 1))
    shares = counts / len(array) if len(array) else counts.astype(np.float64)
    return shares, edges, len(array) - len(known)
