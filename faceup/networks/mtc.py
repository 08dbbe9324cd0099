"""MTC, multi-view texture compensation (MMM 2020), reimplemented from the abstract.

No code, no weights and no table of layers were ever published, so nothing here is the authors' but the idea: texture
of one view of a face compensates for what another, fixed view lacks, by a *texture attention*. What the abstract leaves
open is chosen here and stands in `MtcConfig`: the trunk is RCAN's, the attention works along rows (as the parallax
attention of PASSRnet does), and the second view of a single picture is its mirror image, as faces are nearly symmetric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from faceup.errors import ConfigError
from faceup.networks._common import MeanShift, bicubic, configured, conv3x3, filled, strip_prefix, upsampler
from faceup.networks.rcan import Residual, attention_group


@dataclass(frozen=True, slots=True)
class MtcConfig:
    """The shape of an MTC network.

    Attributes:
        extractor: residual blocks that turn a view into features.
        groups: residual groups of the trunk.
        blocks: channel attention blocks in a group.
        channels: feature channels.
        reduction: how many times fewer channels the middle of the channel attention has.
        scale: 2, 3, 4 or 8.
        view: where the second view comes from: `mirror` (the picture's mirror image) or `self` (the picture itself).
        skip: `bicubic` adds the bicubic enlargement to the output; it makes short trainings far better.
    """

    extractor: int = 8
    groups: int = 8
    blocks: int = 20
    channels: int = 64
    reduction: int = 16
    scale: int = 4
    view: str = "mirror"
    skip: str = "none"

    def __post_init__(self) -> None:
        if self.scale not in (2, 3, 4, 8):
            raise ConfigError(f"MTC scale must be 2, 3, 4 or 8, got {self.scale}.")
        numbers = (self.extractor, self.groups, self.blocks, self.reduction)
        if min(numbers) < 1 or self.channels < self.reduction:
            raise ConfigError(
                f"MTC needs extractor, groups, blocks and reduction of at least 1 and as many channels as reduction, "
                f"got {', '.join(map(str, numbers))}, {self.channels}."
            )
        for field, allowed in (("view", ("mirror", "self")), ("skip", ("none", "bicubic"))):
            if getattr(self, field) not in allowed:
                raise ConfigError(f"MTC {field} must be one of {', '.join(allowed)}, got {getattr(self, field)!r}.")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return asdict(self)


class TextureAttention(nn.Module):
    """Adds to the fixed view what is alike in the same row of the other view.

    Every place of the fixed view asks all places of its row in the other view; the answers are weighed by a softmax.
    How much the row of the other view asks back for a place, at most 1, tells how far the place has a counterpart.
    Shapes: two times (N, C, H, W) to (N, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shared = Residual(conv3x3(channels, channels), nn.ReLU(), conv3x3(channels, channels))
        self.query, self.key, self.value = (nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.fuse = nn.Conv2d(2 * channels + 1, channels, 1)

    def forward(self, fixed: Tensor, other: Tensor) -> Tensor:
        near, far = self.shared(fixed), self.shared(other)
        texture = self._weights(near, far) @ self.value(other).permute(0, 2, 3, 1)
        # No gradient: the weights must not learn to look sure of themselves.
        asked_back = self._weights(far, near).detach().sum(dim=2).clamp(max=1)
        out: Tensor = self.fuse(torch.cat((texture.permute(0, 3, 1, 2), fixed, asked_back[:, None]), dim=1))
        return out + fixed

    def _weights(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Return (N, H, W, W): for every place of a row of `asking` the weights of the row of `asked`."""
        # In single precision whatever the network computes in: scores reach a million, half precision ends at 65,504.
        precision = torch.promote_types(asking.dtype, torch.float32)
        questions = self.query(asking).permute(0, 2, 3, 1).to(precision)
        scores: Tensor = questions @ self.key(asked).permute(0, 2, 1, 3).to(precision) / questions.shape[3] ** 0.5
        return scores.softmax(dim=3).to(asking.dtype)


class Mtc(nn.Module):
    """The whole network.

    Input: float (N, 3, H, W), RGB, 0..255, the LR picture. Output: float (N, 3, sH, sW), RGB, about 0..255, neither
    clamped nor rounded.
    """

    def __init__(self, config: MtcConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MtcConfig()
        c = config.channels
        self.sub_mean, self.add_mean = MeanShift(-1), MeanShift(+1)
        blocks = (Residual(conv3x3(c, c), nn.ReLU(), conv3x3(c, c)) for _ in range(config.extractor))
        self.extractor = nn.Sequential(conv3x3(3, c), *blocks)
        self.attention = TextureAttention(c)
        groups = (attention_group(c, config.reduction, config.blocks) for _ in range(config.groups))
        self.body = nn.Sequential(*groups, conv3x3(c, c))
        self.tail = nn.Sequential(upsampler(c, config.scale), conv3x3(c, 3))

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """Enlarge the fixed view `x`; `other` is a second view of its size, by default what the configuration says."""
        if other is None:
            other = x.flip(3) if self.config.view == "mirror" else x
        fixed, second = (self.extractor(self.sub_mean(view)) for view in (x, other))
        coarse = self.attention(fixed, second)
        out: Tensor = self.tail(self.body(coarse) + coarse)
        if self.config.skip == "bicubic":
            return out + bicubic(x, self.config.scale)
        shifted_back: Tensor = self.add_mean(out)
        return shifted_back


def load_mtc(state: Mapping[str, Tensor], config: MtcConfig | None = None) -> Mtc:
    """Build an MTC network from weights of `faceup train`; no other exist.

    Args:
        state: key to tensor.
        config: the shape, which the file of a training carries.

    Raises:
        WeightsError: there is no configuration, or keys or shapes do not fit it.
    """
    config = configured(config, "MTC")
    return filled(Mtc(config), strip_prefix(state), config)


def build(options: Mapping[str, Any], scale: int) -> Mtc:
    """Build an untrained network for `faceup train`."""
    return Mtc(MtcConfig(**options, scale=scale))
