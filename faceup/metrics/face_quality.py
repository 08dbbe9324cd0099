"""What tells how good a face picture is before anything is compared."""

from __future__ import annotations

import cv2
import numpy as np

from faceup.types import AlignedFace


def sharpness(face: AlignedFace) -> float:
    """Return the variance of the Laplacian of the aligned face's luma, in squared grey levels; higher is sharper.

    The face is measured at the template's size, whatever size it had, so values of one picture at two scales compare.
    Noise raises it as detail does.

    Example:
        >>> flat = AlignedFace(np.full((112, 112, 3), 90, np.uint8), np.eye(2, 3, dtype=np.float32))
        >>> sharpness(flat)
        0.0
    """
    luma = cv2.cvtColor(face.pixels, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(luma, cv2.CV_64F).var())


def eye_distance_band(pixels: float, edges: tuple[float, ...]) -> str:
    """Return the name of the band of eye distances that `pixels` falls in, empty for NaN.

    >>> [eye_distance_band(v, (13, 23)) for v in (10.1, 13.0, 40.0, float("nan"))]
    ['below 13 px', '13 to 23 px', '23 px and more', '']
    """
    if np.isnan(pixels):
        return ""
    place = int(np.searchsorted(edges, pixels, side="right"))
    if place == 0:
        return f"below {edges[0]:g} px"
    return f"{edges[-1]:g} px and more" if place == len(edges) else f"{edges[place - 1]:g} to {edges[place]:g} px"


# Between the medians that SCface's three distances have (10.1, 17.0, 30.4 px), by their geometric means.
EYE_EDGES = (13.0, 23.0)
