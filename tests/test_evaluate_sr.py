"""evaluate-sr against the steps done by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceup.errors import ConfigError, DataError
from faceup.evaluate_sr import evaluate_sr, summary
from faceup.images import read_image, resize
from faceup.metrics.image_quality import psnr


def test_bicubic_by_hand(examples: Path) -> None:
    measured = evaluate_sr(examples / "gallery", ["bicubic"], size=128, device="cpu")
    row = measured.iloc[0]
    original = read_image(examples / "gallery" / row["picture"])
    factor = 128 / min(original.width, original.height)
    original = resize(original, round(original.width * factor), round(original.height * factor))
    width, height = original.width // 4 * 4, original.height // 4 * 4
    target = type(original)(original.pixels[:height, :width])
    back = resize(resize(target, width // 4, height // 4), width, height)
    assert row["psnr"] == pytest.approx(psnr(back, target))
    assert (row["width"], row["height"]) == (width, height)


def test_the_summary_counts_and_brackets_the_mean(examples: Path) -> None:
    measured = evaluate_sr(examples / "gallery", ["bicubic"], size=64, device="cpu")
    (row,) = summary(measured).to_dict("records")
    assert row["pictures"] == len(list((examples / "gallery").glob("*.jpg")))
    assert row["psnr"] == pytest.approx(measured["psnr"].mean())
    assert row["psnr_low"] <= row["psnr"] <= row["psnr_high"]


def test_what_cannot_be_measured(examples: Path) -> None:
    with pytest.raises(ConfigError, match="enlarges 1 times"):
        evaluate_sr(examples / "gallery", ["none"], device="cpu")
    with pytest.raises(DataError, match="fewer than 4000"):
        evaluate_sr(examples / "gallery", ["bicubic"], size=4000, device="cpu")
