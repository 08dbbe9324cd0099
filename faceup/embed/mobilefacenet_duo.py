"""`mobilefacenet-lr` and `mobilefacenet2-lr` together: more certain than either, for twice the time and numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceup.embed import mobilefacenet2_lr, mobilefacenet_lr
from faceup.embed.mobilefacenet import MobileFaceNetEmbedder
from faceup.registry import Options
from faceup.types import AlignedFace, BackendInfo, Floats

INFO = BackendInfo(
    name="mobilefacenet-duo",
    version="1",
    licence="MIT AND Apache-2.0",
    summary="mobilefacenet-lr and mobilefacenet2-lr together, 1,024 numbers: the mean of their similarities",
    generative=False,
    weights=(*mobilefacenet_lr.INFO.weights, *mobilefacenet2_lr.INFO.weights),
)


class Duo:
    """Aligned faces to the unit vectors of two recognisers, one after the other, divided by the square root of 2.

    So the cosine of two faces is the mean of the two recognisers' cosines.

    Args:
        members: the recognisers.
    """

    def __init__(self, *members: MobileFaceNetEmbedder) -> None:
        self.members = members
        self.dimension = sum(member.dimension for member in members)

    def embed(self, faces: Sequence[AlignedFace]) -> Floats:
        """Return float32 (N, dimension), rows of unit length, in the order of the input."""
        rows = np.concatenate([member.embed(faces) for member in self.members], axis=1)
        return rows / np.float32(len(self.members) ** 0.5)


def build(options: Options) -> Duo:
    """Build both recognisers; setting: `flip` (default false), of both.

    Raises:
        ConfigError: a setting is wrong, or a file was given: there are two.
        WeightsError: weights are missing or damaged.
    """
    options.refuse_weights(INFO.name)
    options.refuse_extra(INFO.name, "flip")
    return Duo(mobilefacenet_lr.build(options), mobilefacenet2_lr.build(options))
