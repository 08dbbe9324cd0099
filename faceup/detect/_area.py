"""Area resampling of many crops of many pictures at once, by summed-area tables, on any device.

The mean of every bin is a difference of four entries of its picture's table, so one table serves every scale of a
pyramid and every crop, and what a crop costs does not depend on its size. The bins are those of
`torch.nn.functional.interpolate(mode="area")`: bin i of n covers floor(i L / n) to ceil((i + 1) L / n) of a length L.

Everything is done for all crops in a few calls, as a GPU likes it; on a CPU `_area_cpu` takes less time.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from faceup.types import Image

# Red, green, blue, and nothing, so that the sums of a place fill 16 bytes.
_CHANNELS = 4
# Larger pictures sum up to more than 31 bits hold.
_MOST_PIXELS = (2**31 - 1) // 255


class AreaTable:
    """The summed-area tables of pictures of one size.

    Args:
        images: at least one picture, all of one size.
        device: where the tables are kept and crops are made.
    """

    def __init__(self, images: Sequence[Image], device: torch.device) -> None:
        self.device = device
        self.count, self.height, self.width = len(images), images[0].height, images[0].width
        table = np.zeros((self.count, self.height + 1, self.width + 1, _CHANNELS), np.int32)
        # OpenCV has no call for a batch; torch's cumulative sums of one take ten times as long.
        for image, sums in zip(images, table, strict=True):
            fill(sums, np.asarray(cv2.cvtColor(image.pixels, cv2.COLOR_RGB2RGBA), np.uint8))
        # The fourth channel was opaque.
        table[..., 3] = 0
        # The four sums of a place are moved as one number of 16 bytes, which is never computed with.
        self._places = torch.from_numpy(table.reshape(-1)).to(device).view(torch.complex128)

    def reduced(self, start: int, end: int, height: int, width: int) -> Tensor:
        """Return whole pictures, reduced or enlarged by area averaging.

        Args:
            start: index of the first picture.
            end: index behind the last one.
            height: of the results.
            width: of the results.

        Returns:
            Float32 (end - start, 3, height, width), 0..255.
        """
        rows, columns = (torch.tensor([[0, size]], device=self.device) for size in (self.height, self.width))
        (top,), (bottom,) = _bins(rows, height)
        (left,), (right,) = _bins(columns, width)
        # Whole rows first: they are copied much faster than places.
        some = self._places.view(self.count, self.height + 1, self.width + 1)[start:end]
        sums = some.view(torch.int32).index_select(1, bottom)
        sums -= some.view(torch.int32).index_select(1, top)
        bands = sums.view(torch.complex128)
        sums = bands.index_select(2, right).view(torch.int32)
        sums -= bands.index_select(2, left).view(torch.int32)
        return _means(sums.view(-1, height, width, _CHANNELS), (bottom - top)[None], (right - left)[None])

    def crops(self, picture: Tensor, boxes: Tensor, side: int) -> Tensor:
        """Return crops, made square by area averaging.

        Args:
            picture: (K,) int64, the index of each crop's picture.
            boxes: (K, 4) int64, first column, first row, and those behind the last; inside the picture, not empty.
            side: height and width of the results.

        Returns:
            Float32 (K, 3, side, side), 0..255.
        """
        left, right = _bins(boxes[:, ::2], side)
        top, bottom = _bins(boxes[:, 1::2], side)
        first = (picture * (self.height + 1))[:, None]
        above, below = ((first + rows) * (self.width + 1) for rows in (top, bottom))
        sums = self._at(below, right)
        sums -= self._at(above, right)
        sums -= self._at(below, left)
        sums += self._at(above, left)
        return _means(sums.view(-1, side, side, _CHANNELS), bottom - top, right - left)

    def _at(self, rows: Tensor, columns: Tensor) -> Tensor:
        where = rows[:, :, None] + columns[:, None]
        return self._places.index_select(0, where.view(-1)).view(torch.int32)


def _means(sums: Tensor, heights: Tensor, widths: Tensor) -> Tensor:
    """Return float32 (K, 3, h, w) of the sums (K, h, w, 4) of bins of (1 or K, h) heights and (1 or K, w) widths."""
    count, height, width, _ = sums.shape
    means = torch.empty((count, 3, height, width), device=sums.device)
    means.copy_(sums[..., :3].permute(0, 3, 1, 2))
    means *= (1 / (heights[:, :, None] * widths[:, None]).float())[:, None]
    return means


def fill(sums: npt.NDArray[np.int32], pixels: npt.NDArray[np.uint8]) -> None:
    """Write the sums (H + 1, W + 1, C) of what is above and to the left in a picture (H, W, C); row and column 0 are 0.

    Where they wrap around, their differences are right as long as what lies between sums up to less than 2**31.
    """
    if pixels.shape[0] * pixels.shape[1] <= _MOST_PIXELS:
        cv2.integral(pixels, sum=sums)
        return
    sums[0] = sums[:, 0] = 0
    down = np.cumsum(pixels, axis=0, dtype=np.int32)
    np.cumsum(down, axis=1, dtype=np.int32, out=sums[1:, 1:])


def _bins(ranges: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return where each of `count` bins of each range (K, 2) begins and ends, (K, count) each."""
    start, end = ranges[:, :1], ranges[:, 1:]
    edges = torch.arange(count + 1, device=ranges.device) * (end - start)
    return start + edges[:, :-1] // count, start - (-edges[:, 1:]) // count
