"""What several networks share: the mean shift of the EDSR family, the bicubic skip, and loading of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from faceup.errors import ConfigError, WeightsError
from faceup.types import Floats

Config = TypeVar("Config")
Network = TypeVar("Network", bound=nn.Module)

# Mean of the DIV2K training pictures, RGB on 0..1, as the public codes shift by it.
DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


class UntranslatableError(ConfigError):
    """The network cannot be written for an engine that is not torch."""


class MeanShift(nn.Conv2d):
    """A 1 x 1 convolution that subtracts (sign -1) or adds (sign +1) the DIV2K mean on 0..255."""

    def __init__(self, sign: int) -> None:
        super().__init__(3, 3, kernel_size=1)
        with torch.no_grad():
            self.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
            assert self.bias is not None
            self.bias.copy_(sign * 255.0 * torch.tensor(DIV2K_MEAN))
        # The public codes mean to freeze these, and some do not (they set an attribute of the module); a checkpoint
        # brings whatever values its training ended with.
        self.requires_grad_(False)


def as_array(parameter: Tensor | None) -> Floats:
    """Return a parameter that must be there, e.g. the bias of a convolution whose norm is folded."""
    assert parameter is not None, "a parameter is missing: a norm is not folded"
    return np.asarray(parameter.detach().cpu().numpy(), np.float32)


def bicubic(x: Tensor, scale: int) -> Tensor:
    """Enlarge (N, 3, H, W) with Pillow's and MATLAB's kernel, a = -0.5; without antialias torch would use -0.75."""
    return F.interpolate(x, scale_factor=scale, mode="bicubic", antialias=True)


def conv3x3(cin: int, cout: int) -> nn.Conv2d:
    """Build a 3 x 3 convolution that keeps the size."""
    return nn.Conv2d(cin, cout, 3, padding=1)


def upsampler(channels: int, scale: int) -> nn.Sequential:
    """Build the EDSR family's enlargement of features: a convolution and a pixel shuffle for every factor of `scale`.

    Args:
        channels: of input and output.
        scale: 3 or a power of 2.
    """
    factors = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
    layers = [layer for f in factors for layer in (conv3x3(channels, f**2 * channels), nn.PixelShuffle(f))]
    return nn.Sequential(*layers)


def strip_prefix(state: Mapping[str, Tensor], prefix: str = "module.") -> dict[str, Tensor]:
    """Return `state` without the prefix that DataParallel puts before every key."""
    return {key.removeprefix(prefix): value for key, value in state.items()}


def configured(config: Config | None, title: str) -> Config:
    """Return the configuration of a network of which only `faceup train` makes weights; its files carry it.

    Raises:
        WeightsError: there is none.
    """
    if config is None:
        raise WeightsError(f"These are not {title} weights of `faceup train`: the options of the network are missing.")
    return config


def filled(net: Network, state: Mapping[str, Tensor], config: Any) -> Network:
    """Return `net` with the tensors of `state`, ready for use.

    Args:
        net: the network, built for these tensors.
        state: key to tensor, prefix already removed.
        config: its shape, for the message.

    Raises:
        WeightsError: keys or shapes do not fit.
    """
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"These weights do not fit {config}: {error}") from error
    return net.eval()


def fold_norm(module: nn.Module, layer: str, norm: str) -> None:
    """Put a batch norm of `module` into the convolution or matrix before it, in place, for inference only.

    The outputs stay the same up to rounding. The parameters no longer have the names of a checkpoint. A norm that is
    folded already is passed over.

    Args:
        module: holds both.
        layer: name of the convolution or matrix.
        norm: name of the batch norm that follows it.
    """
    folded, before = getattr(module, norm), getattr(module, layer)
    if isinstance(folded, (nn.BatchNorm1d, nn.BatchNorm2d)):
        fuse: Any = fuse_linear_bn_eval if isinstance(before, nn.Linear) else fuse_conv_bn_eval
        setattr(module, layer, fuse(before, folded))
        setattr(module, norm, nn.Identity())
