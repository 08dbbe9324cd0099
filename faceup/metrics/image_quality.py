"""How near a super-resolved picture is to the original: RGB, uint8, whole picture, as BASELINES of the field differ.

PSNR is taken over all three colours at once; SSIM has scikit-image's defaults (7 x 7 uniform window, colours averaged).
These conventions come nearest to the numbers that the SISN paper prints for bicubic (docs/conventions.md).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from faceup.errors import ConfigError, DataError
from faceup.types import Image


def _same_size(result: Image, original: Image) -> None:
    if result.pixels.shape != original.pixels.shape:
        raise DataError(f"Pictures to compare need one size, got {result.pixels.shape} and {original.pixels.shape}.")


def psnr(result: Image, original: Image) -> float:
    """Return the peak signal-to-noise ratio in dB, infinite for equal pictures.

    Example:
        >>> black, grey = (Image(np.full((2, 2, 3), v, np.uint8)) for v in (0, 1))
        >>> round(psnr(grey, black), 2)
        48.13
    """
    _same_size(result, original)
    error = np.mean((result.pixels.astype(np.float64) - original.pixels.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


def ssim(result: Image, original: Image) -> float:
    """Return the structural similarity, at most 1.

    Raises:
        ConfigError: scikit-image is not installed (the extra `metrics`).
        DataError: the pictures differ in size or are smaller than 7 x 7.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise ConfigError("SSIM needs scikit-image: pip install 'faceup[metrics]'.") from error
    _same_size(result, original)
    if min(original.width, original.height) < 7:
        raise DataError(f"SSIM needs pictures of at least 7 x 7 px, got {original.width} x {original.height}.")
    return float(structural_similarity(result.pixels, original.pixels, channel_axis=2))


def bootstrap_interval(
    values: npt.ArrayLike, *, level: float = 0.95, rounds: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean.

    Args:
        values: one finite number per independent unit (picture or subject), at least one.
        level: share of the resampled means inside.
        rounds: number of resamples.
        seed: of the generator, so that the same values give the same interval.
    """
    array = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = array[rng.integers(len(array), size=(rounds, len(array)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
