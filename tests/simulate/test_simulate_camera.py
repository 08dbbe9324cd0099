"""The camera: geometry, point spread, noise, tint and the fixed recipe `hard`, each against a reference of its own."""

from __future__ import annotations

import dataclasses
import io
import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage

from faceup.simulate.camera import (
    CAST_GAIN,
    CAST_GAMMA,
    Cast,
    camera_cast,
    encode_jpeg,
    frame,
    generator,
    resampled,
    shoot,
    undegraded,
)
from faceup.simulate.presets import PRESETS, Preset
from faceup.types import Floats, Image

Doubles = npt.NDArray[np.float64]
PLAIN = Cast((1.0, 1.0, 1.0), 1.0)
BY_EYES = [preset for preset in PRESETS.values() if preset.eye_px is not None]


def clean(preset: Preset, **changed: float) -> Preset:
    """The preset without noise, blur, motion or tint."""
    off = {"noise_luma": 0.0, "noise_chroma": 0.0, "noise_rgb": 0.0, "blur_px": 0.0, "motion_px": 0.0, "cast": False}
    return dataclasses.replace(preset, **{**off, **changed})  # type: ignore[arg-type]


def five_points(left_eye: tuple[float, float], right_eye: tuple[float, float]) -> Floats:
    return np.array([left_eye, right_eye, (0, 0), (0, 0), (0, 0)], np.float32)


def box_around(x: float, y: float, width: float) -> Floats:
    return np.array([x - width / 2, y - width / 2, x + width / 2, y + width / 2], np.float32)


def no_generator() -> np.random.Generator:
    return np.random.default_rng(0)


def two_spots(width: int, height: int, points: Floats, sigma: float) -> Image:
    """Eyes that can be measured: a red spot at the first point, a green one at the second, on black."""
    y, x = np.mgrid[:height, :width]
    pixels = np.zeros((height, width, 3))
    for channel, (px, py) in enumerate(points[:2]):
        pixels[..., channel] = 250 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
    return Image(np.rint(pixels).astype(np.uint8))


def centroids(image: Image) -> Doubles:
    weights = image.pixels[..., :2].astype(np.float64)
    y, x = np.mgrid[: image.height, : image.width]
    total = weights.sum(axis=(0, 1))
    return np.stack(
        [(weights * x[..., None]).sum((0, 1)) / total, (weights * y[..., None]).sum((0, 1)) / total], axis=1
    )


@pytest.mark.parametrize("preset", BY_EYES, ids=lambda p: p.name)
@settings(max_examples=12, deadline=None)
@given(shrink=st.floats(1.0, 9.0), x=st.floats(-0.3, 1.3), y=st.floats(-0.3, 1.3), tilt=st.floats(-0.5, 0.5))
def test_eyes_come_where_the_preset_says(preset: Preset, shrink: float, x: float, y: float, tilt: float) -> None:
    assert preset.eye_px is not None
    half = preset.eye_px * shrink / 2
    dx, dy = half * math.cos(tilt), half * math.sin(tilt)
    sigma = 0.8 * shrink
    side = int(2 * half + 12 * sigma + 40)
    # The middle between the eyes may lie anywhere that keeps the spots inside; the crop then reaches far outside.
    room = half + 5 * sigma
    mid_x, mid_y = (room + min(max(t, 0.0), 1.0) * (side - 2 * room) for t in (x, y))
    points = five_points((mid_x - dx, mid_y - dy), (mid_x + dx, mid_y + dy))
    image = two_spots(side, side, points, sigma)
    view = frame(preset, box_around(mid_x, mid_y, 2 * half), points)
    found = centroids(undegraded(image, view, preset))
    distance = float(np.linalg.norm(found[1] - found[0]))
    assert distance == pytest.approx(preset.eye_px, rel=0.03)
    assert view.eye_px == pytest.approx(distance, rel=0.03)
    wanted = [(preset.width - 1) / 2, preset.eyes_height * preset.height - 0.5]
    np.testing.assert_allclose(found.mean(axis=0), wanted, atol=0.1)


