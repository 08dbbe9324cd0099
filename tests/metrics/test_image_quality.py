"""Image quality against other formulations of the same numbers."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from faceup.errors import ConfigError, DataError
from faceup.metrics import image_quality
from faceup.metrics.bootstrap import bootstrap_interval
from faceup.metrics.image_quality import cropped, luma, mps, psnr, ssim
from faceup.types import Image
from tests.helpers import grey, noise


@given(st.integers(0, 10_000))
def test_psnr_against_scikit_image(seed: int) -> None:
    a, b = noise(9, 7, seed), noise(9, 7, seed + 1)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(b.pixels, a.pixels), abs=1e-9)


def test_equal_pictures() -> None:
    assert psnr(grey(8, 8), grey(8, 8)) == float("inf")
    assert ssim(noise(8, 8), noise(8, 8)) == pytest.approx(1.0)


def test_ssim_against_its_definition() -> None:
    """Wang et al. 2004 with a uniform 7 x 7 window and sample covariances, by explicit loops."""
    a, b = noise(9, 8, 1), noise(9, 8, 2)
    c1, c2, values = (0.01 * 255) ** 2, (0.03 * 255) ** 2, []
    for colour in range(3):
        for y in range(8 - 6):
            for x in range(9 - 6):
                p, q = (i.pixels[y : y + 7, x : x + 7, colour].astype(float).ravel() for i in (a, b))
                (vp, cov), (_, vq) = np.cov(p, q)
                top = (2 * p.mean() * q.mean() + c1) * (2 * cov + c2)
                values.append(top / ((p.mean() ** 2 + q.mean() ** 2 + c1) * (vp + vq + c2)))
    assert ssim(a, b) == pytest.approx(np.mean(values), abs=1e-6)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_sizes_must_agree(metric: object) -> None:
    with pytest.raises(DataError, match="one size"):
        metric(grey(8, 8), grey(9, 8))  # type: ignore[operator]


def test_luma_is_matlabs() -> None:
    """scikit-image has MATLAB's rgb2ycbcr, from other constants; black, white and the primaries are in the standard."""
    image = noise(9, 7)
    np.testing.assert_allclose(luma(image), rgb2ycbcr(image.pixels)[..., 0], atol=1e-9)
    primaries = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_allclose(luma(Image(primaries)), [[16, 235, 81.481, 144.553, 40.966]], atol=1e-9)


def test_psnr_and_ssim_of_the_luma() -> None:
    a, b = noise(20, 17, 1), noise(20, 17, 2)
    ya, yb = (rgb2ycbcr(i.pixels)[..., 0] for i in (a, b))
    assert psnr(a, b, "y") == pytest.approx(peak_signal_noise_ratio(yb, ya, data_range=255), abs=1e-9)
    assert ssim(a, b, "y") == pytest.approx(structural_similarity(ya, yb, data_range=255), abs=1e-9)
    assert psnr(a, b, "y") != pytest.approx(psnr(a, b), abs=0.1)
    for metric in (psnr, ssim):
        with pytest.raises(ConfigError, match="Unknown channel 'Y': did you mean|Unknown channel 'Y': known: rgb, y"):
            metric(a, b, "Y")


def test_cropped() -> None:
    image = noise(9, 8)
    np.testing.assert_array_equal(cropped(image, 3).pixels, image.pixels[3:5, 3:6])
    assert cropped(image, 0).pixels.shape == image.pixels.shape
    with pytest.raises(DataError, match="9 x 8 px has nothing left without 4 px a side"):
        cropped(image, 4)


def test_mps_is_that_of_the_papers_table() -> None:
    """Bicubic on FFHQ, x4: the paper prints SSIM 0.8459, LPIPS 0.3361 and MPS 0.7549."""
    assert mps(0.8459, 0.3361) == pytest.approx(0.7549, abs=5e-5)
    assert mps(1.0, 0.0) == 1.0


def test_small_pictures_have_no_ssim() -> None:
    with pytest.raises(DataError, match="at least 7 x 7"):
        ssim(grey(6, 8), grey(6, 8))


def test_bootstrap_interval_of_a_normal_sample_is_near_the_textbook_interval() -> None:
    values = np.random.default_rng(0).normal(10, 2, 400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval([3.0]) == (3.0, 3.0)


def test_examples_in_docstrings() -> None:
    failed, tried = doctest.testmod(image_quality)
    assert (failed, bool(tried)) == (0, True)
