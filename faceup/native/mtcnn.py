"""What `mtcnn.c` is given and gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceup.native import MOST_THREADS, address, built
from faceup.types import Floats

NETWORKS = ("pnet", "rnet", "onet")
_OUTPUTS = (5, 5, 15)


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
        network = NETWORKS.index(self.name)
        count, _, height, width = pictures.shape
        assert pictures.flags.c_contiguous
        assert pictures.dtype == np.float32
        if network == 0:
            assert min(height, width) >= 12, f"{width} x {height} px are no window of P-Net"
            result = np.empty((count, 5, (height - 1) // 2 - 4, (width - 1) // 2 - 4), np.float32)
        else:
            assert height == width == 24 * network, f"{width} x {height} px are no window of {self.name}"
            result = np.empty((count, _OUTPUTS[network]), np.float32)
        threads = min(threads, MOST_THREADS)
        scratch = np.empty(built().faceup_mtcnn_scratch(network, height, width, threads), np.float32)
        built().faceup_mtcnn(
            network, address(self.weights), address(pictures), count, height, width, address(result), address(scratch),
            threads,
        )  # fmt: skip
        return result
