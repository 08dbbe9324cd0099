"""How faces are found in frames and crops: the rule for super-resolution, coordinates, memory that runs out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from faceup.archive.faces import Face, FaceFinder
from faceup.archive.settings import FaceSettings
from faceup.archive.worker import Worker
from faceup.types import Detections, Image
from tests.archive import fakes


@pytest.fixture
def finder(fake: Path) -> FaceFinder:
    settings = FaceSettings(sr="bicubic", scale=4, detector="squares", recognizer="squares", small_eye_px=30)
    return FaceFinder(settings)


def boxes(faces: Sequence[Face]) -> list[list[float]]:
    return [face.box.round(1).tolist() for face in faces]


def test_small_faces_are_super_resolved_and_large_ones_are_not(finder: FaceFinder) -> None:
    # The squares' eyes are 0.4 sides apart: 40 px are small (16 px), 90 px are not (36 px).
    frame = fakes.scene([(fakes.RED, 30, 40, 40), (fakes.BLUE, 200, 60, 90)], 400, 300)
    (faces,) = finder.find([frame])
    assert [(face.sr, face.again) for face in faces] == [(True, True), (False, True)]
    np.testing.assert_allclose([face.eye_px for face in faces], [16, 36], atol=0.5)
    expected = [[29.5, 39.5, 69.5, 79.5], [199.5, 59.5, 289.5, 149.5]]
    np.testing.assert_allclose([face.box for face in faces], expected, atol=0.6)
    for face, (x, y, side) in zip(faces, [(30, 40, 40), (200, 60, 90)], strict=True):
        np.testing.assert_allclose(face.landmarks[0], [x - 0.5 + 0.3 * side, y - 0.5 + 0.35 * side], atol=0.6)


def test_a_crop_is_super_resolved_as_a_whole_and_coordinates_are_its_own(finder: FaceFinder) -> None:
    calls: list[tuple[int, int]] = []
    upscale = finder.sr.upscale

    def noted(images: Sequence[Image]) -> list[Image]:
        calls.extend((image.width, image.height) for image in images)
        return upscale(images)

    finder.sr.upscale = noted  # type: ignore[method-assign]
    crop = fakes.scene([(fakes.RED, 20, 12, 30)], 75, 60)
    (faces,) = finder.find([crop])
    assert calls == [(75, 60)]
    np.testing.assert_allclose(faces[0].box, [19.5, 11.5, 49.5, 41.5], atol=0.4)
    assert faces[0].sr


def test_a_face_that_is_not_found_again_is_kept(finder: FaceFinder, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = fakes.scene([(fakes.RED, 30, 40, 40)], 400, 300)
    (expected,) = finder.find([frame])
    detect, calls = finder.detector.detect, []

    def only_once(images: Sequence[Image]) -> list[Detections]:
        calls.append(len(images))
        return detect(images) if len(calls) == 1 else [Detections.none() for _ in images]

    monkeypatch.setattr(finder.detector, "detect", only_once)
    (faces,) = finder.find([frame])
    assert [(face.sr, face.again) for face in faces] == [(True, False)]
    np.testing.assert_allclose(faces[0].box, expected[0].box, atol=0.6)
    assert float(faces[0].vector @ expected[0].vector) > 0.99


def test_no_face_and_no_picture(finder: FaceFinder) -> None:
    assert finder.find([]) == []
    assert finder.find([fakes.scene([]), fakes.scene([], 400, 300)]) == [[], []]


def test_thumbnails_are_original_pixels(finder: FaceFinder) -> None:
    from faceup.images import decode

    (faces,) = finder.find([fakes.scene([(fakes.RED, 30, 40, 40)], 400, 300)])
    picture = decode(faces[0].thumbnail, "thumbnail")
    assert (picture.width, picture.height) in ((81, 81), (82, 82)), "the box and half its size around it, as it was"


def test_when_memory_runs_out_batches_are_halved_and_nothing_is_lost(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from faceup.archive.job import run_batch

    fakes.gallery(tmp_path / "gallery")
    fakes.archive(tmp_path / "archive", pictures=12)
    run_batch(fakes.batch(tmp_path, [tmp_path / "archive"], "roomy"))
    find, sizes = FaceFinder.find, []

    def tight(self: FaceFinder, images: Sequence[Image]) -> list[list[Face]]:
        sizes.append(len(images))
        if len(images) > 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return find(self, images)

    monkeypatch.setattr(FaceFinder, "find", tight)
    totals = run_batch(fakes.batch(tmp_path, [tmp_path / "archive"], "tight"))
    assert max(sizes) > 3
    assert totals.failed_units == 0
    assert fakes.content(tmp_path / "tight" / "results") == fakes.content(tmp_path / "roomy" / "results")


def test_a_plug_in_that_breaks_costs_its_unit_and_says_so(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from faceup.archive.job import run_batch

    fakes.gallery(tmp_path / "gallery")
    fakes.archive(tmp_path / "archive", pictures=12)
    process, calls = Worker._process, []

    def broken(self: Worker, unit: object) -> object:
        calls.append(unit)
        if len(calls) == 1:
            raise ZeroDivisionError("a plug-in's bad day")
        return process(self, unit)  # type: ignore[arg-type]

    monkeypatch.setattr(Worker, "_process", broken)
    totals = run_batch(fakes.batch(tmp_path, [tmp_path / "archive"]))
    assert totals.failed_units == 1
    text = (tmp_path / "job" / "results" / "coverage.csv").read_text()
    assert "unexpected ZeroDivisionError: a plug-in's bad day" in text
    assert run_batch(fakes.batch(tmp_path, [tmp_path / "archive"], resume=True)).failed_units == 0
