"""Components, exemplars and the plug-in of LCGE, against loops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from skimage.filters import gaussian

from faceup import registry
from faceup.errors import WeightsError
from faceup.geometry import TEMPLATE, similarity_transform
from faceup.images import read_image, resize
from faceup.networks.lcge import COMPONENTS, Lcge, LcgeConfig
from faceup.sr._exemplars import Exemplars, from_grid, on_grid
from faceup.sr._face_parts import component_weights
from faceup.sr.lcge import BANK
from faceup.types import Floats, Image
from tests.contracts import check_sr, pictures

CONFIG = LcgeConfig()
GRID, PATCH, STRIDE = CONFIG.grid, CONFIG.patch, CONFIG.stride
PLACES = range(0, GRID - PATCH + 1, STRIDE)
IDENTITY = np.eye(2, 3, dtype=np.float32)


def faces(count: int, seed: int = 0) -> torch.Tensor:
    """Smooth random luma on the canonical grid, uint8."""
    rng = np.random.default_rng(seed)
    if not count:
        return torch.zeros(0, GRID, GRID, dtype=torch.uint8)
    coarse = [Image(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)) for _ in range(count)]
    return torch.from_numpy(np.stack([resize(image, GRID, GRID).pixels[..., 0] for image in coarse]))


def test_components_lie_on_the_landmarks_of_the_template() -> None:
    weights = component_weights([IDENTITY], CONFIG, width=112, height=112)
    eyes, brows, nose, mouth = weights
    points = np.rint(TEMPLATE).astype(int)
    for x, y in points[:2]:
        assert eyes[y, x] == 1
        assert brows[y - 12, x] == 1
    assert nose[points[2][1], points[2][0]] > 0.9
    assert mouth[points[3:, 1].mean().astype(int), points[3:, 0].mean().astype(int)] == 1
    assert len(weights) == len(COMPONENTS)
    assert weights[:, 0, 0].max() == 0


@settings(max_examples=20, deadline=None)
@given(st.floats(0.2, 3), st.floats(-0.5, 0.5), st.integers(-20, 40), st.integers(-20, 40))
def test_component_weights_are_shares_and_parts_of_the_whole(scale: float, angle: float, left: int, top: int) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.hstack([turn, [[5.0], [9.0]]]).astype(np.float32)
    whole = component_weights([matrix], CONFIG, width=100, height=90)
    assert whole.min() >= 0
    assert whole.sum(axis=0).max() <= 1 + 1e-6
    x, y = max(left, 0), max(top, 0)
    part = component_weights([matrix], CONFIG, width=20, height=30, left=x, top=y)
    np.testing.assert_array_equal(part, whole[:, y : y + 30, x : x + 20])


def test_no_face_has_no_components_and_two_have_both() -> None:
    assert component_weights([], CONFIG, width=5, height=4).max() == 0
    shifted = IDENTITY + np.array([[0, 0, -112], [0, 0, 0]], np.float32)
    both = component_weights([IDENTITY, shifted], CONFIG, width=224, height=112)
    one = component_weights([IDENTITY], CONFIG, width=112, height=112)
    np.testing.assert_allclose(both[:, :, :112], one, atol=1e-6)
    np.testing.assert_allclose(both[:, :, 112:], one, atol=1e-6)


def fine(grey: Floats, sigma: float) -> Floats:
    """What a Gaussian blur takes away, by scikit-image."""
    smooth: Floats = gaussian(grey, sigma, mode="nearest", truncate=4).astype(np.float32)
    return grey - smooth


def naive_detail(face: Floats, generated: torch.Tensor, real: torch.Tensor, sigma: float) -> Floats:
    """The same by loops over patches and candidates."""
    total, covered = np.zeros((GRID, GRID)), np.zeros((GRID, GRID))
    made, true = generated.numpy().astype(np.float64), real.numpy().astype(np.float64)
    for y in PLACES:
        for x in PLACES:
            patch = face[y : y + PATCH, x : x + PATCH].astype(np.float64)
            mean = patch.mean()
            query = (patch - mean).ravel()
            candidates = []
            for dy in range(-CONFIG.reach, CONFIG.reach + 1):
                for dx in range(-CONFIG.reach, CONFIG.reach + 1):
                    cy = int(np.clip(y + dy * STRIDE, 0, PLACES[-1]))
                    cx = int(np.clip(x + dx * STRIDE, 0, PLACES[-1]))
                    for n in range(len(made)):
                        there = (slice(cy, cy + PATCH), slice(cx, cx + PATCH))
                        low, high = (source[n][there] - source[n][there].mean() for source in (made, true))
                        candidates.append((((low.ravel() - query) ** 2).sum(), low.ravel(), high.ravel()))
            nearest = sorted(candidates, key=lambda candidate: candidate[0])[: CONFIG.neighbours]
            away = np.stack([low - query for _, low, _ in nearest])
            gram = away @ away.T
            solved = np.linalg.solve(
                gram + CONFIG.ridge * max(np.trace(gram), 1e-6) * np.eye(len(gram)), np.ones(len(gram))
            )
            weights = solved / solved.sum()
            written = sum(w * high for w, (_, _, high) in zip(weights, nearest, strict=True))
            total[y : y + PATCH, x : x + PATCH] += np.asarray(written).reshape(PATCH, PATCH) + mean
            covered[y : y + PATCH, x : x + PATCH] += 1
    whole = np.where(covered > 0, total / np.maximum(covered, 1), face).astype(np.float32)
    return fine(whole, sigma) - fine(face, sigma)


def test_detail_against_loops() -> None:
    bank = faces(4, seed=1), faces(4, seed=2)
    face = faces(1, seed=3)[0].numpy().astype(np.float32)
    found, expected = Exemplars(*bank, CONFIG).detail(face, 1.5), naive_detail(face, *bank, 1.5)
    # Where two candidates lie at nearly the same distance, float32 and float64 may choose differently.
    assert np.quantile(np.abs(found - expected), 0.98) < 0.05
    assert np.abs(expected).max() > 5


def test_a_face_of_the_bank_gets_its_own_detail_back() -> None:
    generated = faces(3, seed=1)
    added = np.random.default_rng(0).integers(-20, 21, generated.shape)
    real = torch.from_numpy(np.clip(generated.numpy() + added, 0, 255).astype(np.uint8))
    face, original = (bank[1].numpy().astype(np.float32) for bank in (generated, real))
    found = Exemplars(generated, real, CONFIG).detail(face, 2.0)
    inside = slice(PATCH, GRID - PATCH - STRIDE)
    wanted = (fine(original, 2.0) - fine(face, 2.0))[inside, inside]
    # Less than 1 because a patch keeps the mean that it has in the generated face.
    assert np.corrcoef(wanted.ravel(), found[inside, inside].ravel())[0, 1] > 0.95


def test_the_grid_and_back_is_the_same_place() -> None:
    y, x = np.mgrid[:200, :180].astype(np.float32)
    grey: Floats = (128 + 60 * np.sin(x / 9) * np.cos(y / 7)).astype(np.float32)
    matrix = similarity_transform(TEMPLATE * 1.3 + [17, 23]).astype(np.float32)
    back = from_grid(on_grid(grey, matrix, CONFIG), matrix, CONFIG, 180, 200)
    share = component_weights([matrix], CONFIG, width=180, height=200).sum(axis=0)
    assert share.sum() > 1000
    assert np.abs((back - grey)[share > 0]).max() < 4  # twice bilinear


def test_banks_of_the_wrong_shape_are_refused() -> None:
    for generated, real in ((faces(2), faces(3)), (faces(0), faces(0)), (faces(2)[:, 1:], faces(2)[:, 1:])):
        with pytest.raises(ValueError, match="two times"):
            Exemplars(generated, real, CONFIG)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Untrained networks with a bank of noise, as `faceup train` writes them."""
    torch.manual_seed(0)
    net = Lcge(LcgeConfig(3, 2, 2))
    state = {**net.state_dict(), f"{BANK}generated": faces(6, seed=1), f"{BANK}real": faces(6, seed=2)}
    file = tmp_path / "lcge.safetensors"
    save_file(state, file, metadata={"options": json.dumps(net.config.as_dict())})
    return file


