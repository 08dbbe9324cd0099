"""Image quality against other formulations of the same numbers."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from faceup.errors import DataError
from faceup.metrics import image_quality
from faceup.metrics.bootstrap import bootstrap_interval
from faceup.metrics.image_quality import psnr, ssim
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
