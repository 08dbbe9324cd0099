"""Comparison of embeddings: cosine scores, the similarity that is printed, and ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from faceup.errors import ConfigError
from faceup.types import Embeddings, Floats, ScoreMatrix


def cosine_scores(gallery: Embeddings, probes: Embeddings) -> ScoreMatrix:
    """Return the cosine of every gallery picture with every probe, NaN where either has no embedding."""
    # Products with NaN rows are NaN anyway; zeros keep the matrix product free of warnings.
    g, p = (np.where(side.failed[:, None], 0, side.vectors) for side in (gallery, probes))
    scores = np.clip(g @ p.T, -1, 1).astype(np.float32)
    scores[gallery.failed[:, None] | probes.failed[None, :]] = np.nan
    return ScoreMatrix(scores, gallery.sample_ids, probes.sample_ids)


def similarity(cosine: Floats, kind: str) -> Floats:
    """Return the similarity that reports print.

    Args:
        cosine: any shape, -1..1; NaN stays NaN.
        kind: `clipped`: max(cosine, 0); `cosine`: unchanged; `half`: (cosine + 1) / 2.
    """
    if kind == "clipped":
        return np.asarray(np.maximum(cosine, 0), np.float32)
    if kind == "half":
        return np.asarray((cosine + 1) / 2, np.float32)
    if kind != "cosine":
        raise ConfigError(f"Unknown similarity {kind!r}.")
    return cosine


def ranks(scores: Floats, subjects: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return, for every gallery picture and probe, 1 + the pictures of other subjects that score at least as high.

    Ties count against the probe; other pictures of the same subject never push a picture down. Pictures without a face
    (NaN) are not counted.

    Args:
        scores: (G, P) cosine.
        subjects: G names, one per gallery picture.

    Returns:
        (G, P), 0 where the score is NaN.
    """
    counts = np.zeros(scores.shape, np.int64)
    for probe in range(scores.shape[1]):
        column = scores[:, probe]
        ordered = np.sort(column[~np.isnan(column)])
        counts[:, probe] = len(ordered) - np.searchsorted(ordered, column, side="left")
    names = np.asarray(subjects)
    for rows in (np.flatnonzero(names == name) for name in dict.fromkeys(subjects)):
        for row in rows:
            with np.errstate(invalid="ignore"):
                counts[row] -= (scores[rows] >= scores[row]).sum(axis=0)
    return np.where(np.isnan(scores), 0, counts + 1)
