"""No super-resolution: the picture as it is, the row `LR image` of Table 5."""

from __future__ import annotations

from collections.abc import Sequence

from faceup.registry import Options
from faceup.types import BackendInfo, Image

INFO = BackendInfo(
    name="none",
    version="1",
    licence="Apache-2.0",
    summary="the picture as it is (the paper's 'LR image')",
    generative=False,
)


class Unchanged:
    """Returns its input; its scale is 1 whatever the recipe asks for."""

    scale = 1

    def upscale(self, images: Sequence[Image]) -> list[Image]:
        """Return the same pictures."""
        return list(images)


def build(options: Options) -> Unchanged:
    """Build the backend; it has no settings."""
    options.refuse_extra(INFO.name)
    options.refuse_weights(INFO.name)
    return Unchanged()
