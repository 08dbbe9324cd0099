"""Runs a super-resolution network on pictures with ncnn, on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from faceup.runtime.ncnn_net import answer, open_net
from faceup.runtime.side_by_side import SideBySideSr


class NcnnSr(SideBySideSr):
    """An SR backend made of an ncnn network; pictures and threads are those of `SideBySideSr`.

    Args:
        param: the layers as text; see `faceup.networks.ncnn`.
        weights: all weights.
        ends: names of the input and the output blob.
        scale: how many times the network enlarges.
        skip: whether the bicubic enlargement is to be added to what the network gives.
    """

    engine = "ncnn"

    def __init__(self, param: str, weights: bytes, ends: tuple[str, str], scale: int, *, skip: bool) -> None:
        super().__init__(scale, skip=skip)
        self._param, self._weights, self._ends = param, weights, ends
        self._nets: dict[int, Any] = {}
        self._net(1)

    def _net(self, threads: int) -> Any:
        if threads not in self._nets:
            self._nets[threads] = open_net(self._param, self._weights, threads)
        return self._nets[threads]

    def _prepare(self, threads: int) -> None:
        self._net(threads)

    def _run(self, planes: npt.NDArray[np.float32], threads: int) -> npt.NDArray[np.float32]:
        return answer(self._net(threads), planes, self._ends)
