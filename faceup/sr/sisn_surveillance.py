"""SISN trained on what cameras do to faces, with an identity term; x4, or a file of `faceup train`."""

from __future__ import annotations

from faceup.networks.sisn import SisnConfig
from faceup.protocols import SrBackend
from faceup.registry import Options
from faceup.sr._network import build_network
from faceup.sr.sisn import load_folded
from faceup.types import BackendInfo

INFO = BackendInfo(
    name="sisn-surveillance",
    version="1",
    licence="Apache-2.0",
    summary="SISN trained on blurred, noisy, compressed faces, with an identity term of mobilefacenet",
    generative=True,
    weights=("sisn-surveillance-x4",),
)


def build(options: Options) -> SrBackend:
    """Build the backend.

    Raises:
        ConfigError: no weights of the asked scale are shipped, or the given file is for another scale.
        WeightsError: the weights are missing, damaged, or another network's.
    """
    return build_network(options, INFO, "SISN", SisnConfig, load_folded)
