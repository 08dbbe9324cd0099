"""SRFBN (CVPR 2019): no weights are shipped; `srfbn:FILE` takes an official checkpoint or one of `faceup train`."""

from __future__ import annotations

from faceup.networks.srfbn import SrfbnConfig, load_srfbn
from faceup.registry import Options
from faceup.runtime.torch_sr import TorchSr
from faceup.sr._network import build_network
from faceup.types import BackendInfo

# A 42 x 56 crop at x4 takes about 160 MiB, six times what RCAN takes.
BATCH_PIXELS = 16 * 1024

INFO = BackendInfo(
    name="srfbn",
    version="1",
    licence="Apache-2.0",
    summary="super-resolution feedback network, 4 steps; bring your own weights",
    generative=True,
    weights=(),
)


def build(options: Options) -> TorchSr:
    """Build the backend.

    Raises:
        ConfigError: no weights file is given, or it is for another scale.
        WeightsError: the weights are missing, damaged, or another network's.
    """
    return build_network(options, INFO, "SRFBN", SrfbnConfig, load_srfbn, BATCH_PIXELS)
