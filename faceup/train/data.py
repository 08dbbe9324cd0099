"""Training pictures: pairs of HR and LR in memory, crops drawn by step number so that a resumed run repeats none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from faceup.errors import DataError
from faceup.files import shown
from faceup.images import read_image, reduced_pair
from faceup.types import Pixels


class PairSet:
    """Numbered pictures as HR and LR arrays.

    Attributes:
        hr: (N, H, W, 3) uint8 RGB.
        lr: (N, H / scale, W / scale, 3) uint8 RGB.
    """

    def __init__(self, folder: Path, first: int, last: int, scale: int) -> None:
        """Read the files whose names are numbers from `first` to `last`.

        Raises:
            DataError: the folder is missing, a number is missing, or sizes differ.
        """
        files = {int(p.stem): p for p in folder.glob("*.jpg") if p.stem.isdigit()} if folder.is_dir() else {}
        missing = [n for n in range(first, last + 1) if n not in files]
        if missing:
            raise DataError(
                f"{shown(folder)}: {len(missing)} of the pictures {first} to {last} are missing, e.g. {missing[0]:04d}."
            )
        pairs = [reduced_pair(read_image(files[n]), scale) for n in range(first, last + 1)]
        if len({p[0].pixels.shape for p in pairs}) != 1:
            raise DataError(f"{shown(folder)}: all training pictures must have the same size.")
        self.hr = np.stack([p[0].pixels for p in pairs])
        self.lr = np.stack([p[1].pixels for p in pairs])
        self.scale = scale

    def __len__(self) -> int:
        return len(self.hr)

    def batch(self, step: int, *, seed: int, size: int, patch: int) -> tuple[Tensor, Tensor]:
        """Return the crops of one step, turned and mirrored at random; the same step always gives the same crops.

        Returns:
            LR (size, 3, patch, patch) and HR (size, 3, patch * scale, patch * scale), float32 RGB 0..255.
        """
        rng = np.random.default_rng((seed, step))
        patch = min(patch, *self.lr.shape[1:3])
        lr: list[Pixels] = []
        hr: list[Pixels] = []
        for _ in range(size):
            n = rng.integers(len(self))
            y, x = rng.integers(self.lr.shape[1] - patch + 1), rng.integers(self.lr.shape[2] - patch + 1)
            turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
            for source, out, s in ((self.lr, lr, 1), (self.hr, hr, self.scale)):
                crop = np.rot90(source[n, y * s : (y + patch) * s, x * s : (x + patch) * s], turns)
                out.append(crop[:, ::-1] if mirror else crop)
        return to_tensor(lr), to_tensor(hr)


def to_tensor(pictures: Sequence[Pixels]) -> Tensor:
    """Return (N, 3, H, W) float32 0..255 from pictures (H, W, 3) uint8 of one size."""
    stacked = np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))
    return torch.from_numpy(stacked).float()
