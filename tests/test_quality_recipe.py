"""Tables of a publication as recipes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import save_file

from faceup.cli.main import main
from faceup.errors import ConfigError
from faceup.evaluate_sr import METRICS, QualityRecipe, compared, evaluate_sr, measured_by, summary
from faceup.networks.rcan import Rcan, RcanConfig
from faceup.recipe import read_recipe
from tests.conftest import ROOT

TABLES = [ROOT / "pipelines" / f"table{number}.yaml" for number in (1, 2, 3, 4)]
RECIPE = """
name: mine
source: a book
scales: [2, 4]
size: 64
metrics: [psnr, ssim]
rows:
  - {name: Plain, sr: bicubic, x2: {psnr: 30.5}, x4: {psnr: 25.25, ssim: 0.75}}
  - {name: Sharp, sr: sisn, x4: {psnr: 26.0}}
"""


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_published_numbers_agree_with_each_other(path: Path) -> None:
    """MPS is made of SSIM and LPIPS, so a mistyped number shows; the paper's own are rounded before they are added."""
    recipe = read_recipe(path, QualityRecipe)
    found = [row[f"x{scale}"] for row in recipe.rows for scale in recipe.scales if f"x{scale}" in row]
    assert len(found) == (3 if path.stem == "table1" else 14)
    for numbers in found:
        assert set(numbers) == set(METRICS)
        assert numbers["mps"] == pytest.approx(0.5 * (numbers["ssim"] + 1 - numbers["lpips"]), abs=0.0011)
    best = max(found, key=lambda numbers: numbers["psnr"])
    assert next(row for row in recipe.rows if row["name"] == "SISN")["x4"] == best


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    save_file(Rcan(RcanConfig(1, 1, 4, 2, 2)).state_dict(), tmp_path / "own.safetensors")
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE)
    return path


def test_ours_stand_beside_the_published(recipe_file: Path, examples: Path) -> None:
    recipe = read_recipe(recipe_file, QualityRecipe)
    measured = measured_by(recipe, examples / "gallery", recipe_file.parent, device="cpu")
    rows = compared(measured, recipe).set_index(["scale", "name"])
    by_hand = summary(evaluate_sr(examples / "gallery", ["bicubic"], scale=2, size=64, metrics=["psnr"], device="cpu"))
    assert rows.loc[(2, "Plain"), "psnr"] == pytest.approx(by_hand["psnr"][0])
    assert rows.loc[(2, "Plain"), "psnr_low"] == pytest.approx(by_hand["psnr_low"][0])
    assert rows.loc[(2, "Plain"), "psnr_published"] == 30.5
    assert np.isnan(rows.loc[(2, "Plain"), "ssim_published"])
    assert rows.loc[(4, "Sharp"), "psnr"] > rows.loc[(4, "Plain"), "psnr"]
    # No weights at x2: the row stays, without numbers of ours.
    assert rows.loc[(2, "Sharp"), "pictures"] == 0
    assert rows.loc[(2, "Sharp"), ["psnr", "ssim_low", "psnr_published"]].isna().all()
    assert len(rows) == 4


def test_a_weight_file_lies_beside_the_recipe(recipe_file: Path, examples: Path) -> None:
    rows = "rows: [{name: Plain, sr: bicubic}, {name: Own, sr: 'rcan:own.safetensors'}]"
    recipe_file.write_text(RECIPE[: RECIPE.index("rows:")].replace("[2, 4]", "[2]") + rows)
    recipe = read_recipe(recipe_file, QualityRecipe)
    measured = measured_by(recipe, examples / "gallery", recipe_file.parent, device="cpu")
    assert set(measured["name"]) == {"Plain", "Own"}


def test_rows_with_files_repeated_backends_and_scales_without_weights(recipe_file: Path, examples: Path) -> None:
    """The file is one of x2, the backend of two rows is one, and `lcge` has no weights at x2."""
    rows = """rows:
  - {name: Own, sr: 'rcan:own.safetensors', x2: {}}
  - {name: Plain, sr: bicubic}
  - {name: Plain again, sr: bicubic}
  - {name: Parts, sr: lcge}
"""
    recipe_file.write_text(RECIPE[: RECIPE.index("rows:")].replace("[psnr, ssim]", "[psnr]") + rows)
    recipe = read_recipe(recipe_file, QualityRecipe)
    measured = measured_by(recipe, examples / "gallery", recipe_file.parent, device="cpu")
    table = compared(measured, recipe).set_index(["scale", "name"])
    pictures = len(list((examples / "gallery").glob("*.jpg")))
    assert table["pictures"].to_dict() == {
        (2, "Own"): pictures, (2, "Plain"): pictures, (2, "Plain again"): pictures, (2, "Parts"): 0,
        (4, "Own"): 0, (4, "Plain"): pictures, (4, "Plain again"): pictures, (4, "Parts"): pictures,
    }  # fmt: skip
    assert table.loc[(2, "Plain"), "psnr"] == table.loc[(2, "Plain again"), "psnr"]
    nothing = RECIPE[: RECIPE.index("rows:")].replace("[2, 4]", "[2]") + "rows: [{name: Parts, sr: lcge}]"
    recipe_file.write_text(nothing)
    with pytest.raises(ConfigError, match="none of its rows has weights at x2"):
        measured_by(read_recipe(recipe_file, QualityRecipe), examples / "gallery", recipe_file.parent, device="cpu")


def test_the_command_prints_both(
    recipe_file: Path, examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "numbers.csv"
    arguments = ["evaluate-sr", "--hr", str(examples / "gallery"), "--recipe", str(recipe_file), "--device", "cpu"]
    assert main([*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "what a book prints" in printed
    assert "(25.250)" in printed
    assert "x2 Sharp                  PSNR - (-)  SSIM - (-)  n = 0" in printed
    frame = pd.read_csv(out)
    pictures = len(list((examples / "gallery").glob("*.jpg")))
    assert len(frame) == 3 * pictures
    assert main([*arguments, "--scale", "8"]) == 2
    assert "only --hr, --device and --out" in capsys.readouterr().err
    assert main(["evaluate-sr", "--hr", str(examples / "gallery")]) == 2
    assert "Give --sr or --recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("rows: []", "at least one scale and one row"),
        ("rows: [{name: a}]", "a row has name, sr and any of x2, x4"),
        ("rows: [{name: a, sr: none, x8: {psnr: 1}}]", "a row has name, sr and any of"),
        ("rows: [{name: a, sr: sisnn, x4: {psnr: 1}}]", "did you mean 'sisn'"),
        ("rows: [{name: a, sr: 'sisn:x.pth'}]", "a row with a file says for which scale"),
        ("rows: [{name: a, sr: none, x4: {psnr: high}}]", "x4 maps metrics to numbers"),
        ("rows: [{name: a, sr: none, x4: {pnsr: 1}}]", "x4 maps metrics to numbers"),
    ],
)
def test_what_is_refused(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(RECIPE[: RECIPE.index("rows:")] + change)
    with pytest.raises(ConfigError, match=message):
        read_recipe(path, QualityRecipe)
