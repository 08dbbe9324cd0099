"""The template of an aligned face and the transform that takes five landmarks to it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from faceup.types import Floats

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
