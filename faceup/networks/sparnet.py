"""SPARNet, the spatial attention residual network for faces (IEEE TIP 2020).

The parameter names are those of the authors' public code (chaofengc/Face-SPARNet), so that its checkpoints load
unchanged. That code and its weights are CC BY-NC-SA 4.0; the code here is the project's own, written from the paper's
description and the list of names and shapes.

The network does not enlarge: it repairs a face that bicubic interpolation has enlarged. `Sparnet.core` is that network
on -1..1; calling the module enlarges, pads, repairs and crops, so that it is driven as the other networks are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from faceup.errors import ConfigError, WeightsError
from faceup.networks._common import filled, strip_prefix


@dataclass(frozen=True, slots=True)
class SparnetConfig:
    """The shape of a SPARNet; the defaults are the published SPARNet-V16-S4, SPARNet-Light is blocks 1, spar3d.

    Attributes:
        min_channels: channels at full size.
        max_channels: channels double with every halving up to this many.
        halvings: how many times the encoder halves the picture.
        blocks: attention units of the trunk.
        hourglass: how many times the attention of the trunk halves its input; that of larger features halves more
            often, down to the same size.
        attention_channels: channels of the attention's hourglass.
        attention: `spar` (one map for all channels) or `spar3d` (one map a channel).
        scale: at least 1; not told by a checkpoint's tensors, as the network works at the size of its output.
        skip: `bicubic` adds the output to the bicubic enlargement that is the input; in the paper it replaces it. All
            detail passes features of half the size and less, so without it a short training is far below bicubic.
    """

    min_channels: int = 32
    max_channels: int = 128
    halvings: int = 3
    blocks: int = 10
    hourglass: int = 2
    attention_channels: int = 64
    attention: str = "spar"
    scale: int = 4
    skip: str = "none"

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise ConfigError(f"SPARNet scale must be at least 1, got {self.scale}.")
        numbers = (self.min_channels, self.halvings, self.blocks, self.hourglass, self.attention_channels)
        if min(numbers) < 1 or self.max_channels < self.min_channels:
            raise ConfigError(
                f"SPARNet needs min_channels, halvings, blocks, hourglass and attention_channels of at least 1 and "
                f"max_channels of at least min_channels, got {self.as_dict()}."
            )
        if self.attention not in ("spar", "spar3d"):
            raise ConfigError(f"SPARNet attention must be one of spar, spar3d, got {self.attention!r}.")
        if self.skip not in ("none", "bicubic"):
            raise ConfigError(f"SPARNet skip must be one of none, bicubic, got {self.skip!r}.")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return asdict(self)

    def channels_after(self, halvings: int) -> int:
        """Return the feature channels after so many halvings."""
        return min(self.min_channels << halvings, self.max_channels)

    def padded(self, side: int) -> int:
        """Return the smallest side of at least `side` pixels that the core can take.

        The trunk needs a multiple of 2 ** halvings, and the smallest features of the attention two pixels, because a
        reflection needs a neighbour.
        """
        step = 1 << self.halvings
        return step * max(-(-side // step), (1 << self.hourglass) + 1)


class Norm(nn.Module):
    """Batch norm under the name that the public code gives it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x)
        return out


class ConvLayer(nn.Module):
    """A 3 x 3 convolution on reflected borders, then norm and activation, if asked for.

    `resize` is `up` (nearest neighbours before the convolution), `down` (stride 2) or `none`. Only a layer without a
    norm has a bias.
    """

    def __init__(
        self, cin: int, cout: int, *, resize: str = "none", norm: bool = True, activation: bool = True
    ) -> None:
        super().__init__()
        self.up = resize == "up"
        stride = 2 if resize == "down" else 1
        self.conv2d = nn.Conv2d(cin, cout, 3, stride, padding=1, padding_mode="reflect", bias=not norm)
        self.norm: nn.Module = Norm(cout) if norm else nn.Identity()
        self.activation: nn.Module = nn.LeakyReLU(0.2) if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.up:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        out: Tensor = self.activation(self.norm(self.conv2d(x)))
        return out


