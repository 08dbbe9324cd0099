"""Runs a network that takes one picture at a time on several side by side, on the CPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from faceup.runtime.batching import run_in_halves
from faceup.runtime.workers import Workers
from faceup.types import Image

# Pictures that are begun anew when memory runs out.
PORTION = 16


class SideBySideSr(ABC):
    """An SR backend whose network maps one picture (3, H, W) RGB 0..255 to (3, sH, sW).

    One picture's features stay in the cache. Several pictures run side by side, one thread each, as many as torch has
    threads; a single one gets all threads. The output is clamped and rounded. The threads stay for the next call,
    and do not go along into a process that is forked after it.

    Args:
        scale: how many times the network enlarges.
        skip: whether the bicubic enlargement is to be added to what the network gives.
    """

    def __init__(self, scale: int, *, skip: bool) -> None:
        self.scale, self._skip = scale, skip
        self._workers = Workers(1)

    @abstractmethod
    def _run(self, planes: npt.NDArray[np.float32], threads: int) -> npt.NDArray[np.float32]:
        """Return the network's output for one picture's contiguous planes (3, H, W), computed by so many threads."""

    @abstractmethod
    def _prepare(self, threads: int) -> None:
        """Make ready what runs with so many threads a picture, before several threads ask for it at once."""

    def upscale(self, images: Sequence[Image]) -> list[Image]:
        """Return the enlarged pictures in the order of the input; sizes may differ."""
        portions = (images[start : start + PORTION] for start in range(0, len(images), PORTION))
        return [image for portion in portions for image in run_in_halves(self._side_by_side, portion)]

    def _side_by_side(self, images: Sequence[Image]) -> list[Image]:
        count = torch.get_num_threads()
        if min(count, len(images)) < 2:
            return [self._enlarged(image, count) for image in images]
        self._prepare(1)
        workers = self._workers
        if workers.count != count:
            workers = self._workers = Workers(count)
        return workers.map(lambda image: self._enlarged(image, 1), images)

    def _enlarged(self, image: Image, threads: int) -> Image:
        return self._rounded(image, self._run(_planes(image), threads))

    def _rounded(self, image: Image, out: npt.NDArray[np.float32]) -> Image:
        y = torch.from_numpy(out)
        with torch.inference_mode():
            if self._skip:
                x = torch.from_numpy(image.pixels.astype(np.float32)).permute(2, 0, 1)[None]
                y = y + F.interpolate(x, scale_factor=self.scale, mode="bicubic", antialias=True)[0]
            return Image(y.clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def _planes(image: Image) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(image.pixels.transpose(2, 0, 1), np.float32)
