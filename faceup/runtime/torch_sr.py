"""Runs a torch super-resolution network on pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from faceup.runtime.batching import by_size
from faceup.runtime.cuda import Replayed, Staged
from faceup.types import Image

# Input pixels of one batch on a GPU; the features of a network of 64 channels at four times the size then take about
# 2 GiB. On an H200 64 crops in one batch took about 0.8 of the time of three smaller ones (docs/performance.md, cuda).
BATCH_PIXELS = 256 * 1024
# On the CPU: features that stay in the cache are worth more than a batch. One crop of 42 x 56 px takes half the time of
# each in a batch of eight (docs/decisions.md).
CPU_BATCH_PIXELS = 4 * 1024


class TorchSr:
    """An SR backend made of a network that maps float (N, 3, H, W) RGB 0..255 to (N, 3, sH, sW).

    On CUDA the network runs in fp16 with channels last and in large batches, those of a shape that recurs as a CUDA
    graph; only bytes are moved between host and GPU. On the CPU it runs in fp32 and in small batches. The output is
    clamped and rounded.

    Args:
        net: the network.
        scale: how many times it enlarges.
        device: `cpu` or `cuda`.
        batch_pixels: input pixels of one batch, at most; the CPU takes at most `CPU_BATCH_PIXELS`.
        half: whether the network runs in fp16 with channels last; None: on CUDA. False for a network that fp16 is not
            enough for.
        graphs: whether CUDA graphs are made; None: on CUDA. A network that cannot be captured does without.

    Attributes:
        replayed: what makes the graphs; None without.
    """

    engine = "torch"

    def __init__(
        self,
        net: nn.Module,
        scale: int,
        device: str,
        batch_pixels: int = BATCH_PIXELS,
        *,
        half: bool | None = None,
        graphs: bool | None = None,
    ) -> None:
        self.scale, self.device = scale, torch.device(device)
        on_gpu = self.device.type == "cuda"
        self.batch_pixels = batch_pixels if on_gpu else min(batch_pixels, CPU_BATCH_PIXELS)
        self.half = on_gpu if half is None else half
        self.net = net.eval().requires_grad_(False).to(self.device, torch.float16 if self.half else torch.float32)
        if self.half:
            self.net = self.net.to(memory_format=torch.channels_last)
        self.replayed = Replayed(self._enlarged) if (on_gpu if graphs is None else graphs) else None
        self._on_gpu = Staged(self.replayed or self._enlarged, self.device) if on_gpu or self.replayed else None

    def upscale(self, images: Sequence[Image]) -> list[Image]:
        """Return the enlarged pictures in the order of the input; sizes may differ."""
        return by_size(images, self._batch, pixels=self.batch_pixels)

    def _batch(self, images: Sequence[Image]) -> list[Image]:
        pixels = [image.pixels for image in images]
        with torch.inference_mode():
            if self._on_gpu is None:
                large = self._enlarged(torch.from_numpy(np.stack(pixels))).numpy()
            else:
                large = self._on_gpu(pixels)
        return [Image(picture) for picture in large]

    def _enlarged(self, x: Tensor) -> Tensor:
        """Map uint8 (N, H, W, 3) to (N, sH, sW, 3), on the device from beginning to end."""
        x = x.permute(0, 3, 1, 2)
        x = x.half().contiguous(memory_format=torch.channels_last) if self.half else x.float().contiguous()
        y: Tensor = self.net(x)
        return y.float().clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
