"""One picture through one camera: cut out, blurred, reduced, tinted, made noisy.

The point spread of lens and motion acts before the sensor samples, so it is applied to a working picture with several
pixels for each pixel of the output, and only then is the picture reduced. Noise comes after that, as in a sensor.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage

from faceup.simulate.presets import Preset
from faceup.types import Floats, Image, Pixels

# Working pixels for one pixel of the output, at most: finer ones change the result by less than the noise.
OVERSAMPLING = 8
# The cast of a camera: gains of R, G and B within 1 +- CAST_GAIN, gamma within 1 +- CAST_GAMMA.
CAST_GAIN, CAST_GAMMA = 0.04, 0.08


@dataclass(frozen=True, slots=True)
class View:
    """The rectangle of a picture that a crop shows, in pixels of the picture, edges of pixels at integers.

    Attributes:
        left: upper left corner; may lie outside the picture, as any other part of the rectangle.
        top: likewise.
        width: of the rectangle.
        height: of the rectangle.
        eye_px: distance between the eyes in pixels of the output.
        enlarges: whether the output would have more pixels than the picture has there.
    """

    left: float
    top: float
    width: float
    height: float
    eye_px: float
    enlarges: bool

    def outside(self, image: Image) -> float:
        """Return the share of the rectangle that the picture does not cover, 0..1."""
        inside_x = max(0.0, min(self.left + self.width, image.width) - max(self.left, 0.0))
        inside_y = max(0.0, min(self.top + self.height, image.height) - max(self.top, 0.0))
        return max(0.0, 1.0 - inside_x * inside_y / (self.width * self.height))


@dataclass(frozen=True, slots=True)
class Cast:
    """The tint of one camera.

    Attributes:
        gains: factors of R, G and B.
        gamma: exponent on values of 0..1.
    """

    gains: tuple[float, float, float]
    gamma: float


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """What the camera delivered.

    Attributes:
        pixels: before JPEG.
        motion_px: length of the streak of motion, in pixels of the output.
        motion_deg: its direction, 0..180 degrees from the x axis towards the y axis.
    """

    pixels: Pixels
    motion_px: float
    motion_deg: float


def generator(*parts: int | str) -> np.random.Generator:
    """Return the random generator that belongs to these parts and to no others: SHA-256 of them seeds it."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))


def camera_cast(seed: int, camera: int) -> Cast:
    """Return the tint of a camera, the same for every picture that it takes."""
    draw = generator("cast", seed, camera).uniform(-1.0, 1.0, 4)
    red, green, blue = (float(g) for g in 1.0 + CAST_GAIN * draw[:3])
    return Cast((red, green, blue), float(1.0 + CAST_GAMMA * draw[3]))


def frame(preset: Preset, box: Floats, landmarks: Floats) -> View:
    """Return what the camera sees of a face.

    With `eye_px` the middle between the eyes comes to the middle of the width and to `eyes_height`; with `face_px` the
    middle of the face box comes to the middle of the crop.

    Args:
        preset: the distance or recipe.
        box: (4,) x0, y0, x1, y1 of the face in the high-definition picture.
        landmarks: (5, 2) x, y there.
    """
    points = landmarks.astype(np.float64)
    eyes = points[1] - points[0]
    if preset.eye_px is not None:
        shrink = max(float(np.hypot(*eyes)), 1e-6) / preset.eye_px
        width, height = preset.width * shrink, preset.height * shrink
        x, y = points[:2].mean(axis=0) + 0.5
        top = y - preset.eyes_height * height
    else:
        unit = max(float(box[2]) - float(box[0]), 1e-6) / preset.face_px
        width, height = preset.crop[0] * unit, preset.crop[1] * unit
        x, y = (box[:2].astype(np.float64) + box[2:]) / 2 + 0.5
        top = y - height / 2
    per_pixel = np.array([preset.width / width, preset.height / height])
    return View(
        float(x - width / 2), float(top), width, height, float(np.hypot(*(eyes * per_pixel))), bool(per_pixel.max() > 1)
    )


def shoot(image: Image, view: View, preset: Preset, cast: Cast, rng: np.random.Generator) -> Shot:
    """Take the picture of `view` with all that degrades it but JPEG."""
    motion = float(rng.uniform(0.0, preset.motion_px))
    degrees = float(rng.uniform(0.0, 180.0))
    if preset.eye_px is not None:
        small = _through_optics(image, view, preset, motion, degrees)
    else:
        crop = resampled(image, view.left, view.top, view.width, view.height, *preset.crop)
        blurred = cv2.GaussianBlur(crop, (0, 0), preset.crop_blur)
        small = np.asarray(cv2.resize(blurred, (preset.width, preset.height), interpolation=cv2.INTER_AREA), np.float32)
    if preset.cast:
        small = (255.0 * np.clip(small / 255.0, 0.0, 1.0) ** cast.gamma * np.array(cast.gains)).astype(np.float32)
    noisy = small + _noise(preset, rng)
    return Shot(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), motion, degrees)


