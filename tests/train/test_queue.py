"""`faceup train --queue`: variants, finished trainings, one that fails, and the bank of LCGE."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage
from safetensors.torch import load_file

from faceup import registry
from faceup.cli.main import main
from faceup.errors import ConfigError
from faceup.images import read_image, reduced_pair, resize
from faceup.networks.lcge import LcgeConfig
from faceup.sr._exemplars import luma, on_grid
from faceup.train.data import PairSet
from faceup.train.recipe import read_trainings
from tests.contracts import check_sr

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """
name: tiny
network: sisn
network_options: {groups: 1, blocks: 1, channels: 8, head: direct, skip: bicubic}
scale: 2
data: faces
train: [0, 2]
validation: [3, 3]
patch: 4
batch: 2
steps: 2
lr: 1.0e-3
validate_every: 1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with four pictures of noise and a recipe."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        picture = PilImage.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        picture.save(tmp_path / "faces" / f"{number:04d}.jpg")
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    return tmp_path


def test_variants_are_trainings_that_differ_in_the_network(folder: Path) -> None:
    path = folder / "sweep.yaml"
    path.write_text(RECIPE + "variants:\n  a: {structure: none}\n  b: {groups: 2}\n")
    first, second = read_trainings(path)
    (plain,) = read_trainings(folder / "tiny.yaml")
    assert (first.name, second.name) == ("tiny-a", "tiny-b")
    assert first.network_options == {**plain.network_options, "structure": "none"}
    assert second.network_options == {**plain.network_options, "groups": 2}
    assert first.steps == plain.steps
    for wrong in ("variants: {}", "variants: [a]", "variants: {a: 3}"):
        path.write_text(RECIPE + wrong)
        with pytest.raises(ConfigError, match=r"sweep\.yaml: variants maps names"):
            read_trainings(path)
    path.write_text(RECIPE + "variants: {a: {}}\nepochs: 3")
    with pytest.raises(ConfigError, match=r"sweep\.yaml: Unknown setting 'epochs'"):
        read_trainings(path)


def test_a_queue_trains_all_and_passes_over_what_is_finished(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "sweep.yaml").write_text(RECIPE + "variants: {a: {}, b: {structure: none}}")
    arguments = ["train", "tiny.yaml", "sweep.yaml", "--data-root", ".", "--threads", "1"]
    assert main(arguments) == 1
    assert "3 trainings were asked for: add --queue" in capsys.readouterr().err
    assert main([*arguments, "--queue"]) == 0
    made = {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("trainings/*/weights.safetensors")}
    assert set(made) == {"tiny", "tiny-a", "tiny-b"}
    (folder / "trainings" / "tiny-a" / "training.json").unlink()
    capsys.readouterr()
    assert main([*arguments, "--queue"]) == 0
    told = capsys.readouterr().out
    assert "tiny: finished already" in told
    assert "tiny-a: finished already" not in told
    assert "going on from step 2" in told
    kept = {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("trainings/*/weights.safetensors")}
    assert {name: kept[name] for name in ("tiny", "tiny-b")} == {name: made[name] for name in ("tiny", "tiny-b")}


def test_a_training_that_fails_does_not_stop_the_queue(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "short.yaml").write_text(RECIPE.replace("[3, 3]", "[3, 9]").replace("tiny", "short"))
    assert main(["train", "short.yaml", "tiny.yaml", "--queue", "--data-root", ".", "--threads", "1"]) == 1
    assert "short: faces: 6 of the pictures 3 to 9 are missing" in capsys.readouterr().err
    assert (folder / "trainings" / "tiny" / "training.json").exists()


