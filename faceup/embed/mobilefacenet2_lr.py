"""A second MobileFaceNet, taught like `mobilefacenet-lr` but by another network: a second opinion."""

from __future__ import annotations

from faceup.embed.mobilefacenet import MobileFaceNetEmbedder, load_embedder
from faceup.registry import Options
from faceup.types import BackendInfo

INFO = BackendInfo(
    name="mobilefacenet2-lr",
    version="1",
    licence="MIT AND Apache-2.0",
    summary="FaceX-Zoo's MobileFaceNet for faces with masks, taught like mobilefacenet-lr: a second opinion",
    generative=False,
    weights=("mobilefacenet2-lr",),
)


def build(options: Options) -> MobileFaceNetEmbedder:
    """Build the recogniser; see `load_embedder`.

    Raises:
        ConfigError: a setting is wrong.
        WeightsError: the weights are missing, damaged, or another network's.
    """
    return load_embedder(options, INFO)
