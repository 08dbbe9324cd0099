"""Any super-resolution network as an ONNX file, `onnx:FILE`, run by ONNX Runtime.

The network takes and gives one float32 tensor (N, 3, H, W) with free H and W. Its scale is found by trying. So is its
range: enlarged grey is grey, and a network that works on 0..1 says so only of grey given in 0..1. The colour order
cannot be found; it is RGB unless declared. Both can be declared in the recipe:

    sr: ["onnx:model.onnx"]
    sr_options: {onnx: {range: 255, order: bgr}}
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from faceup.errors import ConfigError, StageError, WeightsError
from faceup.files import shown
from faceup.registry import Options
from faceup.runtime.batching import by_size, out_of_memory
from faceup.runtime.onnx_session import open_session
from faceup.types import BackendInfo, Image

# Input pixels of one batch.
BATCH_PIXELS = 64 * 1024

INFO = BackendInfo(
    name="onnx",
    version="1",
    licence="Apache-2.0 (this adapter); the network's is its author's",
    summary="a network of yours as an ONNX file",
    generative=True,
)

RANGES = (1, 255)
ORDERS = ("rgb", "bgr")
_PROBE = 16
# Shares of white that are tried, and how far from them, on average, a network of the right range may come out.
_GREYS = (0.25, 0.5, 0.75)
_NEAR = 0.06
# With the other range it must come out this many times farther away, and by more than float32 rounds. More cannot be
# asked for: a network of convolutions and ReLUs that works on 0..1 does nearly as well on 0..255 (not the reverse).
_CLEARLY, _FAR = 3.0, 0.0005


class OnnxSr:
    """Enlarges with an ONNX network; the output is clamped and rounded.

    Args:
        file: the ONNX file.
        device: `cpu` or `cuda`.
        value_range: what white is to the network, 1 or 255; None finds it out.
        order: of the colour channels, `rgb` or `bgr`.

    Raises:
        ConfigError: an unknown range or order, or a range that cannot be found out.
        WeightsError: the file is no ONNX network, or not one that enlarges pictures.
    """

    def __init__(self, file: Path, device: str, value_range: int | None = None, order: str = "rgb") -> None:
        if value_range not in (None, *RANGES) or order not in ORDERS:
            raise ConfigError(f"onnx: range is 1 or 255 and order rgb or bgr, got {value_range!r} and {order!r}.")
        self.file, self.bgr = file, order == "bgr"
        try:
            self.session = open_session(file.read_bytes(), device)
        except OSError as error:
            raise WeightsError(f"{shown(file)}: cannot be read ({error.strerror or error}).") from error
        except Exception as error:  # onnxruntime's own classes derive from nothing narrower
            raise WeightsError(f"{shown(file)}: no network that ONNX Runtime can run ({error}).") from error
        if len(self.session.get_inputs()) != 1 or len(self.session.get_outputs()) != 1:
            raise WeightsError(f"{shown(file)}: a network with one input and one output is needed.")
        # Some files are exported for one picture at a time.
        self.batch_pixels = 1 if self.session.get_inputs()[0].shape[:1] == [1] else BATCH_PIXELS
        self.scale = self._find_scale()
        self.range = value_range or self._find_range()

    def upscale(self, images: Sequence[Image]) -> list[Image]:
        """Return the enlarged pictures in the order of the input; sizes may differ.

        Raises:
            StageError: the network does not take a picture of this size.
        """
        return by_size(images, self._batch, pixels=self.batch_pixels)

    def _batch(self, images: Sequence[Image]) -> list[Image]:
        stacked = np.stack([image.pixels for image in images])
        if self.bgr:
            stacked = stacked[..., ::-1]
        try:
            out = self._call(stacked.transpose(0, 3, 1, 2).astype(np.float32) * (self.range / 255))
        except Exception as error:
            if out_of_memory(error):
                raise
            size = f"{images[0].width} x {images[0].height} px"
            raise StageError(f"{shown(self.file)}: the network fails on pictures of {size} ({error}).") from error
        pixels = np.clip(np.rint(out * (255 / self.range)), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
        return [Image(picture[..., ::-1] if self.bgr else picture) for picture in pixels]

    def _call(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        (out,) = self.session.run(None, {self.session.get_inputs()[0].name: np.ascontiguousarray(x)})
        return np.asarray(out, np.float32)

    def _find_scale(self) -> int:
        wide = 2 * _PROBE
        try:
            shape = self._call(np.zeros((1, 3, _PROBE, wide), np.float32)).shape
        except Exception as error:
            wanted = f"float32 (1, 3, {_PROBE}, {wide})"
            raise WeightsError(f"{shown(self.file)}: does not take {wanted} ({error}).") from error
        scale = shape[2] // _PROBE if len(shape) == 4 else 0
        if scale < 1 or shape != (1, 3, _PROBE * scale, wide * scale):
            raise WeightsError(f"{shown(self.file)}: gave shape {shape} for (1, 3, {_PROBE}, {wide}): no enlargement.")
        return scale

    def _find_range(self) -> int:
        noise = np.random.default_rng(0).random((1, 3, _PROBE, _PROBE), np.float32)
        answers = [self._call(noise * white) / white for white in RANGES]
        if np.abs(answers[0] - answers[1]).max() < 0.5 / 255:
            return RANGES[0]  # the same picture comes out either way
        off = {white: self._off_grey(white) for white in RANGES}
        best, other = sorted(RANGES, key=off.__getitem__)
        if off[best] <= _NEAR and off[other] >= max(_FAR, _CLEARLY * off[best]):
            return best
        raise ConfigError(
            f"{shown(self.file)}: its range cannot be found out: grey comes out {off[1]:.4f} of white away from grey "
            f"when white is 1, {off[255]:.4f} when it is 255. Set it: sr_options: {{onnx: {{range: 1}}}}, or 255."
        )

    def _off_grey(self, white: int) -> float:
        """Return how far grey comes out from itself, on average, as a share of white, if white is `white`."""
        middle = slice(4 * self.scale, -4 * self.scale)  # away from the border, where padding darkens
        found = []
        for grey in _GREYS:
            out = self._call(np.full((1, 3, _PROBE, _PROBE), grey * white, np.float32))[..., middle, middle]
            found.append(float(np.abs(out / white - grey).mean()))
        off = max(found)
        return off if np.isfinite(off) else float("inf")


def build(options: Options) -> OnnxSr:
    """Build the backend; settings: `range` (1 or 255, else found out) and `order` (`rgb` or `bgr`, else `rgb`).

    Raises:
        ConfigError: no file is given, a setting is unknown, the range is not to be found out, or the network enlarges
            another number of times.
        WeightsError: the file is no network that enlarges pictures.
    """
    options.refuse_extra(INFO.name, "range", "order")
    if options.weights is None:
        raise ConfigError("Backend 'onnx' has no weights of its own: give a file, --sr onnx:FILE.")
    backend = OnnxSr(options.weights, options.device, options.extra.get("range"), options.extra.get("order", "rgb"))
    if backend.scale != options.scale:
        raise ConfigError(
            f"{shown(options.weights)} enlarges {backend.scale} times, not {options.scale} as asked: use --scale."
        )
    return backend
