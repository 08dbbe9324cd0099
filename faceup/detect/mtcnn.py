"""MTCNN with the networks and thresholds of facenet-pytorch (MIT).

The weights are facenet-pytorch's, the cascade is this project's (`_cascade`): the same steps for all pictures of one
size together; on a CPU each thread has its share of the pictures. Boxes, landmarks, scores and their order are those
of facenet-pytorch's `detect`, called with a picture alone, but for the rounding of floats: on 204 photos and 816
simulated probes, as they came and enlarged four times, the largest difference was 0.001 px
(`tools/check_detector.py`). Rounding could move a box over the edge between two whole pixels, or change which of two
windows scores higher; then they would differ by more. Two things differ on purpose: a picture smaller than the
smallest face has no faces, and a window that lies wholly outside its picture is dropped; facenet-pytorch 2.5.3 fails
on both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image as PilImage

from faceup.detect._cascade import Cascade
from faceup.errors import ConfigError
from faceup.networks.mtcnn import Layer, Network, layers, onnx_model, torch_network
from faceup.networks.mtcnn_native import mtcnn_in_c
from faceup.registry import Options
from faceup.runtime.batching import by_size, run_in_halves
from faceup.runtime.engine import has_native
from faceup.runtime.onnx_session import cpu_network
from faceup.runtime.workers import Workers
from faceup.types import BackendInfo, Detections, Image
from faceup.weights import store

INFO = BackendInfo(
    name="mtcnn",
    version="1",
    licence="MIT",
    summary="MTCNN of facenet-pytorch, thresholds 0.6, 0.7, 0.7",
    generative=False,
    weights=("mtcnn-pnet", "mtcnn-rnet", "mtcnn-onet"),
)

MIN_FACE_SIZE = 20
MAX_SIDE = 1024
# Crops that go through a network at a time in ONNX Runtime, so that their features stay in the cache.
PORTIONS = {"mtcnn-rnet": 16, "mtcnn-onet": 4}
# Pixels of small pictures searched at once by all threads together, and of large ones, one a thread; a pixel takes up
# to 80 bytes.
_BATCH_PIXELS, _MOST_PIXELS = 2_000_000, 8_000_000


class Mtcnn:
    """Finds faces of at least `min_face_size` pixels.

    A picture whose longer side exceeds `max_side` is reduced to it for the search, and the results are scaled back: in
    a 10-megapixel mugshot nobody looks for faces of 20 pixels.
    """

    def __init__(self, device: str, min_face_size: int = MIN_FACE_SIZE, max_side: int = MAX_SIDE) -> None:
        whole = all(type(value) is int for value in (min_face_size, max_side))
        if not whole or min_face_size < 12 or max_side < 48:
            raise ConfigError(
                "mtcnn needs whole numbers, min_face_size >= 12 and max_side >= 48, "
                f"got {min_face_size!r} and {max_side!r}."
            )
        self.max_side = max_side
        where = torch.device(device)
        threads = torch.get_num_threads() if where.type == "cpu" else 1
        # A picture alone gets all threads. Of several each thread gets a share and goes through the steps alone, since
        # most of the steps are too short to be divided.
        self._workers = Workers(threads)
        nets = [layers(name.removeprefix("mtcnn-"), store.load(name).tensors) for name in INFO.weights]
        self.cascade = _cascade(nets, where, min_face_size, self._workers)
        self._alone = self.cascade if threads == 1 else _cascade(nets, where, min_face_size, Workers(1))

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Return the faces of each picture, in the order of the input; sizes may differ."""
        if self._workers.count == 1:
            return self._searched(images, self.cascade)
        return run_in_halves(self._side_by_side, images)

    def _side_by_side(self, images: Sequence[Image]) -> list[Detections]:
        largest = max((min(image.width * image.height, self.max_side**2) for image in images), default=1)
        shares = min(self._workers.count, len(images), _MOST_PIXELS // largest)
        if shares < 2:
            return [self._searched([image], self.cascade)[0] for image in images]
        return self._workers.share(
            lambda some: self._searched(some, self._alone, _BATCH_PIXELS // shares), images, shares
        )

    def _searched(self, images: Sequence[Image], cascade: Cascade, pixels: int = _BATCH_PIXELS) -> list[Detections]:
        small = [self._reduced(image) for image in images]
        found = by_size(small, cascade.detect, pixels=pixels)
        return [_scaled_back(d, s, image) for d, s, image in zip(found, small, images, strict=True)]

    def _reduced(self, image: Image) -> Image:
        longer = max(image.width, image.height)
        if longer <= self.max_side:
            return image
        size = (
            max(1, round(image.width * self.max_side / longer)),
            max(1, round(image.height * self.max_side / longer)),
        )
        return Image(np.asarray(PilImage.fromarray(image.pixels).resize(size, PilImage.Resampling.BOX)))


def _cascade(nets: Sequence[list[Layer]], device: torch.device, min_face_size: int, workers: Workers) -> Cascade:
    named = zip(INFO.weights, nets, strict=True)
    proposal, refine, output = (_network(name, net, device, workers) for name, net in named)
    return Cascade(proposal, refine, output, min_face_size, device)


def _network(name: str, net: list[Layer], device: torch.device, workers: Workers) -> Network:
    if device.type != "cpu":
        return torch_network(net, device)
    if has_native():
        made = mtcnn_in_c(name.removeprefix("mtcnn-"), net)
        return lambda x: torch.from_numpy(made.run(np.ascontiguousarray(x.numpy()), workers.count))
    # ONNX Runtime spends less than torch on networks as small as these, above all on few crops.
    return cpu_network(onnx_model(net), PORTIONS.get(name), workers.count)


def _scaled_back(found: Detections, searched: Image, original: Image) -> Detections:
    if searched is original:
        return found
    factor = np.array([original.width / searched.width, original.height / searched.height], np.float32)
    boxes = (found.boxes.reshape(-1, 2, 2) + 0.5) * factor - 0.5
    landmarks = (found.landmarks + 0.5) * factor - 0.5
    return Detections(boxes.reshape(-1, 4), found.scores, landmarks)


def build(options: Options) -> Mtcnn:
    """Build the detector; settings: `min_face_size` (pixels, default 20) and `max_side` (pixels, default 1024)."""
    options.refuse_extra(INFO.name, "min_face_size", "max_side")
    options.refuse_weights(INFO.name)
    return Mtcnn(options.device, **options.extra)
