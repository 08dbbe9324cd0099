"""Training faces: HR portraits with the landmarks of their face, cropped, enlarged and degraded by step number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from faceup import registry
from faceup.align import align
from faceup.detect import chosen_face
from faceup.errors import DataError
from faceup.files import shown, whole_or_not_at_all
from faceup.geometry import similarity_transform
from faceup.images import read_image
from faceup.protocols import Detector
from faceup.train.data import files_sha256, numbered_files, to_tensor
from faceup.train.degrade import Ranges, degrade, expose
from faceup.types import Floats, Image, Pixels

# Landmarks of a mirrored face in their own order: the eyes and the corners of the mouth change places.
MIRRORED = (1, 0, 2, 4, 3)
# The aligned face of 112 px shows about this many widths of the face box.
ROOM = 1.4
LANDMARKS = "landmarks.npy"


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A picture with one face.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        landmarks: (5, 2) float32 x, y in its pixels.
        width: of the face box, in its pixels.
    """

    pixels: Pixels
    landmarks: Floats
    width: float

    def mirrored(self) -> Face:
        """Return the face with left and right exchanged."""
        points = self.landmarks[list(MIRRORED)].copy()
        points[:, 0] = self.pixels.shape[1] - 1 - points[:, 0]
        return Face(np.ascontiguousarray(self.pixels[:, ::-1]), points, self.width)

    def crop(self, side: int, width: float, rng: np.random.Generator, *, shift: float = 0.06) -> Face:
        """Return a square around the face, which becomes `width` pixels wide; beyond the picture it is reflected.

        Args:
            side: of the result in pixels.
            width: of the face box in the result.
            rng: moves the square.
            shift: by how much of the width of the face at most, either way.
        """
        ratio = max(width / self.width, 2 / min(self.pixels.shape[:2]))
        size = round(self.pixels.shape[1] * ratio), round(self.pixels.shape[0] * ratio)
        shrinks = ratio < 1
        resized = cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        exact = np.array(size) / np.array(self.pixels.shape[1::-1])
        points = (self.landmarks + 0.5) * exact - 0.5
        # The middle of the aligned face lies above the mean of the landmarks, by a fifth of the width of the box.
        middle = points.mean(axis=0) - [0, 0.2 * width] + rng.uniform(-shift, shift, 2) * width
        left, top = (int(v) for v in np.rint(middle - side / 2))
        right, bottom = left + side - size[0], top + side - size[1]
        room = max(0, -left, -top, right, bottom)
        if room:
            resized = cv2.copyMakeBorder(resized, room, room, room, room, cv2.BORDER_REFLECT_101)
        pixels = resized[top + room : top + room + side, left + room : left + room + side]
        return Face(np.asarray(pixels, np.uint8), (points - [left, top]).astype(np.float32), width)


class FaceSet:
    """Numbered pictures that show one face each; those in which none is found are left out, and counted.

    Attributes:
        faces: the faces in the order of their numbers.
        left_out: numbers of the pictures without a face.
    """

    def __init__(self, folder: Path, first: int, last: int, *, cache: Path | None = None) -> None:
        """Read the pictures `first` to `last` and find their faces.

        Args:
            folder: of the pictures.
            first: number of the first.
            last: number of the last, included.
            cache: where the found landmarks are kept, by the contents of the pictures, so that a resumed training need
                not look again.

        Raises:
            DataError: the folder or a number is missing, or no picture shows a face.
        """
        files = numbered_files(folder, first, last)
        pictures = [read_image(path) for path in files]
        kept = None if cache is None else cache / f"{first}-{last}-{files_sha256(files)[:16]}-{LANDMARKS}"
        found = None if kept is None else _cached(kept, len(files))
        if found is None:
            found = _located(pictures)
            if kept is not None:
                with whole_or_not_at_all(kept) as path, path.open("wb") as stream:
                    np.save(stream, found)
        self.faces = [
            Face(picture.pixels, row[:10].reshape(5, 2), float(row[10]))
            for picture, row in zip(pictures, found, strict=True)
            if np.isfinite(row).all()
        ]
        self.left_out = [first + i for i, row in enumerate(found) if not np.isfinite(row).all()]
        if not self.faces:
            raise DataError(f"{shown(folder)}: no face was found in the pictures {first} to {last}.")

    def __len__(self) -> int:
        return len(self.faces)

    def draw(self, rng: np.random.Generator) -> Face:
        """Return a face, mirrored or not."""
        face = self.faces[int(rng.integers(len(self)))]
        return face.mirrored() if rng.integers(2) else face

    def blend(self, face: Face, rng: np.random.Generator) -> Face:
        """Return a face that nobody has: `face` blended with another."""
        return blended(face, self.draw(rng), rng.uniform(0.3, 0.7))

    def blends(self, count: int, rng: np.random.Generator) -> list[Face]:
        """Return faces that nobody has."""
        return [self.blend(self.draw(rng), rng) for _ in range(count)]


