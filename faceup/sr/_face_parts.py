"""Where the facial components are, told by the five landmarks: soft ellipses on the template of aligned faces.

LCGE's poster shows soft component masks and does not say how they were made; the ellipses are this project's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from faceup.types import Floats

# Centre x, y and half-axes x, y in pixels of the 112 x 112 template, in the order of `networks.lcge.COMPONENTS`.
_ELLIPSES = (
    ((38.3, 51.7, 12.0, 7.0), (73.5, 51.5, 12.0, 7.0)),
    ((38.3, 40.0, 14.0, 5.0), (73.5, 39.8, 14.0, 5.0)),
    ((56.0, 66.0, 10.0, 15.0),),
    ((56.1, 92.3, 20.0, 10.0),),
)
# A component has a pixel whole up to this share of the half-axes, and nothing of it from the other on.
_WHOLE, _NOTHING = 0.8, 1.2


def component_weights(
    matrices: Sequence[npt.ArrayLike], *, width: int, height: int, left: int = 0, top: int = 0
) -> Floats:
    """Return how much each component has of each pixel, (4, height, width) float32, 0..1, together at most 1.

    Args:
        matrices: (2, 3) each, from pixels of the picture to the template, one a face.
        width: of the part of the picture that is asked for, in pixels.
        height: likewise.
        left: where that part begins.
        top: likewise.
    """
    weights = np.zeros((len(_ELLIPSES), height, width), np.float32)
    x = np.arange(left, left + width, dtype=np.float32)[None, :]
    y = np.arange(top, top + height, dtype=np.float32)[:, None]
    for matrix in matrices:
        (a, b, c), (d, e, f) = np.asarray(matrix, np.float32)
        u, v = a * x + b * y + c, d * x + e * y + f
        for k, ellipses in enumerate(_ELLIPSES):
            for cx, cy, rx, ry in ellipses:
                radius = np.sqrt(((u - cx) / rx) ** 2 + ((v - cy) / ry) ** 2)
                np.maximum(weights[k], np.clip((_NOTHING - radius) / (_NOTHING - _WHOLE), 0, 1), out=weights[k])
    shared: Floats = weights / np.maximum(weights.sum(axis=0), 1)
    return shared
