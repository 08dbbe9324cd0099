"""SPARNet (TIP 2020): compact weights of this project by default, another checkpoint by `sparnet:FILE`.

The official checkpoints are CC BY-NC-SA 4.0: whoever gives one is bound by that licence.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from faceup.networks.sparnet import Sparnet, SparnetConfig, load_sparnet
from faceup.protocols import SrBackend
from faceup.registry import Options
from faceup.sr._network import build_network
from faceup.types import BackendInfo

INFO = BackendInfo(
    name="sparnet",
    version="1",
    licence="Apache-2.0",
    summary="spatial attention residual network for aligned faces; compact, trained on clean bicubic reduction",
    generative=True,
    weights=("sparnet-x4",),
)


def build(options: Options) -> SrBackend:
    """Build the backend.

    An official checkpoint does not say its scale (all were trained at 8) and is used at the scale that is asked for.

    Raises:
        ConfigError: no weights of the asked scale are shipped, or the given file is for another scale.
        WeightsError: the weights are missing, damaged, or another network's.
    """

    def load(state: Mapping[str, Tensor], config: SparnetConfig | None) -> Sparnet:
        return load_sparnet(state, config, scale=options.scale)

    return build_network(options, INFO, "SPARNet", SparnetConfig, load)
