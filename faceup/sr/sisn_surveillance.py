"""SISN trained on what cameras do to faces, with an identity term. No weights are shipped yet: `NAME:FILE`."""

from __future__ import annotations

from faceup.errors import ConfigError
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
    summary="SISN trained on blurred, noisy, compressed faces, with an identity term of the default recogniser",
    generative=True,
)


def build(options: Options) -> SrBackend:
    """Build the backend.

    Raises:
        ConfigError: no file was given, or it is for another scale.
        WeightsError: the file is missing, damaged, or another network's.
    """
    options.refuse_extra(INFO.name, "engine")
    if options.weights is None:
        raise ConfigError(
            "No weights of sisn-surveillance are shipped yet: give a file, --sr sisn-surveillance:FILE, that "
            "`faceup train pipelines/train_sisn_surveillance.yaml` made."
        )
    return build_network(options, INFO, "SISN", SisnConfig, load_folded)
