"""Networks in ncnn, on the CPU."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceup.errors import StageError

_OUT_OF_MEMORY = -100


def open_net(param: str, weights: bytes, threads: int) -> Any:
    """Return a network for so many threads a picture, which ncnn fixes when it loads the weights.

    Args:
        param: the layers as text.
        weights: all weights.
        threads: of one picture.

    Raises:
        StageError: ncnn does not load it.
    """
    import ncnn

    net = ncnn.Net()
    option = net.opt
    option.num_threads = threads
    option.use_vulkan_compute = False
    # 16 bits are not enough for features that go through a hundred layers.
    option.use_fp16_storage = option.use_fp16_packed = option.use_fp16_arithmetic = False
    option.use_bf16_storage = False
    # ncnn's reader of weights in memory is newer than its reader of files.
    with tempfile.TemporaryDirectory(prefix="faceup-") as name:
        layers, values = Path(name) / "net.param", Path(name) / "net.bin"
        layers.write_text(param, encoding="ascii")
        values.write_bytes(weights)
        if net.load_param(str(layers)) or net.load_model(str(values)):
            raise StageError(
                "ncnn does not load the network that was written for it: install another version, or uninstall it."
            )
    return net


def answer(net: Any, planes: npt.NDArray[np.float32], ends: tuple[str, str]) -> npt.NDArray[np.float32]:
    """Return a network's output for one picture.

    Args:
        net: of `open_net`.
        planes: contiguous (C, H, W).
        ends: names of the input and the output blob.

    Raises:
        MemoryError: there is not enough.
        StageError: ncnn fails otherwise.
    """
    import ncnn

    extractor = net.create_extractor()
    # A copy of ncnn's own: its layers may work in place, and its rows of planes are aligned.
    extractor.input(ends[0], ncnn.Mat(planes).clone())
    status, out = extractor.extract(ends[1])
    if status == _OUT_OF_MEMORY:
        raise MemoryError("ncnn: out of memory")
    if status:
        _, height, width = planes.shape
        raise StageError(f"ncnn fails on a picture of {width} x {height} px (status {status}).")
    return np.array(out)
