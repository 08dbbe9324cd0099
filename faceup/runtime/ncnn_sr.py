"""Runs a super-resolution network on pictures with ncnn, on the CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from faceup.errors import StageError
from faceup.runtime.batching import run_in_halves
from faceup.types import Image

# Pictures whose output is held as float before it is rounded.
PORTION = 16
_OUT_OF_MEMORY = -100


class NcnnSr:
    """An SR backend made of an ncnn network that maps one picture (3, H, W) RGB 0..255 to (3, sH, sW).

    ncnn takes one picture at a time, whose features then stay in the cache. Several pictures run side by side, one
    thread each, as many as torch has threads; a single one gets all threads. The output is clamped and rounded.

    Args:
        param: the layers as text; see `faceup.networks.ncnn`.
        weights: all weights.
        ends: names of the input and the output blob.
        scale: how many times the network enlarges.
        skip: whether the bicubic enlargement is to be added to what the network gives.
    """

    engine = "ncnn"

    def __init__(self, param: str, weights: bytes, ends: tuple[str, str], scale: int, *, skip: bool) -> None:
        self.scale, self._param, self._weights, self._ends, self._skip = scale, param, weights, ends, skip
        self._nets: dict[int, Any] = {}
        self._net(1)

    def _net(self, threads: int) -> Any:
        """Return the network for so many threads a picture, which ncnn fixes when it loads the weights."""
        import ncnn

        if threads not in self._nets:
            net = ncnn.Net()
            option = net.opt
            option.num_threads = threads
            option.use_vulkan_compute = False
            # 16 bits are not enough for features that go through a hundred layers.
            option.use_fp16_storage = option.use_fp16_packed = option.use_fp16_arithmetic = False
            option.use_bf16_storage = False
            # ncnn's reader of weights in memory is newer than its reader of files.
            with tempfile.TemporaryDirectory(prefix="faceup-") as name:
                layers, weights = Path(name) / "net.param", Path(name) / "net.bin"
                layers.write_text(self._param, encoding="ascii")
                weights.write_bytes(self._weights)
                if net.load_param(str(layers)) or net.load_model(str(weights)):
                    raise StageError("ncnn does not load the network that was written for it; use engine 'torch'.")
            self._nets[threads] = net
        return self._nets[threads]

    def upscale(self, images: Sequence[Image]) -> list[Image]:
        """Return the enlarged pictures in the order of the input; sizes may differ."""
        portions = (images[start : start + PORTION] for start in range(0, len(images), PORTION))
        return [image for portion in portions for image in run_in_halves(self._side_by_side, portion)]

    def _side_by_side(self, images: Sequence[Image]) -> list[Image]:
        threads = min(torch.get_num_threads(), len(images))
        if threads == 1:
            net = self._net(torch.get_num_threads())
            return [self._rounded(image, self._run(net, image)) for image in images]
        net = self._net(1)
        with ThreadPoolExecutor(threads) as pool:
            done = pool.map(lambda image: self._run(net, image), images)
            return [self._rounded(*pair) for pair in zip(images, done, strict=True)]

    def _run(self, net: Any, image: Image) -> npt.NDArray[np.float32]:
        import ncnn

        planes = np.ascontiguousarray(image.pixels.transpose(2, 0, 1), np.float32)
        extractor = net.create_extractor()
        # A copy of ncnn's own: its layers may work in place, and its rows of planes are aligned.
        extractor.input(self._ends[0], ncnn.Mat(planes).clone())
        status, out = extractor.extract(self._ends[1])
        if status == _OUT_OF_MEMORY:
            raise MemoryError("ncnn: out of memory")
        if status:
            raise StageError(f"ncnn fails on a picture of {image.width} x {image.height} px (status {status}).")
        return np.array(out)

    def _rounded(self, image: Image, out: npt.NDArray[np.float32]) -> Image:
        y = torch.from_numpy(out)
        with torch.inference_mode():
            if self._skip:
                x = torch.from_numpy(image.pixels.astype(np.float32)).permute(2, 0, 1)[None]
                y = y + F.interpolate(x, scale_factor=self.scale, mode="bicubic", antialias=True)[0]
            return Image(y.clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())
