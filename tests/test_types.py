"""The values between the stages: what they accept, refuse and keep."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceup.errors import ContractError, DataError
from faceup.types import AlignedFace, BackendInfo, Detections, Embeddings, Image, Sample, ScoreMatrix


def sample(**changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "sample_id": "a/1.png", "subject_id": "a", "path": Path("a/1.png"), "role": "gallery", "sha256": "0" * 64,
        "split": "test", "attrs": {"camera": "3"},
    }  # fmt: skip
    return Sample(**{**fields, **changes})


def test_sample_keeps_its_fields_and_cannot_be_changed() -> None:
    attrs = {"camera": "3"}
    made = sample(attrs=attrs)
    attrs["camera"] = "9"
    assert made.attrs["camera"] == "3"
    with pytest.raises(TypeError):
        made.attrs["camera"] = "4"  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.role = "probe"  # type: ignore[misc]


def test_samples_travel_between_processes_and_compare_by_value() -> None:
    made = sample()
    for other in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made), dataclasses.replace(made)):
        assert other == made
        assert hash(other) == hash(made)
    assert sample(attrs={"camera": "4"}) != made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_id": ""}, "empty id"),
        ({"subject_id": None}, "no subject: every gallery picture must say whose face it is"),
        ({"subject_id": ""}, "no subject"),
        ({"sha256": "ABC"}, "64 lower-case hex digits, got 'ABC'"),
        ({"sha256": "A" * 64}, "64 lower-case hex digits"),
        ({"role": "galery"}, "role must be gallery or probe, got 'galery'"),
    ],
)
def test_a_bad_sample_is_a_data_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        sample(**changes)


def test_a_probe_may_be_unknown_and_unread() -> None:
    assert sample(role="probe", subject_id=None, sha256="").subject_id is None


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 4), (0, 5, 3), (4, 0, 3), (1, 4, 5, 3)])
def test_image_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ContractError, match=r"shape \(H, W, 3\)"):
        Image(np.zeros(shape, np.uint8))


def test_image_refuses_other_types() -> None:
    for wrong in (np.zeros((2, 2, 3), np.float32), np.zeros((2, 2, 3), np.int8), [[[0, 0, 0]]]):
        with pytest.raises(ContractError, match="uint8"):
            Image(wrong)  # type: ignore[arg-type]


def test_image_is_contiguous_and_knows_its_size() -> None:
    turned = Image(np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[:, ::-1])
    assert turned.pixels.flags.c_contiguous
    assert (turned.height, turned.width) == (2, 4)
    assert turned.pixels[0, 0].tolist() == [9, 10, 11]


def test_detections_convert_and_count() -> None:
    found = Detections(np.ones((2, 4)), np.ones(2), np.ones((2, 5, 2)))  # type: ignore[arg-type]
    assert len(found) == 2
    assert found.boxes.dtype == found.scores.dtype == found.landmarks.dtype == np.float32
    assert len(Detections.none()) == 0


@pytest.mark.parametrize("field", ["boxes", "scores", "landmarks"])
def test_detections_refuse_wrong_shapes_and_values_that_are_not_finite(field: str) -> None:
    good = {"boxes": np.ones((2, 4)), "scores": np.ones(2), "landmarks": np.ones((2, 5, 2))}
    with pytest.raises(ContractError, match="needs shape"):
        Detections(**{**good, field: np.ones((3, 3))})  # type: ignore[arg-type]
    for value in (np.nan, np.inf):
        bad = good[field].copy()
        bad.flat[-1] = value
        with pytest.raises(ContractError, match=f"{field} has values that are not finite"):
            Detections(**{**good, field: bad})


def test_aligned_face_needs_its_shapes() -> None:
    AlignedFace(np.zeros((112, 112, 3), np.uint8), np.zeros((2, 3), np.float32))
    with pytest.raises(ContractError, match="112"):
        AlignedFace(np.zeros((112, 96, 3), np.uint8), np.zeros((2, 3), np.float32))
    with pytest.raises(ContractError, match="uint8"):
        AlignedFace(np.zeros((112, 112, 3), np.float32), np.zeros((2, 3), np.float32))
    with pytest.raises(ContractError, match="matrix"):
        AlignedFace(np.zeros((112, 112, 3), np.uint8), np.zeros((3, 3), np.float32))


def test_embeddings_are_unit_rows_or_nan_where_failed() -> None:
    rows = np.array([[0.6, 0.8], [np.nan, np.nan]], np.float32)
    Embeddings(rows, ("a", "b"), np.array([False, True]))
    Embeddings(np.zeros((0, 2), np.float32), (), np.zeros(0, bool))
    for vectors, failed, message in (
        (rows, [False, False], "unit length"),
        (rows, [True, True], "NaN"),
        (rows * 2, [False, True], "unit length"),
        (rows, [False], "lengths differ"),
        (rows[0], [False, True], "lengths differ"),
    ):
        with pytest.raises(ContractError, match=message):
            Embeddings(vectors, ("a", "b"), np.array(failed))


def test_score_matrix_needs_gallery_by_probes() -> None:
    ScoreMatrix(np.zeros((2, 3), np.float32), ("a", "b"), ("x", "y", "z"))
    with pytest.raises(ContractError, match=r"shape \(2, 3\), got \(3, 2\)"):
        ScoreMatrix(np.zeros((3, 2), np.float32), ("a", "b"), ("x", "y", "z"))


def test_backend_info_becomes_json() -> None:
    info = BackendInfo("x", "1", "MIT", "a test", generative=True, weights=("w",))
    assert json.loads(json.dumps(info.as_dict())) == {
        "name": "x", "version": "1", "licence": "MIT", "summary": "a test", "generative": True, "weights": ["w"],
    }  # fmt: skip
    with pytest.raises(TypeError, match="licence"):
        BackendInfo(name="x", version="1", summary="s", generative=False)  # type: ignore[call-arg]
