"""RCAN, the residual channel attention network (ECCV 2018).

The parameter names are those of the authors' public code (yulunzhang/RCAN), so that its checkpoints load unchanged. The
code here is written from the paper and the list of those names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from faceup.errors import ConfigError, WeightsError
from faceup.networks._common import MeanShift, bicubic, conv3x3, filled, strip_prefix, upsampler

# What one convolution and pixel shuffle of the tail enlarge by, by the channels it makes of one.
_SHUFFLES = {4: 2, 9: 3}


@dataclass(frozen=True, slots=True)
class RcanConfig:
    """The shape of an RCAN network.

    Attributes:
        groups: number of residual groups.
        blocks: number of channel attention blocks in a group.
        channels: feature channels C.
        reduction: how many times fewer channels the middle of the channel attention has.
        scale: 2, 3, 4 or 8.
        skip: `bicubic` adds the bicubic enlargement to the output, which the paper does not; it makes short trainings
            far better because the network then learns the difference only.
    """

    groups: int = 10
    blocks: int = 20
    channels: int = 64
    reduction: int = 16
    scale: int = 4
    skip: str = "none"

    def __post_init__(self) -> None:
        if self.scale not in (2, 3, 4, 8):
            raise ConfigError(f"RCAN scale must be 2, 3, 4 or 8, got {self.scale}.")
        if min(self.groups, self.blocks, self.reduction) < 1 or self.channels < self.reduction:
            raise ConfigError(
                f"RCAN needs groups, blocks and reduction of at least 1 and as many channels as reduction, "
                f"got {self.groups}, {self.blocks}, {self.reduction}, {self.channels}."
            )
        if self.skip not in ("none", "bicubic"):
            raise ConfigError(f"RCAN skip must be one of none, bicubic, got {self.skip!r}.")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return asdict(self)


class ChannelAttention(nn.Module):
    """Weighs every channel by a number between 0 and 1 that is made from the mean of all channels."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = channels // reduction
        self.conv_du = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.conv_du(x.mean(dim=(2, 3), keepdim=True))
        return x * weights


class Residual(nn.Module):
    """A chain of layers plus its input: an attention block (RCAB) and a residual group alike."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out + x


def attention_group(channels: int, reduction: int, blocks: int) -> Residual:
    """Build a residual group: `blocks` channel attention blocks (RCAB) and a convolution."""
    units = (
        Residual(
            conv3x3(channels, channels),
            nn.ReLU(),
            conv3x3(channels, channels),
            ChannelAttention(channels, reduction),
        )
        for _ in range(blocks)
    )
    return Residual(*units, conv3x3(channels, channels))


class Rcan(nn.Module):
    """The whole network.

    Input: float (N, 3, H, W), RGB, 0..255, the LR picture. Output: float (N, 3, sH, sW), RGB, about 0..255, neither
    clamped nor rounded.
    """

    def __init__(self, config: RcanConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RcanConfig()
        c = config.channels
        # The public code means to freeze the shifts and does not; a checkpoint brings what its training ended with.
        self.sub_mean, self.add_mean = MeanShift(-1), MeanShift(+1)
        self.head = nn.Sequential(conv3x3(3, c))
        groups = (attention_group(c, config.reduction, config.blocks) for _ in range(config.groups))
        self.body = nn.Sequential(*groups, conv3x3(c, c))
        self.tail = nn.Sequential(upsampler(c, config.scale), conv3x3(c, 3))

    def forward(self, x: Tensor) -> Tensor:
        coarse = self.head(self.sub_mean(x))
        out: Tensor = self.tail(self.body(coarse) + coarse)
        if self.config.skip == "bicubic":
            return out + bicubic(x, self.config.scale)
        shifted_back: Tensor = self.add_mean(out)
        return shifted_back


def infer_config(state: Mapping[str, Tensor], *, skip: str = "none") -> RcanConfig:
    """Read the shape of an RCAN network from the keys and shapes of a checkpoint (prefix already removed).

    Args:
        state: key to tensor, as the public code saves it.
        skip: whether the network was trained with the bicubic skip; a checkpoint's tensors cannot tell.

    Raises:
        WeightsError: the keys are not RCAN's.
    """
    try:
        channels = state["head.0.weight"].shape[0]
        hidden = state["body.0.body.0.body.3.conv_du.0.weight"].shape[0]
        groups = 1 + max(int(m[1]) for key in state if (m := re.match(r"body\.(\d+)\.body\.", key)))
        blocks = 1 + max(int(m[1]) for key in state if (m := re.match(r"body\.0\.body\.(\d+)\.body\.", key)))
        steps = [state[key].shape[0] // channels for key in state if re.fullmatch(r"tail\.0\.\d+\.weight", key)]
        scale = 1
        for widening in steps:
            scale *= _SHUFFLES[widening]
        return RcanConfig(groups, blocks, channels, channels // hidden, scale, skip)
    except (KeyError, IndexError, ValueError, ZeroDivisionError, ConfigError) as error:
        raise WeightsError(f"These are not the weights of an RCAN network: {error}") from error


def load_rcan(state: Mapping[str, Tensor], config: RcanConfig | None = None) -> Rcan:
    """Build an RCAN network from a checkpoint of this project or of the public code.

    Args:
        state: key to tensor, with or without the prefix `module.`.
        config: the shape, if known; else it is read from the tensors.

    Raises:
        WeightsError: keys or shapes do not fit.
    """
    clean = strip_prefix(state)
    net = Rcan(config or infer_config(clean))
    return filled(net, clean, net.config)


def build(options: Mapping[str, Any], scale: int) -> Rcan:
    """Build an untrained network for `faceup train`."""
    return Rcan(RcanConfig(**options, scale=scale))
