"""What `sisn.c` is given and gives."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from faceup.native import address, built
from faceup.types import Floats

# Rows, and columns, whose tail has kernels of its own, with those that share one.
KINDS = 5
# A picture with a smaller side has rows or columns of no kind.
SMALLEST_SIDE = KINDS - 1


class Shape(ctypes.Structure):
    """What the C code needs to know of the network; the order is that of its own `Shape`."""

    _fields_ = [(name, ctypes.c_int32) for name in ("groups", "blocks", "channels", "splits", "hidden", "outputs")]


@dataclass(frozen=True, slots=True)
class SisnInC:
    """A SISN network for the C code, which can be run where `library` gives one.

    Attributes:
        shape: its size.
        weights: all weights, float32, in the order in which the C code takes them.
        colours, shift: float32 (3, 3) and (3,): a pixel p, RGB 0..255, enters the network as p @ colours + shift.
        scale: how many times it enlarges.
        skip: whether the bicubic enlargement is to be added to the output.
    """

    shape: Shape
    weights: Floats
    colours: Floats
    shift: Floats
    scale: int
    skip: bool

    def scratch(self, height: int, width: int, threads: int) -> int:
        """Return how many floats of memory a picture needs."""
        size: int = built().faceup_sisn_scratch(ctypes.byref(self.shape), height, width, threads)
        return size

    def run(self, planes: Floats, threads: int, scratch: Floats) -> Floats:
        """Return the network's output, without the bicubic enlargement; the same with any number of threads.

        Args:
            planes: (3, H, W), RGB 0..255, no side below `SMALLEST_SIDE`.
            threads: how many compute.
            scratch: memory of the size that `scratch` tells, or more.

        Returns:
            (3, sH, sW), RGB grey levels, neither clamped nor rounded.
        """
        _, height, width = planes.shape
        if min(height, width) < SMALLEST_SIDE or len(scratch) < self.scratch(height, width, threads):
            raise ValueError(f"A picture of {width} x {height} px is too small, or its memory is.")
        picture = np.zeros((height + 2, width + 2, 3), np.float32)
        picture[1:-1, 1:-1] = planes.transpose(1, 2, 0) @ self.colours + self.shift
        result = np.empty((height, width, self.shape.outputs), np.float32)
        built().faceup_sisn(
            ctypes.byref(self.shape), address(self.weights), address(picture), height, width, address(result),
            address(scratch), threads,
        )  # fmt: skip
        s = self.scale
        blocks = result[:, :, : 3 * s * s].reshape(height, width, s, s, 3)
        return np.ascontiguousarray(blocks.transpose(4, 0, 2, 1, 3)).reshape(3, s * height, s * width)
