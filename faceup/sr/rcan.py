"""RCAN (ECCV 2018): compact weights of this project by default, another checkpoint by `rcan:FILE`."""

from __future__ import annotations

from faceup.networks.rcan import RcanConfig, load_rcan
from faceup.protocols import SrBackend
from faceup.registry import Options
from faceup.sr._network import build_network
from faceup.types import BackendInfo

INFO = BackendInfo(
    name="rcan",
    version="1",
    licence="Apache-2.0",
    summary="residual channel attention network; compact, trained on clean bicubic reduction",
    generative=True,
    weights=("rcan-x4",),
)


def build(options: Options) -> SrBackend:
    """Build the backend.

    Raises:
        ConfigError: no weights of the asked scale are shipped, or the given file is for another scale.
        WeightsError: the weights are missing, damaged, or another network's.
    """
    return build_network(options, INFO, "RCAN", RcanConfig, load_rcan)
