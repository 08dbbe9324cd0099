"""How near a super-resolved picture is to the original: RGB, uint8, whole picture, as BASELINES of the field differ.

PSNR is taken over all three colours at once; SSIM has scikit-image's defaults (7 x 7 uniform window, colours averaged).
These conventions come nearest to the numbers that the SISN paper prints for bicubic (docs/conventions.md).
"""

from __future__ import annotations

import numpy as np

from faceup.errors import ConfigError, DataError

# Named here too for those who import it from this module.
from faceup.metrics.bootstrap import bootstrap_interval as bootstrap_interval
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