class Hourglass(nn.Module):
    """Spatial attention: an hourglass of `depth` halvings makes a map of 0..1, which weighs the input."""

    def __init__(self, channels: int, depth: int, config: SparnetConfig) -> None:
        super().__init__()
        self.depth, mid = depth, config.attention_channels
        for level in range(depth, 0, -1):
            cin = channels if level == depth else mid
            self.add_module(f"b1_{level}", ConvLayer(cin, mid))
            self.add_module(f"b2_{level}", ConvLayer(cin, mid, resize="down"))
        self.b2_plus_1 = ConvLayer(mid, mid)
        for level in range(1, depth + 1):
            self.add_module(f"b3_{level}", ConvLayer(mid, mid, resize="up"))
        maps = 1 if config.attention == "spar" else channels
        self.out_block = nn.Sequential(ConvLayer(mid, maps, norm=False, activation=False), nn.Sigmoid())

    def _level(self, x: Tensor, level: int) -> Tensor:
        side = self.get_submodule(f"b1_{level}")(x)
        low = self.get_submodule(f"b2_{level}")(x)
        low = self._level(low, level - 1) if level > 1 else self.b2_plus_1(low)
        up = self.get_submodule(f"b3_{level}")(low)
        if up.shape[2:] != side.shape[2:]:  # An odd side was halved upwards and comes back one too large.
            up = F.interpolate(up, size=side.shape[2:], mode="nearest")
        total: Tensor = side + up
        return total

    def forward(self, x: Tensor) -> Tensor:
        attention: Tensor = self.out_block(self._level(x, self.depth))
        return x * attention


class AttentionUnit(nn.Module):
    """FAU: a pre-activated residual block whose branch is weighed by spatial attention."""

    def __init__(self, cin: int, cout: int, depth: int, config: SparnetConfig, *, resize: str = "none") -> None:
        super().__init__()
        plain = cin == cout and resize == "none"
        self.shortcut_func: nn.Module = (
            nn.Identity() if plain else ConvLayer(cin, cout, resize=resize, norm=False, activation=False)
        )
        self.preact_func = nn.Sequential(Norm(cin), nn.LeakyReLU(0.2))
        self.conv1 = ConvLayer(cin, cout, resize="up" if resize == "up" else "none")
        self.conv2 = ConvLayer(cout, cout, resize="down" if resize == "down" else "none", activation=False)
        self.att_func = Hourglass(cout, depth, config)

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.att_func(self.conv2(self.conv1(self.preact_func(x))))
        shortcut: Tensor = self.shortcut_func(x)
        return branch + shortcut


def enlarge(x: Tensor, scale: int) -> Tensor:
    """Enlarge as Pillow does with whole grey levels, which is what the public code feeds its network with.

    Pillow goes over the rows, then over the columns, and makes uint8 after each: overshoot is clamped and the rest
    rounded, halves upwards. In float the results are the same but for about one value in 1000, which differs by 1 or 2.

    Args:
        x: float (N, C, H, W), 0..255.
        scale: at least 1.

    Returns:
        Float (N, C, sH, sW), whole numbers 0..255. No gradient reaches `x` through the rounding.
    """
    h, w = x.shape[2:]
    out = x
    for size in ((h, w * scale), (h * scale, w * scale)):
        # antialias=True is Pillow's kernel (a = -0.5); without it torch uses a = -0.75.
        smooth: Tensor = F.interpolate(out, size=size, mode="bicubic", antialias=True)
        out = (smooth.clamp(0, 255) + 0.5).floor()
    return out


