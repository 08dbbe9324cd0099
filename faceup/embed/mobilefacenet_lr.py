"""MobileFaceNet taught by distillation to see in a bad picture what `mobilefacenet` sees in the original."""

from __future__ import annotations

from faceup.embed.mobilefacenet import MobileFaceNetEmbedder, load_embedder
from faceup.registry import Options
from faceup.types import BackendInfo

INFO = BackendInfo(
    name="mobilefacenet-lr",
    version="1",
    licence="MIT AND Apache-2.0",
    summary="mobilefacenet, taught by distillation on synthetic faces to recognise low-resolution pictures",
    generative=False,
    weights=("mobilefacenet-lr",),
)


def build(options: Options) -> MobileFaceNetEmbedder:
    """Build the recogniser; see `load_embedder`.

    Raises:
        ConfigError: a setting is wrong.
        WeightsError: the weights are missing, damaged, or another network's.
    """
    return load_embedder(options, INFO)
