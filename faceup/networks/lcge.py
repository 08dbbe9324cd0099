"""The convolutional half of LCGE, learning to hallucinate via component generation and enhancement (IJCAI 2017).

Reimplemented from the abstract and the poster: five small networks, one for each facial component (eyes, eyebrows,
nose, mouth) and one for the rest, repair a bicubic enlargement, each where its component is. The authors published
neither depth nor width nor weights; the networks here are SRCNN's three layers with a skip. The other half, detail
taken from real faces, is `faceup.sr._exemplars`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from faceup.errors import ConfigError, WeightsError
from faceup.networks._common import bicubic, filled

# In the order of the component weights; the rest has what these leave.
COMPONENTS = ("eyes", "brows", "nose", "mouth")


@dataclass(frozen=True, slots=True)
class LcgeConfig:
    """The shape of the five networks.

    Attributes:
        wide: channels after the 9 x 9 layer (SRCNN: 64).
        narrow: channels after the first 5 x 5 layer (SRCNN: 32).
        scale: at least 2.
    """

    wide: int = 64
    narrow: int = 32
    scale: int = 4

    def __post_init__(self) -> None:
        if min(self.wide, self.narrow) < 1 or self.scale < 2:
            raise ConfigError(
                f"LCGE needs wide and narrow of at least 1 and a scale of at least 2, "
                f"got {self.wide}, {self.narrow}, {self.scale}."
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return asdict(self)


def _branch(config: LcgeConfig) -> nn.Sequential:
    layers = nn.Sequential(
        nn.Conv2d(3, config.wide, 9, padding=4),
        nn.ReLU(),
        nn.Conv2d(config.wide, config.narrow, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(config.narrow, 3, 5, padding=2),
    )
    last = layers[4]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    # The training starts at the bicubic enlargement.
    nn.init.normal_(last.weight, 0.0, 0.001)
    nn.init.zeros_(last.bias)
    return layers


class Lcge(nn.Module):
    """The five networks and their blend.

    Input: float (N, 3, H, W), RGB, 0..255, the LR picture, and float (N, 4, sH, sW), 0..1, how much each of
    `COMPONENTS` has of a pixel of the output; without it the picture is taken as one without a face. Output: float
    (N, 3, sH, sW), RGB, about 0..255, neither clamped nor rounded.
    """

    def __init__(self, config: LcgeConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LcgeConfig()
        self.rest = _branch(config)
        self.components = nn.ModuleList(_branch(config) for _ in COMPONENTS)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        smooth = bicubic(x, self.config.scale)
        centred = smooth / 127.5 - 1
        change = self.rest(centred)
        if weights is not None:
            change = change * (1 - weights.sum(dim=1, keepdim=True))
            for k, branch in enumerate(self.components):
                change = change + branch(centred) * weights[:, k : k + 1]
        out: Tensor = smooth + change * 127.5
        return out


def load_lcge(state: Mapping[str, Tensor], config: LcgeConfig | None = None) -> Lcge:
    """Build the five networks from weights of `faceup train`; no other exist.

    Args:
        state: key to tensor.
        config: the shape, which the file of a training carries.

    Raises:
        WeightsError: there is no configuration, or keys or shapes do not fit it.
    """
    if config is None:
        raise WeightsError("These are not LCGE weights of `faceup train`: the options of the network are missing.")
    return filled(Lcge(config), state, config)


def build(options: Mapping[str, Any], scale: int) -> Lcge:
    """Build untrained networks for `faceup train`."""
    return Lcge(LcgeConfig(**options, scale=scale))