def blended(face: Face, other: Face, share: float) -> Face:
    """Return a face that nobody has: `other` laid over `face` by its landmarks, `share` of it."""
    matrix = similarity_transform(other.landmarks, face.landmarks)
    height, width = face.pixels.shape[:2]
    laid = cv2.warpAffine(other.pixels, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    mixed = cv2.addWeighted(face.pixels, 1 - share, np.asarray(laid, np.uint8), share, 0)
    moved = other.landmarks @ matrix[:, :2].T + matrix[:, 2]
    points = (1 - share) * face.landmarks + share * moved
    return Face(np.asarray(mixed, np.uint8), points.astype(np.float32), face.width)


def _located(pictures: list[Image]) -> Floats:
    """Return (N, 11): the landmarks and the width of the box of each picture's face; NaN where there is none."""
    detector: Detector = registry.build("detect", "mtcnn", registry.Options())
    rows = np.full((len(pictures), 11), np.nan, np.float32)
    for start in range(0, len(pictures), 50):
        part = pictures[start : start + 50]
        for i, (picture, found) in enumerate(zip(part, detector.detect(part), strict=True)):
            index = chosen_face(found, picture)
            if index is not None:
                width = found.boxes[index][2] - found.boxes[index][0]
                rows[start + i] = [*found.landmarks[index].ravel(), width]
    return rows


def _cached(path: Path, count: int) -> Floats | None:
    if not path.is_file():
        return None
    rows = np.load(path, allow_pickle=False)
    return np.asarray(rows, np.float32) if rows.shape == (count, 11) else None


class SurveillanceSet:
    """Pairs for super-resolution: face crops and what a camera made of them.

    One step has faces of one size, so that small faces do not carry wide borders; the number of crops follows, so that
    every step has about as many LR pixels.
    """

    def __init__(self, faces: FaceSet, scale: int, ranges: Ranges, *, mix: float = 0.0) -> None:
        self.faces, self.scale, self.ranges, self.mix = faces, scale, ranges, mix

    def __len__(self) -> int:
        return len(self.faces)

    def batch(self, step: int, *, seed: int, size: int, patch: int) -> tuple[tuple[Tensor], Tensor, Floats, Tensor]:
        """Return the crops of one step; the same step always gives the same crops.

        Args:
            step: number of the step.
            seed: of the training.
            size: crops of a step whose LR side is `patch`.
            patch: with `size` it says how many LR pixels a step has.

        Returns:
            LR (N, 3, P, P) in a tuple, HR (N, 3, P * scale, P * scale), landmarks (N, 5, 2) in pixels of HR, and the
            aligned originals (N, 3, 112, 112). Pictures are float32 RGB 0..255.
        """
        rng = np.random.default_rng((seed, step))
        face_px = self.ranges.draw_face_px(rng)
        side = 2 * round(ROOM * face_px / 2)
        count = max(2, round(size * patch**2 / side**2))
        numbers, mirrored = rng.integers(len(self.faces), size=count), rng.integers(2, size=count)
        chosen = [self.faces.faces[n] for n in numbers]
        chosen = [face.mirrored() if mirror else face for face, mirror in zip(chosen, mirrored, strict=True)]
        if self.mix:
            chosen = [self.faces.blend(face, rng) if rng.random() < self.mix else face for face in chosen]
        return self._pairs(chosen, face_px, side, rng)

    def fixed(self, n: int, face_px: float) -> tuple[tuple[Tensor], Tensor, Floats, Tensor]:
        """Return face `n` at one size as a batch of one, the same at every call: for validation."""
        rng = np.random.default_rng((n, round(8 * face_px)))
        return self._pairs([self.faces.faces[n]], face_px, 2 * round(ROOM * face_px / 2), rng)

    def _pairs(
        self, chosen: Sequence[Face], face_px: float, side: int, rng: np.random.Generator
    ) -> tuple[tuple[Tensor], Tensor, Floats, Tensor]:
        lr, hr, points, originals = [], [], [], []
        for face in chosen:
            # Neighbouring sizes in one batch, so that no step is about one size to the pixel.
            width = face_px * self.scale * rng.uniform(0.93, 1.07)
            crop = face.crop(side * self.scale, width, rng)
            shot = expose(crop.pixels, self.ranges, rng)
            hr.append(shot)
            lr.append(degrade(shot, self.scale, self.ranges, rng))
            points.append(crop.landmarks)
            originals.append(align(Image(face.pixels), face.landmarks).pixels)
        return (to_tensor(lr),), to_tensor(hr), np.stack(points), to_tensor(originals)


def jittered(landmarks: Floats, share: float, rng: np.random.Generator) -> Floats:
    """Return (5, 2) landmarks as a detector might find them: all moved together, and each on its own.

    Either has a standard deviation of `share` of the distance of the eyes. Measured with MTCNN on 39 of the validation
    faces as `faceup simulate` makes them `hard`, enlarged by bicubic: 0.055 together, 0.05 each.
    """
    eyes = float(np.hypot(*(landmarks[1] - landmarks[0])))
    return (landmarks + share * eyes * (rng.normal(0, 1, 2) + rng.normal(0, 1, landmarks.shape))).astype(np.float32)
