"""What a plug-in of each stage must offer. tests/contracts.py checks every registered one against these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

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
