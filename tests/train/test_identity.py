"""The identity term sees what the pipeline would see, and its gradient reaches the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from faceup import registry
from faceup.align import align
from faceup.images import read_image, resize
from faceup.protocols import Detector, Embedder
from faceup.train.faces import MIRRORED, Face, jittered
from faceup.train.identity import IdentityTerm, aligned_faces, embedded
from faceup.types import Floats, Image


@pytest.fixture(scope="module")
def face(examples: Path) -> tuple[Image, Floats]:
    picture = resize(read_image(examples / "gallery" / "collins_frontal.jpg"), 144, 180)
    detector: Detector = registry.build("detect", "mtcnn", registry.Options())
    return picture, detector.detect([picture])[0].landmarks[0]


def as_tensor(picture: Image) -> torch.Tensor:
    return torch.from_numpy(picture.pixels.transpose(2, 0, 1).copy())[None].float()


def test_alignment_is_that_of_the_pipeline(face: tuple[Image, Floats]) -> None:
    picture, landmarks = face
    wanted = align(picture, landmarks).pixels.transpose(2, 0, 1).astype(int)
    got = aligned_faces(as_tensor(picture), landmarks[None])[0].numpy()
    # OpenCV rounds places to 1/32 of a pixel.
    assert np.abs(got - wanted).mean() < 0.6
    assert np.abs(got - wanted).max() < 12


def test_vectors_are_those_of_the_plug_in(face: tuple[Image, Floats]) -> None:
    aligned = align(*face)
    embedder: Embedder = registry.build("embed", "mobilefacenet", registry.Options())
    got = embedded(IdentityTerm().net, as_tensor(Image(aligned.pixels)))
    np.testing.assert_allclose(got.detach().numpy(), embedder.embed([aligned]), atol=1e-5)


def test_the_gradient_makes_a_blurred_face_more_like_its_original(face: tuple[Image, Floats]) -> None:
    picture, landmarks = face
    term = IdentityTerm()
    original = as_tensor(Image(align(picture, landmarks).pixels))
    assert 1 - term.cosines(aligned_faces(as_tensor(picture), landmarks[None]), original).item() < 0.01
    blurred = as_tensor(resize(resize(picture, 18, 22), 144, 180)).requires_grad_(True)
    before = 1 - term.cosines(aligned_faces(blurred, landmarks[None]), original).mean()
    before.backward()
    assert blurred.grad is not None
    assert all(parameter.grad is None for parameter in term.net.parameters())
    with torch.no_grad():
        moved = blurred - 4 * blurred.grad / blurred.grad.abs().max()
    assert 1 - term.cosines(aligned_faces(moved, landmarks[None]), original).item() < before.item() - 0.01


def test_a_mirrored_face_keeps_its_landmarks_on_the_face(face: tuple[Image, Floats]) -> None:
    picture, landmarks = face
    one = Face(picture.pixels, landmarks, 60.0)
    twice = one.mirrored().mirrored()
    np.testing.assert_array_equal(twice.pixels, picture.pixels)
    np.testing.assert_allclose(twice.landmarks, landmarks, atol=1e-4)
    assert sorted(MIRRORED) == list(range(5))
    mirrored = align(Image(one.mirrored().pixels), one.mirrored().landmarks).pixels.astype(int)
    plain = align(picture, landmarks).pixels[:, ::-1].astype(int)
    assert np.abs(mirrored - plain)[20:-20, 20:-20].mean() < 12


def test_a_crop_has_the_size_asked_for_and_its_landmarks_move_along(face: tuple[Image, Floats]) -> None:
    picture, landmarks = face
    one = Face(picture.pixels, landmarks, 60.0)
    crop = one.crop(112, 81.0, np.random.default_rng(0))
    assert crop.pixels.shape == (112, 112, 3)
    ratio = np.hypot(*(crop.landmarks[1] - crop.landmarks[0])) / np.hypot(*(landmarks[1] - landmarks[0]))
    assert ratio == pytest.approx(81 / 60, rel=0.02)
    a, b = align(picture, landmarks).pixels.astype(int), align(Image(crop.pixels), crop.landmarks).pixels.astype(int)
    assert np.abs(a - b)[15:-15, 15:-15].mean() < 6


def test_jitter_has_the_measured_shape() -> None:
    points = np.array([[0, 0], [40, 0], [20, 20], [5, 40], [35, 40]], np.float32)
    rng = np.random.default_rng(0)
    moved = np.stack([jittered(points, 0.05, rng) - points for _ in range(2000)])
    assert moved.mean(axis=1).std() == pytest.approx(2 * np.sqrt(1 + 1 / 5), rel=0.05)
    assert (moved - moved.mean(axis=1, keepdims=True)).std() == pytest.approx(2 * np.sqrt(4 / 5), rel=0.05)
