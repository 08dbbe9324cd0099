"""From picture files to embeddings: read, super-resolve, detect, align, embed; in portions, so memory stays flat."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from faceup.align import align
from faceup.detect import chosen_face
from faceup.errors import ContractError, DataError
from faceup.files import shown
from faceup.images import MAX_PIXELS, read_image
from faceup.metrics.face_quality import sharpness
from faceup.protocols import Detector, Embedder, SrBackend, detect_all, embed_all
from faceup.types import Detections, Embeddings, Floats, Image, Sample

# A portion ends at this many pictures or at this many pixels after super-resolution, whichever comes first.
PORTION_PICTURES = 64
PORTION_PIXELS = 16_000_000


@dataclass(frozen=True, slots=True)
class Acquired:
    """What became of one picture.

    Attributes:
        sample: the picture.
        status: `ok`, `no_face` or `unreadable`.
        message: why it could not be read.
        width: of the picture that was searched, in pixels; 0 when unreadable.
        height: likewise.
        faces: how many faces were found.
        box: (4,) of the chosen face.
        score: the detector's confidence in it, 0..1.
        landmarks: (5, 2) of the chosen face.
        scale: how many times larger the searched picture is than the file.
        sharpness: of the aligned face (`faceup.metrics.face_quality`).
    """

    sample: Sample
    status: str
    message: str = ""
    width: int = 0
    height: int = 0
    faces: int = 0
    box: Floats | None = None
    score: float = float("nan")
    landmarks: Floats | None = None
    scale: int = 1
    sharpness: float = float("nan")

    @property
    def inter_eye_px(self) -> float:
        """Distance between the eyes in pixels of the searched picture, NaN without a face."""
        return float("nan") if self.landmarks is None else float(np.linalg.norm(self.landmarks[1] - self.landmarks[0]))


@dataclass(slots=True)
class Stages:
    """The built backends that every picture passes, with the seconds that each stage took so far."""

    detector: Detector
    embedder: Embedder
    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, stage: str, started: float) -> None:
        """Add the time since `started` (perf_counter) to a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started


def acquire(
    samples: Sequence[Sample],
    sr: SrBackend,
    stages: Stages,
    *,
    on_picture: Callable[[Sample, Image], None] | None = None,
    on_pair: Callable[[Sample, Image, Image], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[list[Acquired], Embeddings]:
    """Take every sample as far as it goes; a picture that cannot be read or has no face is a row like any other.

    Args:
        samples: the pictures.
        sr: run on every picture before the search.
        stages: detector and recogniser.
        on_picture: called with every picture after super-resolution.
        on_pair: called with every picture before and after super-resolution.
        on_progress: called with the number of samples done so far.

    Returns:
        One `Acquired` and one embedding row per sample, in the order of `samples`.
    """
    rows: list[Acquired] = []
    vectors = np.full((len(samples), stages.embedder.dimension), np.nan, np.float32)
    for portion in _portions(samples, sr.scale, stages):
        readable = [(sample, image) for sample, image, _ in portion if image is not None]
        enlarged = _enlarge(sr, [image for _, image in readable], stages)
        if on_picture is not None:
            for (sample, _), image in zip(readable, enlarged, strict=True):
                on_picture(sample, image)
        if on_pair is not None:
            for (sample, before), after in zip(readable, enlarged, strict=True):
                on_pair(sample, before, after)
        started = time.perf_counter()
        found = detect_all(stages.detector, enlarged)
        stages.timed("detect", started)
        results = iter(zip(enlarged, found, strict=True))
        faces = []
        for sample, source, message in portion:
            if source is None:
                rows.append(Acquired(sample, "unreadable", message, scale=sr.scale))
                continue
            picture, detections = next(results)
            row = replace(_describe(sample, picture, detections), scale=sr.scale)
            if row.landmarks is not None:
                started = time.perf_counter()
                face = align(picture, row.landmarks)
                faces.append((len(rows), face))
                row = replace(row, sharpness=sharpness(face))
                stages.timed("align", started)
            rows.append(row)
        started = time.perf_counter()
        if faces:
            vectors[[index for index, _ in faces]] = embed_all(stages.embedder, [face for _, face in faces])
        stages.timed("embed", started)
        if on_progress is not None:
            on_progress(len(rows))
    failed = np.array([row.status != "ok" for row in rows], dtype=bool)
    return rows, Embeddings(vectors, tuple(sample.sample_id for sample in samples), failed)


def _portions(
    samples: Sequence[Sample], scale: int, stages: Stages
) -> Iterator[list[tuple[Sample, Image | None, str]]]:
    portion: list[tuple[Sample, Image | None, str]] = []
    pixels = 0
    for sample in samples:
        started = time.perf_counter()
        image, message = _read(sample, scale)
        stages.timed("read", started)
        portion.append((sample, image, message))
        pixels += image.width * image.height * scale**2 if image else 0
        if len(portion) >= PORTION_PICTURES or pixels >= PORTION_PIXELS:
            yield portion
            portion, pixels = [], 0
    if portion:
        yield portion


def _read(sample: Sample, scale: int) -> tuple[Image | None, str]:
    try:
        image = read_image(sample.path)
    except DataError as error:
        return None, str(error)
    if image.width * image.height * scale**2 > MAX_PIXELS:
        size = f"{image.width} x {image.height} px"
        return None, f"{shown(sample.path)}: {size}, more than {MAX_PIXELS} px after enlarging {scale} times."
    return image, ""


def _enlarge(sr: SrBackend, images: Sequence[Image], stages: Stages) -> list[Image]:
    started = time.perf_counter()
    enlarged = sr.upscale(images)
    stages.timed("sr", started)
    wanted = [(image.width * sr.scale, image.height * sr.scale) for image in images]
    if [(image.width, image.height) for image in enlarged] != wanted:
        raise ContractError(f"The SR backend did not return one picture {sr.scale} times as large for every picture.")
    return enlarged


def _describe(sample: Sample, image: Image, found: Detections) -> Acquired:
    index = chosen_face(found, image)
    if index is None:
        return Acquired(sample, "no_face", width=image.width, height=image.height)
    return Acquired(
        sample,
        "ok",
        width=image.width,
        height=image.height,
        faces=len(found),
        box=found.boxes[index],
        score=float(found.scores[index]),
        landmarks=found.landmarks[index],
    )