def test_contract(weights: Path) -> None:
    check_sr(registry.build("sr", "lcge", registry.Options(scale=2, weights=weights)))


def test_detail_is_added_to_faces_only(weights: Path, examples: Path) -> None:
    backend = registry.build("sr", "lcge", registry.Options(scale=2, weights=weights))
    portrait = read_image(examples / "gallery" / "collins_frontal.jpg")
    small = resize(portrait, 96, 96 * portrait.height // portrait.width)
    (other,) = pictures([(120, 96)])
    with_face, without = (backend.upscale([image])[0] for image in (small, other))
    plain, no_face = (resize(image, 2 * image.width, 2 * image.height) for image in (small, other))
    # The networks are untrained and change next to nothing.
    changed = np.abs(with_face.pixels.astype(int) - plain.pixels).max(axis=2) > 4
    assert changed.any()
    assert changed.mean() < 0.2
    assert np.abs(without.pixels.astype(int) - no_face.pixels).max() <= 2


def test_weights_without_a_bank_are_refused(weights: Path, tmp_path: Path) -> None:
    state = {key: value for key, value in load_file(weights).items() if key != f"{BANK}real"}
    file = tmp_path / "bare.safetensors"
    save_file(state, file, metadata={"options": json.dumps(LcgeConfig(3, 2, 2).as_dict())})
    with pytest.raises(WeightsError, match=r"bare\.safetensors: The bank of faces is missing"):
        registry.build("sr", "lcge", registry.Options(scale=2, weights=file))
