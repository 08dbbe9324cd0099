"""The degradation `surveillance`: what a camera does to a face, drawn at random within ranges that a recipe can set.

In this order: exposure and colour cast (the HR picture gets them too: nothing tells a tinted lamp from a tinted wall),
blur of the optics, motion, reduction by one of several filters, sometimes a second loss of resolution, noise of the
sensor, JPEG once or twice. Lengths are in pixels of the LR picture, so one set of ranges fits every size of face.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from faceup.errors import ConfigError
from faceup.types import Pixels

Float32 = npt.NDArray[np.float32]
FILTERS = {
    "area": cv2.INTER_AREA,
    "bicubic": cv2.INTER_CUBIC,
    "bilinear": cv2.INTER_LINEAR,
    "nearest": cv2.INTER_NEAREST,
}


@dataclass(frozen=True, slots=True)
class Ranges:
    """Lowest and highest value of everything drawn, uniform unless it says otherwise.

    Attributes:
        face_px: width of the face box in LR pixels, log-uniform.
        blur_px: sigma of the blur; for a box its standard deviation.
        anisotropy: the shorter sigma of an anisotropic Gaussian as a share of the longer.
        motion_px: length of the streak of motion.
        motion: probability of motion.
        second: probability that the LR picture loses resolution once more and is brought back to its size.
        second_scale: how far it is reduced then.
        noise_luma: sigma of noise that the three channels share, grey levels.
        noise_chroma: sigma of noise of each colour difference.
        noise_rgb: sigma of noise that is independent in R, G and B.
        shot: probability that the noise grows with the square root of the light, as photons do.
        jpeg: quality of the JPEG file.
        jpeg_twice: probability that it was compressed before, at another quality and with another block grid.
        gain: factor on all channels.
        gamma: exponent on values of 0..1.
        cast: largest difference of a channel's gain from 1.
    """

    face_px: tuple[float, float] = (16, 40)
    blur_px: tuple[float, float] = (0.2, 1.0)
    anisotropy: tuple[float, float] = (0.4, 1.0)
    motion_px: tuple[float, float] = (0.3, 2.0)
    motion: float = 0.35
    second: float = 0.2
    second_scale: tuple[float, float] = (0.6, 1.0)
    noise_luma: tuple[float, float] = (0, 6)
    noise_chroma: tuple[float, float] = (0, 5)
    noise_rgb: tuple[float, float] = (0, 8)
    shot: float = 0.3
    jpeg: tuple[float, float] = (40, 92)
    jpeg_twice: float = 0.3
    gain: tuple[float, float] = (0.9, 1.12)
    gamma: tuple[float, float] = (0.85, 1.2)
    cast: float = 0.05

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if isinstance(value, (list, tuple)):
                if len(value) != 2 or not 0 <= value[0] <= value[1]:
                    raise ConfigError(f"Degradation: {name} is a lowest and a highest value from 0, got {value!r}.")
                object.__setattr__(self, name, (float(value[0]), float(value[1])))
            elif not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise ConfigError(f"Degradation: {name} lies between 0 and 1, got {value!r}.")
        if self.face_px[0] < 8 or self.gamma[0] <= 0 or self.second_scale[0] <= 0 or self.jpeg[1] > 100:
            raise ConfigError("Degradation: needs face_px from 8, gamma and second_scale above 0, jpeg to 100.")

    def draw_face_px(self, rng: np.random.Generator) -> float:
        """Return the width of a face in LR pixels."""
        low, high = np.log(self.face_px)
        return float(np.exp(rng.uniform(low, high)))


def make_ranges(values: Mapping[str, Any]) -> Ranges:
    """Return the ranges of a recipe's `degradation_ranges`; what is not named keeps its default.

    Raises:
        ConfigError: an unknown name, or no lowest and highest value.
    """
    try:
        return Ranges(**values)
    except TypeError as error:
        raise ConfigError(f"Degradation: {error}.") from error


def expose(pixels: Pixels, ranges: Ranges, rng: np.random.Generator) -> Pixels:
    """Return (H, W, 3) uint8 RGB under another light: gamma, gain and a cast of the channels."""
    gamma, gain = rng.uniform(*ranges.gamma), rng.uniform(*ranges.gain)
    gains = gain * (1 + rng.uniform(-ranges.cast, ranges.cast, 3))
    light = (np.arange(256) / 255.0) ** gamma * 255.0
    table = np.clip(np.rint(light[:, None] * gains), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, np.ascontiguousarray(table[:, None, :].transpose(1, 0, 2))), np.uint8)


def degrade(hr: Pixels, scale: int, ranges: Ranges, rng: np.random.Generator) -> Pixels:
    """Return what a camera makes of a picture: (H / scale, W / scale, 3) uint8 RGB.

    Args:
        hr: (H, W, 3) uint8 RGB, sides multiples of `scale`; exposure is no part of this, see `expose`.
        scale: how many HR pixels a LR pixel has per side.
        ranges: what may happen.
        rng: decides what does.
    """
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    soft = _blurred(hr.astype(np.float32), scale, ranges, rng)
    name = str(rng.choice(list(FILTERS)))
    if name == "nearest":
        # Sampling the middle of a block; OpenCV takes its corner, which would shift the face.
        start = int(rng.integers(max(0, scale // 2 - 1), scale // 2 + 1))
        small = np.ascontiguousarray(soft[start::scale, start::scale])
    else:
        small = np.asarray(cv2.resize(soft, (width, height), interpolation=FILTERS[name]), np.float32)
    if rng.random() < ranges.second:
        factor = rng.uniform(*ranges.second_scale)
        less = cv2.resize(
            small, (max(4, round(width * factor)), max(4, round(height * factor))), interpolation=cv2.INTER_AREA
        )
        small = np.asarray(cv2.resize(less, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    seen = np.clip(np.rint(small + _noise(small, ranges, rng)), 0, 255).astype(np.uint8)
    if rng.random() < ranges.jpeg_twice:
        across, down = (int(v) for v in rng.integers(0, 8, 2))
        padded = cv2.copyMakeBorder(seen, down, 0, across, 0, cv2.BORDER_REPLICATE)
        seen = _compressed(np.asarray(padded, np.uint8), rng.uniform(*ranges.jpeg))[down:, across:]
    return _compressed(np.ascontiguousarray(seen), rng.uniform(*ranges.jpeg))


def _blurred(hr: Float32, scale: int, ranges: Ranges, rng: np.random.Generator) -> Float32:
    sigma = scale * rng.uniform(*ranges.blur_px)
    kind = str(rng.choice(["gaussian", "anisotropic", "box"], p=[0.5, 0.3, 0.2]))
    if kind == "gaussian":
        out = cv2.GaussianBlur(hr, (0, 0), max(sigma, 0.1))
    elif kind == "box":
        side = max(1, round(math.sqrt(12) * sigma))
        out = cv2.blur(hr, (side | 1, side | 1))
    else:
        shorter = sigma * rng.uniform(*ranges.anisotropy)
        out = cv2.filter2D(hr, -1, gaussian_kernel(max(sigma, 0.1), max(shorter, 0.1), rng.uniform(0, math.pi)))
    if rng.random() < ranges.motion:
        out = cv2.filter2D(out, -1, streak_kernel(scale * rng.uniform(*ranges.motion_px), rng.uniform(0, math.pi)))
    return np.asarray(out, np.float32)


def gaussian_kernel(longer: float, shorter: float, angle: float) -> Float32:
    """Return an odd square kernel that sums to 1: a Gaussian with two sigmas in pixels, the longer along `angle`."""
    radius = math.ceil(2.5 * longer)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    kernel = np.exp(-0.5 * ((along / longer) ** 2 + (across / shorter) ** 2))
    return np.asarray(kernel / kernel.sum(), np.float32)


def streak_kernel(length: float, angle: float) -> Float32:
    """Return an odd square kernel that sums to 1: a straight uniform motion of `length` pixels along `angle`."""
    radius = math.ceil(length / 2) + 1
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    kernel = np.clip(length / 2 + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    return np.asarray(kernel / kernel.sum(), np.float32)


def _noise(small: Float32, ranges: Ranges, rng: np.random.Generator) -> Float32:
    """Return (H, W, 3) grey levels to add."""
    shape = small.shape[:2]
    luma = rng.uniform(*ranges.noise_luma) * rng.standard_normal(shape, np.float32)
    cb, cr = rng.uniform(*ranges.noise_chroma) * rng.standard_normal((2, *shape), np.float32)
    # Colour differences back to RGB as in JFIF (ITU-R BT.601).
    noise = np.stack([luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb], axis=2)
    noise += rng.uniform(*ranges.noise_rgb) * rng.standard_normal((*shape, 3), np.float32)
    if rng.random() < ranges.shot:
        noise *= np.sqrt(np.clip(small, 4, 255) / 128)
    return np.asarray(noise, np.float32)


def _compressed(pixels: Pixels, quality: float) -> Pixels:
    """Return a picture after JPEG with chroma at half resolution; the order of channels is BGR to OpenCV."""
    setting = [cv2.IMWRITE_JPEG_QUALITY, round(quality)]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), setting)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
