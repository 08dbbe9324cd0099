"""Tracklets: who is linked with whom, and what the fused embedding is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceup.archive.faces import Face, overlap, quality_of
from faceup.archive.tracks import FUSED, Sighting, Tracker, fused

A, B = np.eye(4, dtype=np.float32)[:2]


def seen(
    x: float, vector: np.ndarray, time_s: float | None, *, quality: float = 0.5, placed: bool = True, camera: str = "c"
) -> Sighting:
    box = np.array([x, 0, x + 10, 10], np.float32)
    face = Face(box, np.zeros((5, 2), np.float32), 0.9, 4.0, quality, False, True, vector, b"")
    time = None if time_s is None else round(time_s * 1e6)
    return Sighting("f", camera, "f", time, None, time_s, None, None, placed, face)


def mixed(alike: float) -> np.ndarray:
    """A vector whose cosine with A is `alike`."""
    return np.array([alike, 0, np.sqrt(1 - alike**2), 0], np.float32)


def numbers(*frames: list[Sighting], gap: float = 2.0) -> list[list[int]]:
    tracker = Tracker(gap)
    return [tracker.frame(frame)[0] for frame in frames]


@pytest.mark.parametrize(
    ("second", "linked"),
    [
        (seen(0, mixed(0.1001), 1), True),  # the same place, hardly alike
        (seen(0, mixed(0.0999), 1), False),
        (seen(5, mixed(0.2), 1), True),  # overlap 1/3
        (seen(6, mixed(0.2), 1), False),  # overlap 1/4
        (seen(90, mixed(0.51), 1), True),  # elsewhere, but alike
        (seen(90, mixed(0.49), 1), False),
        (seen(0, A, 2.01), False),  # too late
        (seen(0, A, 2.0), True),
        (seen(0, mixed(0.4), 1, placed=False), False),  # a crop's box says nothing
        (seen(0, A, 1, camera="d"), False),
        (seen(0, A, -1), False),  # back in time
        (seen(0, A, None), False),
    ],
)
def test_the_rule(second: Sighting, linked: bool) -> None:
    assert numbers([seen(0, A, 0)], [second]) == [[1], [1 if linked else 2]]


def test_two_people_who_change_places_are_told_apart_by_their_faces() -> None:
    frames = [[seen(0, A, 0), seen(8, B, 0)], [seen(8, A, 0.2), seen(0, B, 0.2)]]
    assert numbers(*frames) == [[1, 2], [1, 2]]


def test_a_tracklet_has_one_face_in_a_frame() -> None:
    assert numbers([seen(0, A, 0)], [seen(0, A, 0.1), seen(1, A, 0.1)]) == [[1], [1, 2]]


def test_tracklets_end_once_and_all() -> None:
    tracker, ended = Tracker(1.0), []
    for i in range(50):
        ended += tracker.frame([seen(100 * i, np.roll(A, i % 4), 5.0 * i)])[1]
    ended += tracker.flush()
    assert [track.number for track in ended] == list(range(1, 51))
    assert all(len(track.best) == 1 for track in ended)


def test_fusion_takes_the_best_and_weighs_them() -> None:
    tracker = Tracker(10)
    qualities = [0.01 * i for i in range(1, FUSED + 6)]
    vectors = [mixed(0.9 - 0.01 * i) for i in range(len(qualities))]
    for i, (vector, quality) in enumerate(zip(vectors, qualities, strict=True)):
        tracker.frame([seen(0, vector, 0.1 * i, quality=quality)])
    (track,) = tracker.flush()
    mean = sum(q * v for q, v in zip(qualities[-FUSED:], vectors[-FUSED:], strict=True))
    np.testing.assert_allclose(track.vector, mean / np.linalg.norm(mean), atol=1e-6)
    assert track.frames == FUSED + 5
    assert track.best[0].face.quality == max(qualities)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_a_fused_vector_has_unit_length(weights: list[float], seed: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((len(weights), 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.linalg.norm(fused(list(vectors), weights)) == pytest.approx(1, abs=1e-5)


def test_opposite_vectors_leave_the_first() -> None:
    np.testing.assert_array_equal(fused([A, -A], [1, 1]), A)


def test_overlap_and_quality_by_hand() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10]], np.float32)
    assert overlap(boxes[0], boxes[1]) == pytest.approx(1 / 3)
    assert overlap(boxes[0], boxes[2]) == 0
    frontal = np.array([[0, 0], [20, 0], [10, 10], [3, 20], [17, 20]], np.float32)
    assert quality_of(frontal, 0.8) == pytest.approx(0.8 * 20 / 40)
    profile = frontal.copy()
    profile[2, 0] = 20
    assert quality_of(profile, 0.8) == pytest.approx(0.8 * 20 / 40 * 0.05)
    assert quality_of(frontal * 4, 1.0) == 1
    assert quality_of(np.zeros((5, 2), np.float32), 1.0) == 0
