"""Runs SISN with the project's own code in C, on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from faceup.native.sisn import SMALLEST_SIDE, SisnInC
from faceup.runtime.batching import SPARE
from faceup.runtime.side_by_side import SideBySideSr
from faceup.types import Floats

# Floats of memory that are kept for the next pictures; full SISN needs 4 million for one of 42 x 56 px.
_KEPT = 1 << 25


class NativeSr(SideBySideSr):
    """An SR backend made of a SISN network in C; pictures and threads are those of `SideBySideSr`.

    Args:
        net: the network.
        tiny: the network without its bicubic skip in torch, (N, 3, H, W) to (N, 3, sH, sW), for pictures that are too
            small for the C code.
    """

    engine = "native"

    def __init__(self, net: SisnInC, tiny: Callable[[Tensor], Tensor]) -> None:
        super().__init__(net.scale, skip=net.skip)
        self._net, self._tiny = net, tiny
        # What no thread uses just now: memory fetched anew for every picture costs a tenth of its time.
        self._scratch: list[Floats] = []
        SPARE.add(self)

    def free(self) -> bool:
        """Let go of the memory that is kept from one picture to the next."""
        had = bool(self._scratch)
        self._scratch.clear()
        return had

    def _prepare(self, threads: int) -> None:
        pass

    def _run(self, planes: Floats, threads: int) -> Floats:
        _, height, width = planes.shape
        if min(height, width) < SMALLEST_SIDE:
            with torch.inference_mode():
                return self._tiny(torch.from_numpy(planes)[None])[0].numpy()
        scratch = self._memory(self._net.scratch(height, width, threads))
        out = self._net.run(planes, threads, scratch)
        if sum(map(len, self._scratch)) + len(scratch) <= _KEPT:
            self._scratch.append(scratch)
        return out

    def _memory(self, size: int) -> Floats:
        try:
            kept = self._scratch.pop()
        except IndexError:
            kept = np.empty(0, np.float32)
        return kept if len(kept) >= size else np.empty(size, np.float32)
