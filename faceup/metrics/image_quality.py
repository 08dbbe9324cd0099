"""How near a super-resolved picture is to the original: PSNR, SSIM, and MPS, which joins SSIM with LPIPS.

Pictures are RGB uint8. PSNR is taken over all three colours at once; SSIM has scikit-image's defaults (7 x 7 uniform
window, colours averaged). These conventions come nearest to the numbers that the SISN paper prints for bicubic
(docs/conventions.md). Much of the literature measures the luma Y instead; `channel="y"` does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from faceup.errors import ConfigError, DataError, unknown_name
from faceup.types import Image

CHANNELS = ("rgb", "y")


def luma(image: Image) -> npt.NDArray[np.float64]:
    """Return Y of BT.601 in studio swing, (H, W), 16 for black to 235 for white: MATLAB's rgb2ycbcr, not rounded."""
    return 16 + image.pixels.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255


def cropped(image: Image, border: int) -> Image:
    """Return the picture without `border` pixels on each side.

    Raises:
        DataError: nothing would be left.
    """
    if min(image.width, image.height) <= 2 * border:
        raise DataError(f"A picture of {image.width} x {image.height} px has nothing left without {border} px a side.")
    return Image(image.pixels[border : image.height - border, border : image.width - border])


def _values(image: Image, channel: str) -> npt.NDArray[np.generic]:
    if channel not in CHANNELS:
        raise unknown_name("channel", channel, CHANNELS)
    return luma(image) if channel == "y" else image.pixels


def _same_size(result: Image, original: Image) -> None:
    if result.pixels.shape != original.pixels.shape:
        raise DataError(f"Pictures to compare need one size, got {result.pixels.shape} and {original.pixels.shape}.")


def psnr(result: Image, original: Image, channel: str = "rgb") -> float:
    """Return the peak signal-to-noise ratio in dB (peak 255), infinite for equal pictures.

    Args:
        result: the super-resolved picture.
        original: of the same size.
        channel: `rgb` or `y`.

    Example:
        >>> black, grey = (Image(np.full((2, 2, 3), v, np.uint8)) for v in (0, 1))
        >>> round(psnr(grey, black), 2)
        48.13
    """
    _same_size(result, original)
    difference = _values(result, channel).astype(np.float64) - _values(original, channel).astype(np.float64)
    error = np.mean(difference**2)
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


def ssim(result: Image, original: Image, channel: str = "rgb") -> float:
    """Return the structural similarity, at most 1.

    Args:
        result: the super-resolved picture.
        original: of the same size.
        channel: `rgb` (mean over the colours) or `y`; the range of the values is taken as 255 for both.

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
    axis = 2 if channel == "rgb" else None
    pair = _values(result, channel), _values(original, channel)
    return float(structural_similarity(*pair, channel_axis=axis, data_range=255))


def mps(ssim: float, lpips: float) -> float:
    """Return the mean perceptual score 0.5 (SSIM + 1 - LPIPS) of one picture; higher is better (paper, section 4.1)."""
    return 0.5 * (ssim + 1 - lpips)
