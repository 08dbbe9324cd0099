"""The cascade against facenet-pytorch's `detect`, and its own parts against plain loops."""

from __future__ import annotations

import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from hypothesis import given, settings
from hypothesis import strategies as st

from faceup.detect import _cascade
from faceup.detect._area import AreaTable
from faceup.detect._cascade import Cascade, Windows
from faceup.detect.mtcnn import INFO, Mtcnn
from faceup.images import read_image, resize
from faceup.networks.mtcnn import layers, torch_network
from faceup.simulate import simulate
from faceup.types import Detections, Image
from faceup.weights import store
from tests.helpers import noise
from tools.check_detector import compared, prepared, reference


@pytest.fixture(scope="module")
def own() -> Mtcnn:
    return Mtcnn("cpu")


@pytest.fixture(scope="module")
def scenes(examples: Path) -> list[Image]:
    """Four enlarged probes of one size."""
    return [resize(read_image(path), 168, 224) for path in sorted((examples / "probes").glob("*_paper*.jpg"))[:4]]


def close(got: Detections, wanted: Detections, points: float = 0.5) -> None:
    assert len(got) == len(wanted)
    np.testing.assert_allclose(got.boxes, wanted.boxes, rtol=0, atol=points)
    np.testing.assert_allclose(got.landmarks, wanted.landmarks, rtol=0, atol=points)
    np.testing.assert_allclose(got.scores, wanted.scores, rtol=0, atol=1e-3)


def test_it_finds_what_facenet_pytorch_finds(examples: Path) -> None:
    found = compared(prepared(sorted(examples.rglob("*.jpg")), 1))
    assert found.pictures >= 14
    assert found.faces >= 14
    assert found.other_count == []
    assert max(found.box, found.landmark) < 0.5
    assert found.score < 1e-3


@pytest.mark.parametrize("min_face_size", [12, 33])
def test_the_order_of_several_faces_is_the_same(min_face_size: int, scenes: list[Image]) -> None:
    rows = [np.concatenate([image.pixels for image in scenes[i : i + 2]], axis=1) for i in (0, 2)]
    crowd = Image(np.concatenate(rows))
    net = MTCNN(keep_all=True, min_face_size=min_face_size)
    [wanted], [got] = reference(net, [crowd]), Mtcnn("cpu", min_face_size=min_face_size).detect([crowd])
    assert len(wanted) >= 4
    close(got, wanted)


def test_photos_and_their_simulated_probes(shared: Path, tmp_path: Path) -> None:
    photos, source = shared / "data" / "london", tmp_path / "photos"
    paths = [path for part in ("neutral", "smiling") for path in sorted((photos / part).iterdir())[:5]]
    for path in paths:
        (source / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, source / path.parent.name)
    simulate(source, tmp_path / "probes", distances=("d1", "paper", "hard"), seed=0)
    probes = sorted((tmp_path / "probes").rglob("*.jpg"))
    assert len(probes) == 30
    found = compared(chain(prepared(paths, 1), prepared(probes, 4)))
    assert (found.pictures, found.other_count) == (40, [])
    assert found.faces >= 40
    assert max(found.box, found.landmark) < 0.5


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_is_the_same_as_one_by_one_whatever_the_portions(
    count: int, own: Mtcnn, scenes: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [*scenes, noise(168, 224), scenes[0]]
    alone = [own.detect([image])[0] for image in images]
    monkeypatch.setattr(own.cascade, "chunk", count * 48**2)
    monkeypatch.setattr(own.cascade, "crops", count * 48**2)
    for got, wanted in zip(own.cascade.detect(images), alone, strict=True):
        close(got, wanted, 0.01)


def test_torch_runs_the_cascade_too(own: Mtcnn, scenes: list[Image]) -> None:
    device = torch.device("cpu")
    nets = [
        torch_network(layers(name.removeprefix("mtcnn-"), store.load(name).tensors), device) for name in INFO.weights
    ]
    for got, wanted in zip(Cascade(*nets, 20, device).detect(scenes), own.detect(scenes), strict=True):
        assert len(got) >= 1
        close(got, wanted, 0.01)


def test_no_pictures_have_no_faces(own: Mtcnn) -> None:
    assert own.cascade.detect([]) == []


def test_a_window_outside_its_picture_is_dropped_and_others_are_cut() -> None:
    table = AreaTable([noise(30, 20), noise(30, 20)], torch.device("cpu"))
    boxes = [[2.9, 3, 9, 8], [-9, -9, -1, -1], [31, 2, 40, 9], [-5, -5, 50.5, 60], [30, 20, 30, 20], [3, 9, 9, 8.9]]
    windows = Windows(torch.tensor([1, 0, 1, 0, 1, 0]), torch.tensor(boxes), torch.arange(6.0))
    kept, crops = _cascade._crops(table, windows)
    # One-based with both ends, as facenet-pytorch's `pad`; sorted by picture.
    assert kept.scores.tolist() == [3, 0, 4]
    assert kept.picture.tolist() == [0, 1, 1]
    assert crops.tolist() == [[0, 0, 30, 20], [1, 2, 9, 8], [29, 19, 30, 20]]


def naive(picture: list[int], boxes: np.ndarray, scores: list[float]) -> list[int]:
    kept: list[int] = []
    for number in sorted(set(picture)):
        of_picture = [i for i in range(len(picture)) if picture[i] == number]
        # Which of equals is first is up to numpy's sort, as it is in facenet-pytorch.
        for place in np.argsort(np.array([scores[i] for i in of_picture], np.float32))[::-1]:
            i = of_picture[place]
            if all(share(boxes[i], boxes[j]) <= 0.7 for j in kept if picture[j] == number):
                kept.append(i)
    return kept


def share(a: np.ndarray, b: np.ndarray) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return float(max(width, 0) * max(height, 0) / min(areas))


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(0, 12), st.integers(0, 12), st.integers(1, 12), st.integers(1, 12),
            st.sampled_from([0.75, 0.875, 0.9375, 1.0]),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_the_last_suppression(found: list[tuple[int, int, int, int, int, float]]) -> None:
    found.sort(key=lambda f: f[0])
    picture, scores = [f[0] for f in found], [f[5] for f in found]
    boxes = np.array([[x, y, x + w, y + h] for _, x, y, w, h, _ in found], np.float32).reshape(-1, 4)
    got = _cascade._suppressed_by_the_smaller(np.array(picture, np.int64), boxes, np.array(scores, np.float32))
    assert got.tolist() == naive(picture, boxes, scores)


def test_scales_are_those_of_facenet_pytorch(own: Mtcnn) -> None:
    # 168 * 0.6 = 100.8; times 0.709 each, while at least 12.
    assert np.allclose(own.cascade.scales(224, 168), 0.6 * 0.709 ** np.arange(7))
    assert own.cascade.scales(19, 300) == []
