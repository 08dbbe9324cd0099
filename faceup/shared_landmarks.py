"""`--split-gain`: every SR system's picture embedded a second time, all with the same landmarks.

The landmarks are those found on the bicubic x4 picture, mapped to each scale as docs/conventions.md says. Bicubic adds
no content, is the same for all systems, and finds far more faces than the native picture, which is often smaller than
the smallest face a detector looks for; taking each SR system's own would favour some system.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceup.acquire import Acquired
from faceup.align import align
from faceup.protocols import Embedder, embed_all
from faceup.types import AlignedFace, Embeddings, Floats, Image

REFERENCE = "bicubic"
_PORTION = 64


def moved(points: Floats, factor: float) -> Floats:
    """Return points of a picture in the coordinates of the picture enlarged `factor` times.

    >>> moved(np.array([[0.0, 1.0]], np.float32), 4).tolist()
    [[1.5, 5.5]]
    """
    return np.asarray((points.astype(np.float64) + 0.5) * factor - 0.5, np.float32)


class SharedLandmarks:
    """Collects the faces of one SR system after the other, cut out by the reference's landmarks.

    Args:
        reference: what became of every probe under the reference.
        embedder: the recogniser.
    """

    def __init__(self, reference: Sequence[Acquired], embedder: Embedder) -> None:
        self.embedder = embedder
        self.rows = {row.sample.sample_id: number for number, row in enumerate(reference)}
        self.found = {row.sample.sample_id: row for row in reference if row.landmarks is not None}
        self._begin()

    def _begin(self) -> None:
        self._vectors = np.full((len(self.rows), self.embedder.dimension), np.nan, np.float32)
        self._waiting: list[tuple[int, AlignedFace]] = []

    def add(self, sample_id: str, picture: Image) -> None:
        """Take a picture of the SR system at work; without reference landmarks it stays a failure to acquire."""
        row = self.found.get(sample_id)
        if row is None or row.landmarks is None:
            return
        face = align(picture, moved(row.landmarks, picture.width / row.width))
        self._waiting.append((self.rows[sample_id], face))
        if len(self._waiting) >= _PORTION:
            self._embed()

    def _embed(self) -> None:
        if self._waiting:
            self._vectors[[k for k, _ in self._waiting]] = embed_all(self.embedder, [face for _, face in self._waiting])
            self._waiting = []

    def embeddings(self) -> Embeddings:
        """Return one row per probe for the pictures added since the last call, and begin anew."""
        self._embed()
        vectors = self._vectors
        self._begin()
        return Embeddings(vectors, tuple(self.rows), np.isnan(vectors[:, 0]))
