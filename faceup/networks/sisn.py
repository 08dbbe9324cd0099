"""SISN, the split-attention in split-attention network (ACM MM 2021, sections 3.1 to 3.3).

The parameter names are those of the authors' public code (mdswyz/SISN-Face-Hallucination), so that its checkpoints load
unchanged. Where paper and code differ, the code is the default and the paper's reading is an option of `SisnConfig`.

The code enlarges the LR picture with nearest neighbours and then moves every s x s block into channels. For any LR
picture that is the same as repeating its three channels s * s times, which is what `head="repo"` does here: no
enlarged picture is ever made. `head="direct"` is the paper's equation 1, one convolution on the LR picture;
`fold_head` turns the first into the second exactly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceup.errors import ConfigError, WeightsError
from faceup.networks._common import MeanShift, bicubic, conv3x3, filled, fold_norm, strip_prefix, upsampler

_CHOICES = {
    "head": ("repo", "direct"),
    "structure": ("isab", "isa", "identity", "none"),
    "detail": ("isa", "none", "conv3x3"),
    "skip": ("none", "bicubic"),
}


@dataclass(frozen=True, slots=True)
class SisnConfig:
    """The shape of a SISN network.

    Attributes:
        groups: number of ESAGs, G in the paper.
        blocks: number of ISABs per ESAG, I in the paper.
        channels: feature channels C, a multiple of `radix`.
        radix: number of splits r of the split attention (4 in the public code, not stated in the paper).
        scale: 2, 4 or 8.
        head: `repo` (checkpoint compatible) or `direct` (paper, equation 1).
        structure: second path of an ESAG: `isab` (public code), `isa` (paper, equation 9), `identity`, or `none`.
        detail: inside the ISABs of the first path: `isa`, `none` (removed, Table 1) or `conv3x3` (a plain convolution).
        skip: `bicubic` adds the bicubic enlargement to the output, which neither paper nor code does; it makes short
            trainings far better because the network then learns the difference only.
        unit: grey levels that count as 1 inside the network. The public code has 1, so its features are of the order of
            100 while every batch norm gives 1, so the blocks start out with little say. About 64 brings both to one
            order; whether that helps by itself was not shown (docs/experiments.md).
    """

    groups: int = 10
    blocks: int = 10
    channels: int = 64
    radix: int = 4
    scale: int = 4
    head: str = "repo"
    structure: str = "isab"
    detail: str = "isa"
    skip: str = "none"
    unit: float = 1.0

    def __post_init__(self) -> None:
        if self.scale not in (2, 4, 8):
            raise ConfigError(f"SISN scale must be 2, 4 or 8, got {self.scale}.")
        if min(self.groups, self.blocks, self.channels, self.radix) < 1 or self.channels % self.radix:
            raise ConfigError(
                f"SISN needs groups, blocks, channels and radix of at least 1 and channels divisible by radix, "
                f"got {self.groups}, {self.blocks}, {self.channels}, {self.radix}."
            )
        if not self.unit > 0:
            raise ConfigError(f"SISN unit must be positive, got {self.unit}.")
        for field, allowed in _CHOICES.items():
            if getattr(self, field) not in allowed:
                raise ConfigError(f"SISN {field} must be one of {', '.join(allowed)}, got {getattr(self, field)!r}.")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return asdict(self)


class SplitAttention(nn.Module):
    """ISA (section 3.2) as the public code has it: expand to r splits of C channels, weigh them, sum them.

    Shapes: (N, C, H, W) to (N, C, H, W).
    """

    def __init__(self, channels: int, radix: int) -> None:
        super().__init__()
        self.radix, self.channels = radix, channels
        hidden = max(channels * radix // 4, 32)
        self.conv = nn.Conv2d(channels, channels * radix, 3, padding=1, groups=radix, bias=False)
        self.bn0 = nn.BatchNorm2d(channels * radix)
        self.conv1x1_1 = nn.Conv2d(channels, hidden, 1)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv1x1_2 = nn.Conv2d(hidden, channels * radix, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        splits = F.relu(self.bn0(self.conv(x))).view(n, self.radix, self.channels, h, w)
        pooled = splits.mean(dim=(3, 4)).sum(dim=1).view(n, self.channels, 1, 1)
        logits = self.conv1x1_2(F.relu(self.bn1(self.conv1x1_1(pooled))))
        weights = logits.view(n, self.radix, self.channels, 1, 1).softmax(dim=1)
        out: Tensor = (splits * weights).sum(dim=1)
        return out


class PlainConv(nn.Module):
    """What `detail="conv3x3"` puts in the place of the split attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn0 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn0(self.conv(x)))


