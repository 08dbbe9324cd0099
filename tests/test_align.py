"""The similarity transform and the warp to the template."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.transform import estimate_transform

from faceup.align import align
from faceup.geometry import SIZE, TEMPLATE, similarity_transform
from faceup.types import Floats, Image

Array = npt.NDArray[Any]


def scikit_image(source: Array, target: Array) -> Array:
    found: Array = estimate_transform("similarity", source, target).params[:2]
    return found


FIVE_POINTS = hnp.arrays(np.float64, (5, 2), elements=st.floats(-500, 500).map(lambda value: round(value, 6)))


def spread(points: Array) -> float:
    return float(np.sqrt(points.var(axis=0).sum()))


def similarity(scale: float, degrees: float, shift: tuple[float, float]) -> Array:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def moved(matrix: Array, points: Array) -> Array:
    return np.array([[m[0] * x + m[1] * y + m[2] for m in matrix] for x, y in points])


# The transform.


@settings(max_examples=200, deadline=None)
@given(FIVE_POINTS, FIVE_POINTS)
def test_it_is_scikit_images_estimate(source: Array, target: Array) -> None:
    assume(spread(source) > 1)
    assume(spread(target) > 1)
    singular = np.linalg.svd((source - source.mean(axis=0)).T @ (target - target.mean(axis=0)), compute_uv=False)
    # Without a preferred rotation any answer is as good as any other.
    assume(singular[0] - singular[1] > 1e-3 * singular[0])
    expected = scikit_image(source, target)
    np.testing.assert_allclose(similarity_transform(source, target), expected, atol=1e-6 * np.abs(expected).max())


@settings(max_examples=200, deadline=None)
@given(FIVE_POINTS, st.floats(0.02, 50), st.floats(-180, 180), st.tuples(st.floats(-900, 900), st.floats(-900, 900)))
def test_a_known_similarity_is_recovered(
    points: Array, scale: float, degrees: float, shift: tuple[float, float]
) -> None:
    assume(spread(points) > 1)
    matrix = similarity(scale, degrees, shift)
    found = similarity_transform(points, moved(matrix, points))
    np.testing.assert_allclose(found[:, :2], matrix[:, :2], atol=1e-8 * scale)
    np.testing.assert_allclose(moved(found, points), moved(matrix, points), atol=1e-6 * max(1.0, scale))


@settings(max_examples=200, deadline=None)
@given(FIVE_POINTS, FIVE_POINTS)
def test_it_is_a_similarity_and_never_a_reflection(source: Array, target: Array) -> None:
    assume(spread(source) > 1e-3)
    (a, b, _), (c, d, _) = similarity_transform(source, target)
    size = max(np.hypot(a, c), 1e-12)
    assert abs(a - d) <= 1e-6 * size
    assert abs(b + c) <= 1e-6 * size
    assert a * d - b * c >= 0


def test_a_mirrored_face_is_turned_and_not_mirrored() -> None:
    mirrored = TEMPLATE * np.array([-1, 1], np.float32)
    matrix = similarity_transform(mirrored)
    assert np.linalg.det(matrix[:, :2]) > 0
    np.testing.assert_allclose(matrix, scikit_image(mirrored, TEMPLATE), atol=1e-4)


def test_no_fit_is_better_in_least_squares() -> None:
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(5, 2)) * 40, rng.normal(size=(5, 2)) * 40
    best = similarity_transform(source, target)
    error = ((moved(best, source) - target) ** 2).sum()
    for _ in range(300):
        scale, angle, *shift = rng.normal(size=4) * 0.02
        (a, b, x), (_, _, y) = best
        near = similarity(
            np.hypot(a, b) * (1 + scale), np.degrees(np.arctan2(-b, a) + angle), (x + shift[0], y + shift[1])
        )
        assert ((moved(near, source) - target) ** 2).sum() >= error


def test_points_on_a_line_and_on_one_spot_give_finite_numbers() -> None:
    line = np.array([[i, 2.0 * i] for i in range(5)])
    np.testing.assert_allclose(similarity_transform(line, line), [[1, 0, 0], [0, 1, 0]], atol=1e-9)
    assert np.isfinite(similarity_transform(np.ones((5, 2)))).all()
    assert align(Image(np.full((20, 20, 3), 9, np.uint8)), np.ones((5, 2), np.float32)).pixels.shape == (SIZE, SIZE, 3)


# The warp.


def posed(scale: float, degrees: float = 0.0, side: float = 1.6) -> tuple[Array, Floats, int]:
    """A pose: matrix from picture to template, landmarks in the picture, and the picture's side.

    `scale` is template pixels per picture pixel; the middle of the template lies in the middle of the picture.
    """
    extent = round(SIZE / scale * side)
    turn = similarity(scale, degrees, (0, 0))[:, :2]
    shift = np.array([(SIZE - 1) / 2] * 2) - turn @ np.array([(extent - 1) / 2] * 2)
    landmarks = (TEMPLATE - shift) @ np.linalg.inv(turn).T
    return np.hstack([turn, shift[:, None]]), landmarks.astype(np.float32), extent


SCALES = [0.05, 0.1, 0.24, 0.26, 0.34, 0.49, 0.5, 0.51, 0.8, 1.0, 1.7, 4.0]


@pytest.mark.parametrize("degrees", [0.0, 25.0])
@pytest.mark.parametrize("scale", SCALES)
def test_dots_at_the_landmarks_land_on_the_template(scale: float, degrees: float) -> None:
    matrix, landmarks, extent = posed(scale, degrees)
    sigma = max(1.0, 1.5 / scale)
    for point, target in zip(landmarks, TEMPLATE, strict=True):
        across, down = (np.exp(-((np.arange(extent) - centre) ** 2) / (2 * sigma**2)) for centre in point)
        dot = np.outer(down, across) * 255
        face = align(Image(np.repeat(dot[:, :, None].astype(np.uint8), 3, axis=2)), landmarks)
        np.testing.assert_allclose(face.matrix, matrix, atol=1e-3)
        weights = face.pixels[:, :, 1].astype(float)
        assert weights.max() > 100
        y, x = (float((weights * grid).sum() / weights.sum()) for grid in np.mgrid[:SIZE, :SIZE])
        assert np.hypot(x - target[0], y - target[1]) < 0.7


def waves(x: Array, y: Array) -> Array:
    """A smooth picture in template coordinates; a shift of 1 px changes it by up to 16 levels."""
    return 128 + 90 * np.sin(x / 6 + 0.3) * np.cos(y / 8)


def painted(matrix: Array, extent: int) -> Image:
    y, x = np.mgrid[:extent, :extent]
    grey = waves(matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2], matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2])
    return Image(np.repeat(grey.round().astype(np.uint8)[:, :, None], 3, axis=2))


@pytest.mark.parametrize(
    ("scale", "degrees"), [(0.06, 10), (0.15, -30), (0.3, 5), (0.45, 90), (0.6, 12), (1, -8), (3, 20)]
)
def test_a_smooth_picture_is_sampled_where_the_matrix_says(scale: float, degrees: float) -> None:
    matrix, landmarks, extent = posed(scale, degrees, side=1.9)
    face = align(painted(matrix, extent), landmarks)
    y, x = np.mgrid[:SIZE, :SIZE]
    assert np.abs(face.pixels[:, :, 0] - waves(x, y)).max() < 5


@pytest.mark.parametrize("scale", [0.1, 0.3, 0.7, 2.0])
def test_a_face_half_outside_is_right_inside_and_black_outside(scale: float) -> None:
    matrix, landmarks, extent = posed(scale)
    cut = extent // 2
    image = Image(painted(matrix, extent).pixels[cut:, cut:])
    face = align(image, landmarks - cut).pixels[:, :, 0]
    y, x = np.mgrid[:SIZE, :SIZE]
    edge = (SIZE - 1) / 2
    inside, outside = (x > edge + 2 + scale) & (y > edge + 2 + scale), (x < edge - 2 - scale) | (y < edge - 2 - scale)
    assert inside.sum() > 2000
    assert np.abs(face - waves(x, y))[inside].max() < 5
    assert face[outside].max() == 0


@pytest.mark.parametrize("scale", [0.1, 0.2, 0.3])
def test_a_face_wholly_outside_is_black(scale: float) -> None:
    _, landmarks, extent = posed(scale)
    for away in ((3 * extent, 0), (0, -3 * extent), (5 * extent, 5 * extent)):
        assert (
            align(
                Image(np.full((extent, extent, 3), 255, np.uint8)), landmarks + np.array(away, np.float32)
            ).pixels.max()
            == 0
        )


def test_landmarks_on_the_template_give_the_picture_itself() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (150, 170, 3), dtype=np.uint8)
    face = align(Image(pixels[:SIZE, :SIZE]), TEMPLATE)
    np.testing.assert_array_equal(face.pixels, pixels[:SIZE, :SIZE])
    np.testing.assert_allclose(face.matrix, [[1, 0, 0], [0, 1, 0]], atol=1e-4)
    np.testing.assert_array_equal(
        align(Image(pixels), TEMPLATE + np.array([30, 20], np.float32)).pixels, pixels[20:132, 30:142]
    )


@pytest.mark.parametrize("scale", [0.05, 0.13, 0.21, 0.3, 0.37, 0.45])
@pytest.mark.parametrize(("period", "limit"), [(2, 2), (3, 16)])
def test_fine_patterns_of_a_large_face_become_flat_and_not_moire(scale: float, period: int, limit: float) -> None:
    _, landmarks, extent = posed(scale, 7.0)
    y, x = np.mgrid[:extent, :extent]
    fine = np.where((x + y) % period < period / 2, 255, 0).astype(np.uint8)
    face = align(Image(np.repeat(fine[:, :, None], 3, axis=2)), landmarks).pixels.astype(float)
    assert abs(face.mean() - fine.mean()) < 2
    # Bilinear sampling alone leaves a standard deviation of 42 and 60 levels.
    assert face.std() < limit


def test_the_picture_is_not_changed() -> None:
    _, landmarks, extent = posed(0.3)
    image = Image(np.full((extent, extent, 3), 7, np.uint8))
    image.pixels.setflags(write=False)
    assert align(image, landmarks).pixels.min() == 7
