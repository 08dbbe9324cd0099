"""MobileFaceNet taught by distillation to see in a bad picture what the default recogniser sees in the original.

No weights are shipped yet: `mobilefacenet-lr:FILE`.
"""

from __future__ import annotations

from faceup.embed.mobilefacenet import MobileFaceNetEmbedder, load_embedder
from faceup.errors import ConfigError
from faceup.registry import Options
from faceup.types import BackendInfo

INFO = BackendInfo(
    name="mobilefacenet-lr",
    version="1",
    licence="MIT",
    summary="mobilefacenet, taught by distillation on synthetic faces to recognise low-resolution pictures",
    generative=False,
)


def build(options: Options) -> MobileFaceNetEmbedder:
    """Build the recogniser; see `load_embedder`.

    Raises:
        ConfigError: no file was given, or a setting is wrong.
        WeightsError: the file is missing, damaged, or another network's.
    """
    if options.weights is None:
        raise ConfigError(
            "No weights of mobilefacenet-lr are shipped yet: give a file, --recognizer mobilefacenet-lr:FILE, that "
            "`faceup train pipelines/train_mobilefacenet_lr.yaml` made."
        )
    return load_embedder(options, INFO)
