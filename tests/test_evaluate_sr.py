"""evaluate-sr against the steps done by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from faceup import registry
from faceup.errors import ConfigError, DataError, WeightsError
from faceup.evaluate_sr import evaluate_sr, measure, summary
from faceup.images import encode_png, read_image, resize
from faceup.metrics.image_quality import psnr, ssim
from faceup.metrics.lpips import load_lpips
from faceup.sr.bicubic import Bicubic
from faceup.types import Image
from tests.helpers import grey, noise

PLAIN = ("psnr", "ssim")


def by_hand(path: Path, side: int) -> tuple[Image, Image]:
    """A picture reduced to this shorter side, and what bicubic makes of its quarter."""
    original = read_image(path)
    factor = side / min(original.width, original.height)
    original = resize(original, round(original.width * factor), round(original.height * factor))
    width, height = original.width // 4 * 4, original.height // 4 * 4
    target = Image(original.pixels[:height, :width])
    return target, resize(resize(target, width // 4, height // 4), width, height)


def test_bicubic_by_hand(examples: Path) -> None:
    measured = evaluate_sr(examples / "gallery", ["bicubic"], size=128, metrics=PLAIN, device="cpu")
    row = measured.iloc[0]
    target, back = by_hand(examples / "gallery" / row["picture"], 128)
    assert row["psnr"] == pytest.approx(psnr(back, target))
    assert row["ssim"] == pytest.approx(ssim(back, target))
    assert (row["width"], row["height"]) == (target.width, target.height)
    assert list(measured) == ["sr", "picture", "width", "height", "scale", "channel", "crop", *PLAIN]


@pytest.mark.parametrize(("crop", "border"), [(0, 0), (3, 3), ("paper", 10)])
def test_luma_and_crop_by_hand(crop: int | str, border: int, examples: Path) -> None:
    measured = evaluate_sr(
        examples / "gallery", ["bicubic"], size=64, crop=crop, channel="y", metrics=PLAIN, device="cpu"
    )
    row = measured.iloc[1]
    pair = [
        Image(image.pixels[border : image.height - border, border : image.width - border])
        for image in by_hand(examples / "gallery" / row["picture"], 64)
    ]
    assert row["psnr"] == pytest.approx(psnr(*pair, "y"))
    assert row["ssim"] == pytest.approx(ssim(*pair, "y"))
    assert (row["crop"], row["channel"]) == (border, "y")


def test_lpips_and_mps_by_hand(examples: Path, lpips_weights: Path) -> None:
    measured = evaluate_sr(examples / "gallery", ["bicubic", "sisn"], size=64, device="cpu")
    row = measured.iloc[2]
    target, back = by_hand(examples / "gallery" / row["picture"], 64)
    assert row["lpips"] == pytest.approx(load_lpips("cpu")(back, target))
    np.testing.assert_allclose(measured["mps"], 0.5 * (measured["ssim"] + 1 - measured["lpips"]))
    of_bicubic, of_sisn = summary(measured).to_dict("records")
    assert of_sisn["lpips"] < of_bicubic["lpips"]
    # The mean of the scores is the score of the means, which is what the paper's tables print.
    assert of_sisn["mps"] == pytest.approx(0.5 * (of_sisn["ssim"] + 1 - of_sisn["lpips"]))
    only = evaluate_sr(examples / "gallery", ["bicubic"], size=64, metrics=["mps"], device="cpu")
    np.testing.assert_allclose(only["mps"], measured["mps"][:4])
    assert "ssim" not in only


def test_without_the_weights_nothing_is_measured_and_the_message_says_what_to_do(
    examples: Path, empty_cache: Path
) -> None:
    message = "faceup models pull lpips-alex .or measure without LPIPS: --metrics psnr,ssim"
    with pytest.raises(WeightsError, match=message):
        evaluate_sr(examples / "gallery", ["bicubic"], device="cpu", progress=lambda *_: pytest.fail("it measured"))


def test_all_is_bicubic_and_what_has_weights(examples: Path) -> None:
    measured = evaluate_sr(examples / "gallery", ["all"], size=32, metrics=["psnr"], device="cpu")
    assert list(dict.fromkeys(measured["sr"])) == registry.expanded(["all"], 4)[1:]
    assert {"bicubic", "sisn"} <= set(measured["sr"])


def test_pictures_go_through_a_backend_in_portions(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows whatever the portions, and several pictures a call."""
    calls: list[int] = []
    seen: list[tuple[str, int, int]] = []

    def note(*step: Any) -> None:
        seen.append(step)

    class Counting(Bicubic):
        def upscale(self, images: Sequence[Image]) -> list[Image]:
            calls.append(len(images))
            return super().upscale(images)

    for index in range(5):
        (tmp_path / f"{index}.png").write_bytes(encode_png(noise(20 + index, 16, index)))
    whole = evaluate_sr(tmp_path, ["bicubic", "sisn"], metrics=PLAIN, device="cpu")
    monkeypatch.setattr("faceup.sr.bicubic.Bicubic", Counting)
    for pictures, pixels, expected in ((64, 10**9, [5]), (2, 10**9, [2, 2, 1]), (64, 600, [2, 2, 1])):
        monkeypatch.setattr(measure, "PORTION_PICTURES", pictures)
        monkeypatch.setattr(measure, "PORTION_PIXELS", pixels)
        calls.clear()
        seen.clear()
        again = evaluate_sr(tmp_path, ["bicubic", "sisn"], metrics=PLAIN, device="cpu", progress=note)
        assert calls == expected
        assert seen[-1] == ("sisn", 5, 5)
        pd.testing.assert_frame_equal(again, whole, atol=0.05)


def test_the_summary_counts_and_brackets_the_mean(examples: Path) -> None:
    measured = evaluate_sr(examples / "gallery", ["bicubic"], size=64, metrics=PLAIN, device="cpu")
    (row,) = summary(measured).to_dict("records")
    assert row["pictures"] == len(list((examples / "gallery").glob("*.jpg")))
    assert row["psnr"] == pytest.approx(measured["psnr"].mean())
    assert row["psnr_low"] <= row["psnr"] <= row["psnr_high"]


def test_a_picture_without_any_error_has_no_interval(tmp_path: Path) -> None:
    (tmp_path / "flat.png").write_bytes(encode_png(grey(16, 16)))
    (row,) = summary(evaluate_sr(tmp_path, ["bicubic"], metrics=PLAIN, device="cpu")).to_dict("records")
    assert row["psnr"] == float("inf")
    assert np.isnan(row["psnr_low"])
    assert row["ssim_low"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"sr": ["none"]}, ConfigError, "enlarges 1 times"),
        ({"size": 4000}, DataError, "fewer than 4000"),
        ({"size": 16, "crop": 8}, DataError, "frontal.*nothing left without 8 px a side"),
        ({"crop": -1}, ConfigError, "crop is a number of pixels or 'paper', got -1"),
        ({"channel": "Y"}, ConfigError, "Unknown channel 'Y'"),
        ({"metrics": ["psrn"]}, ConfigError, "Unknown metric 'psrn': did you mean 'psnr'"),
        ({"metrics": []}, ConfigError, "At least one metric"),
        ({"sr_options": {"bicubic": {"a": 1}}}, ConfigError, "Unknown setting of bicubic 'a'"),
    ],
)
def test_what_cannot_be_measured(
    settings: dict[str, Any], error: type[Exception], message: str, examples: Path
) -> None:
    given = {"sr": ["bicubic"], "metrics": PLAIN, **settings}
    with pytest.raises(error, match=message):
        evaluate_sr(examples / "gallery", device="cpu", **given)
