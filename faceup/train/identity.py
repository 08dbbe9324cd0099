"""The identity term: how unlike a recogniser finds the super-resolved face and the original, differentiable."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceup.errors import ConfigError
from faceup.geometry import SIZE, similarity_transform
from faceup.networks.mobilefacenet import MobileFaceNet, load_mobilefacenet
from faceup.types import Floats
from faceup.weights import store


def recogniser(weights: store.LoadedWeights, device: str = "cpu") -> MobileFaceNet:
    """Return a MobileFaceNet, ready for use and frozen, in the layout that the device is quickest with forward.

    Raises:
        ConfigError: it sees faces of another size than 112 x 112 px.
        WeightsError: the tensors are those of another network.
    """
    net = load_mobilefacenet(weights.tensors).requires_grad_(False).to(device)
    if net.pool != (7, 7):
        raise ConfigError(f"{weights.name} sees faces of another size than 112 x 112 px; a training needs those.")
    return net.to(memory_format=_layout(device))


def _layout(device: str) -> torch.memory_format:
    # torch's own kernels for convolutions of one channel each, which CUDA takes without channels last, are the quicker.
    return torch.channels_last if device == "cpu" else torch.contiguous_format


def embedded(net: nn.Module, aligned: Tensor) -> Tensor:
    """Return unit rows (N, D) of aligned faces, float (N, 3, 112, 112) RGB 0..255."""
    return F.normalize(net(network_input(aligned)))


def embedded_fast(net: nn.Module, aligned: Tensor) -> Tensor:
    """Return what `embedded` does, by a network in that layout."""
    return embedded(net, aligned.contiguous(memory_format=_layout(aligned.device.type)))


def network_input(aligned: Tensor) -> Tensor:
    """Return what the shipped MobileFaceNet takes, of aligned faces (N, 3, 112, 112) RGB 0..255: BGR, about -1..1."""
    return (aligned.flip(1) - 127.5) / 128.0


def aligned_faces(pictures: Tensor, landmarks: Floats) -> Tensor:
    """Warp faces to the template as `faceup.align` does, so that gradients reach the pictures.

    Interpolation is bilinear, black outside. `faceup.align` reduces faces of more than twice the template's size
    first; here they are not, so give smaller ones.

    Args:
        pictures: float (N, 3, H, W).
        landmarks: (N, 5, 2) x, y in their pixels.

    Returns:
        (N, 3, 112, 112).
    """
    height, width = pictures.shape[2:]
    inverse = np.stack([_inverse(similarity_transform(points)) for points in landmarks]).astype(np.float32)
    v, u = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    template = torch.stack([u, v, torch.ones_like(u)], dim=-1).float()
    # (N, 112, 112, 2): where every pixel of the template lies in the picture.
    places = torch.einsum("nij,hwj->nhwi", torch.from_numpy(inverse), template)
    grid = (places * torch.tensor([2 / (width - 1), 2 / (height - 1)]) - 1).to(pictures.device)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def _inverse(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2], np.float64)


class IdentityTerm:
    """What a frozen MobileFaceNet makes of super-resolved faces and of their originals.

    Args:
        weights: a name of the catalogue or a file.
        device: `cpu` or `cuda`.
    """

    def __init__(self, weights: str = "mobilefacenet", device: str = "cpu") -> None:
        loaded = store.load_named(weights)
        self.net, self.sha256 = recogniser(loaded, device), loaded.sha256

    def vectors(self, aligned: Tensor, originals: Tensor) -> tuple[Tensor, Tensor]:
        """Return the unit rows (N, D) of faces and of their originals.

        Args:
            aligned: faces (N, 3, 112, 112) RGB 0..255; gradients reach them.
            originals: the same.
        """
        with torch.no_grad():
            wanted = embedded_fast(self.net, originals)
        return embedded_fast(self.net, aligned), wanted

    def cosines(self, aligned: Tensor, originals: Tensor) -> Tensor:
        """Return (N,) cosines between the two; see `vectors`."""
        got, wanted = self.vectors(aligned, originals)
        return (got * wanted).sum(dim=1)
