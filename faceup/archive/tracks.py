"""Tracklets: the faces that one passer-by shows to one camera, linked from frame to frame.

The rule. A face of a new frame continues a tracklet if that was seen at most `max_gap` ago and either

- the boxes overlap by at least 0.3 (intersection over union) and the embeddings' cosine is at least 0.1, or
- the cosine is at least 0.5, wherever the face is.

Of several possibilities the greatest sum of overlap and cosine wins; a tracklet has at most one face in a frame. Boxes
count only where they say something about the place: in frames, not in crops. A tracklet's embedding is the mean of its
ten best faces, weighted by quality and scaled to unit length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from faceup.archive.faces import Face, overlap
from faceup.types import Floats

NEAR = 0.3
NEAR_ALIKE = 0.1
ALIKE = 0.5
FUSED = 10


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A face with where and when it was seen.

    Attributes:
        source: name of the file.
        camera: name of the camera.
        clock: which times can be compared: `utc`, or the name of a file without a known time.
        time_us: microseconds of that clock; None for a picture without a time.
        utc_us: microseconds since 1970, None when not known.
        seconds: from the beginning of a video, None for a picture.
        pts: timestamp of the frame, None for a picture.
        time_base: seconds of one unit of `pts`, as (numerator, denominator); None for a picture.
        placed: whether the box says where in the camera's view the face is.
        face: the face.
    """

    source: str
    camera: str
    clock: str
    time_us: int | None
    utc_us: int | None
    seconds: float | None
    pts: int | None
    time_base: tuple[int, int] | None
    placed: bool
    face: Face


@dataclass(slots=True)
class Track:
    """A tracklet.

    Attributes:
        number: counts the tracklets of a job in the order in which they begin, from 1.
        first: its first sighting.
        last: its latest.
        frames: how many faces it has.
        best: its best faces, the best first, at most `FUSED`; when it has ended, only the best.
        super_resolved: whether any of the best was embedded after super-resolution; known when it has ended.
    """

    number: int
    first: Sighting
    last: Sighting
    frames: int = 0
    best: list[Sighting] = field(default_factory=list)
    super_resolved: bool = False
    _vector: Floats | None = None

    def add(self, seen: Sighting) -> None:
        """Take in one more face."""
        self.last = seen
        self.frames += 1
        # Sorting is stable: of equally good faces the earlier stays in front.
        self.best = sorted([*self.best, seen], key=lambda s: -s.face.quality)[:FUSED]
        self._vector = None

    @property
    def vector(self) -> Floats:
        """The fused embedding, (D,) of unit length."""
        if self._vector is None:
            self._vector = fused([s.face.vector for s in self.best], [s.face.quality for s in self.best])
        return self._vector

    def close(self) -> None:
        """End it: keep what the results need and let go of the rest."""
        self._vector = self.vector
        self.super_resolved = any(seen.face.sr for seen in self.best)
        self.best = self.best[:1]


def fused(vectors: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """Return the weighted mean of embeddings, scaled to unit length.

    Args:
        vectors: of unit length.
        weights: at least 0; if all are 0 the vectors count alike.
    """
    w = np.asarray(weights, np.float64)
    w = w if w.sum() > 0 else np.ones(len(vectors))
    mean = (np.asarray(vectors, np.float64) * w[:, None]).sum(axis=0)
    length = float(np.sqrt((mean * mean).sum()))
    # Opposite vectors can cancel out; then the best one stands for all.
    return np.asarray(mean / length if length > 1e-6 else vectors[0], np.float32)


class Tracker:
    """Links the frames of one camera after the other, in the order of time, in memory that does not grow."""

    def __init__(self, max_gap_s: float) -> None:
        self.max_gap_us = round(max_gap_s * 1_000_000)
        self._active: list[Track] = []
        self._number = 0
        self._here: tuple[str, str] | None = None
        self._now: int | None = None

    def frame(self, seen: Sequence[Sighting]) -> tuple[list[int], list[Track]]:
        """Take in the faces of one frame.

        Args:
            seen: at least one, all of the same frame.

        Returns:
            The number of the tracklet of each face, and the tracklets that have ended.
        """
        first = seen[0]
        ended = self._ended(first)
        numbers = [0] * len(seen)
        for track, index in self._links(seen):
            track.add(seen[index])
            numbers[index] = track.number
        for index, sighting in enumerate(seen):
            if not numbers[index]:
                self._number += 1
                track = Track(self._number, sighting, sighting)
                track.add(sighting)
                self._active.append(track)
                numbers[index] = track.number
        return numbers, ended

    def flush(self) -> list[Track]:
        """End every tracklet and return those that had not ended."""
        ended, self._active = self._active, []
        for track in ended:
            track.close()
        return ended

    def _ended(self, seen: Sighting) -> list[Track]:
        here, now = (seen.camera, seen.clock), seen.time_us
        jumped = here != self._here or now is None or self._now is None or now < self._now
        self._here, self._now = here, now
        if jumped:
            return self.flush()
        assert now is not None
        late = [track for track in self._active if now - (track.last.time_us or 0) > self.max_gap_us]
        self._active = [track for track in self._active if now - (track.last.time_us or 0) <= self.max_gap_us]
        for track in late:
            track.close()
        return late

    def _links(self, seen: Sequence[Sighting]) -> Iterator[tuple[Track, int]]:
        possible = []
        for track in self._active:
            for index, sighting in enumerate(seen):
                alike = float(np.einsum("d,d->", track.vector, sighting.face.vector))
                placed = track.last.placed and sighting.placed
                near = overlap(track.last.face.box, sighting.face.box) if placed else 0.0
                if alike >= ALIKE or (near >= NEAR and alike >= NEAR_ALIKE):
                    possible.append((-(near + alike), track.number, index, track))
        used: set[int] = set()
        taken: set[int] = set()
        for _, number, index, track in sorted(possible, key=lambda link: link[:3]):
            if number not in used and index not in taken:
                used.add(number)
                taken.add(index)
                yield track, index