def test_hard_shows_the_face_box_in_the_middle_94_of_126_pixels_wide() -> None:
    # A face box of 188 px, at the edge of the picture: the crop must be 252 x 336 px around its middle.
    view = frame(PRESETS["hard"], np.array([10, 20, 198, 300], np.float32), five_points((60, 120), (150, 120)))
    middle = [view.left + view.width / 2, view.top + view.height / 2]
    assert [view.width, view.height] == pytest.approx([252, 336])
    assert middle == pytest.approx([104.5, 160.5])
    assert view.eye_px == pytest.approx(90 * 32 / 252)
    image = Image(np.zeros((400, 400, 3), np.uint8))
    assert view.outside(image) == pytest.approx(1 - (252 - 21.5) / 252 * (336 - 7.5) / 336)


@pytest.mark.parametrize(("eyes", "enlarges"), [(10.2, False), (10.0, True)])
def test_a_crop_that_would_enlarge_the_source_says_so(eyes: float, enlarges: bool) -> None:
    points = five_points((50, 50), (50 + eyes, 50))
    assert frame(PRESETS["d1"], box_around(55, 50, 22), points).enlarges is enlarges


def naive_resampled(
    pixels: npt.NDArray[np.uint8], left: float, top: float, width: float, height: float, size: tuple[int, int]
) -> Doubles:
    """Antialiased bicubic, a = -0.5, by loops over the pixels of the result; the edge is replicated."""

    def weights(start: float, extent: float, count: int, index: int) -> tuple[list[int], list[float]]:
        ratio = extent / count
        centre = start + (index + 0.5) * ratio
        reach = max(ratio, 1.0)
        places, values = [], []
        for place in range(math.floor(centre - 2 * reach) - 1, math.ceil(centre + 2 * reach) + 1):
            t = abs((place + 0.5 - centre) / reach)
            if t < 1:
                value = 1.5 * t**3 - 2.5 * t**2 + 1
            elif t < 2:
                value = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
            else:
                continue
            places.append(place)
            values.append(value)
        return places, [value / sum(values) for value in values]

    high, wide = pixels.shape[:2]
    out = np.zeros((size[1], size[0], 3))
    for row in range(size[1]):
        ys, wy = weights(top, height, size[1], row)
        for column in range(size[0]):
            xs, wx = weights(left, width, size[0], column)
            for (y, a), (x, b) in itertools.product(zip(ys, wy, strict=True), zip(xs, wx, strict=True)):
                out[row, column] += a * b * pixels[min(max(y, 0), high - 1), min(max(x, 0), wide - 1)]
    return out.clip(0, 255)


