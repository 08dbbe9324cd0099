"""The faces of pictures and frames: found, super-resolved where they are small, found again, aligned, embedded.

The rule. A face is small when its eyes are less than `small_eye_px` apart. Every face that the detector finds is cut
out with a margin; the cut-outs of small faces are super-resolved; then the face is looked for again in its cut-out, and
what is found there is aligned and embedded. When it is not found again, the first landmarks are used. A picture of at
most `crop_side` pixels in which no face, or only small ones, are found is taken for a crop and super-resolved whole.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as PilImage

from faceup import registry
from faceup.align import align
from faceup.archive.settings import FaceSettings
from faceup.errors import ContractError
from faceup.images import MAX_PIXELS, at_most
from faceup.protocols import Detector, Embedder, SrBackend, detect_all, embed_all
from faceup.registry import Options
from faceup.types import AlignedFace, Detections, Floats, Image

THUMBNAIL_SIDE = 128
THUMBNAIL_QUALITY = 88
SAME_FACE = 0.3
AGAIN_SIDE = 256
# Eyes so many pixels apart count as full size in the quality.
FULL_EYE_PX = 40.0


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face. Coordinates are in pixels of the picture or frame as it is stored.

    Attributes:
        box: (4,) x0, y0, x1, y1.
        landmarks: (5, 2).
        score: the detector's confidence, 0..1.
        eye_px: distance between the eyes in pixels of the original.
        quality: 0..1, see `quality_of`.
        sr: whether it was super-resolved before it was embedded.
        again: whether it was found again in its cut-out.
        vector: (D,) embedding of unit length.
        thumbnail: JPEG of the original pixels around it.
    """

    box: Floats
    landmarks: Floats
    score: float
    eye_px: float
    quality: float
    sr: bool
    again: bool
    vector: Floats
    thumbnail: bytes


