"""LCGE (IJCAI 2017), reimplemented from abstract and poster: component networks, then detail from real faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from faceup import registry
from faceup.errors import WeightsError
from faceup.geometry import similarity_transform
from faceup.images import resize
from faceup.networks.lcge import Lcge, LcgeConfig, load_lcge
from faceup.protocols import Detector
from faceup.registry import Options
from faceup.runtime.batching import by_size
from faceup.sr._exemplars import Exemplars, from_grid, luma, on_grid, paste
from faceup.sr._face_parts import component_weights
from faceup.sr._network import load_network
from faceup.types import BackendInfo, Floats, Image

INFO = BackendInfo(
    name="lcge",
    version="1",
    licence="Apache-2.0",
    summary="component generation and enhancement; reimplementation from the abstract",
    generative=True,
    weights=("lcge-x4",),
)

BANK = "bank."
# Input pixels of one batch.
BATCH_PIXELS = 64 * 1024


def generate(
    net: Lcge, images: Sequence[Image], matrices: Sequence[Sequence[Floats]], device: torch.device
) -> list[Image]:
    """Return what the five networks make of pictures of one size.

    Args:
        net: the networks, on `device`.
        images: LR pictures.
        matrices: per picture, (2, 3) each, from pixels of the enlarged picture to the template, one a face.
        device: where to compute.
    """
    width, height = images[0].width * net.config.scale, images[0].height * net.config.scale
    weights = np.stack([component_weights(faces, net.config, width=width, height=height) for faces in matrices])
    stacked = torch.from_numpy(np.stack([image.pixels for image in images])).to(device)
    with torch.inference_mode():
        y = net(stacked.permute(0, 3, 1, 2).float(), torch.from_numpy(weights).to(device))
        pixels = y.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image(picture) for picture in pixels]


class LcgeSr:
    """Enlarges by five networks, then adds the detail of the bank's most similar faces to eyes, brows, nose and mouth.

    Faces are looked for in the bicubic enlargement with the default detector. Where none is found the picture is
    enlarged by the network of the rest alone: a guessed place would paint facial features onto anything.
    """

    def __init__(self, net: Lcge, exemplars: Exemplars, device: str) -> None:
        self.net = net.eval().requires_grad_(False).to(device)
        self.scale, self.exemplars, self.device = net.config.scale, exemplars, torch.device(device)
        self.detector: Detector = registry.build("detect", "mtcnn", Options(device=device))

    def upscale(self, images: Sequence[Image]) -> list[Image]:
        """Return the enlarged pictures in the order of the input; sizes may differ."""
        return by_size(images, self._batch, pixels=BATCH_PIXELS)

    def _batch(self, images: Sequence[Image]) -> list[Image]:
        smooth = [resize(image, image.width * self.scale, image.height * self.scale) for image in images]
        found = self.detector.detect(smooth)
        matrices = [[similarity_transform(p).astype(np.float32) for p in faces.landmarks] for faces in found]
        generated = generate(self.net, images, matrices, self.device)
        return [self._enhanced(image, faces) for image, faces in zip(generated, matrices, strict=True)]

    def _enhanced(self, image: Image, faces: Sequence[Floats]) -> Image:
        config, size = self.net.config, {"width": image.width, "height": image.height}
        change = np.zeros((image.height, image.width), np.float32)
        for matrix in faces:
            # Pixels of the grid that one LR pixel covers.
            zoom = self.scale * config.zoom * float(np.hypot(matrix[0, 0], matrix[1, 0]))
            with torch.inference_mode():
                fine = self.exemplars.detail(on_grid(luma(image.pixels), matrix, config), max(config.fine * zoom, 0.5))
            share = component_weights([matrix], config, **size).sum(axis=0)
            change += share * from_grid(fine, matrix, config, **size)
        return paste(image, change)


def build(options: Options) -> LcgeSr:
    """Build the backend.

    Raises:
        ConfigError: no weights of the asked scale are shipped, or the given file is for another scale.
        WeightsError: the weights are missing, damaged, or another network's, or the bank of faces is missing.
    """
    exemplars: list[Exemplars] = []

    def load(state: Mapping[str, Tensor], config: LcgeConfig | None) -> Lcge:
        net = load_lcge({key: value for key, value in state.items() if not key.startswith(BANK)}, config)
        try:
            exemplars.append(Exemplars(state[f"{BANK}generated"], state[f"{BANK}real"], net.config))
        except (KeyError, ValueError) as error:
            raise WeightsError(f"The bank of faces is missing or damaged ({error}).") from error
        return net

    options.refuse_extra(INFO.name)
    net = load_network(options, INFO, "LCGE", LcgeConfig, load)
    return LcgeSr(net, exemplars[0], options.device)
