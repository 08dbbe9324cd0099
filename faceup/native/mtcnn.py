"""What `mtcnn.c` is given and gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceup.native import address, built
from faceup.types import Floats

NETWORKS = ("pnet", "rnet", "onet")
_SIDES = {"rnet": 24, "onet": 48}
_WINDOW = 12


@dataclass(frozen=True, slots=True)
class MtcnnInC:
    """A network of MTCNN for the C code, which can be run where `library` gives one.

    Attributes:
        name: of `NETWORKS`.
        weights: all weights, float32, in the order in which the C code takes them.
    """

    name: str
    weights: Floats

    def run(self, pictures: Floats, threads: int) -> Floats:
        """Return the network's output; the same with any number of threads.

        Args:
            pictures: contiguous (N, 3, H, W), RGB 0..255; 24 x 24 pixels for R-Net, 48 x 48 for O-Net, at least
                12 x 12 for P-Net.
            threads: how many compute.

        Returns:
            (N, 5, h, w) of P-Net, (N, 5) of R-Net, (N, 15) of O-Net.
        """
        count, _, height, width = pictures.shape
        if not (pictures.flags.c_contiguous and pictures.dtype == np.float32):
            raise ValueError("The pictures must be contiguous and float32.")
        fits = min(height, width) >= _WINDOW if self.name == "pnet" else height == width == _SIDES[self.name]
        if not fits:
            raise ValueError(f"{self.name} takes no pictures of {width} x {height} px.")
        shape = {
            "pnet": (count, 5, (height - 1) // 2 - 4, (width - 1) // 2 - 4), "rnet": (count, 5), "onet": (count, 15),
        }[self.name]  # fmt: skip
        result = np.empty(shape, np.float32)
        network, size = NETWORKS.index(self.name), (count, height, width)
        scratch = np.empty(built().faceup_mtcnn_scratch(network, *size, threads), np.float32)
        built().faceup_mtcnn(
            network, address(self.weights), address(pictures), *size, address(result), address(scratch), threads
        )
        return result