class Sparnet(nn.Module):
    """The whole network.

    Input: float (N, 3, H, W), RGB, 0..255, the LR picture. Output: float (N, 3, sH, sW), RGB, about 0..255, neither
    clamped nor rounded.
    """

    def __init__(self, config: SparnetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SparnetConfig()
        n, depth = config.halvings, config.hourglass
        width = [config.channels_after(i) for i in range(n + 1)]
        down = (AttentionUnit(width[i], width[i + 1], depth + n - 1 - i, config, resize="down") for i in range(n))
        up = (AttentionUnit(width[i], width[i - 1], depth + n + 1 - i, config, resize="up") for i in range(n, 0, -1))
        self.encoder = nn.Sequential(ConvLayer(3, width[0], norm=False, activation=False), *down)
        self.res_layers = nn.Sequential(
            *(AttentionUnit(width[n], width[n], depth, config) for _ in range(config.blocks))
        )
        self.decoder = nn.Sequential(*up)
        self.out_conv = ConvLayer(width[0], 3, norm=False, activation=False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.weight, 1.0, 0.02)

    def core(self, x: Tensor) -> Tensor:
        """Repair enlarged faces.

        Args:
            x: float (N, 3, H, W), RGB, -1..1; sides as `SparnetConfig.padded` returns them.

        Returns:
            The same shape, RGB, about -1..1.
        """
        out: Tensor = self.out_conv(self.decoder(self.res_layers(self.encoder(x))))
        return out

    def forward(self, x: Tensor) -> Tensor:
        enlarged = enlarge(x, self.config.scale)
        h, w = enlarged.shape[2:]
        more = (0, self.config.padded(w) - w, 0, self.config.padded(h) - h)
        # Replication, as a reflection cannot be longer than the picture is.
        out = self.core(F.pad(enlarged, more, mode="replicate") / 127.5 - 1)[:, :, :h, :w]
        picture: Tensor = out * 127.5 + (enlarged if self.config.skip == "bicubic" else 127.5)
        return picture


def infer_config(state: Mapping[str, Tensor], *, scale: int = 4) -> SparnetConfig:
    """Read the shape of a SPARNet from the keys and shapes of a checkpoint (prefix already removed).

    Args:
        state: key to tensor, as the public code saves it.
        scale: to be used at, which a checkpoint's tensors cannot tell.

    Raises:
        WeightsError: the keys are not SPARNet's, or they are those of SPARNetHD.
    """
    if any(key.endswith(".weight_orig") for key in state):
        raise WeightsError("These are the weights of SPARNetHD (spectral norm), which is not supported: use SPARNet's.")
    trunk = "res_layers.0.att_func."
    try:
        return SparnetConfig(
            min_channels=state["encoder.0.conv2d.weight"].shape[0],
            max_channels=state["res_layers.0.conv1.conv2d.weight"].shape[0],
            halvings=max(int(m[1]) for key in state if (m := re.match(r"encoder\.(\d+)\.", key))),
            blocks=1 + max(int(m[1]) for key in state if (m := re.match(r"res_layers\.(\d+)\.", key))),
            hourglass=max(int(m[1]) for key in state if (m := re.match(re.escape(trunk) + r"b1_(\d+)\.", key))),
            attention_channels=state[trunk + "b2_plus_1.conv2d.weight"].shape[0],
            attention="spar" if state[trunk + "out_block.0.conv2d.weight"].shape[0] == 1 else "spar3d",
            scale=scale,
        )
    except (KeyError, IndexError, ValueError, ConfigError) as error:
        raise WeightsError(f"These are not the weights of a SPARNet: {error}") from error


def load_sparnet(state: Mapping[str, Tensor], config: SparnetConfig | None = None, *, scale: int = 4) -> Sparnet:
    """Build a SPARNet from a checkpoint of this project or of the public code.

    Args:
        state: key to tensor, with or without the prefix `module.`.
        config: the shape and scale, if known; else the shape is read from the tensors.
        scale: to be used at when there is no `config`.

    Raises:
        WeightsError: keys or shapes do not fit.
    """
    clean = strip_prefix(state)
    net = Sparnet(config or infer_config(clean, scale=scale))
    return filled(net, clean, net.config)


def build(options: Mapping[str, Any], scale: int) -> Sparnet:
    """Build an untrained network for `faceup train`."""
    return Sparnet(SparnetConfig(**options, scale=scale))
