"""Shared landmarks: the same points in every picture, and what a run with them writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import faceup
from faceup.align import align
from faceup.defaults import RECOGNIZER
from faceup.detect import chosen_face
from faceup.errors import ConfigError
from faceup.images import read_image
from faceup.registry import Options, build
from faceup.shared_landmarks import moved


@pytest.fixture(scope="module")
def sides(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    probes = tmp_path_factory.mktemp("cam")
    for name in ("obama_cam1_1.jpg", "biden_cam1_1.jpg", "biden_cam1_paper.jpg"):
        shutil.copy(examples / "probes" / name, probes)
    return examples / "gallery", probes


@pytest.fixture(scope="module")
def result(sides: tuple[Path, Path]) -> faceup.RunResult:
    return faceup.run(gallery=sides[0], probes=sides[1], sr=["none", "bicubic"], split_gain=True, device="cpu")


def test_points_move_by_the_rule_of_pixel_centres() -> None:
    points = np.array([[0.0, 0.0], [9.0, 4.0]], np.float32)
    np.testing.assert_allclose(moved(points, 4), [[1.5, 1.5], [37.5, 17.5]])
    np.testing.assert_allclose(moved(moved(points, 4), 0.25), points, atol=1e-6)
    np.testing.assert_array_equal(moved(points, 1), points)


def test_the_native_picture_is_embedded_with_bicubics_landmarks(
    result: faceup.RunResult, sides: tuple[Path, Path]
) -> None:
    detector, embedder = build("detect", "mtcnn", Options()), build("embed", RECOGNIZER, Options())
    native = read_image(sides[1] / "obama_cam1_1.jpg")
    (enlarged,) = build("sr", "bicubic", Options(scale=4)).upscale([native])
    (found,) = detector.detect([enlarged])
    points = found.landmarks[chosen_face(found, enlarged)]
    mugshot = read_image(sides[0] / "obama_frontal.jpg")
    (known,) = detector.detect([mugshot])
    faces = [align(native, (points + 0.5) / 4 - 0.5), align(mugshot, known.landmarks[chosen_face(known, mugshot)])]
    probe, gallery = embedder.embed(faces).astype(float)
    assert result.shared is not None
    row = result.shared.set_index(["sr", "probe", "gallery"]).loc[("none", "obama_cam1_1.jpg", "obama_frontal.jpg")]
    assert row["cosine"] == pytest.approx(float(probe @ gallery), abs=1e-4)
    own = result.similarity.set_index(["sr", "probe", "gallery"]).loc[("none", "obama_cam1_1.jpg", "obama_frontal.jpg")]
    assert row["cosine"] != own["cosine"]


def test_bicubics_own_similarities_are_its_shared_ones(result: faceup.RunResult) -> None:
    assert result.shared is not None
    own, shared = (f[f["sr"] == "bicubic"].reset_index(drop=True) for f in (result.similarity, result.shared))
    pd.testing.assert_frame_equal(own, shared)
    assert list(dict.fromkeys(result.similarity["sr"])) == ["none", "bicubic"]


def test_the_decomposition_of_a_real_run_adds_up(result: faceup.RunResult, tmp_path: Path) -> None:
    from faceup.evaluate.evaluation import measured
    from faceup.evaluate.measure import Settings
    from faceup.evaluate.systems import read_runs

    folder = result.save(tmp_path / "run")
    gain = measured(read_runs([folder]), Settings(rounds=100, pair_rounds=100)).gain
    own = gain[gain["stratum"] == "all"].set_index("part")["value"]
    table = result.table.set_index("sr")["average_paper"]
    assert own["gain"] == pytest.approx(table["bicubic"] - table["none"], abs=1e-6)
    assert own["better_embedding"] + own["faces"] == pytest.approx(own["gain"], abs=1e-12)


def test_both_references_are_needed(sides: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="split_gain needs the SR backends none and bicubic"):
        faceup.run(gallery=sides[0], probes=sides[1], sr=["bicubic"], split_gain=True)


def test_the_alarm_of_a_run_has_a_row_per_system_and_probe(result: faceup.RunResult) -> None:
    assert result.alarm is not None
    assert result.alarm[["sr", "probe"]].to_numpy().tolist() == [
        ["bicubic", name] for name in sorted(result.alarm["probe"])
    ]
    assert result.alarm["consistency_psnr"].between(30, 60).all()
    assert set(result.detections["scale"]) == {1, 4}
    assert (result.detections["sharpness"] > 0).all()