@dataclass(frozen=True, slots=True, eq=False)
class _Region:
    """A part of a picture in which one face is expected, or a whole crop in which any may be (`face` None)."""

    picture: int
    x0: int
    y0: int
    cut: Image
    sr: bool
    face: tuple[Floats, Floats, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    region: _Region
    searched: Image
    points: Floats
    face: tuple[Floats, Floats, float]
    again: bool


class FaceFinder:
    """Builds the networks once and finds the faces of any number of pictures."""

    def __init__(self, settings: FaceSettings) -> None:
        self.settings = settings
        build = registry.build
        name, file = registry.split_name(settings.sr)
        options = Options(settings.scale, settings.device, file, dict(settings.sr_options))
        self.sr: SrBackend = build("sr", name, options)
        name, file = registry.split_name(settings.detector)
        self.detector: Detector = build("detect", name, _options(settings, file, settings.detector_options))
        name, file = registry.split_name(settings.recognizer)
        self.embedder: Embedder = build("embed", name, _options(settings, file, settings.recognizer_options))

    def find(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each picture, in the order of the input; of one picture from left to right."""
        first = detect_all(self.detector, images)
        regions = [
            region
            for number, (image, found) in enumerate(zip(images, first, strict=True))
            for region in self._regions(number, image, found)
        ]
        searched = self._enlarged(regions)
        second = self._second(regions, searched)
        kept = [
            found
            for region, picture, detections in zip(regions, searched, second, strict=True)
            for found in self._again(region, picture, detections, first[region.picture])
        ]
        aligned = [align(found.searched, found.points) for found in kept]
        vectors = self._embedded(aligned)
        faces: list[list[Face]] = [[] for _ in images]
        for found, vector in zip(kept, vectors, strict=True):
            faces[found.region.picture].append(_face(found, vector))
        return [sorted(some, key=lambda face: tuple(map(float, face.box))) for some in faces]

    def _regions(self, number: int, image: Image, found: Detections) -> list[_Region]:
        eyes = np.linalg.norm(found.landmarks[:, 1] - found.landmarks[:, 0], axis=1) if len(found) else np.zeros(0)
        small = eyes < self.settings.small_eye_px
        if max(image.width, image.height) <= self.settings.crop_side and small.all() and self._can_enlarge(image):
            return [_Region(number, 0, 0, image, True, None)]
        regions = []
        for box, points, score, needs_sr in zip(found.boxes, found.landmarks, found.scores, small, strict=True):
            x0, y0, cut = _cut(image, box, self.settings.margin)
            sr = bool(needs_sr) and self._can_enlarge(cut)
            regions.append(_Region(number, x0, y0, cut, sr, (box, points, float(score))))
        return regions

    def _can_enlarge(self, image: Image) -> bool:
        return self.sr.scale > 1 and image.width * image.height * self.sr.scale**2 <= MAX_PIXELS

    def _enlarged(self, regions: Sequence[_Region]) -> list[Image]:
        made = iter(self.sr.upscale([region.cut for region in regions if region.sr]))
        pictures = [next(made, region.cut) if region.sr else region.cut for region in regions]
        for region, picture in zip(regions, pictures, strict=True):
            scale = self.sr.scale if region.sr else 1
            if (picture.width, picture.height) != (region.cut.width * scale, region.cut.height * scale):
                raise ContractError(
                    f"The SR backend did not return one picture {scale} times as large for every picture."
                )
        return pictures

    def _second(self, regions: Sequence[_Region], searched: Sequence[Image]) -> list[Detections]:
        """Return what is found in the cut-outs, in their pixels.

        A cut-out is filled by the face that is expected in it, so it is searched at no more than `AGAIN_SIDE` pixels.
        """
        small = [
            image if region.face is None else at_most(image, AGAIN_SIDE)
            for region, image in zip(regions, searched, strict=True)
        ]
        return [
            found if part is image else _scaled(found, image.width / part.width, image.height / part.height)
            for found, part, image in zip(detect_all(self.detector, small), small, searched, strict=True)
        ]

    def _again(self, region: _Region, searched: Image, found: Detections, first: Detections) -> list[_Found]:
        scale = self.sr.scale if region.sr else 1
        shift = np.array([region.x0, region.y0], np.float32)
        boxes = ((found.boxes.reshape(-1, 2, 2) + 0.5) / scale - 0.5 + shift).reshape(-1, 4).astype(np.float32)
        points = ((found.landmarks + 0.5) / scale - 0.5 + shift).astype(np.float32)
        if region.face is None:
            if len(found):
                return [
                    _Found(region, searched, found.landmarks[i], (boxes[i], points[i], float(found.scores[i])), True)
                    for i in range(len(found))
                ]
            faces = [(first.boxes[i], first.landmarks[i], float(first.scores[i])) for i in range(len(first))]
        else:
            overlaps = [overlap(region.face[0], box) for box in boxes]
            best = int(np.argmax(overlaps)) if overlaps else -1
            if best >= 0 and overlaps[best] >= SAME_FACE:
                face = (boxes[best], points[best], float(found.scores[best]))
                return [_Found(region, searched, found.landmarks[best], face, True)]
            faces = [region.face]
        return [
            _Found(region, searched, ((face[1] - shift + 0.5) * scale - 0.5).astype(np.float32), face, False)
            for face in faces
        ]

    def _embedded(self, faces: Sequence[AlignedFace]) -> Floats:
        vectors = embed_all(self.embedder, faces)
        if not np.isfinite(vectors).all():
            raise ContractError("The recogniser did not return one finite vector per face.")
        return vectors


def overlap(a: Floats, b: Floats) -> float:
    """Return intersection over union of two boxes, 0..1."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if (sides <= 0).any():
        return 0.0
    common = float(sides.prod())
    return common / (float((a[2:] - a[:2]).prod()) + float((b[2:] - b[:2]).prod()) - common)


def quality_of(landmarks: Floats, score: float) -> float:
    """Return a face's weight in the fusion of a tracklet, 0..1: score x size x frontality.

    Size is the distance between the eyes over 40 px, at most 1. Frontality is 1 less the distance of the nose from the
    line halfway between the eyes, in half eye distances, at least 0.05: a profile counts little, but it counts.

    Args:
        landmarks: (5, 2) in pixels of the original.
        score: of the detector.
    """
    left, right, nose = landmarks[:3].astype(np.float64)
    axis = right - left
    eyes = float(np.linalg.norm(axis))
    if eyes < 1e-6:
        return 0.0
    aside = abs(float((nose - (left + right) / 2) @ axis) / eyes) / (eyes / 2)
    return float(np.clip(score, 0, 1)) * min(1.0, eyes / FULL_EYE_PX) * max(0.05, 1 - aside)


def _scaled(found: Detections, x: float, y: float) -> Detections:
    factor = np.array([x, y], np.float32)
    boxes = (found.boxes.reshape(-1, 2, 2) + 0.5) * factor - 0.5
    return Detections(boxes.reshape(-1, 4), found.scores, (found.landmarks + 0.5) * factor - 0.5)


def _options(settings: FaceSettings, file: Any, extra: dict[str, Any]) -> Options:
    return Options(device=settings.device, weights=file, extra=dict(extra))


def _cut(image: Image, box: Floats, margin: float) -> tuple[int, int, Image]:
    more = margin * float((box[2:] - box[:2]).max())
    x0, y0 = (
        int(np.clip(np.floor(v - more), 0, most - 1)) for v, most in ((box[0], image.width), (box[1], image.height))
    )
    x1 = int(np.clip(np.ceil(box[2] + more) + 1, x0 + 1, image.width))
    y1 = int(np.clip(np.ceil(box[3] + more) + 1, y0 + 1, image.height))
    return x0, y0, Image(image.pixels[y0:y1, x0:x1])


def _face(found: _Found, vector: Floats) -> Face:
    box, landmarks, score = found.face
    eye_px = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    quality = quality_of(landmarks, score)
    thumbnail = _thumbnail(found.region, box)
    return Face(box, landmarks, score, eye_px, quality, found.region.sr, found.again, vector, thumbnail)


def _thumbnail(region: _Region, box: Floats) -> bytes:
    """Return the original pixels around a face as JPEG; super-resolved ones are not shown anywhere."""
    cut = region.cut
    if region.face is None:
        shift = np.array([region.x0, region.y0] * 2, np.float32)
        _, _, cut = _cut(cut, box - shift, 0.5)
    buffer = io.BytesIO()
    small = at_most(cut, THUMBNAIL_SIDE)
    PilImage.fromarray(small.pixels).save(buffer, format="JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()
