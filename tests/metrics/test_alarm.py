"""The alarm's measures against plain arithmetic, its flags, and the calibration that is shipped."""

from __future__ import annotations

import json
import math
from importlib import resources

import numpy as np
import pytest

from faceup import registry
from faceup.defaults import RECOGNIZER, SR
from faceup.errors import DataError
from faceup.images import resize
from faceup.metrics.alarm import HIGHEST_PSNR, MEASURES, Calibration, flagged, measures, reduced_psnr
from faceup.metrics.face_quality import EYE_EDGES, eye_distance_band, sharpness
from faceup.types import AlignedFace, Embeddings, Image
from faceup.weights.catalog import catalog
from tests.helpers import noise

JUDGE = {"name": "mobilefacenet", "version": "1", "weights": ["0" * 64], "options": {}}


def shipped() -> dict[str, object]:
    text = (resources.files("faceup") / "metrics" / "alarm_calibration.json").read_text(encoding="utf-8")
    content: dict[str, object] = json.loads(text)
    return content


def embeddings(seed: int, failed: int | None = None) -> Embeddings:
    vectors = np.random.default_rng(seed).normal(size=(3, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    missing = np.zeros(3, bool)
    if failed is not None:
        vectors[failed], missing[failed] = np.nan, True
    return Embeddings(vectors, ("a", "b", "c"), missing)


def test_measures_are_cosines_of_the_same_probe() -> None:
    given = {"none": embeddings(0, failed=1), "bicubic": embeddings(1), "sisn": embeddings(2), "rcan": embeddings(3)}
    frame = measures(given, {("sisn", "a"): 40.0}, {"a": 10.0, "b": 20.0}).set_index(["sr", "probe"])
    assert list(dict.fromkeys(sr for sr, _ in frame.index)) == ["bicubic", "sisn", "rcan"]

    def cosine(first: str, second: str, k: int) -> float:
        return sum(float(x) * float(y) for x, y in zip(given[first].vectors[k], given[second].vectors[k], strict=True))

    for k, probe in enumerate("abc"):
        row = frame.loc[("sisn", probe)]
        assert row["cosine_bicubic"] == pytest.approx(cosine("sisn", "bicubic", k), abs=1e-6)
        others = (cosine("sisn", "bicubic", k) + cosine("sisn", "rcan", k)) / 2
        assert row["agreement"] == pytest.approx(others, abs=1e-6)
        lr = row["cosine_lr"]
        assert math.isnan(lr) if probe == "b" else lr == pytest.approx(cosine("sisn", "none", k), abs=1e-6)
    assert frame.loc[("sisn", "a"), "consistency_psnr"] == 40.0
    assert math.isnan(frame.loc[("rcan", "a"), "consistency_psnr"])
    assert frame["eye_lr_px"].loc["sisn"].tolist()[:2] == [10.0, 20.0]
    assert frame.loc["bicubic"]["cosine_bicubic"].isna().all()


def test_consistency_is_the_psnr_of_the_picture_reduced_again() -> None:
    low = noise(10, 12)
    high = resize(low, 40, 48)
    back = resize(high, 10, 12).pixels.astype(float)
    error = ((back - low.pixels) ** 2).mean()
    assert reduced_psnr(high, low) == pytest.approx(10 * math.log10(255**2 / error))
    assert reduced_psnr(Image(np.kron(low.pixels, np.ones((4, 4, 1), np.uint8))), low) < HIGHEST_PSNR
    changed = high.pixels.copy()
    changed[20:30, 10:20] = 0
    assert reduced_psnr(Image(changed), low) < reduced_psnr(high, low) - 2


def test_flags_name_what_is_below_its_limit_and_what_was_not_checked() -> None:
    limits = {band: {"cosine_lr": 0.5, "consistency_psnr": 30.0} for band in ("below 13 px", "13 to 23 px")}
    calibration = Calibration(limits, EYE_EDGES, JUDGE, 4, "test", frozenset({"sisn"}))
    given = {"none": embeddings(0), "sisn": embeddings(0, failed=2)}
    frame = measures(given, {("sisn", "a"): 20.0, ("sisn", "b"): 35.0, ("sisn", "c"): 20.0}, {"a": 10.0, "b": 20.0})
    got = flagged(frame, calibration, recognizer=JUDGE, scale=4)
    assert got["flagged"].tolist() == [1, 0, 0]
    assert got["reasons"].tolist() == ["consistency_psnr", "", ""]
    # No face: no eye distance, so no band and no limit; it is not cleared.
    assert got["unchecked"].tolist()[2] == " ".join(MEASURES)
    other = flagged(frame, calibration, recognizer={**JUDGE, "weights": ["1" * 64]}, scale=4)
    assert other["reasons"].tolist()[0] == "consistency_psnr"
    assert "cosine_lr" in other["unchecked"].tolist()[0]
    assert flagged(frame, calibration, recognizer=JUDGE, scale=2)["flagged"].sum() == 0


def test_agreement_is_checked_only_among_the_systems_it_was_calibrated_with() -> None:
    limits = {"below 13 px": {"agreement": 2.0}}
    frame = measures({"bicubic": embeddings(0), "sisn": embeddings(1)}, {}, {"a": 10.0, "b": 10.0, "c": 10.0})
    for systems, flags in (({"bicubic", "sisn"}, 1), ({"bicubic", "sisn", "rcan"}, 0), ({"sisn"}, 0)):
        calibration = Calibration(limits, EYE_EDGES, JUDGE, 4, "test", frozenset(systems))
        got = flagged(frame, calibration, recognizer=JUDGE, scale=4)
        assert set(got["flagged"]) == {flags}
        assert set(got["reasons"]) == {"agreement" if flags else ""}


def test_the_shipped_calibration_has_limits_in_every_band_and_says_what_it_was_measured_on() -> None:
    content = shipped()
    calibration = Calibration.parse(content)
    assert set(calibration.limits) == {eye_distance_band(v, EYE_EDGES) for v in (0.0, *EYE_EDGES)}
    for limits in calibration.limits.values():
        assert set(limits) == set(MEASURES)
        assert all(0 < limits[m] < 1 for m in MEASURES[:3])
        assert 20 < limits["consistency_psnr"] < HIGHEST_PSNR
    assert "never trained on" in calibration.source
    info = registry.info("embed", RECOGNIZER)
    hashes = [catalog()[weights].sha256 for weights in info.weights]
    assert calibration.recognizer == {"name": RECOGNIZER, "version": info.version, "weights": hashes, "options": {}}
    assert calibration.systems == set(SR) - {"none"}
    assert len(str(content["alarm_sha256"])) == 64
    with pytest.raises(DataError, match="calibration of the alarm is damaged"):
        Calibration.parse({**content, "bands": [{}]})


def test_sharpness_is_the_variance_of_the_second_differences() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (112, 112), np.uint8)
    face = AlignedFace(np.repeat(pixels[:, :, None], 3, axis=2), np.eye(2, 3, dtype=np.float32))
    grey = np.pad(pixels.astype(float), 1, mode="reflect")
    second = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    assert sharpness(face) == pytest.approx(second.var())
    smooth = AlignedFace(np.repeat((pixels // 4 + 96)[:, :, None], 3, axis=2), np.eye(2, 3, dtype=np.float32))
    assert sharpness(smooth) < sharpness(face)