def test_lcge_learns_by_components_and_ends_with_a_bank(folder: Path, examples: Path) -> None:
    for number, name in enumerate(("collins", "hopper", "obama", "biden")):
        portrait = read_image(examples / "gallery" / f"{name}_frontal.jpg")
        PilImage.fromarray(resize(portrait, 128, 160).pixels).save(folder / "faces" / f"{number:04d}.jpg")
    options = "network_options: {wide: 2, narrow: 2}"
    recipe = RECIPE.replace("network: sisn", "network: lcge").replace(RECIPE.splitlines()[3], options)
    (folder / "lcge.yaml").write_text(recipe + "exemplars: 2\n")
    assert main(["train", "lcge.yaml", "--data-root", ".", "--threads", "1"]) == 0
    file = folder / "trainings" / "tiny" / "weights.safetensors"
    state = load_file(file)
    pairs = PairSet(folder / "faces", 0, 2, 2, components=LcgeConfig(2, 2, 2))
    assert pairs.faces is not None
    assert [len(faces) for faces in pairs.faces[:2]] == [1, 1]
    original, _ = reduced_pair(read_image(folder / "faces" / "0001.jpg"), 2)
    expected = np.rint(on_grid(luma(original.pixels), pairs.faces[1][0], LcgeConfig(2, 2, 2)))
    np.testing.assert_array_equal(state["bank.real"][1].numpy(), expected)
    # Untrained networks change little, so the generated face is the original, smoothed.
    assert np.corrcoef(state["bank.generated"][1].numpy().ravel(), expected.ravel())[0, 1] > 0.95
    check_sr(registry.build("sr", "lcge", registry.Options(scale=2, weights=file)))
    (inputs, hr) = pairs.batch(0, seed=0, size=3, patch=40)
    assert [tuple(tensor.shape) for tensor in inputs] == [(3, 3, 40, 40), (3, 4, 80, 80)]
    assert hr.shape == (3, 3, 80, 80)
    assert inputs[1].sum(dim=1).max() <= 1 + 1e-6
    assert inputs[1].max() > 0


def test_too_few_faces_for_the_bank_are_told_before_the_first_step(folder: Path) -> None:
    options = "network_options: {wide: 2, narrow: 2}"
    recipe = RECIPE.replace("network: sisn", "network: lcge").replace(RECIPE.splitlines()[3], options)
    (folder / "lcge.yaml").write_text(recipe + "exemplars: 9\n")
    assert main(["train", "lcge.yaml", "--data-root", ".", "--threads", "1"]) == 1
    assert not (folder / "trainings" / "tiny" / "checkpoint.pt").exists()


def test_components_turn_with_their_crops(folder: Path, examples: Path) -> None:
    """Brightness painted where components are must stay there, whatever the crop."""
    portrait = resize(read_image(examples / "gallery" / "collins_frontal.jpg"), 128, 160)
    PilImage.fromarray(portrait.pixels).save(folder / "faces" / "0000.jpg")
    pairs = PairSet(folder / "faces", 0, 0, 2, components=LcgeConfig(2, 2, 2))
    (_, weights) = pairs.whole(0)
    pairs.hr[0] = (255 * weights[0].sum(dim=0).numpy())[:, :, None].round()
    (_, components), hr = pairs.batch(0, seed=3, size=12, patch=50)
    painted = hr[:, 0] / 255
    assert painted.max() > 0.9
    assert (components.sum(dim=1) - painted).abs().max() < 0.01


FAMILY = [p for p in sorted((ROOT / "pipelines").glob("train_*_x?.yaml")) if "surveillance" not in p.stem]


@pytest.mark.parametrize("path", FAMILY, ids=lambda path: path.stem)
def test_one_family_trains_every_network_alike(path: Path) -> None:
    (ours,), (sisn,) = read_trainings(path), read_trainings(ROOT / "pipelines" / "train_sisn_x4.yaml")
    for field in ("train", "validation", "data", "degradation", "batch", "steps", "schedule", "warmup", "ema", "seed"):
        assert getattr(ours, field) == getattr(sisn, field), field
    assert ours.patch * ours.scale == sisn.patch * sisn.scale
    assert path.stem == f"train_{ours.name.replace('-', '_')}"
    assert ours.name == f"{ours.network}-x{ours.scale}"


def test_table_1_and_figure_2_cover_the_paper() -> None:
    table1 = read_trainings(ROOT / "pipelines" / "train_table1.yaml")
    (sisn,) = read_trainings(ROOT / "pipelines" / "train_sisn_x4.yaml")
    switches = {(t.network_options.get("structure", "isab"), t.network_options.get("detail", "isa")) for t in table1}
    assert switches == {("none", "isa"), ("isab", "none"), ("identity", "isa"), ("isab", "conv3x3"), ("isa", "isa")}
    for training in table1:
        same = {key: value for key, value in training.network_options.items() if key not in ("structure", "detail")}
        assert same == sisn.network_options
        assert json.dumps(training.as_dict() | {"name": "", "network_options": {}}) == json.dumps(
            sisn.as_dict() | {"name": "", "network_options": {}}
        )
    figure2 = read_trainings(ROOT / "pipelines" / "train_figure2.yaml")
    shapes = {(t.network_options["groups"], t.network_options["blocks"]) for t in figure2}
    assert shapes == {(10, n) for n in range(5, 21)} | {(n, 10) for n in range(5, 21)}
    assert len(figure2) == 31