def smooth_picture(width: int, height: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 6 + 2, width // 6 + 2, 3), dtype=np.uint8)
    return np.asarray(PilImage.fromarray(coarse).resize((width, height), PilImage.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("left", "top", "width", "height", "size"),
    [
        (5.3, 7.8, 24.7, 20.2, (15, 13)),  # inside, reduced a little
        (-9.5, -4.25, 30.0, 28.0, (17, 15)),  # beyond two edges
        (30.0, 20.0, 25.0, 30.5, (14, 16)),  # beyond the other two
        (10.2, 10.1, 8.4, 6.6, (14, 11)),  # enlarged, as `hard` may do before its blur
    ],
)
def test_resampled_is_antialiased_bicubic_over_a_replicated_edge(
    left: float, top: float, width: float, height: float, size: tuple[int, int]
) -> None:
    pixels = smooth_picture(45, 40)
    result = resampled(Image(pixels), left, top, width, height, *size)
    np.testing.assert_allclose(result, naive_resampled(pixels, left, top, width, height, size), atol=1.01)


def test_resampled_averages_blocks_of_a_much_larger_picture_first() -> None:
    pixels = smooth_picture(110, 96, seed=3)
    blocks = pixels[: 96 // 2 * 2, : 110 // 2 * 2].reshape(48, 2, 55, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    result = resampled(Image(pixels), 11.0, 7.0, 80.0, 70.0, 16, 14)  # 5 px for one: blocks of 2, then 2.5
    np.testing.assert_allclose(result, naive_resampled(blocks, 5.5, 3.5, 40.0, 35.0, (16, 14)), atol=1.6)


def naive_hard(crop: npt.NDArray[np.uint8]) -> Doubles:
    """Blur of sigma 2 over 17 taps a side, mirrored at the edge without repeating it, then shares of areas."""
    taps = np.exp(-(np.arange(-8, 9) ** 2) / 8.0)
    taps /= taps.sum()
    blurred = crop.astype(np.float64)
    for axis in (0, 1):
        padded = np.pad(blurred, [(8, 8) if a == axis else (0, 0) for a in range(3)], mode="reflect")
        blurred = sum(tap * np.take(padded, np.arange(crop.shape[axis]) + k, axis=axis) for k, tap in enumerate(taps))

    def shares(count: int, large: int) -> Doubles:
        matrix = np.zeros((count, large))
        for i, j in itertools.product(range(count), range(large)):
            start, stop = i * large / count, (i + 1) * large / count
            matrix[i, j] = max(0.0, min(stop, j + 1) - max(start, j)) * count / large
        return matrix

    return np.asarray(np.einsum("ij,jkc,lk->ilc", shares(42, 168), blurred, shares(32, 126)))


def test_hard_without_noise_is_the_naive_recipe() -> None:
    pixels = smooth_picture(200, 240, seed=1)
    # A box of exactly 94 px whose crop starts at whole pixels: it is then a plain slice of the picture.
    box = np.array([50 - 0.5, 60 - 0.5, 144 - 0.5, 180 - 0.5], np.float32)
    view = frame(PRESETS["hard"], box, five_points((70, 100), (120, 100)))
    assert (view.left, view.top) == (34, 36)
    shot = shoot(Image(pixels), view, dataclasses.replace(PRESETS["hard"], noise_rgb=0.0), PLAIN, no_generator())
    wanted = naive_hard(pixels[36:204, 34:160])
    assert shot.pixels.shape == (42, 32, 3)
    np.testing.assert_allclose(shot.pixels, wanted, atol=0.51)
    assert np.ptp(wanted) > 50  # the picture is not flat, so the comparison means something


def flat_shots(preset: Preset, count: int) -> Doubles:
    image = Image(np.full((300, 300, 3), 128, np.uint8))
    view = frame(preset, box_around(150, 150, 120), five_points((110, 140), (190, 140)))
    shots = [shoot(image, view, preset, PLAIN, generator("flat", n)).pixels for n in range(count)]
    return np.stack(shots).astype(np.float64).reshape(-1, 3) - 128


def test_noise_of_hard_is_sigma_6_in_each_channel_alone() -> None:
    noise = flat_shots(PRESETS["hard"], 20)
    np.testing.assert_allclose(noise.std(axis=0), 6.0, rtol=0.02)
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=0.12)
    np.testing.assert_allclose(np.corrcoef(noise.T), np.eye(3), atol=0.03)


@pytest.mark.parametrize("preset", BY_EYES, ids=lambda p: p.name)
def test_noise_of_a_camera_has_the_luma_and_chroma_of_its_preset(preset: Preset) -> None:
    red, green, blue = flat_shots(dataclasses.replace(preset, cast=False), 12).T
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert luma.std() == pytest.approx(preset.noise_luma, rel=0.03)
    assert ((blue - luma) / 1.772).std() == pytest.approx(preset.noise_chroma, rel=0.03)
    assert ((red - luma) / 1.402).std() == pytest.approx(preset.noise_chroma, rel=0.03)


def spread(preset: Preset, rng: np.random.Generator) -> tuple[Doubles, float, float]:
    """Photograph a step edge across x and one across y and return the variances of the two line spreads."""
    assert preset.eye_px is not None
    variances = []
    for axis in (1, 0):
        step = np.zeros((900, 900, 3), np.uint8)
        step[(slice(None),) * axis + (slice(450, None),)] = 240
        points = five_points((449.5 - 4 * preset.eye_px, 449.5), (449.5 + 4 * preset.eye_px, 449.5))
        state = rng.bit_generator.state
        shot = shoot(Image(step), frame(preset, box_around(449.5, 449.5, 100), points), preset, PLAIN, rng)
        if axis == 1:
            rng.bit_generator.state = state  # the same motion for both edges
        profile = shot.pixels[..., 0].astype(np.float64).mean(axis=1 - axis)
        line = np.diff(profile)
        place = np.arange(len(line))
        mean = (line * place).sum() / line.sum()
        variances.append((line * (place - mean) ** 2).sum() / line.sum())
    return np.array(variances), shot.motion_px, math.radians(shot.motion_deg)


def test_blur_has_the_sigma_of_the_preset_in_output_pixels() -> None:
    preset = clean(PRESETS["d1"], blur_px=1.3)
    variances, motion, _ = spread(preset, no_generator())
    # An averaged pixel and the step between two of them add one twelfth each.
    np.testing.assert_allclose(variances, 1.3**2 + 2 / 12, rtol=0.05)
    assert motion == 0


def test_motion_is_a_uniform_streak_of_the_length_and_direction_told() -> None:
    preset = clean(PRESETS["d1"], motion_px=9.0)
    for seed in range(3):
        variances, length, angle = spread(preset, np.random.default_rng(seed))
        assert length > 1
        along = length**2 / 12 * np.array([math.cos(angle) ** 2, math.sin(angle) ** 2])
        np.testing.assert_allclose(variances, along + 2 / 12, rtol=0.06, atol=0.03)


def test_the_blur_sees_what_lies_beyond_the_crop() -> None:
    # White everywhere but in the crop: a blur that knew only the crop would leave its border black.
    pixels = np.full((900, 900, 3), 255, np.uint8)
    preset = clean(PRESETS["paper"], blur_px=2.0)
    points = five_points((409.1, 450), (489.9, 450))  # 8 px for one
    view = frame(preset, box_around(449.5, 450, 160), points)
    rows = slice(round(view.top), round(view.top + view.height))
    pixels[rows, round(view.left) : round(view.left + view.width)] = 0
    shot = shoot(Image(pixels), view, preset, PLAIN, no_generator())
    assert shot.pixels[28, 0].mean() == pytest.approx(255 * 0.40, abs=12)  # Gaussian tail beyond 0.5 px at sigma 2
    assert shot.pixels[28, 21].max() == 0


def test_cast_belongs_to_seed_and_camera_and_stays_slight() -> None:
    casts = {(seed, camera): camera_cast(seed, camera) for seed in range(5) for camera in range(1, 8)}
    assert casts[0, 1] == camera_cast(0, 1)
    assert len({(cast.gains, cast.gamma) for cast in casts.values()}) == len(casts)
    for cast in casts.values():
        assert all(abs(gain - 1) <= CAST_GAIN for gain in cast.gains)
        assert abs(cast.gamma - 1) <= CAST_GAMMA


def test_cast_is_gamma_then_gain() -> None:
    image = Image(np.full((300, 300, 3), 100, np.uint8))
    preset = clean(PRESETS["d2"], cast=True)
    view = frame(preset, box_around(150, 150, 120), five_points((110, 140), (190, 140)))
    shot = shoot(image, view, preset, Cast((1.04, 1.0, 0.96), 1.08), no_generator())
    wanted = [round(255 * (100 / 255) ** 1.08 * gain) for gain in (1.04, 1.0, 0.96)]
    assert {tuple(pixel) for pixel in shot.pixels.reshape(-1, 3).tolist()} == {tuple(wanted)}
    untouched = shoot(
        image, view, dataclasses.replace(preset, cast=False), Cast((1.04, 1.0, 0.96), 1.08), no_generator()
    )
    assert (untouched.pixels == 100).all()


def test_generators_differ_in_every_part() -> None:
    parts: list[tuple[int | str, ...]] = [(0, "a", 1, "d1"), (1, "a", 1, "d1"), (0, "b", 1, "d1"), (0, "a", 2, "d1")]
    parts += [(0, "a", 1, "d2"), ("0", "a", 1, "d1"), (0, "a", 11, "d1"), (0, "a1", 1, "d1")]
    draws = [generator(*p).integers(2**62) for p in parts]
    assert len(set(draws)) == len(parts)
    assert draws[0] == generator(*parts[0]).integers(2**62)


@pytest.mark.parametrize("quality", sorted({preset.jpeg_quality for preset in PRESETS.values()}))
def test_jpeg_has_the_standard_tables_of_its_quality(quality: int) -> None:
    data = encode_jpeg(smooth_picture(32, 42), quality)
    with PilImage.open(io.BytesIO(data)) as picture:
        tables = picture.quantization
        sampling = picture.layer
    scale = 200 - 2 * quality  # libjpeg's rule from 50 up
    assert tables[0][0] == (16 * scale + 50) // 100
    assert tables[0][63] == (99 * scale + 50) // 100
    assert tables[1][0] == (17 * scale + 50) // 100
    assert [part[1:3] for part in sampling] == [(2, 2), (1, 1), (1, 1)]


def test_the_table_has_the_numbers_that_were_measured() -> None:
    sizes = {name: (preset.width, preset.height, preset.eye_px) for name, preset in PRESETS.items()}
    assert sizes == {
        "d1": (75, 100, 10.1),
        "d2": (108, 144, 17.0),
        "d3": (168, 224, 30.4),
        "paper": (42, 56, 10.1),
        "hard": (32, 42, None),
    }
