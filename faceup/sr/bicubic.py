"""Bicubic enlargement with Pillow's kernel.

The kernel has a = -0.5, as MATLAB's imresize has (OpenCV's INTER_CUBIC has a = -0.75). Antialiasing only matters when a
picture shrinks, so enlarging is the same with and without it.
"""

from __future__ import annotations

from collections.abc import Sequence

from faceup.errors import ConfigError
from faceup.images import resize
from faceup.registry import Options
from faceup.types import BackendInfo, Image

INFO = BackendInfo(
    name="bicubic", version="1", licence="Apache-2.0", summary="bicubic interpolation, a = -0.5", generative=False
)


class Bicubic:
    """Enlarges any picture by a whole number."""

    def __init__(self, scale: int) -> None:
        if scale < 1:
            raise ConfigError(f"Backend 'bicubic' needs a scale of at least 1, got {scale}.")
        self.scale = scale

    def upscale(self, images: Sequence[Image]) -> list[Image]:
        """Return the enlarged pictures."""
        return [resize(image, image.width * self.scale, image.height * self.scale) for image in images]


def build(options: Options) -> Bicubic:
    """Build the backend; it has no settings but the scale."""
    options.refuse_extra(INFO.name)
    options.refuse_weights(INFO.name)
    return Bicubic(options.scale)
