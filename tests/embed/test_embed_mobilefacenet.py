"""MobileFaceNet on real faces, and what reaches the network for each lineage of checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file

from faceup.align import align
from faceup.detect import chosen_face
from faceup.detect import mtcnn as mtcnn_module
from faceup.embed import mobilefacenet as mobilefacenet_module
from faceup.embed import mobilefacenet2_lr, mobilefacenet_lr
from faceup.embed.mobilefacenet import MobileFaceNetEmbedder, build, torch_network
from faceup.errors import ConfigError, WeightsError
from faceup.images import read_image
from faceup.networks.mobilefacenet import fold_norms, load_mobilefacenet
from faceup.registry import Options
from faceup.types import AlignedFace, Floats
from faceup.weights import store
from tests.conftest import ROOT

PEOPLE = 8


def aligned(pixels: npt.NDArray[np.uint8]) -> AlignedFace:
    return AlignedFace(pixels, np.eye(2, 3, dtype=np.float32))


def noise(count: int, seed: int = 0) -> list[AlignedFace]:
    rng = np.random.default_rng(seed)
    return [aligned(rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)) for _ in range(count)]


@pytest.fixture(scope="module")
def embedder() -> MobileFaceNetEmbedder:
    return build(Options())


@pytest.fixture(scope="module")
def couples(shared: Path, embedder: MobileFaceNetEmbedder) -> tuple[Floats, Floats]:
    """Vectors of the neutral and of the smiling photo of the same people."""
    detector = mtcnn_module.build(Options(extra={"max_side": 256}))
    rows = []
    for kind in ("neutral", "smiling"):
        paths = sorted((shared / "data" / "london" / kind).iterdir())[:PEOPLE]
        images = [read_image(path) for path in paths]
        faces = []
        for image, found in zip(images, detector.detect(images), strict=True):
            chosen = chosen_face(found, image)
            assert chosen is not None
            faces.append(align(image, found.landmarks[chosen]))
        rows.append(embedder.embed(faces))
    return rows[0], rows[1]


# The shipped weights.


def test_the_same_person_is_far_more_alike_than_another(couples: tuple[Floats, Floats]) -> None:
    scores = couples[0] @ couples[1].T
    genuine, impostor = np.diag(scores), scores[~np.eye(PEOPLE, dtype=bool)]
    assert genuine.mean() > 0.6
    assert abs(impostor.mean()) < 0.15
    assert genuine.min() > impostor.max() + 0.1


@pytest.fixture(scope="module")
def photographed() -> list[AlignedFace]:
    """The faces of the example photos and of the probes in which one is found."""
    detector = mtcnn_module.build(Options(extra={"max_side": 256}))
    images = [read_image(path) for path in sorted((ROOT / "examples").rglob("*.jpg"))]
    found = zip(images, detector.detect(images), strict=True)
    chosen = [(image, faces, chosen_face(faces, image)) for image, faces in found]
    return [align(image, faces.landmarks[face]) for image, faces, face in chosen if face is not None]


@pytest.mark.parametrize("engine", ["onnx", "torch"])
@pytest.mark.parametrize("module", [mobilefacenet_module, mobilefacenet_lr, mobilefacenet2_lr])
def test_the_vectors_are_those_of_the_network_in_plain_torch(
    module: ModuleType, engine: str, photographed: list[AlignedFace]
) -> None:
    name, embedder = module.INFO.name, module.build(Options())
    if engine == "torch":  # as on a GPU
        net = load_mobilefacenet(store.load(name).tensors)
        fold_norms(net)
        embedder.net = torch_network(net, torch.device("cpu"))
    assert len(photographed) >= 8
    stacked = torch.from_numpy(np.stack([face.pixels for face in photographed]))
    with torch.inference_mode():
        raw = load_mobilefacenet(store.load(name).tensors)((stacked.flip(3).permute(0, 3, 1, 2) - 127.5) / 128)
        wanted = torch.nn.functional.normalize(raw).double().numpy()
    cosines = (embedder.embed(photographed).astype(np.float64) * wanted).sum(axis=1)
    assert cosines.min() > 0.99999
    # Other faces are far from that.
    assert np.abs(wanted @ wanted.T - np.eye(len(wanted))).max() < 0.999


def test_rows_have_unit_length_and_the_right_type(embedder: MobileFaceNetEmbedder) -> None:
    rows = embedder.embed(noise(3))
    assert rows.shape == (3, embedder.dimension) == (3, 512)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_flip_adds_the_mirrored_face(embedder: MobileFaceNetEmbedder) -> None:
    faces = noise(3)
    mirrored = [aligned(np.ascontiguousarray(face.pixels[:, ::-1])) for face in faces]
    flipping = build(Options(extra={"flip": True}))
    x = torch.from_numpy(np.stack([[f.pixels, m.pixels] for f, m in zip(faces, mirrored, strict=True)]))
    raw = embedder.net((x.flatten(0, 1).flip(3).permute(0, 3, 1, 2).float() - 127.5) / 128).view(3, 2, -1).sum(dim=1)
    expected = (raw / raw.norm(dim=1, keepdim=True)).detach().numpy()
    np.testing.assert_allclose(flipping.embed(faces), expected, atol=1e-5)
    np.testing.assert_allclose(flipping.embed(mirrored), expected, atol=1e-5)
    assert np.abs(embedder.embed(faces) - expected).max() > 1e-2
    with pytest.raises(ConfigError, match="flip is true or false"):
        build(Options(extra={"flip": 1}))


@pytest.mark.parametrize("batch", [3, 4, 64])
def test_one_by_one_is_the_same_as_many_batches(
    batch: int, embedder: MobileFaceNetEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mobilefacenet_module, "BATCH", batch)
    faces = noise(10)
    together = embedder.embed(faces)
    assert together.shape == (10, 512)
    for face, row in zip(faces, together, strict=True):
        np.testing.assert_allclose(row, embedder.embed([face])[0], atol=1e-5)


def test_no_faces_give_no_rows(embedder: MobileFaceNetEmbedder) -> None:
    rows = embedder.embed([])
    assert rows.shape == (0, 512)
    assert rows.dtype == np.float32


def test_memory_running_out_costs_no_face(embedder: MobileFaceNetEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = noise(7)
    expected = embedder.embed(faces)
    whole = embedder._batch

    def narrow(part: Any) -> list[Floats]:
        if len(part) > 2:
            raise RuntimeError("CUDA out of memory")
        return whole(part)

    monkeypatch.setattr(embedder, "_batch", narrow)
    np.testing.assert_allclose(embedder.embed(faces), expected, atol=1e-5)


# Checkpoints of each lineage: random weights under the keys and shapes of the real ones.


def random_state(shared: Path, lineage: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = {}
    for line in (shared / "keys" / f"mobilefacenet_{lineage}.tsv").read_text().splitlines():
        key, shape, kind = line.split("\t")
        size = json.loads(shape)
        if key.endswith("num_batches_tracked"):
            state[key] = torch.zeros(size, dtype=torch.int64)
        elif key.endswith("running_var"):
            state[key] = torch.rand(size) + 0.5
        else:
            state[key] = torch.randn(size) * (0.1 if len(size) > 1 else 1) + 0.1
        assert str(state[key].dtype) == f"torch.{kind}"
    return state


Prepare = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
LINEAGES: dict[str, tuple[int, Prepare]] = {
    "facexzoo_512": (512, lambda rgb: (rgb[:, :, ::-1] - 127.5) / 128),
    "xuexingyu24_512": (512, lambda rgb: (rgb[:, :, ::-1] - 127.5) / 127.5),
    "xiaoccer_128": (128, lambda rgb: (rgb[:, 8:104] - 127.5) / 128),
}
WRAPPINGS: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": {**state, "head.weight": torch.zeros(2, 2)}},
    "net_state_dict": lambda state: {"epoch": 68, "net_state_dict": state},
    "DataParallel": lambda state: {f"module.{key}": value for key, value in state.items()},
}


def watched(embedder: MobileFaceNetEmbedder, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Return a list that gets a copy of everything that is given to the network from now on."""
    reached: list[torch.Tensor] = []
    net = embedder.net

    def run(x: torch.Tensor) -> torch.Tensor:
        reached.append(x.clone())
        return net(x)

    monkeypatch.setattr(embedder, "net", run)
    return reached


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("lineage", LINEAGES)
def test_colour_order_scaling_and_crop_follow_the_lineage(
    lineage: str, wrapping: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(WRAPPINGS[wrapping](random_state(shared, lineage)), path)
    embedder = build(Options(weights=path))
    dimension, prepare = LINEAGES[lineage]
    reached = watched(embedder, monkeypatch)
    face = noise(1)[0]
    rows = embedder.embed([face])
    expected = prepare(face.pixels.astype(np.float64)).transpose(2, 0, 1)
    np.testing.assert_allclose(reached[0][0].numpy(), expected, atol=1e-6)
    assert rows.shape == (1, dimension) == (1, embedder.dimension)
    np.testing.assert_allclose(np.linalg.norm(rows), 1, atol=1e-5)


def test_the_shipped_weights_are_fed_as_facexzoo_feeds_them(
    embedder: MobileFaceNetEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = watched(embedder, monkeypatch)
    face = noise(1, seed=1)[0]
    embedder.embed([face])
    expected = LINEAGES["facexzoo_512"][1](face.pixels.astype(np.float64)).transpose(2, 0, 1)
    np.testing.assert_allclose(reached[0][0].numpy(), expected, atol=1e-6)


# What is refused.


def test_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="Unknown setting of mobilefacenet 'mirror'"):
        build(Options(extra={"mirror": True}))


def test_weights_of_another_network_are_refused_by_file_name(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(WeightsError, match=r"other\.safetensors: .*not the weights of a MobileFaceNet"):
        build(Options(weights=path))


def test_incomplete_weights_are_refused(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    for lineage in LINEAGES:
        state = random_state(shared, lineage)
        state.popitem()
        del state["conv1.bn.bias" if "conv1.bn.bias" in state else "backbone.conv1.bn.bias"]
        save_file(state, path)
        with pytest.raises(WeightsError, match=r"cut\.safetensors: .*not the weights of a MobileFaceNet"):
            build(Options(weights=path))
