"""MTC (MMM 2020), reimplemented from the abstract: texture of a second view compensates for what the picture lacks."""

from __future__ import annotations

from faceup.networks.mtc import MtcConfig, load_mtc
from faceup.protocols import SrBackend
from faceup.registry import Options
from faceup.sr._network import build_network
from faceup.types import BackendInfo

INFO = BackendInfo(
    name="mtc",
    version="1",
    licence="Apache-2.0",
    summary="multi-view texture compensation with the mirror image; reimplementation from the abstract",
    generative=True,
    weights=("mtc-x4",),
)


def build(options: Options) -> SrBackend:
    """Build the backend.

    Raises:
        ConfigError: no weights of the asked scale are shipped, or the given file is for another scale.
        WeightsError: the weights are missing, damaged, or another network's.
    """
    return build_network(options, INFO, "MTC", MtcConfig, load_mtc)
