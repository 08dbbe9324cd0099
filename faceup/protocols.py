"""What a plug-in of each stage must offer. tests/contracts.py checks every registered one against these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from faceup.errors import ContractError
from faceup.types import AlignedFace, Detections, Floats, Image


@runtime_checkable
class SrBackend(Protocol):
    """Super-resolution.

    Attributes:
        scale: how many times the sides grow, at least 1.
    """

    scale: int

    def upscale(self, images: Sequence[Image]) -> list[Image]:
        """Return one picture per input, same order, each exactly `scale` times as wide and high.

        Sizes may differ. The result for a picture does not depend on the others (within 1 grey level).
        """
        ...


@runtime_checkable
class Detector(Protocol):
    """Face detection with five landmarks."""

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Return the faces of each picture, same order; no face is a value, never an exception."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """Face recognition: aligned faces to vectors.

    Attributes:
        dimension: length of a vector.
    """

    dimension: int

    def embed(self, faces: Sequence[AlignedFace]) -> Floats:
        """Return float32 (N, dimension), rows of unit length, same order."""
        ...


def detect_all(detector: Detector, images: Sequence[Image]) -> list[Detections]:
    """Return what a detector finds, one result for each picture.

    Raises:
        ContractError: it returned another number.
    """
    found = detector.detect(images)
    if len(found) != len(images):
        raise ContractError(f"The detector returned {len(found)} results for {len(images)} pictures.")
    return found


def embed_all(embedder: Embedder, faces: Sequence[AlignedFace]) -> Floats:
    """Return (N, dimension) vectors, one for each face; a single vector must not become everybody's.

    Raises:
        ContractError: the recogniser returned another shape.
    """
    vectors = embedder.embed(faces)
    if vectors.shape != (len(faces), embedder.dimension):
        wanted = f"({len(faces)}, {embedder.dimension})"
        raise ContractError(f"The recogniser returned vectors of shape {vectors.shape} where {wanted} is due.")
    return vectors
