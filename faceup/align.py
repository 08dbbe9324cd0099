"""Alignment: five landmarks to the 112 x 112 ArcFace template by a similarity transform."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from faceup.geometry import SIZE, similarity_transform
from faceup.types import AlignedFace, Floats, Image


def align(image: Image, landmarks: Floats) -> AlignedFace:
    """Warp the face at `landmarks` to the template.

    Interpolation is bilinear; what lies outside the picture is black. A face much larger than the template is first
    reduced by area averaging to at most twice the template's size, else bilinear sampling would alias.

    Args:
        image: the picture.
        landmarks: (5, 2) x, y in pixels of the picture.
    """
    matrix = similarity_transform(landmarks)
    pixels, warp = image.pixels, matrix
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if 0 < scale < 0.5:
        pixels, warp = _reduced_around(pixels, matrix, factor=int(0.5 / scale) + 1)
    face = cv2.warpAffine(
        pixels, warp, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )
    return AlignedFace(np.asarray(face, np.uint8), matrix.astype(np.float32))


def _reduced_around(
    pixels: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64], factor: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Cut out what the template will show, shrink it `factor` times, and return it with the matrix that fits it."""
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [SIZE, 0], [0, SIZE], [SIZE, SIZE]]) @ inverse[:, :2].T + inverse[:, 2]
    height, width = pixels.shape[:2]
    x0, y0 = np.clip(np.floor(corners.min(axis=0)).astype(int) - factor, 0, [width - 1, height - 1])
    x1, y1 = np.clip(np.ceil(corners.max(axis=0)).astype(int) + factor, [x0 + 1, y0 + 1], [width, height])
    part = pixels[y0:y1, x0:x1]
    small_w, small_h = max(1, (x1 - x0) // factor), max(1, (y1 - y0) // factor)
    small = cv2.resize(part, (small_w, small_h), interpolation=cv2.INTER_AREA)
    # x_original = (x_small + 0.5) * k - 0.5 + x0, per axis
    k = np.array([(x1 - x0) / small_w, (y1 - y0) / small_h])
    warp = matrix.copy()
    warp[:, :2] = matrix[:, :2] * k
    warp[:, 2] = matrix[:, 2] + matrix[:, :2] @ (0.5 * k - 0.5 + [x0, y0])
    return np.asarray(small, np.uint8), warp
