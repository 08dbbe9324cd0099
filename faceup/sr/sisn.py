"""SISN (ACM MM 2021): compact weights trained by this project by default, any official checkpoint by `sisn:FILE`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from faceup.networks.sisn import Sisn, SisnConfig, fold_head, fold_norms, load_sisn
from faceup.protocols import SrBackend
from faceup.registry import Options
from faceup.sr._network import build_network
from faceup.types import BackendInfo

INFO = BackendInfo(
    name="sisn",
    version="2",
    licence="Apache-2.0",
    summary="split-attention in split-attention network, trained on clean bicubic reduction",
    generative=True,
    weights=("sisn-x4", "sisn-x8"),
)


def load_folded(state: Mapping[str, Tensor], config: SisnConfig | None) -> Sisn:
    """Build the network with its head folded into one convolution on the LR picture and its batch norms folded."""
    net = load_sisn(state, config)
    fold_head(net)
    fold_norms(net)
    return net


def build(options: Options) -> SrBackend:
    """Build the backend.

    Raises:
        ConfigError: no weights of the asked scale are shipped, or the given file is for another scale.
        WeightsError: the weights are missing, damaged, or another network's.
    """
    return build_network(options, INFO, "SISN", SisnConfig, load_folded)
