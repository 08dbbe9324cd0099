"""SRFBN, the super-resolution feedback network (CVPR 2019).

The parameter names are those of the authors' public code (Paper99/SRFBN_CVPR19), so that its checkpoints load
unchanged. The hidden state goes from step to step inside one call and never outlives it: the public code keeps it in
the module, which ties a call to the one before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceup.errors import ConfigError, WeightsError
from faceup.networks._common import MeanShift, filled, strip_prefix

# Kernel, stride and padding of the layers that go between LR and HR, by scale.
_RESAMPLING = {2: (6, 2, 2), 3: (7, 3, 2), 4: (8, 4, 2), 8: (12, 8, 2)}


@dataclass(frozen=True, slots=True)
class SrfbnConfig:
    """The shape of an SRFBN network; SRFBN-S of the paper is channels 32, groups 3.

    There is no `skip` option: every step already adds the bilinear enlargement.

    Attributes:
        channels: feature channels (`m` or `num_features`).
        groups: projection groups of the feedback block, G.
        steps: how many times the feedback block runs, T; not told by a checkpoint's tensors.
        scale: 2, 3, 4 or 8.
    """

    channels: int = 64
    groups: int = 6
    steps: int = 4
    scale: int = 4

    def __post_init__(self) -> None:
        if self.scale not in _RESAMPLING:
            raise ConfigError(f"SRFBN scale must be 2, 3, 4 or 8, got {self.scale}.")
        if min(self.channels, self.groups, self.steps) < 1:
            raise ConfigError(
                f"SRFBN needs channels, groups and steps of at least 1, "
                f"got {self.channels}, {self.groups}, {self.steps}."
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return asdict(self)


def _with_prelu(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.PReLU(init=0.2))


def _conv1x1(cin: int, cout: int) -> nn.Sequential:
    return _with_prelu(nn.Conv2d(cin, cout, 1))


def _up(config: SrfbnConfig) -> nn.Sequential:
    return _with_prelu(nn.ConvTranspose2d(config.channels, config.channels, *_RESAMPLING[config.scale]))


def _down(config: SrfbnConfig) -> nn.Sequential:
    return _with_prelu(nn.Conv2d(config.channels, config.channels, *_RESAMPLING[config.scale]))


class FeedbackBlock(nn.Module):
    """G pairs of an up- and a down-projection, densely connected at both sizes.

    Shapes: input features and hidden state (N, C, H, W) each, to the next hidden state of the same shape.
    """

    def __init__(self, config: SrfbnConfig) -> None:
        super().__init__()
        c, g = config.channels, config.groups
        self.compress_in = _conv1x1(2 * c, c)
        self.upBlocks = nn.ModuleList(_up(config) for _ in range(g))
        self.downBlocks = nn.ModuleList(_down(config) for _ in range(g))
        # The first pair has one input each and needs no 1 x 1 in front.
        self.uptranBlocks = nn.ModuleList(_conv1x1(c * (i + 1), c) for i in range(1, g))
        self.downtranBlocks = nn.ModuleList(_conv1x1(c * (i + 1), c) for i in range(1, g))
        self.compress_out = _conv1x1(g * c, c)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        low = [self.compress_in(torch.cat((x, hidden), dim=1))]
        high: list[Tensor] = []
        for i, (up, down) in enumerate(zip(self.upBlocks, self.downBlocks, strict=True)):
            high.append(up(self.uptranBlocks[i - 1](torch.cat(low, dim=1)) if i else low[0]))
            low.append(down(self.downtranBlocks[i - 1](torch.cat(high, dim=1)) if i else high[0]))
        out: Tensor = self.compress_out(torch.cat(low[1:], dim=1))
        return out


class Srfbn(nn.Module):
    """The whole network.

    Input: float (N, 3, H, W), RGB, 0..255, the LR picture. Output: float (N, 3, sH, sW), RGB, about 0..255, neither
    clamped nor rounded. Two calls never influence each other.
    """

    def __init__(self, config: SrfbnConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SrfbnConfig()
        c = config.channels
        self.sub_mean = MeanShift(-1)
        self.conv_in = _with_prelu(nn.Conv2d(3, 4 * c, 3, padding=1))
        self.feat_in = _conv1x1(4 * c, c)
        self.block = FeedbackBlock(config)
        self.out = _up(config)
        self.conv_out = nn.Sequential(nn.Conv2d(c, 3, 3, padding=1))
        self.add_mean = MeanShift(+1)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and not isinstance(layer, MeanShift):
                nn.init.kaiming_normal_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the picture of the last step; the pictures of the steps before it are never made."""
        *_, hidden = self._hidden_states(x)
        return self._picture(x, hidden)

    def forward_steps(self, x: Tensor) -> list[Tensor]:
        """Return the pictures of all steps, first to last: training counts the loss of each, all with one weight."""
        return [self._picture(x, hidden) for hidden in self._hidden_states(x)]

    def _hidden_states(self, x: Tensor) -> Iterator[Tensor]:
        features = self.feat_in(self.conv_in(self.sub_mean(x)))
        hidden = features
        for _ in range(self.config.steps):
            hidden = self.block(features, hidden)
            yield hidden

    def _picture(self, x: Tensor, hidden: Tensor) -> Tensor:
        coarse = F.interpolate(self.sub_mean(x), scale_factor=self.config.scale, mode="bilinear", align_corners=False)
        picture: Tensor = self.add_mean(coarse + self.conv_out(self.out(hidden)))
        return picture


def infer_config(state: Mapping[str, Tensor], *, steps: int = 4) -> SrfbnConfig:
    """Read the shape of an SRFBN network from the keys and shapes of a checkpoint (prefix already removed).

    Args:
        state: key to tensor, as the public code saves it.
        steps: of the feedback, which a checkpoint's tensors cannot tell; all published networks have 4.

    Raises:
        WeightsError: the keys are not SRFBN's.
    """
    try:
        channels = state["feat_in.0.weight"].shape[0]
        groups = 1 + max(int(m[1]) for key in state if (m := re.match(r"block\.upBlocks\.(\d+)\.", key)))
        kernel = state["out.0.weight"].shape[-1]
        scale = {k: scale for scale, (k, _, _) in _RESAMPLING.items()}[kernel]
        return SrfbnConfig(channels, groups, steps, scale)
    except (KeyError, IndexError, ValueError, ConfigError) as error:
        raise WeightsError(f"These are not the weights of an SRFBN network: {error}") from error


def load_srfbn(state: Mapping[str, Tensor], config: SrfbnConfig | None = None) -> Srfbn:
    """Build an SRFBN network from a checkpoint of this project or of the public code.

    Args:
        state: key to tensor, with or without the prefix `module.`.
        config: the shape, if known; else it is read from the tensors, and the feedback runs 4 steps.

    Raises:
        WeightsError: keys or shapes do not fit.
    """
    clean = strip_prefix(state)
    net = Srfbn(config or infer_config(clean))
    return filled(net, clean, net.config)


def build(options: Mapping[str, Any], scale: int) -> Srfbn:
    """Build an untrained network for `faceup train`."""
    return Srfbn(SrfbnConfig(**options, scale=scale))
