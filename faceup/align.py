"""Alignment: five landmarks to the 112 x 112 ArcFace template by a similarity transform."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from faceup.types import AlignedFace, Floats, Image

SIZE = 112
# Where the five landmarks go, x and y in pixels of the aligned face (ArcFace's template, as FaceX-Zoo has it).
TEMPLATE: Floats = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
TEMPLATE.setflags(write=False)


def similarity_transform(source: npt.ArrayLike, target: npt.ArrayLike = TEMPLATE) -> npt.NDArray[np.float64]:
    """Return the 2 x 3 matrix of rotation, one scale and shift that maps `source` to `target` with least squares.

    Umeyama's closed form (IEEE TPAMI 13(4), 1991), never a reflection.

    Args:
        source: (N, 2) points x, y, not all the same.
        target: (N, 2) points x, y.
    """
    src, dst = np.asarray(source, np.float64), np.asarray(target, np.float64)
    src_mean, dst_mean = src.mean(axis=0), dst.mean(axis=0)
    a, b = src - src_mean, dst - dst_mean
    u, singular, vt = np.linalg.svd(b.T @ a / len(src))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    rotation = u @ np.diag(sign) @ vt
    scale = (singular * sign).sum() / max(a.var(axis=0).sum(), 1e-12)
    return np.hstack([scale * rotation, (dst_mean - scale * rotation @ src_mean)[:, None]])


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
