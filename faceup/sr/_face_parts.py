"""Where the facial components are, told by the five landmarks: soft ellipses on the template of aligned faces.

LCGE's poster shows soft component masks and does not say how they were made; the ellipses are this project's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from faceup.networks.lcge import COMPONENTS, LcgeConfig
from faceup.types import Floats


def component_weights(
    matrices: Sequence[npt.ArrayLike], config: LcgeConfig, *, width: int, height: int, left: int = 0, top: int = 0
) -> Floats:
    """Return how much each component has of each pixel, (4, height, width) float32, 0..1, together at most 1.

    Args:
        matrices: (2, 3) each, from pixels of the picture to the template, one a face.
        config: the ellipses and their feather.
        width: of the part of the picture that is asked for, in pixels.
        height: likewise.
        left: where that part begins.
        top: likewise.
    """
    whole, nothing = config.feather
    weights = np.zeros((len(COMPONENTS), height, width), np.float32)
    x = np.arange(left, left + width, dtype=np.float32)[None, :]
    y = np.arange(top, top + height, dtype=np.float32)[:, None]
    for matrix in matrices:
        (a, b, c), (d, e, f) = np.asarray(matrix, np.float32)
        u, v = a * x + b * y + c, d * x + e * y + f
        for k, ellipses in enumerate(config.ellipses):
            for cx, cy, rx, ry in ellipses:
                radius = np.sqrt(((u - cx) / rx) ** 2 + ((v - cy) / ry) ** 2)
                np.maximum(weights[k], np.clip((nothing - radius) / (nothing - whole), 0, 1), out=weights[k])
    shared: Floats = weights / np.maximum(weights.sum(axis=0), 1)
    return shared
