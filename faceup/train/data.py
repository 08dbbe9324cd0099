"""Training pictures: pairs of HR and LR in memory, crops drawn by step number so that a resumed run repeats none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from faceup import registry
from faceup.errors import DataError
from faceup.files import shown
from faceup.geometry import similarity_transform
from faceup.images import read_image, reduced_pair
from faceup.networks.lcge import LcgeConfig
from faceup.protocols import Detector
from faceup.sr._face_parts import component_weights
from faceup.types import Floats, Image, Pixels


def numbered_files(folder: Path, first: int, last: int) -> list[Path]:
    """Return the files of a folder whose names are the numbers `first` to `last`, both included.

    Raises:
        DataError: the folder or a number is missing.
    """
    files = {int(p.stem): p for p in folder.glob("*.jpg") if p.stem.isdigit()} if folder.is_dir() else {}
    missing = [n for n in range(first, last + 1) if n not in files]
    if missing:
        raise DataError(
            f"{shown(folder)}: {len(missing)} of the pictures {first} to {last} are missing, e.g. {missing[0]:04d}.jpg."
        )
    return [files[n] for n in range(first, last + 1)]


def files_sha256(files: Sequence[Path]) -> str:
    """Return one hash of the contents of files in their order."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class PairSet:
    """Numbered pictures as HR and LR arrays.

    Attributes:
        hr: (N, H, W, 3) uint8 RGB.
        lr: (N, H / scale, W / scale, 3) uint8 RGB.
        faces: per picture, one matrix a face from HR pixels to the template of aligned faces; None if not asked for.
    """

    def __init__(
        self, folder: Path, first: int, last: int, scale: int, *, components: LcgeConfig | None = None
    ) -> None:
        """Read the files whose names are numbers from `first` to `last`.

        Args:
            folder: of the pictures.
            first: number of the first picture.
            last: number of the last.
            scale: how many times HR is larger than LR.
            components: where facial components are, if the network gets them; faces are then looked for.

        Raises:
            DataError: the folder is missing, a number is missing, or sizes differ.
        """
        pairs = [reduced_pair(read_image(path), scale) for path in numbered_files(folder, first, last)]
        if len({p[0].pixels.shape for p in pairs}) != 1:
            raise DataError(f"{shown(folder)}: all training pictures must have the same size.")
        self.hr = np.stack([p[0].pixels for p in pairs])
        self.lr = np.stack([p[1].pixels for p in pairs])
        self.scale = scale
        self.components = components
        self.faces = _faces(self.hr) if components is not None else None

    def __len__(self) -> int:
        return len(self.hr)

    def batch(self, step: int, *, seed: int, size: int, patch: int) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the crops of one step, turned and mirrored at random; the same step always gives the same crops.

        Returns:
            What the network takes, and HR (size, 3, patch * scale, patch * scale). The first is LR (size, 3, patch,
            patch), followed, with faces, by how much each facial component has of each HR pixel (size, 4, patch *
            scale, patch * scale). Pictures are float32 RGB 0..255.
        """
        rng = np.random.default_rng((seed, step))
        patch = min(patch, *self.lr.shape[1:3])
        lr: list[Pixels] = []
        hr: list[Pixels] = []
        components: list[Floats] = []
        for _ in range(size):
            n = int(rng.integers(len(self)))
            y, x = int(rng.integers(self.lr.shape[1] - patch + 1)), int(rng.integers(self.lr.shape[2] - patch + 1))
            turns, mirror = int(rng.integers(4)), bool(rng.integers(2))

            def turned(crop: np.ndarray, turns: int = turns, mirror: bool = mirror) -> np.ndarray:
                crop = np.rot90(crop, turns)
                return crop[:, ::-1] if mirror else crop

            side = patch * self.scale
            top, left = y * self.scale, x * self.scale
            lr.append(turned(self.lr[n, y : y + patch, x : x + patch]))
            hr.append(turned(self.hr[n, top : top + side, left : left + side]))
            if (weights := self._components(n, left, top, side, side)) is not None:
                components.append(turned(weights))
        return self._inputs(lr, components), to_tensor(hr)

    def whole(self, n: int) -> tuple[Tensor, ...]:
        """Return what the network takes for picture `n` as a whole, a batch of one."""
        height, width = self.hr.shape[1:3]
        weights = self._components(n, 0, 0, width, height)
        return self._inputs([self.lr[n]], [] if weights is None else [weights])

    def _components(self, n: int, left: int, top: int, width: int, height: int) -> Floats | None:
        """Return (height, width, 4), how much each component has of a part of HR picture `n`; None if not asked for."""
        if self.faces is None or self.components is None:
            return None
        part = {"left": left, "top": top, "width": width, "height": height}
        return component_weights(self.faces[n], self.components, **part).transpose(1, 2, 0)

    def _inputs(self, lr: Sequence[Pixels], components: Sequence[Floats]) -> tuple[Tensor, ...]:
        return (to_tensor(lr), to_tensor(components)) if components else (to_tensor(lr),)


def _faces(pictures: Pixels) -> list[list[Floats]]:
    detector: Detector = registry.build("detect", "mtcnn", registry.Options())
    found = detector.detect([Image(picture) for picture in pictures])
    return [[similarity_transform(points).astype(np.float32) for points in one.landmarks] for one in found]


def to_tensor(pictures: Sequence[np.ndarray]) -> Tensor:
    """Return (N, C, H, W) float32 from arrays (H, W, C) of one size, values unchanged."""
    stacked = np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))
    return torch.from_numpy(stacked).float()
