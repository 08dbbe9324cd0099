"""RCAN (ECCV 2018): no weights are shipped; `rcan:FILE` takes an official checkpoint or one of `faceup train`."""

from __future__ import annotations

from faceup.networks.rcan import RcanConfig, load_rcan
from faceup.registry import Options
from faceup.runtime.torch_sr import TorchSr
from faceup.sr._network import build_network
from faceup.types import BackendInfo

INFO = BackendInfo(
    name="rcan",
    version="1",
    licence="Apache-2.0",
    summary="residual channel attention network; bring your own weights",
    generative=True,
    weights=(),
)


def build(options: Options) -> TorchSr:
    """Build the backend.

    Raises:
        ConfigError: no weights file is given, or it is for another scale.
        WeightsError: the weights are missing, damaged, or another network's.
    """
    return build_network(options, INFO, "RCAN", RcanConfig, load_rcan)
