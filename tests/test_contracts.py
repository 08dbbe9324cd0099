"""Every registered plug-in goes through the checks of contracts.py, and the checks find what they are for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import data as skimage_data

from faceup import registry
from faceup.errors import ConfigError, FaceupError, WeightsError
from faceup.images import resize
from faceup.registry import Options, Stage
from faceup.types import AlignedFace, BackendInfo, Detections, Floats, Image
from faceup.weights import store
from faceup.weights.catalog import catalog
from tests.contracts import check_detector, check_embedder, check_info, check_sr

# What a fresh installation must be able to run, whatever else is skipped.
SYSTEMS = ("none", "bicubic", "lcge", "mtc", "rcan", "sisn", "sisn-surveillance", "sparnet", "srfbn")
ALWAYS = {
    *(("sr", name) for name in SYSTEMS),
    ("detect", "mtcnn"),
    *(("embed", name) for name in ("mobilefacenet", "mobilefacenet-lr", "mobilefacenet2-lr", "mobilefacenet-duo")),
}


def installed(weight: str) -> bool:
    if weight not in catalog():
        return False
    try:
        store.locate(catalog()[weight])
    except WeightsError:
        return False
    return True


def built(stage: Stage, name: str) -> Any:
    """Build a plug-in with its default weights; skip, with its own words, where there are none."""
    weights = registry.info(stage, name).weights
    if all(installed(weight) for weight in weights):
        try:
            return registry.build(stage, name, Options())
        except ConfigError as error:
            # A backend that ships nothing says so; one whose weights are here has no excuse.
            if weights or (stage, name) in ALWAYS or "give a file" not in str(error):
                raise
            pytest.skip(str(error))
    with pytest.raises((ConfigError, WeightsError)) as caught:
        registry.build(stage, name, Options())
    assert (stage, name) not in ALWAYS
    pytest.skip(str(caught.value))


@pytest.fixture(scope="module")
def faces() -> list[Image]:
    """Pictures of one face (Eileen Collins, NASA, public domain) in two sizes."""
    head = Image(skimage_data.astronaut()[20:220, 120:320])
    return [head, resize(head, 120, 120), resize(head, 90, 140), head]


@pytest.mark.parametrize(
    ("stage", "name"), [(stage, name) for stage in registry.STAGES for name in registry.names(stage)]
)
def test_info(stage: Stage, name: str) -> None:
    check_info(registry.info(stage, name), name)


@pytest.mark.parametrize("name", registry.names("sr"))
def test_sr_backend(name: str) -> None:
    backend = built("sr", name)
    assert backend.scale in (1, Options().scale)
    check_sr(backend)


@pytest.mark.parametrize("name", registry.names("detect"))
def test_detector(name: str, faces: list[Image]) -> None:
    check_detector(built("detect", name), faces)


@pytest.mark.parametrize("name", registry.names("embed"))
def test_embedder(name: str) -> None:
    check_embedder(built("embed", name))


@pytest.mark.parametrize(
    ("stage", "name"), [(stage, name) for stage in registry.STAGES for name in registry.names(stage)]
)
def test_a_setting_that_no_backend_knows_is_refused(stage: Stage, name: str) -> None:
    with pytest.raises(ConfigError, match=r"Unknown setting of .*no_such_setting"):
        registry.build(stage, name, Options(extra={"no_such_setting": 1}))


@pytest.mark.parametrize(
    ("stage", "name"), [(stage, name) for stage in registry.STAGES for name in registry.names(stage)]
)
def test_weights_of_nothing_are_refused_by_file_name(stage: Stage, name: str, tmp_path: Path) -> None:
    path = tmp_path / "nothing.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(FaceupError, match=r"nothing\.safetensors"):
        registry.build(stage, name, Options(weights=path))


# The checks themselves: each of these plug-ins breaks one promise.


class Twice:
    scale = 2

    def upscale(self, images: Sequence[Image]) -> list[Image]:
        return [Image(image.pixels.repeat(2, axis=0).repeat(2, axis=1)) for image in images]


class Reversed(Twice):
    def upscale(self, images: Sequence[Image]) -> list[Image]:
        return super().upscale(images[::-1])


class Short(Twice):
    def upscale(self, images: Sequence[Image]) -> list[Image]:
        return super().upscale(images)[:-1]


class WrongSize(Twice):
    scale = 3


class Depends(Twice):
    def upscale(self, images: Sequence[Image]) -> list[Image]:
        shift = len(images) * 2
        return super().upscale([Image((image.pixels // 2 + shift).astype(np.uint8)) for image in images])


class Changes(Twice):
    def upscale(self, images: Sequence[Image]) -> list[Image]:
        for image in images:
            image.pixels[:] = 255 - image.pixels
        return super().upscale(images)


class Random(Twice):
    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def upscale(self, images: Sequence[Image]) -> list[Image]:
        flat = [Image(image.pixels // 2 * 2 + self.rng.integers(0, 2, dtype=np.uint8)) for image in images]
        return super().upscale(flat)


def test_the_sr_check_passes_what_is_right() -> None:
    check_sr(Twice())


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        (Reversed(), "became"),
        (Short(), "gave 7"),
        (WrongSize(), "became"),
        (Depends(), "depends on the others"),
        (Changes(), "an input's pixels were changed"),
        (Random(), "the same input gave another result"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_sr_check_finds(backend: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_sr(backend)


class NoFaces:
    def detect(self, images: Sequence[Image]) -> list[Detections]:
        return [Detections.none() for _ in images]


class FaceEverywhere:
    def detect(self, images: Sequence[Image]) -> list[Detections]:
        box, points = np.array([[0, 0, 1, 1]], np.float32), np.zeros((1, 5, 2), np.float32)
        return [Detections(box, np.ones(1, np.float32), points) for _ in images]


def test_the_detector_check_finds(faces: list[Image]) -> None:
    check_detector(NoFaces())
    with pytest.raises(AssertionError, match="no face in a picture with one"):
        check_detector(NoFaces(), faces)
    with pytest.raises(AssertionError, match="blank or tiny"):
        check_detector(FaceEverywhere())
    with pytest.raises(AssertionError, match="image-left eye"):
        check_detector(FaceEverywhere(), faces)


class Mean:
    """Embeds as the mean colour of the four quarters."""

    dimension = 12
    length = 1.0

    def embed(self, faces: Sequence[AlignedFace]) -> Floats:
        rows = [face.pixels.reshape(2, 56, 2, 56, 3).mean(axis=(1, 3)).ravel() for face in faces]
        made = np.array(rows, np.float32).reshape(-1, 12)
        lengths: Floats = np.linalg.norm(made, axis=1, keepdims=True) / np.float32(self.length)
        return made / lengths


class Long(Mean):
    length = 2.0


class Wide(Mean):
    dimension = 13


class Sorted(Mean):
    def embed(self, faces: Sequence[AlignedFace]) -> Floats:
        rows: Floats = np.sort(super().embed(faces), axis=0)
        return rows


def test_the_embedder_check_finds() -> None:
    check_embedder(Mean())
    for wrong, message in (
        (Long(), "unit length"),
        (Wide(), "must give"),
        (Sorted(), "depends on the others|unit length"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_embedder(wrong)


def test_the_info_check_finds() -> None:
    good = {"name": "x", "version": "1", "licence": "MIT", "summary": "s", "generative": False}
    check_info(BackendInfo(**good), "x")  # type: ignore[arg-type]
    for change, message in (({"name": "y"}, "registered as 'x'"), ({"licence": " "}, "licence is empty")):
        with pytest.raises(AssertionError, match=message):
            check_info(BackendInfo(**{**good, **change}), "x")  # type: ignore[arg-type]
