"""MTCNN on real faces, on pictures without any, and on bad input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from skimage import data as skimage_data

from faceup.detect import chosen_face
from faceup.detect import mtcnn as mtcnn_module
from faceup.detect.mtcnn import Mtcnn, build
from faceup.errors import ConfigError, WeightsError
from faceup.images import read_image, resize
from faceup.registry import Options
from faceup.runtime.engine import has_native
from faceup.types import Detections, Image, WeightSpec
from faceup.weights import store


@pytest.fixture(scope="module")
def mtcnn() -> Mtcnn:
    return build(Options())


@pytest.fixture(scope="module")
def astronaut() -> Image:
    """Eileen Collins (NASA, public domain): a face at about (225, 115), 90 px wide."""
    return Image(skimage_data.astronaut())


@pytest.fixture(scope="module")
def faces(shared: Path) -> list[Image]:
    """Four people in four sizes, two of them alike."""
    paths = sorted((shared / "data" / "london" / "neutral").iterdir())[:4]
    sizes = [(160, 160), (96, 120), (160, 160), (200, 140)]
    return [resize(read_image(path), *size) for path, size in zip(paths, sizes, strict=True)]


def best(found: Detections, image: Image) -> int:
    chosen = chosen_face(found, image)
    assert chosen is not None
    return chosen


def noise(height: int, width: int, seed: int = 0) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_a_face_is_found_where_it_is(mtcnn: Mtcnn, astronaut: Image) -> None:
    [found] = mtcnn.detect([astronaut])
    face = best(found, astronaut)
    x0, y0, x1, y1 = found.boxes[face]
    assert 150 < x0 < 190 < 250 < x1 < 290
    assert 40 < y0 < 90 < 150 < y1 < 200
    assert found.scores[face] > 0.99
    left_eye, right_eye, nose, left_mouth, right_mouth = found.landmarks[face]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_one_by_one_is_the_same_as_all_at_once(mtcnn: Mtcnn, faces: list[Image]) -> None:
    images = [*faces, noise(10, 300), Image(np.zeros((160, 160, 3), np.uint8)), faces[0]]
    together = mtcnn.detect(images)
    for image, found in zip(images, together, strict=True):
        [alone] = mtcnn.detect([image])
        assert len(found) == len(alone)
        np.testing.assert_allclose(found.boxes, alone.boxes, atol=0.05)
        np.testing.assert_allclose(found.landmarks, alone.landmarks, atol=0.05)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-4)
    assert [len(found) >= 1 for found in together] == [True] * 4 + [False, False, True]


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("native", [True, False])
def test_threads_and_engine_change_nothing(
    count: int, native: bool, mtcnn: Mtcnn, faces: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(count)
    with monkeypatch.context() as patch:
        if not native:
            patch.setattr(mtcnn_module, "has_native", lambda: False)
        elif not has_native():
            pytest.skip("the code in C was not built")
        detector = build(Options())
    images = [*faces, noise(10, 300), *faces[:2]]
    for got, image in zip(detector.detect(images), images, strict=True):
        [wanted] = mtcnn.detect([image])
        assert len(got) == len(wanted)
        np.testing.assert_allclose(got.boxes, wanted.boxes, atol=0.05)
        np.testing.assert_allclose(got.landmarks, wanted.landmarks, atol=0.05)
        np.testing.assert_allclose(got.scores, wanted.scores, atol=1e-4)
    assert torch.get_num_threads() == count


@pytest.mark.usefixtures("threads")
def test_pictures_that_fit_one_at_a_time_only_are_searched_one_at_a_time(
    faces: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(2)
    detector = build(Options())
    wanted = [len(found) for found in detector.detect(faces)]

    def full(images: object) -> None:
        raise MemoryError

    monkeypatch.setattr(detector._alone, "detect", full)
    assert [len(found) for found in detector.detect(faces)] == wanted


@pytest.mark.usefixtures("threads")
def test_large_pictures_are_not_all_searched_at_once(faces: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(3)
    detector = build(Options())
    images = [faces[0]] * 4
    lone, shared = detector.cascade.detect, detector._alone.detect
    calls: list[str] = []
    monkeypatch.setattr(detector.cascade, "detect", lambda some: calls.append("lone") or lone(some))
    monkeypatch.setattr(detector._alone, "detect", lambda some: calls.append("shared") or shared(some))
    pixels = images[0].width * images[0].height
    for most, wanted in ((3 * pixels, ["shared"] * 3), (2 * pixels, ["shared"] * 2), (pixels, ["lone"] * 4)):
        monkeypatch.setattr(mtcnn_module, "_MOST_PIXELS", most)
        calls.clear()
        assert len(detector.detect(images)) == 4
        assert calls == wanted


def test_no_pictures(mtcnn: Mtcnn) -> None:
    assert mtcnn.detect([]) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (19, 300), (300, 19), (20, 20), (21, 20)])
def test_pictures_smaller_than_a_face_have_none(size: tuple[int, int], mtcnn: Mtcnn) -> None:
    [found] = mtcnn.detect([noise(*size)])
    assert len(found) == 0


@pytest.mark.parametrize("size", [12, 20, 47, 48, 94])
def test_a_picture_as_large_as_the_smallest_face_is_searched(size: int) -> None:
    # 12 / 47 * 47 is a little less than 12 in floats.
    small = build(Options(extra={"min_face_size": size}))
    for side in (size - 1, size, size + 1):
        assert len(small.detect([Image(np.zeros((side, side, 3), np.uint8))])[0]) == 0


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_pictures_have_no_face(level: int, mtcnn: Mtcnn) -> None:
    images = [Image(np.full((h, w, 3), level, np.uint8)) for h, w in ((64, 64), (64, 64), (200, 90))]
    assert [len(found) for found in mtcnn.detect(images)] == [0, 0, 0]


def test_noise_and_fragments_of_faces_raise_nothing(astronaut: Image) -> None:
    rng = np.random.default_rng(0)
    fine = Mtcnn("cpu", min_face_size=12)
    images = [noise(int(rng.integers(12, 80)), int(rng.integers(12, 80)), seed) for seed in range(10)]
    for _ in range(30):
        (x, y), side = rng.integers(80, 250, 2), int(rng.integers(20, 160))
        part = astronaut.pixels[y : y + side, x : x + side]
        width, height = (int(v) for v in rng.integers(12, 90, 2))
        images.append(Image(np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)))
    assert len(fine.detect(images)) == len(images)


def test_a_reduced_search_agrees_with_the_full_one(mtcnn: Mtcnn, astronaut: Image) -> None:
    large = resize(astronaut, 1300, 1100)
    reduced, full = Mtcnn("cpu", max_side=400), Mtcnn("cpu", max_side=4000, min_face_size=100)
    ([a], [b], [c]) = reduced.detect([large]), full.detect([large]), mtcnn.detect([large])
    faces = [found.landmarks[best(found, large)] for found in (a, b, c)]
    boxes = [found.boxes[best(found, large)] for found in (a, b, c)]
    # The face is about 230 px wide here.
    for other in (0, 2):
        assert np.abs(faces[other] - faces[1]).max() < 8
        assert np.abs(boxes[other] - boxes[1]).max() < 20


@pytest.mark.usefixtures("threads")
def test_scaling_back_maps_pixel_centres(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    found = Detections(
        np.array([[1, 2, 3, 4]], np.float32), np.ones(1, np.float32), np.arange(10, dtype=np.float32).reshape(1, 5, 2)
    )
    detector = Mtcnn("cpu", max_side=50)
    monkeypatch.setattr(detector.cascade, "detect", lambda images: [found for _ in images])
    small, large = detector.detect([noise(40, 50), noise(80, 200)])
    np.testing.assert_array_equal(small.boxes, found.boxes)
    # 200 x 80 is searched as 50 x 20: both sides shrink 4 times, and x becomes (x + 0.5) * 4 - 0.5.
    np.testing.assert_allclose(large.boxes, [[5.5, 9.5, 13.5, 17.5]])
    np.testing.assert_allclose(large.landmarks[0, :, 0], [1.5, 9.5, 17.5, 25.5, 33.5])
    np.testing.assert_allclose(large.landmarks[0, :, 1], [5.5, 13.5, 21.5, 29.5, 37.5])


@pytest.mark.parametrize(
    "extra",
    [
        {"min_face_size": 11},
        {"max_side": 47},
        {"min_face_size": "20"},
        {"min_face_size": 20.5},
        {"min_face_size": True},
        {"max_side": None},
        {"max_side": float("nan")},
    ],
    ids=str,
)
def test_bad_settings_are_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="mtcnn needs whole numbers, min_face_size >= 12 and max_side >= 48, got"):
        build(Options(extra=extra))


@pytest.mark.parametrize("name", ["mtcnn-pnet", "mtcnn-rnet", "mtcnn-onet"])
def test_damaged_networks_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = store.locate

    def locate(weight: WeightSpec) -> Path:
        path = real(weight)
        if weight.name != name:
            return path
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x10
        copy = tmp_path / weight.filename
        copy.write_bytes(data)
        return copy

    monkeypatch.setattr(store, "locate", locate)
    with pytest.raises(WeightsError, match=f"damaged or changed weights of '{name}'"):
        build(Options())
