"""Runs a super-resolution network in 8 bits with ONNX Runtime, on the CPU."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from faceup.runtime.onnx_session import open_session
from faceup.runtime.side_by_side import SideBySideSr


class Int8Sr(SideBySideSr):
    """An SR backend made of an ONNX model; pictures and threads are those of `SideBySideSr`.

    Args:
        model: float32 `x` (1, 3, H, W) RGB 0..255 to (1, 3, sH, sW).
        scale: how many times the network enlarges.
        skip: whether the bicubic enlargement is to be added to what the network gives.
    """

    engine = "int8"

    def __init__(self, model: bytes, scale: int, *, skip: bool) -> None:
        super().__init__(scale, skip=skip)
        self._model = model
        self._sessions: dict[int, ort.InferenceSession] = {}
        self._prepare(1)

    def _prepare(self, threads: int) -> None:
        if threads not in self._sessions:
            self._sessions[threads] = open_session(self._model, "cpu", threads)

    def _run(self, planes: npt.NDArray[np.float32], threads: int) -> npt.NDArray[np.float32]:
        self._prepare(threads)
        (out,) = self._sessions[threads].run(None, {"x": planes[None]})
        return np.asarray(out, np.float32)[0]