def undegraded(image: Image, view: View, preset: Preset) -> Image:
    """Return the view at the size of the output with nothing but the reduction done to it."""
    pixels = resampled(image, view.left, view.top, view.width, view.height, preset.width, preset.height)
    return Image(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Return baseline JPEG with chroma at half resolution; the same bytes for the same pixels and Pillow."""
    buffer = io.BytesIO()
    PilImage.fromarray(pixels).save(buffer, format="JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def _through_optics(image: Image, view: View, preset: Preset, motion: float, degrees: float) -> npt.NDArray[np.float32]:
    """Blur a working picture with several pixels for each of the output, then average them."""
    unit = view.width / preset.width
    k = max(1, min(OVERSAMPLING, math.floor(unit)))
    # Without a margin the blur would see replicated pixels where the picture goes on.
    margin = math.ceil(3 * preset.blur_px + preset.motion_px / 2) + 1
    wide, high = preset.width + 2 * margin, preset.height + 2 * margin
    work = resampled(
        image, view.left - margin * unit, view.top - margin * unit, wide * unit, high * unit, wide * k, high * k
    )
    if preset.blur_px > 0:
        work = np.asarray(cv2.GaussianBlur(work, (0, 0), preset.blur_px * k), np.float32)
    if motion > 0:
        work = np.asarray(cv2.filter2D(work, -1, _streak(motion * k, degrees)), np.float32)
    small = cv2.resize(work, (wide, high), interpolation=cv2.INTER_AREA)
    return np.asarray(small[margin:-margin, margin:-margin], np.float32)


def resampled(
    image: Image, left: float, top: float, width: float, height: float, out_width: int, out_height: int
) -> npt.NDArray[np.float32]:
    """Return a rectangle of a picture at another size, antialiased; beyond the picture its edge is replicated.

    Args:
        image: the picture.
        left: of the rectangle in pixels, edges of pixels at integers; fractions are kept.
        top: likewise.
        width: likewise.
        height: likewise.
        out_width: pixels of the result.
        out_height: pixels of the result.

    Returns:
        (out_height, out_width, 3) float32 RGB 0..255.
    """
    pixels = image.pixels
    # Whole blocks are averaged first, so that a face of thousands of pixels needs no giant patch.
    factor = max(1, int(min(width / out_width, height / out_height) // 2))
    if factor > 1:
        pixels = np.asarray(PilImage.fromarray(pixels).reduce(factor))
        left, top, width, height = (value / factor for value in (left, top, width, height))
    # Room for the kernel, which reaches two output pixels to each side.
    room_x, room_y = (math.ceil(2 * max(r, 1.0)) + 1 for r in (width / out_width, height / out_height))
    x0, y0 = math.floor(left) - room_x, math.floor(top) - room_y
    x1, y1 = math.ceil(left + width) + room_x, math.ceil(top + height) + room_y
    columns = np.clip(np.arange(x0, x1), 0, pixels.shape[1] - 1)
    rows = np.clip(np.arange(y0, y1), 0, pixels.shape[0] - 1)
    patch = PilImage.fromarray(np.ascontiguousarray(pixels[rows[:, None], columns]))
    box = (left - x0, top - y0, left - x0 + width, top - y0 + height)
    result = patch.resize((out_width, out_height), PilImage.Resampling.BICUBIC, box=box)
    return np.asarray(result, np.float32)


def _streak(length: float, degrees: float) -> npt.NDArray[np.float32]:
    """Return the kernel of a straight uniform motion: an odd square that sums to 1, centred."""
    radius = math.ceil(length / 2) + 1
    along = np.linspace(-length / 2, length / 2, 16 * math.ceil(length) + 1)
    angle = math.radians(degrees)
    x, y = radius + along * math.cos(angle), radius + along * math.sin(angle)
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = np.abs(1 - dx - (x - column)) * np.abs(1 - dy - (y - row))
            np.add.at(kernel, (row + dy, column + dx), weight)
    return np.asarray(kernel / kernel.sum(), np.float32)


def _noise(preset: Preset, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return (height, width, 3) grey levels to add: one part shared by the channels, one of colour, one per channel."""
    shape = (preset.height, preset.width)
    luma = rng.normal(0.0, preset.noise_luma, shape)
    cb, cr = (rng.normal(0.0, preset.noise_chroma, shape) for _ in range(2))
    # Colour differences back to RGB as in JFIF (ITU-R BT.601).
    shared = np.stack([luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb], axis=2)
    return shared + rng.normal(0.0, preset.noise_rgb, (*shape, 3))
