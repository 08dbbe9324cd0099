"""The second half of LCGE: fine detail of components, taken from real faces that look alike there.

A bank holds aligned faces twice: as the five networks made them from an LR picture, and as they really were. For every
patch of a new face the most similar patches of the first kind are found near the same place; the new patch is written
as their weighted sum (locally linear embedding), and the same sum of the second kind is the detail that goes with it.

Everything is luma on a canonical grid: the template of aligned faces, enlarged. The paper's patch size, number of
neighbours and detail filter are not published; the constants here are this project's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from faceup.types import Floats, Image

# The part of the 112 x 112 template that holds all components, and how many times it is enlarged.
_LEFT, _TOP, _SIDE = 20.0, 30.0, 76.0
ZOOM = 1.25
GRID = int(_SIDE * ZOOM)
PATCH, STRIDE, NEIGHBOURS, RIDGE = 7, 3, 5, 1e-3
# Patches are compared up to so many strides away from their own place.
REACH = 1
_PLACES = (GRID - PATCH) // STRIDE + 1
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class Bank:
    """Aligned faces twice, in the same order.

    Attributes:
        generated: (N, GRID, GRID) uint8 luma, of the networks' pictures.
        real: likewise, of the originals.
    """

    generated: Tensor
    real: Tensor

    def __post_init__(self) -> None:
        wanted = (len(self.generated), GRID, GRID)
        if tuple(self.generated.shape) != wanted or self.real.shape != self.generated.shape or not wanted[0]:
            raise ValueError(
                f"a bank needs two times (N, {GRID}, {GRID}), got {self.generated.shape}, {self.real.shape}"
            )


def luma(pixels: npt.NDArray[np.uint8]) -> Floats:
    """Return (H, W) float32 luma, 0..255, of (H, W, 3) RGB."""
    grey: Floats = pixels.astype(np.float32) @ _LUMA
    return grey


def on_grid(grey: Floats, matrix: npt.ArrayLike) -> Floats:
    """Warp luma to the canonical grid, (GRID, GRID) float32; `matrix` maps the picture to the template."""
    size = (GRID, GRID)
    warped = cv2.warpAffine(grey, _to_grid(matrix), size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.float32)


def from_grid(detail: Floats, matrix: npt.ArrayLike, width: int, height: int) -> Floats:
    """Warp what lies on the canonical grid back into a picture of the given size, 0 outside the grid."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(
        detail, _to_grid(matrix), (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )
    return np.asarray(warped, np.float32)


def _to_grid(matrix: npt.ArrayLike) -> npt.NDArray[np.float64]:
    scaled = np.asarray(matrix, np.float64) * ZOOM
    # Pixel centres lie at integers, on the template and on the grid alike.
    scaled[:, 2] += ZOOM * (0.5 - np.array([_LEFT, _TOP])) - 0.5
    return scaled


