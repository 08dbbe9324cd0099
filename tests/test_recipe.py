"""Recipes refuse what they do not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceup.errors import ConfigError
from faceup.evaluate_sr import QualityRecipe
from faceup.recipe import RunRecipe, make_recipe, read_recipe, read_yaml
from faceup.train.recipe import TrainRecipe, read_trainings
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- none\n", "YAML mapping"),
        ("similarty: cosine\n", "did you mean 'similarity'"),
        ("similarity: dot\n", "Unknown similarity 'dot'"),
        ("sr: []\n", "at least one SR backend"),
        ("sr: [none, none]\n", "each once"),
        ("scale: 0\n", "scale must be a whole number of at least 1"),
        ("scale: four\n", "scale must be"),
        ("scale: true\n", "scale must be"),
        ("name: ../../home\n", "name must be letters"),
        ("name: 2020-13-45\n", "not a YAML file"),
        ("detector:\n", "detector must be text, got None"),
        ("recognizer: 5\n", "recognizer must be text, got 5"),
        ("sr: [1]\n", "sr must be text, got 1"),
        ("gallery: {a: b}\n", "gallery must be text"),
        ("detector_options: 5\n", "detector_options must be a mapping of settings, got 5"),
        ("sr_options:\n", "sr_options must be a mapping"),
        ("sr_options: {sisn: int8}\n", "sr_options of sisn must be a mapping of settings, got 'int8'"),
        ("detector_options: {min_face_size: 2020-01-01}\n", "texts, numbers and lists only"),
        ("seed: 99999999999999999999999\n", "seed must be a whole number"),
    ],
)
def test_what_a_run_recipe_refuses(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_recipe(path, RunRecipe)
    assert str(path) in str(caught.value)


def test_overrides_win_and_defaults_fill(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("sr: bicubic\nscale: 2\n")
    recipe = read_recipe(path, RunRecipe, {"scale": 8})
    assert (recipe.sr, recipe.scale, recipe.similarity) == (("bicubic",), 8, "clipped")
    assert make_recipe(RunRecipe, recipe.as_dict()) == recipe


def test_a_value_of_the_file_wins_over_the_usual_one(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("name: mine\n")
    assert read_recipe(path, RunRecipe, usual={"name": "r", "scale": 2}).as_dict()["name"] == "mine"
    assert read_recipe(path, RunRecipe, {"name": "asked"}, usual={"name": "r"}).name == "asked"
    path.write_text("scale: 4\n")
    assert read_recipe(path, RunRecipe, usual={"name": "r", "scale": 2}).name == "r"


def test_a_training_recipe_names_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="Missing settings: network, scale, train, validation"):
        make_recipe(TrainRecipe, {"name": "x"})


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_recipe_is_valid(path: Path) -> None:
    content = read_yaml(path)
    if "network" in content or "kind" in content:
        assert read_trainings(path)
    elif "rows" in content:
        read_recipe(path, QualityRecipe)
    else:
        read_recipe(path, RunRecipe)


def test_learning_rates_against_the_paper_and_the_ends_of_the_cosine() -> None:
    values = {"name": "x", "network": "sisn", "scale": 4, "train": (0, 1), "validation": (2, 3)}
    paper = TrainRecipe(**values, schedule="paper", lr=1e-4, halve_every=50)
    assert [paper.learning_rate(step) for step in (0, 49, 50, 100)] == [1e-4, 1e-4, 5e-5, 2.5e-5]
    cosine = TrainRecipe(**values, schedule="cosine", lr=1.0, steps=110, warmup=10)
    assert cosine.learning_rate(0) == pytest.approx(0.1)
    assert cosine.learning_rate(10) == pytest.approx(1.0)
    assert cosine.learning_rate(60) == pytest.approx(0.5)
    assert cosine.learning_rate(110) == pytest.approx(0.0)
