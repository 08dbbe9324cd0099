"""LPIPS v0.1 with AlexNet (Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018): a learned distance between pictures.

0 means alike; lower is better. Pictures are RGB scaled to -1..1, as the authors' package takes them. The features
behind the five convolutions of AlexNet are divided by their length at every place, and the squared differences,
weighted per channel by the "heads", are averaged over the picture and summed over the five.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d, relu

from faceup.errors import DataError, WeightsError
from faceup.types import Image
from faceup.weights import store
from faceup.weights.convert import ALEXNET_LAYERS

# Smaller pictures leave nothing behind the second pooling.
MIN_SIDE = 31

_CHANNELS = (64, 192, 384, 256, 256)
_SHAPES = ((64, 3, 11, 11), (192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3))
_SETTINGS = ({"stride": 4, "padding": 2}, {"padding": 2}, {"padding": 1}, {"padding": 1}, {"padding": 1})
_POOLED_BEFORE = (1, 2)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPSILON = 1e-10


class Lpips(nn.Module):
    """The distance as a network.

    Args:
        trunk: torchvision's names, `features.N.weight` (OIHW) and `features.N.bias` of AlexNet's convolutions; more
            tensors (its classifier) are left aside.
        heads: the weights of the channels behind each convolution, (64,), (192,), (384,), (256,), (256,).

    Raises:
        WeightsError: a tensor is missing or has another shape.
    """

    def __init__(self, trunk: Mapping[str, Tensor], heads: list[Tensor]) -> None:
        super().__init__()
        for index, (layer, shape) in enumerate(zip(ALEXNET_LAYERS, _SHAPES, strict=True)):
            self.register_buffer(f"weight{index}", _tensor(trunk, f"features.{layer}.weight", shape))
            self.register_buffer(f"bias{index}", _tensor(trunk, f"features.{layer}.bias", shape[:1]))
            self.register_buffer(f"head{index}", heads[index].float().reshape(1, -1, 1, 1))
        self.register_buffer("shift", torch.tensor(_SHIFT).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).reshape(1, 3, 1, 1))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distances (N,) of two batches of float RGB -1..1, (N, 3, H, W), sides of at least `MIN_SIDE`."""
        total = a.new_zeros(len(a))
        x = (torch.cat([a, b]) - self.shift) / self.scale  # type: ignore[operator]
        for index in range(len(_CHANNELS)):
            if index in _POOLED_BEFORE:
                x = max_pool2d(x, 3, 2)
            weight, bias, head = (self.get_buffer(f"{part}{index}") for part in ("weight", "bias", "head"))
            x = relu(conv2d(x, weight, bias, **_SETTINGS[index]))
            unit = x / (x.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)
            of_a, of_b = unit.chunk(2)
            total = total + ((of_a - of_b).square() * head).sum(dim=1).mean(dim=(1, 2))
        return total


def load_lpips(device: str, trunk: Path | None = None) -> LpipsMetric:
    """Return the metric with the catalogue's weights.

    Args:
        device: `cpu` or `cuda`.
        trunk: torchvision's `alexnet-owt-7be5be79.pth`, in the place of the trunk in the catalogue's `lpips-alex`; the
            heads are then those of `lpips-alex-heads`.

    Raises:
        WeightsError: the weights were not pulled yet, are damaged, or are another network's.
    """
    if trunk is None:
        tensors = store.load("lpips-alex").tensors
        heads = [_tensor(tensors, f"heads.{index}", (size,)) for index, size in enumerate(_CHANNELS)]
    else:
        tensors = store.load_file(trunk).tensors
        stored = store.load("lpips-alex-heads").tensors
        heads = [_tensor(stored, f"lin{i}.model.1.weight", (1, size, 1, 1)) for i, size in enumerate(_CHANNELS)]
    try:
        return LpipsMetric(Lpips(tensors, heads), device)
    except WeightsError as error:
        raise WeightsError(
            f"{trunk.name if trunk else 'lpips-alex'}: not the AlexNet of torchvision: {error}"
        ) from error


class LpipsMetric:
    """Distances between pictures, in float32."""

    def __init__(self, net: Lpips, device: str) -> None:
        self.net, self.device = net.to(device), device

    def __call__(self, result: Image, original: Image) -> float:
        """Return the distance of two pictures of one size.

        Raises:
            DataError: the pictures differ in size or are smaller than `MIN_SIDE`.
        """
        if result.pixels.shape != original.pixels.shape:
            raise DataError(
                f"Pictures to compare need one size, got {result.pixels.shape} and {original.pixels.shape}."
            )
        if min(original.width, original.height) < MIN_SIDE:
            size = f"{original.width} x {original.height}"
            raise DataError(f"LPIPS needs pictures of at least {MIN_SIDE} x {MIN_SIDE} px, got {size}.")
        with torch.inference_mode():
            return float(self.net(self._tensor(result), self._tensor(original)))

    def _tensor(self, image: Image) -> Tensor:
        pixels = torch.from_numpy(image.pixels.astype(np.float32)).to(self.device)
        return pixels.permute(2, 0, 1)[None] / 127.5 - 1


def _tensor(tensors: Mapping[str, Tensor], key: str, shape: tuple[int, ...]) -> Tensor:
    if key not in tensors or tensors[key].shape != shape:
        found = tuple(tensors[key].shape) if key in tensors else "nothing"
        raise WeightsError(f"{key} of shape {shape} is needed, got {found}.")
    return tensors[key].detach().float()
