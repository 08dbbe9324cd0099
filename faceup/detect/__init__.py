"""Face detectors, one module each, and the rule that picks one face of several."""

from __future__ import annotations

import numpy as np

from faceup.types import Detections, Image


def chosen_face(found: Detections, image: Image) -> int | None:
    """Return which face of a picture is compared: the largest, weighed by how central it is.

    Each face's box area is multiplied by 1 - d / D, with d the distance between the centres of box and picture and D
    half the picture's diagonal; the greatest product wins, the earlier face on a tie. None when there is no face.
    """
    if not len(found):
        return None
    sides = np.maximum(found.boxes[:, 2:] - found.boxes[:, :2], 0).astype(np.float64)
    centres = (found.boxes[:, 2:] + found.boxes[:, :2]).astype(np.float64) / 2
    middle = np.array([image.width - 1, image.height - 1]) / 2
    distance = np.linalg.norm(centres - middle, axis=1) / max(np.hypot(image.width, image.height) / 2, 1e-9)
    return int(np.argmax(sides.prod(axis=1) * np.maximum(1 - distance, 0)))