class SplitAttentionBlock(nn.Module):
    """ISAB: 1 x 1, ISA, 1 x 1, plus the input, then ReLU."""

    def __init__(self, config: SisnConfig, *, detail: str = "isa") -> None:
        super().__init__()
        c = config.channels
        self.conv1 = nn.Conv2d(c, c, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.conv2: nn.Module
        if detail == "isa":
            self.conv2 = SplitAttention(c, config.radix)
        elif detail == "conv3x3":
            self.conv2 = PlainConv(c)
        else:
            self.conv2 = nn.Identity()
        self.conv3 = nn.Conv2d(c, c, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn3(self.conv3(self.conv2(y))) + x)


class AttentionGroup(nn.Module):
    """ESAG (section 3.3): a chain of ISABs and a convolution, plus the structure path."""

    def __init__(self, config: SisnConfig) -> None:
        super().__init__()
        c = config.channels
        chain: list[nn.Module] = [SplitAttentionBlock(config, detail=config.detail) for _ in range(config.blocks)]
        self.body = nn.Sequential(*chain, conv3x3(c, c))
        self.IA: nn.Module | None
        if config.structure == "isab":
            self.IA = SplitAttentionBlock(config)
        elif config.structure == "isa":
            self.IA = SplitAttention(c, config.radix)
        else:
            self.IA = nn.Identity() if config.structure == "identity" else None

    def forward(self, x: Tensor) -> Tensor:
        detail: Tensor = self.body(x)
        if self.IA is not None:
            detail = detail + self.IA(x)
        return detail


class Sisn(nn.Module):
    """The whole network.

    Input: float (N, 3, H, W), RGB, 0..255, the LR picture itself. Output: float (N, 3, sH, sW), RGB, about 0..255,
    neither clamped nor rounded.
    """

    def __init__(self, config: SisnConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SisnConfig()
        c, s = config.channels, config.scale
        self.sub_mean, self.add_mean = MeanShift(-1), MeanShift(+1)
        # Index 0 of the public code's head and of each tail step's shuffle have no parameters.
        self.head = nn.Sequential(nn.Identity(), nn.Conv2d(3 * s * s if config.head == "repo" else 3, c, 3, padding=1))
        groups: list[nn.Module] = [AttentionGroup(config) for _ in range(config.groups)]
        self.body = nn.Sequential(*groups, conv3x3(c, c))
        self.tail = nn.Sequential(upsampler(c, s), conv3x3(c, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.without_skip(x)
        return y + bicubic(x, self.config.scale) if self.config.skip == "bicubic" else y

    def without_skip(self, x: Tensor) -> Tensor:
        """Return the output less the bicubic enlargement, where the network has that skip."""
        s = self.config.scale
        shifted = self.sub_mean(x) / self.config.unit
        coarse = self.head(shifted.repeat(1, s * s, 1, 1) if self.config.head == "repo" else shifted)
        return self.enlarge(self.body(coarse) + coarse)

    def enlarge(self, features: Tensor) -> Tensor:
        """Map features (N, C, H, W) to (N, 3, sH, sW) grey levels; the map is affine."""
        out: Tensor = self.tail(features) * self.config.unit
        if self.config.skip == "none":
            out = self.add_mean(out)
        return out


def infer_config(state: Mapping[str, Tensor], *, skip: str = "none") -> SisnConfig:
    """Read the shape of a SISN network from the keys and shapes of a checkpoint (prefix already removed).

    Args:
        state: key to tensor, as the public code saves it.
        skip: whether the network was trained with the bicubic skip; a checkpoint's tensors cannot tell.

    Raises:
        WeightsError: the keys are not SISN's, or head and tail disagree about the scale.
    """
    try:
        channels, head_in = state["head.1.weight"].shape[:2]
        scale = 2 ** sum(1 for key in state if re.fullmatch(r"tail\.0\.\d+\.weight", key))
        groups = 1 + max(int(m[1]) for key in state if (m := re.match(r"body\.(\d+)\.body\.", key)))
        blocks = 1 + max(int(m[1]) for key in state if (m := re.match(r"body\.0\.body\.(\d+)\.conv1\.", key)))
    except (KeyError, ValueError) as error:
        raise WeightsError(
            "These are not the weights of a SISN network: head.1.weight or body.* is missing."
        ) from error
    head = "direct" if head_in == 3 else "repo"
    if head == "repo" and math.isqrt(head_in // 3) != scale:
        raise WeightsError(
            f"Damaged SISN weights: head.1.weight has {head_in} inputs (scale {math.isqrt(head_in // 3)}), "
            f"but the tail enlarges {scale} times."
        )
    first, path = "body.0.body.0.conv2.", "body.0.IA."
    detail = "none"
    if first + "conv.weight" in state:
        detail = "isa" if first + "conv1x1_1.weight" in state else "conv3x3"
    # Any split attention tells the radix; without one it does not matter.
    places = (*([first] if detail == "isa" else []), path + "conv2.", path)
    splits = next((state[place + "conv.weight"] for place in places if place + "conv.weight" in state), None)
    radix = splits.shape[0] // channels if splits is not None else 4
    structure = "isab" if path + "conv1.weight" in state else "isa" if path + "conv.weight" in state else "identity"
    return SisnConfig(groups, blocks, channels, radix, scale, head, structure, detail, skip)


def load_sisn(state: Mapping[str, Tensor], config: SisnConfig | None = None) -> Sisn:
    """Build a SISN network from a checkpoint of this project or of the public code.

    Args:
        state: key to tensor, with or without the prefix `module.`; the unused `skip` convolutions of the public code's
            ISABs are accepted and dropped.
        config: the shape, if known; else it is read from the tensors.

    Raises:
        WeightsError: keys or shapes do not fit.
    """
    clean = {key: value for key, value in strip_prefix(state).items() if not key.endswith(".skip.weight")}
    net = Sisn(config or infer_config(clean))
    return filled(net, clean, net.config)


# Which convolution each batch norm follows.
_FOLDED: dict[type[nn.Module], tuple[tuple[str, str], ...]] = {
    SplitAttention: (("conv", "bn0"), ("conv1x1_1", "bn1")),
    PlainConv: (("conv", "bn0"),),
    SplitAttentionBlock: (("conv1", "bn1"), ("conv3", "bn3")),
}


def fold_head(net: Sisn) -> None:
    """Turn `head="repo"` into `head="direct"` in place; the outputs stay the same up to rounding."""
    if net.config.head == "direct":
        return
    conv = net.head[1]
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    out, wide, kh, kw = conv.weight.shape
    folded = nn.Conv2d(3, out, (kh, kw), padding=1).to(conv.weight.device, conv.weight.dtype)
    with torch.no_grad():
        # Channel order of the public code's space-to-depth is (row, column, colour).
        folded.weight.copy_(conv.weight.view(out, wide // 3, 3, kh, kw).sum(dim=1))
        assert folded.bias is not None
        folded.bias.copy_(conv.bias)
    net.head[1] = folded
    net.config = SisnConfig(**{**net.config.as_dict(), "head": "direct"})


def fold_norms(net: Sisn) -> None:
    """Put every batch norm into the convolution before it; see `fold_norm`."""
    for module in net.modules():
        for conv, norm in _FOLDED.get(type(module), ()):
            fold_norm(module, conv, norm)


def build(options: Mapping[str, Any], scale: int) -> Sisn:
    """Build an untrained network for `faceup train`."""
    return Sisn(SisnConfig(**options, scale=scale))