def detail(face: Floats, bank: Bank, sigma: float) -> Floats:
    """Return what the bank adds to a face that the networks made.

    Args:
        face: (GRID, GRID) luma on the canonical grid.
        bank: the exemplars.
        sigma: of the Gaussian that parts coarse from fine, in pixels of the grid.

    Returns:
        (GRID, GRID) float32: the fine part of the real patches less the fine part of the face.
    """
    wanted = _patches(torch.from_numpy(np.ascontiguousarray(face))[None])[0]  # (49, P, P)
    made, true = _patches(bank.generated.float()), _patches(bank.real.float())  # (N, 49, P, P)
    places, count = _PLACES * _PLACES, len(bank.generated)
    shifts = [(dy, dx) for dy in range(-REACH, REACH + 1) for dx in range(-REACH, REACH + 1)]
    query = wanted.reshape(PATCH * PATCH, places).T  # (places, 49)
    distances = []
    for dy, dx in shifts:
        near = _moved(made, dy, dx).reshape(count, PATCH * PATCH, places)
        # |a - b|^2 without |b|^2, which is the same for all candidates.
        distances.append(near.square().sum(dim=1) - 2 * torch.einsum("nkp,pk->np", near, query))
    best = (
        torch.stack(distances)
        .reshape(len(shifts) * count, places)
        .topk(min(NEIGHBOURS, len(shifts) * count), dim=0, largest=False)
    )
    chosen = best.indices.T  # (places, K)
    candidates, answers = (_gather(patches, shifts, chosen, count) for patches in (made, true))  # (places, K, 49)
    weights = _reconstruction_weights(query, candidates)
    synthesised = (weights[:, None] @ answers)[:, 0]  # (places, 49), mean-free
    summed = F.fold(synthesised.T[None], (GRID, GRID), PATCH, stride=STRIDE)[0, 0]
    covered = F.fold(torch.ones_like(synthesised.T)[None], (GRID, GRID), PATCH, stride=STRIDE)[0, 0]
    means = F.fold(
        _means(torch.from_numpy(np.ascontiguousarray(face))[None])[0].reshape(1, 1, places).expand(1, PATCH**2, places),
        (GRID, GRID), PATCH, stride=STRIDE,
    )[0, 0]  # fmt: skip
    whole = torch.where(covered > 0, (summed + means) / covered.clamp(min=1), torch.from_numpy(face)).numpy()
    fine: Floats = _fine(whole, sigma) - _fine(face, sigma)
    return fine


def _fine(grey: Floats, sigma: float) -> Floats:
    smooth = cv2.GaussianBlur(grey, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return grey - np.asarray(smooth, np.float32)


def _patches(faces: Tensor) -> Tensor:
    """Return (N, 49, P, P): every patch of (N, GRID, GRID) less its mean."""
    columns = F.unfold(faces[:, None], PATCH, stride=STRIDE).view(len(faces), PATCH * PATCH, _PLACES, _PLACES)
    return columns - columns.mean(dim=1, keepdim=True)


def _means(faces: Tensor) -> Tensor:
    return F.avg_pool2d(faces[:, None], PATCH, STRIDE)[:, 0]


def _moved(patches: Tensor, dy: int, dx: int) -> Tensor:
    """Return at every place the patch `dy`, `dx` strides away; at the border the nearest that there is."""
    rows = (torch.arange(_PLACES) + dy).clamp(0, _PLACES - 1)
    columns = (torch.arange(_PLACES) + dx).clamp(0, _PLACES - 1)
    return patches[:, :, rows][:, :, :, columns]


def _gather(patches: Tensor, shifts: Sequence[tuple[int, int]], chosen: Tensor, count: int) -> Tensor:
    """Return (places, K, 49): the chosen candidates, numbered by shift and then by face."""
    steps = torch.tensor(shifts)[chosen // count]  # (places, K, 2)
    place = torch.arange(len(chosen))[:, None]
    rows = (place // _PLACES + steps[..., 0]).clamp(0, _PLACES - 1)
    columns = (place % _PLACES + steps[..., 1]).clamp(0, _PLACES - 1)
    return patches[chosen % count, :, rows, columns]


def _reconstruction_weights(query: Tensor, candidates: Tensor) -> Tensor:
    """Return (places, K): weights of sum 1 that write each query as its candidates, with a ridge for stability."""
    away = candidates - query[:, None]
    gram = away @ away.transpose(1, 2)
    count = gram.shape[1]
    ridge = RIDGE * gram.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(min=1e-6)
    solved = torch.linalg.solve(gram + ridge[:, None, None] * torch.eye(count), torch.ones(len(gram), count, 1))[..., 0]
    return solved / solved.sum(dim=1, keepdim=True)


def paste(picture: Image, change: Floats) -> Image:
    """Return the picture with `change` (H, W) added to all its colours, rounded and clamped."""
    return Image(np.clip(np.rint(picture.pixels + change[:, :, None]), 0, 255).astype(np.uint8))
