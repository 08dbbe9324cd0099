"""What every plug-in must do, as checks that any plug-in can be put through.

    from tests.contracts import check_sr
    check_sr(build(Options(scale=4)))

Each check builds its own pictures, needs no data, and fails with an AssertionError that says which promise of
`faceup.protocols` was broken. tests/test_contracts.py puts every registered plug-in through them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from faceup.protocols import Detector, Embedder, SrBackend
from faceup.types import AlignedFace, BackendInfo, Detections, Floats, Image

T = TypeVar("T", Image, AlignedFace)

# Height and width; two pairs of the same size, so that a backend that batches by size has something to batch.
SIZES = ((1, 1), (5, 3), (12, 16), (1, 9), (12, 16), (7, 1), (17, 11), (5, 3))


def pictures(sizes: Sequence[tuple[int, int]] = SIZES, seed: int = 0) -> list[Image]:
    """Return smooth random pictures, one of each size, all different."""
    rng = np.random.default_rng(seed)
    made = []
    for height, width in sizes:
        y, x = np.mgrid[:height, :width]
        waves = [np.sin(x * a + b) * np.cos(y * c + d) for a, b, c, d in rng.uniform(0, 1.5, (3, 4))]
        made.append(Image((127.5 + 120 * np.stack(waves, axis=2)).astype(np.uint8)))
    return made


def aligned_faces(count: int, seed: int = 0) -> list[AlignedFace]:
    """Return `count` different pictures of the size of an aligned face."""
    matrix = np.eye(2, 3, dtype=np.float32)
    return [AlignedFace(image.pixels, matrix) for image in pictures([(112, 112)] * count, seed)]


def unchanged(inputs: Sequence[T], call: Callable[[Sequence[T]], Any]) -> Any:
    """Return `call(inputs)` after checking that it left the list and every pixel as they were."""
    before, pixels = list(inputs), [item.pixels.copy() for item in inputs]
    result = call(inputs)
    assert len(inputs) == len(before), "the list of inputs was changed"
    assert all(now is then for now, then in zip(inputs, before, strict=True)), "the list of inputs was changed"
    for item, then in zip(inputs, pixels, strict=True):
        np.testing.assert_array_equal(item.pixels, then, err_msg="an input's pixels were changed")
    return result


def check_info(info: BackendInfo, name: str) -> None:
    """Check what a plug-in says of itself.

    Args:
        info: its INFO.
        name: under which it is registered.
    """
    assert info.name == name, f"registered as {name!r}, but its INFO says {info.name!r}"
    for slot in ("version", "licence", "summary"):
        text = getattr(info, slot)
        assert isinstance(text, str), f"INFO.{slot} is no text"
        assert text.strip(), f"INFO.{slot} is empty"
        assert "\n" not in text, f"INFO.{slot} has more than one line"
    assert isinstance(info.generative, bool), "INFO.generative must be True or False"
    assert isinstance(info.weights, tuple), "INFO.weights must be a tuple of names"


def check_sr(backend: SrBackend) -> None:
    """Check an SR backend: sizes, order, independence of the batch, determinism, inputs left alone."""
    scale = backend.scale
    assert isinstance(scale, int), f"scale must be a whole number, got {scale!r}"
    assert scale >= 1, f"scale must be at least 1, got {scale}"
    assert backend.upscale([]) == [], "no pictures must give no pictures"
    images = pictures()
    together = unchanged(images, backend.upscale)
    assert isinstance(together, list), "upscale must return a list"
    assert len(together) == len(images), f"{len(images)} pictures gave {len(together)}"
    for image, result in zip(images, together, strict=True):
        assert isinstance(result, Image), f"upscale must return Images, got {type(result).__name__}"
        got, want = (result.height, result.width), (image.height * scale, image.width * scale)
        assert got == want, f"{image.height} x {image.width} became {got}, not {want}"
    for image, result in zip(images, together, strict=True):
        [alone] = backend.upscale([image])
        _close(alone.pixels, result.pixels, "a picture's result depends on the others or on their order")
    for image, result in zip(images, backend.upscale(images[::-1])[::-1], strict=True):
        [alone] = backend.upscale([image])
        _close(alone.pixels, result.pixels, "the results are not in the order of the pictures")
    for first, second in zip(together, backend.upscale(images), strict=True):
        np.testing.assert_array_equal(first.pixels, second.pixels, err_msg="the same input gave another result")
    read_only = pictures(SIZES[1:2])
    read_only[0].pixels.setflags(write=False)
    backend.upscale(read_only)


def _close(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8], message: str) -> None:
    off = int(np.abs(a.astype(int) - b).max())
    assert off <= 1, f"{message} ({off} grey levels)"


def check_detector(detector: Detector, faces: Sequence[Image] = ()) -> None:
    """Check a detector: no face is a value, order, independence of the batch, determinism, inputs left alone.

    Args:
        detector: the detector.
        faces: pictures with one face each, of sizes of your choice.
    """
    assert detector.detect([]) == [], "no pictures must give no results"
    blank = [
        Image(np.full((height, width, 3), level, np.uint8)) for height, width, level in ((64, 64, 0), (90, 70, 255))
    ]
    images = [*faces, *pictures(), *blank, *pictures([(64, 80)])]
    together = unchanged(images, detector.detect)
    assert isinstance(together, list), "detect must return a list"
    assert len(together) == len(images), f"{len(images)} pictures gave {len(together)} results"
    assert all(isinstance(found, Detections) for found in together), "detect must return Detections"
    for found in together:
        assert ((found.scores >= 0) & (found.scores <= 1)).all(), "scores must lie in 0..1"
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all(), "boxes must be x0, y0, x1, y1 with x0 < x1 and y0 < y1"
    for face, found in zip(faces, together, strict=False):
        assert len(found) >= 1, "no face in a picture with one"
        _plausible(found, face)
    for found, image in zip(together[len(faces) :], images[len(faces) :], strict=True):
        if min(image.height, image.width) < 10 or image in blank:
            assert len(found) == 0, f"a face in a blank or tiny picture of {image.width} x {image.height} px"
    for image, found in zip(images, together, strict=True):
        [alone] = detector.detect([image])
        _same_faces(alone, found, "a picture's faces depend on the others")
    for found, again in zip(together, detector.detect(images[::-1])[::-1], strict=True):
        _same_faces(found, again, "the results are not in the order of the pictures")
    for found, again in zip(together, detector.detect(images), strict=True):
        np.testing.assert_array_equal(found.landmarks, again.landmarks, err_msg="the same input gave another result")


def _plausible(found: Detections, image: Image) -> None:
    best = int(found.scores.argmax())
    left_eye, right_eye, _, left_mouth, right_mouth = found.landmarks[best]
    assert left_eye[0] < right_eye[0], "landmarks must be image-left eye, image-right eye, nose, ..."
    assert left_mouth[0] < right_mouth[0], "landmarks must end with image-left and image-right mouth corner"
    assert left_eye[1] < left_mouth[1], "the eyes of an upright face must lie above its mouth (points are x, y)"
    x, y = found.landmarks[best].T
    assert -0.5 <= x.min() <= x.max() <= image.width - 0.5, "landmarks must be in pixels of the picture"
    assert -0.5 <= y.min() <= y.max() <= image.height - 0.5, "landmarks must be in pixels of the picture"


def _same_faces(a: Detections, b: Detections, message: str) -> None:
    assert len(a) == len(b), f"{message} ({len(a)} and {len(b)} faces)"
    np.testing.assert_allclose(a.landmarks, b.landmarks, atol=0.1, err_msg=message)
    np.testing.assert_allclose(a.boxes, b.boxes, atol=0.1, err_msg=message)


def check_embedder(embedder: Embedder) -> None:
    """Check an embedder: shape, unit length, order, independence of the batch, determinism, inputs left alone."""
    dimension = embedder.dimension
    assert isinstance(dimension, int), f"dimension must be a whole number, got {dimension!r}"
    assert dimension >= 1, f"dimension must be at least 1, got {dimension}"
    _rows(embedder.embed([]), 0, dimension)
    faces = aligned_faces(5)
    together = unchanged(faces, embedder.embed)
    _rows(together, 5, dimension)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-3, err_msg="rows must have unit length")
    assert np.abs(together[0] - together[1]).max() > 1e-3, "two different faces gave the same vector"
    for face, row in zip(faces, together, strict=True):
        np.testing.assert_allclose(embedder.embed([face])[0], row, atol=1e-4, err_msg="a vector depends on the others")
    backwards = embedder.embed(faces[::-1])[::-1]
    np.testing.assert_allclose(backwards, together, atol=1e-4, err_msg="the rows are not in the order of the faces")
    np.testing.assert_array_equal(embedder.embed(faces), together, err_msg="the same input gave another result")


def _rows(rows: Floats, count: int, dimension: int) -> None:
    assert isinstance(rows, np.ndarray), "embed must return an array"
    assert rows.dtype == np.float32, f"embed must return float32, got {rows.dtype}"
    assert rows.shape == (count, dimension), f"{count} faces must give {(count, dimension)}, got {rows.shape}"
