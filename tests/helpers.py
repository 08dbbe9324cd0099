"""Small pictures and values for tests."""

from __future__ import annotations

import numpy as np

from faceup.types import Image


def grey(width: int, height: int, value: int = 128) -> Image:
    """A picture of one grey."""
    return Image(np.full((height, width, 3), value, np.uint8))


def noise(width: int, height: int, seed: int = 0) -> Image:
    """A picture of random pixels."""
    return Image(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
