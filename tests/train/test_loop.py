"""A training that is cut off and resumed ends where an uninterrupted one does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PilImage
from safetensors.torch import load_file

from faceup.errors import ConfigError, DataError
from faceup.images import read_image, resize
from faceup.networks.sisn import SisnConfig, load_sisn
from faceup.train.data import PairSet
from faceup.train.loop import Trainer
from faceup.train.recipe import TrainRecipe

OPTIONS = {"groups": 1, "blocks": 1, "channels": 8, "head": "direct", "skip": "bicubic", "unit": 64}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six smooth 32 x 32 pictures, numbered."""
    root = tmp_path_factory.mktemp("data")
    (root / "faces").mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        small = PilImage.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize((32, 32), PilImage.Resampling.BICUBIC).save(root / "faces" / f"{number:04d}.jpg", quality=95)
    return root


def recipe(**changes: object) -> TrainRecipe:
    values = {
        "name": "tiny", "network": "sisn", "scale": 4, "train": (0, 3), "validation": (4, 5), "data": "faces",
        "network_options": OPTIONS, "patch": 6, "batch": 2, "steps": 4, "lr": 1e-3, "validate_every": 2, "ema": 0.5,
    }  # fmt: skip
    return TrainRecipe(**{**values, **changes})  # type: ignore[arg-type]


def quiet(_: str) -> None:
    pass


def test_pairs_are_reduced_as_the_paper_does(data_root: Path) -> None:
    pairs = PairSet(data_root / "faces", 0, 3, 4)
    original = read_image(data_root / "faces" / "0002.jpg")
    np.testing.assert_array_equal(pairs.hr[2], original.pixels)
    np.testing.assert_array_equal(pairs.lr[2], resize(original, 8, 8).pixels)


def test_a_batch_depends_on_its_step_alone_and_its_crops_belong_together(data_root: Path) -> None:
    pairs = PairSet(data_root / "faces", 0, 3, 4)
    (lr,), hr = pairs.batch(7, seed=1, size=5, patch=6)
    (again,), _ = pairs.batch(7, seed=1, size=5, patch=6)
    (other,), _ = pairs.batch(8, seed=1, size=5, patch=6)
    assert torch.equal(lr, again)
    assert not torch.equal(lr, other)
    assert lr.shape == (5, 3, 6, 6)
    assert hr.shape == (5, 3, 24, 24)
    # Whatever the turn and mirror, the mean of an HR block stays near its LR pixel.
    blocks = hr.view(5, 3, 6, 4, 6, 4).mean(dim=(3, 5))
    assert (blocks - lr).abs().mean() < 4


def test_resumed_equals_uninterrupted(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Trainer(recipe(), data_root, tmp_path / "whole", say=quiet)
    whole.run()
    cut = Trainer(recipe(), data_root, tmp_path / "cut", say=quiet)
    honest = cut._one_step

    def killed(forward: torch.nn.Module) -> float:
        if cut.step == 3:
            raise KeyboardInterrupt
        return honest(forward)

    monkeypatch.setattr(cut, "_one_step", killed)
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    resumed = Trainer(recipe(), data_root, tmp_path / "cut", say=quiet)
    assert resumed.step == 2
    resumed.run()
    first, second = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "cut"))
    assert first.keys() == second.keys()
    for key in first:
        torch.testing.assert_close(first[key], second[key], rtol=0, atol=1e-6)


def test_what_a_training_writes(data_root: Path, tmp_path: Path) -> None:
    Trainer(recipe(), data_root, tmp_path, say=quiet).run()
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["recipe"]["steps"] == record["steps_done"] == 4
    curves = (tmp_path / "curves.csv").read_text().splitlines()
    assert curves[0] == "step,lr,loss,psnr,seconds"
    assert curves[-1].startswith("4,")
    net = load_sisn(load_file(tmp_path / "weights.safetensors"), SisnConfig(**OPTIONS, scale=4))
    assert not net.training


def test_another_recipe_does_not_continue_a_folder(data_root: Path, tmp_path: Path) -> None:
    Trainer(recipe(steps=2), data_root, tmp_path, say=quiet).run()
    with pytest.raises(DataError, match="another recipe"):
        Trainer(recipe(steps=3), data_root, tmp_path, say=quiet)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_named(content: bytes, data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"checkpoint.pt: cannot be read .*delete it to begin anew"):
        Trainer(recipe(), data_root, tmp_path, say=quiet)
    assert (tmp_path / "checkpoint.pt").read_bytes() == content


@pytest.mark.parametrize("name", [5, "", "../../escaped", "a/b", ".hidden"])
def test_a_name_that_is_no_folder_is_refused(name: object) -> None:
    with pytest.raises(ConfigError, match="name must be letters, digits"):
        recipe(name=name)


def test_a_folder_that_cannot_be_made_is_named(data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be made"):
        Trainer(recipe(), data_root, tmp_path / "file" / "out", say=quiet)


def test_missing_pictures_are_named(data_root: Path) -> None:
    with pytest.raises(DataError, match=r"2 of the pictures 4 to 7 are missing, e\.g\. 0006"):
        PairSet(data_root / "faces", 4, 7, 4)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_learning_lowers_the_loss(data_root: Path, tmp_path: Path, scale: int) -> None:
    trainer = Trainer(recipe(scale=scale, steps=30, patch=4, validate_every=30), data_root, tmp_path, say=quiet)
    before = trainer.task.measure(trainer._to_ship())["psnr"]
    trainer.run()
    assert trainer.task.measure(trainer._to_ship())["psnr"] > before


def test_norms_get_the_statistics_of_the_averaged_network(data_root: Path, tmp_path: Path) -> None:
    """With small features the variance of 1 that norms start with would drown the network."""
    options = {"min_channels": 4, "max_channels": 4, "halvings": 1, "blocks": 1, "hourglass": 1, "skip": "bicubic",
               "attention_channels": 2}  # fmt: skip
    settings = recipe(network="sparnet", network_options=options, patch=8, ema=0.99, validate_every=4)
    trainer = Trainer(settings, data_root, tmp_path, say=quiet)
    trainer.run()
    net = trainer.averaged.module.eval()
    seen: list[torch.Tensor] = []
    first = net.get_submodule("encoder.1.preact_func.0.norm")
    hook = first.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    with torch.inference_mode():
        for lr in trainer.task.inputs():
            net(lr)
    hook.remove()
    variance = torch.stack([x.var(dim=(0, 2, 3)) for x in seen]).mean(dim=0)
    torch.testing.assert_close(first.running_var, variance, rtol=1e-4, atol=1e-6)
    stored = load_file(tmp_path / "weights.safetensors")
    torch.testing.assert_close(stored["encoder.1.preact_func.0.norm.running_var"], first.running_var)
