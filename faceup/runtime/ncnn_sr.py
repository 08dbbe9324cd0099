"""Runs a super-resolution network on pictures with ncnn, on the CPU."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceup.errors import StageError
from faceup.runtime.side_by_side import SideBySideSr

_OUT_OF_MEMORY = -100


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

    def _prepare(self, threads: int) -> None:
        self._net(threads)

    def _run(self, planes: npt.NDArray[np.float32], threads: int) -> npt.NDArray[np.float32]:
        import ncnn

        extractor = self._net(threads).create_extractor()
        # A copy of ncnn's own: its layers may work in place, and its rows of planes are aligned.
        extractor.input(self._ends[0], ncnn.Mat(planes).clone())
        status, out = extractor.extract(self._ends[1])
        if status == _OUT_OF_MEMORY:
            raise MemoryError("ncnn: out of memory")
        if status:
            _, height, width = planes.shape
            raise StageError(f"ncnn fails on a picture of {width} x {height} px (status {status}).")
        return np.array(out)
