"""SRFBN (CVPR 2019): compact weights of this project by default, another checkpoint by `srfbn:FILE`."""

from __future__ import annotations

from faceup.networks.srfbn import SrfbnConfig, load_srfbn
from faceup.protocols import SrBackend
from faceup.registry import Options
from faceup.sr._network import build_network
from faceup.types import BackendInfo

# A 42 x 56 crop at x4 takes about 160 MiB, six times what RCAN takes.
BATCH_PIXELS = 16 * 1024

INFO = BackendInfo(
    name="srfbn",
    version="1",
    licence="Apache-2.0",
    summary="super-resolution feedback network; compact, trained on clean bicubic reduction",
    generative=True,
    weights=("srfbn-x4",),
)


def build(options: Options) -> SrBackend:
    """Build the backend.

    Raises:
        ConfigError: no weights of the asked scale are shipped, or the given file is for another scale.
        WeightsError: the weights are missing, damaged, or another network's.
    """
    return build_network(options, INFO, "SRFBN", SrfbnConfig, load_srfbn, BATCH_PIXELS)
