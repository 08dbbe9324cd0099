"""What `_area` does, in the way that suits a CPU: whole rows are copied, never single places.

The table's rows at the lower edges of the bins less those at the upper edges come first. Then the result is turned, so
that its columns are rows, the same is done for the right and the left edges, and it is turned back.

The sums are whole numbers and exact. The time goes into moving them, so they have 16 bits where the bins are small: the
table's sums wrap around, but not the differences, which are what lies in a bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from faceup.detect._area import fill
from faceup.types import Floats, Image

Ints = npt.NDArray[np.int16] | npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]
_CHANNELS = 3
# More than what lies in a bin may be in 16 bits.
_SMALL = 2**16
# Sums that are worked on at once, so that they stay in the cache.
_AT_ONCE = 2**19
# Bins are kept for all lengths below a multiple of this.
_LENGTHS = 256


class CpuAreaTable:
    """`faceup.detect._area.AreaTable`, on the CPU.

    Args:
        images: at least one picture, all of one size.
    """

    def __init__(self, images: Sequence[Image]) -> None:
        self.count, self.height, self.width = len(images), images[0].height, images[0].width
        # One row more at the end, where the last crop's rows may be taken too long.
        rows = self.count * (self.height + 1)
        table = np.empty((rows + 1, self.width + 1, _CHANNELS), np.int32)
        table[rows] = 0
        for image, sums in zip(images, table[:rows].reshape(self.count, self.height + 1, -1, _CHANNELS), strict=True):
            fill(sums, image.pixels)
        self._large = table.reshape(-1)
        self._small = self._large.astype(np.int16)

    def _sums(self, heights: Indices, widths: Indices) -> Ints:
        """Return the table whose numbers hold what lies in bins of such sizes."""
        return self._small if 255 * int(heights.max()) * int(widths.max()) < _SMALL else self._large

    def reduced(self, start: int, end: int, height: int, width: int) -> Tensor:
        """Return whole pictures, reduced or enlarged; see `AreaTable.reduced`."""
        (top, bottom), (left, right) = _bins_of(self.height, height), _bins_of(self.width, width)
        sums = self._sums(bottom - top, right - left)
        row = (self.width + 1) * _CHANNELS
        some = sums[: self.count * (self.height + 1) * row].reshape(self.count, -1, row)[start:end]
        bands = some.take(bottom, axis=1)
        bands -= some.take(top, axis=1)
        turned = _turned(bands.reshape(-1, row)).reshape(self.width + 1, -1)
        across = turned.take(right, axis=0)
        across -= turned.take(left, axis=0)
        planes = _turned(across.reshape(width, -1)).reshape(_CHANNELS, end - start, height, width)
        return torch.from_numpy(_means(planes.swapaxes(0, 1), (bottom - top)[None], (right - left)[None]))

    def crops(self, picture: Tensor, boxes: Tensor, side: int) -> Tensor:
        """Return crops, made square; see `AreaTable.crops`."""
        which, (x0, y0, x1, y1) = picture.numpy(), boxes.numpy().T
        means = np.empty((len(boxes), _CHANNELS, side, side), np.float32)
        # The rows of crops that are made together are as long as the widest needs.
        order = np.argsort(x0 - x1, kind="stable")
        while len(order):
            length = int(x1[order[0]] - x0[order[0]] + 1) * _CHANNELS
            some, order = np.split(order, [max(1, _AT_ONCE // (side * length))])
            first = (which[some] * (self.height + 1) + y0[some]) * (self.width + 1) + x0[some]
            (top, bottom), (left, right) = (
                _bins_up_to(end[some] - start[some], side) for start, end in ((y0, y1), (x0, x1))
            )
            sums = self._sums(bottom - top, right - left)
            rows = self._rows(sums, first, bottom, length)
            rows -= self._rows(sums, first, top, length)
            means[some] = _means(_across(rows.numpy(), left, right), bottom - top, right - left)
        return torch.from_numpy(means)

    def _rows(self, sums: Ints, first: Indices, below: Indices, length: int) -> Tensor:
        """Return so many sums (K h, length) of the rows (K, h) below the places where the crops (K,) begin."""
        starts = (first[:, None] + below * (self.width + 1)) * _CHANNELS
        # torch copies rows that overlap faster than numpy.
        rows = torch.from_numpy(sums).as_strided((len(sums) - length + 1, length), (1, 1))
        return rows.index_select(0, torch.from_numpy(starts.reshape(-1)))


def _across(bands: Ints, left: Indices, right: Indices) -> Ints:
    """Return the sums (K, 3, h, w) of bins.

    Args:
        bands: (K h, (L + 1) 3), the sums of each row of bins up to every column, channels last.
        left: (K, w), the first column of each bin.
        right: (K, w), the column behind the last one.
    """
    count, width = left.shape
    height = len(bands) // count
    turned = _turned(bands).reshape(-1, height)
    channel = (np.arange(_CHANNELS) * count + np.arange(count)[:, None]).astype(np.int64)

    def at(columns: Indices) -> Ints:
        places = (columns.T * (_CHANNELS * count))[:, :, None] + channel
        return turned.take(places.reshape(-1), axis=0)

    sums = at(right)
    sums -= at(left)
    return _turned(sums.reshape(width, -1)).reshape(count, _CHANNELS, height, width)


def _turned(sums: Ints) -> Ints:
    """Return the transpose, contiguous; numpy and torch take several times as long."""
    done: Any = cv2.transpose(sums)
    return done


def _means(sums: Ints, heights: Indices, widths: Indices) -> Floats:
    """Return the means of the sums (K, 3, h, w) of bins of (1 or K, h) heights and (1 or K, w) widths."""
    areas = heights.astype(np.float32)[:, :, None] * widths.astype(np.float32)[:, None]
    means = (sums.view(np.uint16) if sums.dtype == np.int16 else sums).astype(np.float32, order="C")
    means *= (1 / areas)[:, None]
    return means


@lru_cache(256)
def _bins_of(length: int, count: int) -> tuple[Indices, Indices]:
    """Return where each of `count` bins of a length begins and ends, (count,) each."""
    starts, ends = _bins(np.array([length], np.int64), count)
    return starts[0], ends[0]


def _bins_up_to(lengths: Indices, count: int) -> tuple[Indices, Indices]:
    """Return where each of `count` bins of lengths (K,) begins and ends, (K, count) each."""
    starts, ends = _bins_below((int(lengths.max()) // _LENGTHS + 1) * _LENGTHS, count)
    return starts[lengths], ends[lengths]


@lru_cache(16)
def _bins_below(limit: int, count: int) -> tuple[Indices, Indices]:
    return _bins(np.arange(limit, dtype=np.int64), count)


def _bins(lengths: Indices, count: int) -> tuple[Indices, Indices]:
    edges = np.arange(count + 1, dtype=np.int64) * lengths[:, None]
    return edges[:, :-1] // count, -(-edges[:, 1:] // count)
