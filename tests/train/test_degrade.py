"""The camera degradation: its kernels, its ranges, its noise, and that a seed repeats it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceup.errors import ConfigError
from faceup.images import resize
from faceup.train.degrade import FILTERS, Ranges, degrade, expose, gaussian_kernel, make_ranges, streak_kernel
from faceup.types import Image

QUIET = {
    "blur_px": (0, 0.01), "motion": 0, "second": 0, "noise_luma": (0, 0), "noise_chroma": (0, 0), "noise_rgb": (0, 0),
    "shot": 0, "jpeg": (100, 100), "jpeg_twice": 0,
}  # fmt: skip


def waves(side: int) -> np.ndarray:
    y, x = np.mgrid[:side, :side] / side
    return (127 + 90 * np.stack([np.sin(5 * x), np.cos(4 * y), np.sin(3 * (x + y))], axis=2)).astype(np.uint8)


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2, 2.5])
def test_kernels_have_the_moments_they_are_named_after(angle: float) -> None:
    along = np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-math.sin(angle), math.cos(angle)])
    for kernel, longer, shorter in (
        (gaussian_kernel(3.0, 1.5, angle), 3.0, 1.5),
        (streak_kernel(9.0, angle), 9 / math.sqrt(12), 0.0),
    ):
        radius = len(kernel) // 2
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        places = np.stack([x, y], axis=-1)
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
        assert abs((kernel[..., None] * places).sum(axis=(0, 1))).max() < 1e-4
        spread = math.sqrt((kernel * (places @ along) ** 2).sum())
        assert spread == pytest.approx(longer, rel=0.08)
        assert math.sqrt((kernel * (places @ across) ** 2).sum()) == pytest.approx(
            shorter, abs=0.5 if not shorter else 0.2
        )


def test_without_anything_that_degrades_it_only_reduces() -> None:
    hr = waves(96)
    wanted = resize(Image(hr), 24, 24).pixels.astype(int)
    for seed in range(12):  # every filter comes
        low = degrade(hr, 4, make_ranges(QUIET), np.random.default_rng(seed))
        assert low.shape == (24, 24, 3)
        # Chroma at half resolution and one of four filters; a shift of one LR pixel would be 5 levels on average.
        assert np.abs(low.astype(int) - wanted).mean() < 2.5
    assert len(FILTERS) == 4


def test_noise_has_the_strength_asked_for() -> None:
    grey = np.full((400, 400, 3), 128, np.uint8)
    ranges = make_ranges({**QUIET, "noise_rgb": (6, 6)})
    low = degrade(grey, 1, ranges, np.random.default_rng(0)).astype(float)
    # JPEG halves the resolution of chroma, so independent noise is measured where it stays whole, in luma.
    weights = np.array([0.299, 0.587, 0.114])
    assert (low @ weights).std() == pytest.approx(6 * np.sqrt((weights**2).sum()), rel=0.1)
    luma = degrade(grey, 1, make_ranges({**QUIET, "noise_luma": (5, 5)}), np.random.default_rng(0)).astype(float)
    assert luma.mean(axis=2).std() == pytest.approx(5, rel=0.1)
    assert (luma - luma.mean(axis=2, keepdims=True)).std() < 1.5


def test_the_noise_of_photons_grows_with_the_light() -> None:
    steps = np.repeat(np.array([32, 192], np.uint8), 20_000).reshape(200, 200, 1).repeat(3, axis=2)
    ranges = make_ranges({**QUIET, "noise_luma": (4, 4), "shot": 1})
    low = degrade(steps, 1, ranges, np.random.default_rng(1)).astype(float).mean(axis=2)
    dark, bright = low[10:90].std(), low[110:190].std()
    assert bright / dark == pytest.approx(math.sqrt(192 / 32), rel=0.15)


def test_a_seed_repeats_and_another_does_not() -> None:
    hr, ranges = waves(96), Ranges()
    one, again, other = (degrade(hr, 4, ranges, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_exposure_is_a_function_of_the_level() -> None:
    ranges = make_ranges({"gamma": (0.8, 0.8), "gain": (1.1, 1.1), "cast": 0})
    out = expose(waves(32), ranges, np.random.default_rng(0))
    wanted = np.clip(np.rint((waves(32) / 255.0) ** 0.8 * 255 * 1.1), 0, 255)
    assert np.abs(out - wanted).max() <= 1


@given(st.integers(0, 2**31), st.sampled_from([1, 2, 4]))
def test_whatever_is_drawn_it_is_a_picture_of_the_right_size(seed: int, scale: int) -> None:
    low = degrade(waves(48), scale, Ranges(), np.random.default_rng(seed))
    assert low.shape == (48 // scale, 48 // scale, 3)
    assert low.dtype == np.uint8
    width = Ranges().draw_face_px(np.random.default_rng(seed))
    assert 16 <= width <= 40


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"blurr": [0, 1]}, "blurr"),
        ({"blur_px": [2, 1]}, "blur_px is a lowest and a highest value"),
        ({"motion": 2}, "motion lies between 0 and 1"),
        ({"face_px": [2, 40]}, "face_px from 8"),
        ({"jpeg": [50, 101]}, "jpeg to 100"),
    ],
)
def test_wrong_ranges_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_ranges(values)


def test_jpeg_keeps_the_order_of_colours() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    low = degrade(red, 1, make_ranges({**QUIET, "jpeg": (95, 95)}), np.random.default_rng(0))
    assert low[..., 0].mean() > 190
    assert low[..., 2].mean() < 10
