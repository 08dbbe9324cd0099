"""The second half of LCGE: fine detail of components, taken from real faces that look alike there.

A bank holds aligned faces twice: as the five networks made them from an LR picture, and as they really were. For every
patch of a new face the most similar patches of the first kind are found near the same place; the new patch is written
as their weighted sum (locally linear embedding), and the same sum of the second kind is the detail that goes with it.

Everything is luma on a grid: the inner square of the template of aligned faces, enlarged. What the paper leaves open
(patches, neighbours, filter) is `LcgeConfig`'s.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from faceup.networks.lcge import LcgeConfig
from faceup.types import Floats, Image

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def luma(pixels: npt.NDArray[np.uint8]) -> Floats:
    """Return (H, W) float32 luma, 0..255, of (H, W, 3) RGB."""
    grey: Floats = pixels.astype(np.float32) @ _LUMA
    return grey


def on_grid(grey: Floats, matrix: npt.ArrayLike, config: LcgeConfig) -> Floats:
    """Warp luma to the grid, (G, G) float32; `matrix` maps the picture to the template."""
    size = (config.grid, config.grid)
    warp = _to_grid(matrix, config)
    warped = cv2.warpAffine(grey, warp, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.float32)


def from_grid(detail: Floats, matrix: npt.ArrayLike, config: LcgeConfig, width: int, height: int) -> Floats:
    """Warp what lies on the grid back into a picture of the given size, 0 outside the grid."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warp = _to_grid(matrix, config)
    warped = cv2.warpAffine(detail, warp, (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(warped, np.float32)


def _to_grid(matrix: npt.ArrayLike, config: LcgeConfig) -> npt.NDArray[np.float64]:
    scaled = np.asarray(matrix, np.float64) * config.zoom
    # Pixel centres lie at integers, on the template and on the grid alike.
    scaled[:, 2] += config.zoom * (0.5 - np.array(config.inner[:2])) - 0.5
    return scaled


class Exemplars:
    """A bank, cut into patches.

    Args:
        generated: (N, G, G) uint8 luma on the grid, of the networks' pictures.
        real: likewise, of the originals, in the same order.
        config: the grid and the patches.

    Raises:
        ValueError: the shapes are not those.
    """

    def __init__(self, generated: Tensor, real: Tensor, config: LcgeConfig) -> None:
        wanted = (len(generated), config.grid, config.grid)
        if tuple(generated.shape) != wanted or real.shape != generated.shape or not len(generated):
            raise ValueError(f"two times (N, {config.grid}, {config.grid}) wanted, got {generated.shape}, {real.shape}")
        self.config, self.count = config, len(generated)
        self.side = (config.grid - config.patch) // config.stride + 1  # patches in a row
        self.made, self.true = (self._patches(bank.float()) for bank in (generated, real))
        steps = range(-config.reach, config.reach + 1)
        self.shifts = torch.tensor([(dy, dx) for dy in steps for dx in steps])
        self.covered = self._laid(torch.ones(self.side**2, config.patch**2))

    def detail(self, face: Floats, sigma: float) -> Floats:
        """Return what the bank adds to a face that the networks made.

        Args:
            face: (G, G) luma on the grid.
            sigma: of the Gaussian that parts coarse from fine, in pixels of the grid.

        Returns:
            (G, G) float32: the fine part of the real patches less the fine part of the face.
        """
        picture = torch.from_numpy(np.ascontiguousarray(face))
        query = self._patches(picture[None])[0].flatten(1).T  # (places, K^2), without their means
        chosen = self._nearest(query)
        weights = self._weights(query, self._gather(self.made, chosen))
        written = (weights[:, None] @ self._gather(self.true, chosen))[:, 0]
        means = F.avg_pool2d(picture[None, None], self.config.patch, self.config.stride).reshape(-1, 1)
        laid = self._laid(written + means) / self.covered.clamp(min=1)
        whole = torch.where(self.covered > 0, laid, picture).numpy()
        fine: Floats = _fine(whole, sigma) - _fine(face, sigma)
        return fine

    def _patches(self, faces: Tensor) -> Tensor:
        """Return (N, K^2, P, P): every patch of (N, G, G) less its mean."""
        columns = F.unfold(faces[:, None], self.config.patch, stride=self.config.stride)
        columns = columns - columns.mean(dim=1, keepdim=True)
        return columns.view(*columns.shape[:2], self.side, self.side)

    def _laid(self, patches: Tensor) -> Tensor:
        """Return the sum (G, G) of patches (places, K^2) laid where they belong."""
        grid = (self.config.grid, self.config.grid)
        return F.fold(patches.T[None], grid, self.config.patch, stride=self.config.stride)[0, 0]

    def _nearest(self, query: Tensor) -> Tensor:
        """Return (places, neighbours): the nearest candidates of every place, numbered by shift and then by face."""
        distances = []
        for dy, dx in self.shifts.tolist():
            rows, columns = ((torch.arange(self.side) + d).clamp(0, self.side - 1) for d in (dy, dx))
            near = self.made[:, :, rows][:, :, :, columns].flatten(2)
            # |a - b|^2 without |b|^2, which is the same for all candidates.
            distances.append(near.square().sum(dim=1) - 2 * torch.einsum("nkp,pk->np", near, query))
        every = torch.cat(distances)
        return every.topk(min(self.config.neighbours, len(every)), dim=0, largest=False).indices.T

    def _gather(self, patches: Tensor, chosen: Tensor) -> Tensor:
        """Return (places, neighbours, K^2): the patches of the chosen candidates."""
        steps = self.shifts[chosen // self.count]
        place = torch.arange(len(chosen))[:, None]
        rows = (place // self.side + steps[..., 0]).clamp(0, self.side - 1)
        columns = (place % self.side + steps[..., 1]).clamp(0, self.side - 1)
        return patches[chosen % self.count, :, rows, columns]

    def _weights(self, query: Tensor, candidates: Tensor) -> Tensor:
        """Return (places, neighbours): weights of sum 1 that write each query as its candidates."""
        away = candidates - query[:, None]
        gram = away @ away.transpose(1, 2)
        places, count = gram.shape[:2]
        ridge = self.config.ridge * gram.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(min=1e-6)
        solved = torch.linalg.solve(gram + ridge[:, None, None] * torch.eye(count), torch.ones(places, count, 1))
        weights: Tensor = solved[..., 0] / solved.sum(dim=1)
        return weights


def _fine(grey: Floats, sigma: float) -> Floats:
    smooth = cv2.GaussianBlur(grey, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return grey - np.asarray(smooth, np.float32)


def paste(picture: Image, change: Floats) -> Image:
    """Return the picture with `change` (H, W) added to all its colours, rounded and clamped."""
    return Image(np.clip(np.rint(picture.pixels + change[:, :, None]), 0, 255).astype(np.uint8))
