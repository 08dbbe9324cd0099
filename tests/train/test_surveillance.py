"""Trainings on camera pictures: super-resolution with the identity term, and distillation of a recogniser."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PilImage
from safetensors.torch import load_file, save_file

from faceup import registry
from faceup.align import align
from faceup.errors import ConfigError, DataError
from faceup.files import sha256_hex
from faceup.images import read_image, resize
from faceup.networks.mobilefacenet import MobileFaceNet, load_mobilefacenet
from faceup.networks.sisn import Sisn, SisnConfig
from faceup.train.data import to_tensor
from faceup.train.degrade import Ranges
from faceup.train.distil import DistilSet, DistilTask, Level
from faceup.train.faces import FaceSet, SurveillanceSet, blended
from faceup.train.identity import aligned_faces, embedded
from faceup.train.loop import Trainer, finished
from faceup.train.machine import Machine, ahead
from faceup.train.recipe import DistilRecipe, TrainRecipe, read_trainings
from faceup.train.tasks import SrTask
from faceup.types import Image
from faceup.weights.catalog import catalog
from tests.conftest import ROOT
from tests.contracts import check_embedder

OPTIONS = {"groups": 1, "blocks": 1, "channels": 8, "head": "direct", "skip": "bicubic", "unit": 64}
LEVELS = {
    "original": {"share": 0.5, "jitter": 0.01},
    "hard": {"share": 0.5, "jitter": 0.05, "ranges": {"face_px": [16, 24]}},
}


def quiet(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    """Four portraits of 128 x 160 px and a picture without a face, numbered."""
    root = tmp_path_factory.mktemp("faces")
    (root / "faces").mkdir()
    for number, name in enumerate(("biden", "collins", "hopper", "obama")):
        portrait = resize(read_image(examples / "gallery" / f"{name}_frontal.jpg"), 128, 160)
        PilImage.fromarray(portrait.pixels).save(root / "faces" / f"{number:04d}.jpg", quality=95)
    PilImage.new("RGB", (128, 160), "grey").save(root / "faces" / "0004.jpg")
    return root


def sr_recipe(**changes: object) -> TrainRecipe:
    values = {
        "name": "tiny", "network": "sisn", "scale": 4, "train": (0, 4), "validation": (0, 1), "data": "faces",
        "network_options": OPTIONS, "degradation": "surveillance", "identity": 40, "identity_from": 1, "patch": 16,
        "alignment_jitter": 0.03, "batch": 2, "steps": 4, "lr": 1e-3, "validate_every": 2, "ema": 0.5,
    }  # fmt: skip
    return TrainRecipe(**{**values, **changes})  # type: ignore[arg-type]


def distil_recipe(**changes: object) -> DistilRecipe:
    values = {
        "name": "student", "train": (0, 4), "validation": (0, 1), "data": "faces", "levels": LEVELS, "mix": 0.5,
        "agreement": 1, "contrast": 0.1, "half": True, "batch": 4, "steps": 2, "lr": 2e-4, "validate_every": 1,
        "ema": 0.5, "freeze_norms": True,
    }  # fmt: skip
    return DistilRecipe(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def faces(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> FaceSet:
    cache = tmp_path_factory.mktemp("cache")
    first = FaceSet(data_root / "faces", 0, 4, cache=cache)
    again = FaceSet(data_root / "faces", 0, 4, cache=cache)
    for one, other in zip(first.faces, again.faces, strict=True):
        np.testing.assert_array_equal(one.landmarks, other.landmarks)
    return first


def test_pictures_without_a_face_are_left_out_and_named(faces: FaceSet, data_root: Path) -> None:
    assert len(faces) == 4
    assert faces.left_out == [4]
    with pytest.raises(DataError, match="no face was found in the pictures 4 to 4"):
        FaceSet(data_root / "faces", 4, 4)


def test_a_step_has_about_as_many_pixels_whatever_the_size_of_its_faces(faces: FaceSet) -> None:
    pairs = SurveillanceSet(faces, 4, Ranges())
    shapes = set()
    for step in range(8):
        (lr,), hr, landmarks, originals = pairs.batch(step, seed=0, size=4, patch=32)
        again = pairs.batch(step, seed=0, size=4, patch=32)
        assert torch.equal(lr, again[0][0])
        assert torch.equal(hr, again[1])
        n, _, side, _ = lr.shape
        assert hr.shape == (n, 3, 4 * side, 4 * side)
        assert landmarks.shape == (n, 5, 2)
        assert originals.shape == (n, 3, 112, 112)
        assert 0.6 < n * side**2 / (4 * 32**2) < 1.6
        assert landmarks.min() > 0
        assert landmarks.max() < 4 * side
        shapes.add(side)
    assert len(shapes) > 3


def test_training_with_the_identity_term_resumes_to_the_same_weights(data_root: Path, tmp_path: Path) -> None:
    Trainer(sr_recipe(), data_root, tmp_path / "whole", say=quiet).run()
    cut = Trainer(sr_recipe(), data_root, tmp_path / "cut", say=quiet)
    honest = cut._one_step

    def killed(forward: torch.nn.Module) -> float:
        if cut.step == 3:
            raise KeyboardInterrupt
        return honest(forward)

    cut._one_step = killed  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    Trainer(sr_recipe(), data_root, tmp_path / "cut", say=quiet).run()
    whole, resumed = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "cut"))
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=1e-6)
    record = json.loads((tmp_path / "whole" / "training.json").read_text())
    assert record["training_pictures_without_a_face"] == [4]
    assert record["devices"] == ["cpu"]
    assert -1 <= record["best_validation_identity"] <= 1
    assert (tmp_path / "whole" / "curves.csv").read_text().startswith("step,lr,loss,psnr,identity,seconds\n")


def test_the_identity_term_is_weighed_and_has_the_terms_of_the_recipe(data_root: Path, tmp_path: Path) -> None:
    """Against a loop over all pairs of faces; landmarks without noise, so that nothing is drawn at random."""
    plain = sr_recipe(identity=0, alignment_jitter=0, freeze_norms=True)
    both = ["mobilefacenet", "mobilefacenet-lr"]
    with_terms = replace(plain, identity=3.0, identity_from=0, agreement=0.5, bank_blends=2, recognizer=both)
    losses = []
    for recipe in (plain, with_terms):
        trainer = Trainer(recipe, data_root, tmp_path / str(recipe.identity), say=quiet)
        losses.append(trainer.task.loss(trainer.net.eval(), 0).item())
    task = trainer.task
    assert isinstance(task, SrTask)
    assert isinstance(task.train_set, SurveillanceSet)
    assert {f"recognizer {name}" for name in both} <= set(task.inputs_sha256)
    assert [len(bank) for bank in task.banks] == [4 + 2, 4 + 2]
    (lr,), _, landmarks, originals = task.train_set.batch(0, seed=plain.seed, size=plain.batch, patch=plain.patch)
    terms = []
    for term, bank in zip(task.identities, task.banks, strict=True):
        with torch.no_grad():
            aligned = aligned_faces(trainer.net(lr).clamp(0, 255), landmarks)
            got, wanted = (one.numpy() for one in term.vectors(aligned, originals))
        pairs = list(zip(got, wanted, strict=True))
        others = [*bank.numpy(), *wanted]
        to_others = np.mean([(one @ x - other @ x) ** 2 for one, other in pairs for x in others])
        among = np.mean([(a @ b - c @ d) ** 2 for a, c in pairs for b, d in pairs])
        terms.append(1 - np.mean([one @ other for one, other in pairs]) + 0.5 * (to_others + among))
    assert terms[0] != pytest.approx(terms[1], rel=0.01)
    assert losses[1] - losses[0] == pytest.approx(3.0 * np.mean(terms), rel=1e-3)


def test_blended_faces_are_originals_of_their_own(faces: FaceSet) -> None:
    plain, mixed = (SurveillanceSet(faces, 4, Ranges(), mix=mix) for mix in (0.0, 1.0))
    known = [align(Image(face.pixels), face.landmarks).pixels for one in faces.faces for face in (one, one.mirrored())]

    def nearest(pairs: SurveillanceSet) -> list[float]:
        _, _, _, originals = pairs.batch(3, seed=0, size=4, patch=32)
        shown = originals.numpy().transpose(0, 2, 3, 1)
        return [min(float(np.abs(one - face.astype(np.float32)).mean()) for face in known) for one in shown]

    assert max(nearest(plain)) == 0
    # A blend of a face with itself is that face, so not all differ.
    assert np.median(nearest(mixed)) > 2


def test_processes_make_the_batches_that_a_thread_makes(faces: FaceSet) -> None:
    pairs = SurveillanceSet(faces, 4, Ranges())

    def made(step: int) -> tuple[object, ...]:
        return pairs.batch(step, seed=1, size=2, patch=16)

    by_thread, by_processes = (ahead(made, 5, Machine(workers=workers)) for workers in (0, 2))
    for step in (0, 1, 2, 4, 1, 2):  # In order, with a jump as in a resumed training, and back.
        (lr,), hr, landmarks, originals = by_thread.get(step)
        (lr_,), hr_, landmarks_, originals_ = by_processes.get(step)
        assert torch.equal(lr, lr_)
        assert torch.equal(hr, hr_)
        assert torch.equal(originals, originals_)
        np.testing.assert_array_equal(landmarks, landmarks_)


def test_training_in_bfloat16_leaves_weights_and_results_in_float32(data_root: Path, tmp_path: Path) -> None:
    outs = []
    for bf16 in (False, True):
        trainer = Trainer(
            sr_recipe(bf16=bf16, steps=2, identity=0, freeze_norms=True), data_root, tmp_path / str(bf16), say=quiet
        )
        forward = trainer._forward()
        outs.append(forward(100 + 9 * torch.randn((2, 3, 12, 12), generator=torch.Generator().manual_seed(0))))
        trainer.run()
        assert {value.dtype for value in load_file(tmp_path / str(bf16) / "weights.safetensors").values()} <= {
            torch.float32,
            torch.int64,
        }
    assert outs[0].dtype == outs[1].dtype == torch.float32
    difference = (outs[0] - outs[1]).abs().max()
    assert 0 < difference < 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
@pytest.mark.parametrize("recipe", [sr_recipe(identity_from=0, agreement=1, bank_blends=2), distil_recipe()])
def test_a_gpu_finds_the_loss_of_the_cpu(recipe: TrainRecipe | DistilRecipe, data_root: Path, tmp_path: Path) -> None:
    losses = []
    for device in ("cpu", "cuda"):
        trainer = Trainer(recipe, data_root, tmp_path / device, machine=Machine(device, workers=1), say=quiet)
        losses.append(float(trainer.task.loss(trainer.net, 0)))
        trainer.run()
        assert (tmp_path / device / "weights.safetensors").is_file()
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


def test_long_gradients_are_shortened(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms = []
    for clip in (0.0, 0.001):
        trainer = Trainer(sr_recipe(clip=clip, steps=1), data_root, tmp_path / str(clip), say=quiet)
        seen = trainer.optimiser.step
        monkeypatch.setattr(trainer.optimiser, "step", lambda: None)
        trainer._one_step(trainer.net)
        norms.append(float(torch.cat([p.grad.ravel() for p in trainer.trained if p.grad is not None]).norm()))
        monkeypatch.setattr(trainer.optimiser, "step", seen)
    assert norms[0] > 0.01
    assert norms[1] == pytest.approx(0.001, rel=0.01)


def test_a_training_goes_on_with_its_own_inputs_only(data_root: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    Trainer(sr_recipe(steps=1, identity=0), data_root, tmp_path / "first", say=quiet).run()
    shutil.copy(tmp_path / "first" / "weights.safetensors", start)
    copy = tmp_path / "data"
    shutil.copytree(data_root, copy)
    recipe = sr_recipe(start=str(start), steps=2, identity=0)
    Trainer(recipe, copy, tmp_path / "out", say=quiet).run()
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["inputs_sha256"].keys() == {"train", "validation", "start"}
    assert record["inputs_sha256"]["start"] == sha256_hex(start.read_bytes())
    pictures = [(copy / "faces" / f"{n:04d}.jpg").read_bytes() for n in range(2)]
    digests = b"".join(hashlib.sha256(data).digest() for data in pictures)
    assert record["inputs_sha256"]["validation"] == sha256_hex(digests)
    Trainer(recipe, data_root, tmp_path / "out", say=quiet)  # The same pictures elsewhere.
    start.write_bytes((tmp_path / "out" / "weights.safetensors").read_bytes())
    with pytest.raises(DataError, match=r"other inputs \(start has changed\)"):
        Trainer(recipe, copy, tmp_path / "out", say=quiet)
    shutil.copy(tmp_path / "first" / "weights.safetensors", start)
    (copy / "faces" / "0003.jpg").write_bytes((copy / "faces" / "0000.jpg").read_bytes())
    with pytest.raises(DataError, match=r"other inputs \(train has changed\)"):
        Trainer(recipe, copy, tmp_path / "out", say=quiet)


def test_landmarks_are_kept_by_the_contents_of_the_pictures(data_root: Path, tmp_path: Path) -> None:
    FaceSet(data_root / "faces", 0, 1, cache=tmp_path / "cache")
    large = tmp_path / "large"
    large.mkdir()
    for number in range(2):
        picture = read_image(data_root / "faces" / f"{number:04d}.jpg")
        PilImage.fromarray(resize(picture, 256, 320).pixels).save(large / f"{number:04d}.jpg")
    faces = FaceSet(large, 0, 1, cache=tmp_path / "cache").faces
    small = FaceSet(data_root / "faces", 0, 1).faces
    for one, other in zip(faces, small, strict=True):
        assert np.abs(one.landmarks / 2 - other.landmarks).max() < 4


def test_a_student_is_refused_what_does_not_fit_it(data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sisn-x8 enlarges 8 times, 4 are needed"):
        Trainer(distil_recipe(sr="sisn-x8", sr_share=0.5), data_root, tmp_path / "a", say=quiet)
    # A checkpoint without options, as the public code saves it.
    save_file(Sisn(SisnConfig(1, 1, 8)).state_dict(), tmp_path / "public.safetensors")
    Trainer(distil_recipe(sr=str(tmp_path / "public.safetensors"), sr_share=1.0), data_root, tmp_path / "b", say=quiet)
    save_file(MobileFaceNet(512, (7, 6)).state_dict(), tmp_path / "narrow.safetensors")
    with pytest.raises(ConfigError, match="another size than 112 x 112 px"):
        Trainer(distil_recipe(teacher=str(tmp_path / "narrow.safetensors")), data_root, tmp_path / "c", say=quiet)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": "1e-4"}, "lr must be a number from 0, such as 1.0e-4; got '1e-4'"),
        ({"lr": -1.0}, "lr must be a number"),
        ({"train": [0]}, "train is a first and a last number"),
        ({"validation": [3, 1]}, "validation is a first and a last number"),
        ({"train": ["0", "3"]}, "train is a first and a last number"),
        ({"halve_every": 0}, "halve_every must be a whole number from 1"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"warmup": -1}, "warmup must be a whole number"),
    ],
)
def test_a_course_that_cannot_be_run(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sr_recipe(**change)


def test_weights_to_start_from(data_root: Path, tmp_path: Path) -> None:
    Trainer(sr_recipe(steps=1, identity=0), data_root, tmp_path / "a", say=quiet).run()
    file = str(tmp_path / "a" / "weights.safetensors")
    second = Trainer(sr_recipe(start=file), data_root, tmp_path / "b", say=quiet)
    for key, value in load_file(file).items():
        assert torch.equal(second.net.state_dict()[key], value)
    with pytest.raises(ConfigError, match="Unknown weights 'sisn-x44'"):
        Trainer(sr_recipe(start="sisn-x44"), data_root, tmp_path / "c", say=quiet)


def test_a_student_is_made_resumed_and_loads_as_a_recogniser(data_root: Path, tmp_path: Path) -> None:
    recipe = distil_recipe()
    trainer = Trainer(recipe, data_root, tmp_path, say=quiet)
    teacher = {key: value.clone() for key, value in trainer.net.state_dict().items()}
    trainer.run()
    assert finished(recipe, tmp_path)
    assert not finished(distil_recipe(steps=3), tmp_path)
    moved = [key for key, value in trainer.net.state_dict().items() if not torch.equal(value, teacher[key])]
    assert moved
    assert not any("running" in key or "num_batches" in key for key in moved), "frozen statistics moved"
    state = load_file(tmp_path / "weights.safetensors")
    assert state["linear.weight"].dtype == torch.float16
    options = registry.Options(weights=tmp_path / "weights.safetensors")
    check_embedder(registry.build("embed", "mobilefacenet-lr", options))
    again = Trainer(recipe, data_root, tmp_path, say=quiet)
    assert again.step == 2
    with pytest.raises(DataError, match="another recipe"):
        Trainer(distil_recipe(lr=1e-3), data_root, tmp_path, say=quiet)
    with pytest.raises(DataError, match="another recipe"):
        Trainer(sr_recipe(), data_root, tmp_path, say=quiet)


def test_a_second_stage_begins_with_the_weights_that_it_names(data_root: Path, tmp_path: Path) -> None:
    stage = distil_recipe(start="mobilefacenet-lr", bank_blends=3, half=False)
    trainer = Trainer(stage, data_root, tmp_path, say=quiet)
    shipped = load_file(ROOT / "faceup" / "weights" / "files" / "mobilefacenet-lr.safetensors")
    torch.testing.assert_close(trainer.net.state_dict()["linear.weight"], shipped["linear.weight"].float())
    task = trainer.task
    assert isinstance(task, DistilTask)
    assert len(task.bank) == 4 + 3
    assert task.inputs_sha256["start"] == catalog()["mobilefacenet-lr"].sha256
    with pytest.raises(ConfigError, match="bank_blends"):
        distil_recipe(bank_blends=-1)


def test_the_excess_term_is_the_mean_square_above_the_teacher_and_the_start(data_root: Path, tmp_path: Path) -> None:
    """Against loops over all pairs; what the term adds is the difference of two losses of the same step."""
    plain = distil_recipe(levels=LEVELS, start="mobilefacenet-lr", half=False)
    with_term = replace(plain, excess=2.0, excess_from=-0.05)
    losses = []
    for recipe in (plain, with_term):
        trainer = Trainer(recipe, data_root, tmp_path / str(recipe.excess), say=quiet)
        losses.append(trainer.task.loss(trainer.net, 0).item())
    task = trainer.task
    assert isinstance(task, DistilTask)
    seen, originals = task.train_set.batch(0, seed=plain.seed, size=plain.batch)
    with torch.no_grad():
        got, wanted = embedded(trainer.net, seen).numpy(), embedded(task.teacher, originals).numpy()
    squares = []
    for mine, target in zip(got, wanted, strict=True):
        for other in [*task.bank.numpy(), *wanted]:
            above = float(mine @ other) - max(float(target @ other), -0.05)
            squares.append(max(above, 0.0) ** 2)
    assert max(squares) > 0
    assert losses[1] - losses[0] == pytest.approx(2.0 * sum(squares) / len(squares), rel=1e-2)


def test_the_written_weights_are_normalised_once(data_root: Path, tmp_path: Path) -> None:
    plain = Trainer(distil_recipe(half=False), data_root, tmp_path / "plain", say=quiet)
    plain.run()
    trainer = Trainer(distil_recipe(half=False, within=0.2, score="dprime"), data_root, tmp_path / "within", say=quiet)
    trainer.run()
    weights = tmp_path / "within" / "weights.safetensors"
    record = json.loads((tmp_path / "within" / "training.json").read_text())
    assert record["normalised_validation"].keys() == record["best_validation"].keys()
    first = load_file(weights)
    assert not torch.equal(first["linear.weight"], load_file(tmp_path / "plain" / weights.name)["linear.weight"])
    trainer.task.finish(weights)
    for key, value in load_file(weights).items():
        assert torch.equal(value, first[key])
    check_embedder(registry.build("embed", "mobilefacenet", registry.Options(weights=weights)))


def test_recogniser_and_teacher_may_be_files_and_are_recorded_by_their_hash(data_root: Path, tmp_path: Path) -> None:
    file = ROOT / "faceup" / "weights" / "files" / "mobilefacenet-lr.safetensors"
    sha256 = catalog()["mobilefacenet-lr"].sha256
    for recipe, key in (
        (sr_recipe(recognizer=str(file), steps=1, identity_from=0), "recognizer"),
        (distil_recipe(teacher=str(file), steps=1, bank_blends=1), "teacher"),
    ):
        trainer = Trainer(recipe, data_root, tmp_path / key, say=quiet)
        trainer.run()
        task = trainer.task
        assert json.loads((tmp_path / key / "training.json").read_text())["inputs_sha256"][key] == sha256
    assert isinstance(task, DistilTask)
    own = load_mobilefacenet(load_file(file))
    aligned = [align(Image(face.pixels), face.landmarks).pixels for face in task.train_set.faces.faces]
    rows = embedded(own, to_tensor(aligned)).detach()
    torch.testing.assert_close(task.bank[:4], rows, atol=1e-5, rtol=0)


def test_teacher_share_is_a_weighted_mean(data_root: Path, tmp_path: Path) -> None:
    trainer = Trainer(distil_recipe(teacher_share=0.25, half=False), data_root, tmp_path, say=quiet)
    teacher = trainer.net.state_dict()["linear.weight"].clone()
    with torch.no_grad():
        trainer.net.get_parameter("linear.weight").add_(1.0)
    shipped = trainer.task.shipped(trainer.net)
    torch.testing.assert_close(shipped["linear.weight"], teacher + 0.75)


def test_batches_repeat_and_originals_stay_originals(faces: FaceSet) -> None:
    levels = [Level("original", 0.5, 0.0, None), Level("blank", 0.5, 0.0, None)]
    data = DistilSet(faces, levels, sr=None, sr_share=0.0, mix=0.0)
    seen, originals = data.batch(5, seed=1, size=6)
    again, _ = data.batch(5, seed=1, size=6)
    assert torch.equal(seen, again)
    assert torch.equal(seen, originals)  # no jitter, no degradation
    other, _ = data.batch(6, seed=1, size=6)
    assert not torch.equal(seen, other)


def test_a_blend_lies_between_two_faces(faces: FaceSet) -> None:
    one, other = faces.faces[0], faces.faces[1]
    same = blended(one, other, 0.0)
    np.testing.assert_array_equal(same.pixels, one.pixels)
    np.testing.assert_allclose(same.landmarks, one.landmarks)
    half = blended(one, one, 0.5)
    assert np.abs(half.pixels.astype(int) - one.pixels).max() <= 1
    mixed = blended(one, other, 0.5)
    assert np.abs(mixed.landmarks - one.landmarks).max() < 15


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": {}}, "levels must say"),
        ({"levels": {"a": {"share": 0.4}}}, "must sum to 1"),
        ({"levels": {"a": {"jitter": 0.4}}}, "has share and maybe"),
        ({"sr_share": 0.5}, "sr_share needs sr"),
        ({"mix": 2.0}, "mix must be a number from 0 to 1"),
        ({"sr_share": -0.5}, "sr_share must be a number from 0 to 1"),
        ({"within": -0.1}, "within must be a number from 0"),
        ({"bank_blends": 2.5}, "bank_blends must be a whole number"),
        ({"excess_from": "x"}, "excess_from must be a number"),
        ({"temperature": 0}, "temperature must lie above 0"),
        ({"within": 0.1, "levels": {"a": {"share": 1.0}}}, "within needs a level with ranges"),
        ({"score": "rank1"}, "score is mean or dprime"),
    ],
)
def test_wrong_distillations_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        distil_recipe(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"degradation": "surveilance"}, "did you mean 'surveillance'"),
        ({"degradation": "bicubic"}, "identity and mix need degradation: surveillance"),
        ({"identity": -1}, "identity must be a number from 0"),
        ({"agreement": float("nan")}, "agreement must be a number from 0"),
        ({"patch": 16.5}, "patch must be a whole number from 1"),
        ({"bf16": "false"}, "bf16 is true or false"),
        ({"recognizer": {"a": 1}}, "recognizer is a name, a file or a list"),
        ({"recognizer": ["a", "a"]}, "each once"),
        ({"recognizer": []}, "each once"),
        ({"identity": 0, "excess": 3.0}, "parts of identity, which is 0"),
        ({"degradation_ranges": {"noise": [0, 1]}}, "noise"),
    ],
)
def test_wrong_trainings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sr_recipe(**changes)


def test_the_shipped_recipes_are_read_by_their_kind() -> None:
    (student,) = read_trainings(ROOT / "pipelines" / "train_mobilefacenet_lr.yaml")
    (network,) = read_trainings(ROOT / "pipelines" / "train_sisn_surveillance_x4.yaml")
    assert isinstance(student, DistilRecipe)
    assert isinstance(network, TrainRecipe)
    assert student.levels["original"]["share"] >= 0.25
    (first,) = read_trainings(ROOT / "pipelines" / "train_mobilefacenet_lr_1.yaml")
    for recipe in (student, first, network):
        assert recipe.train == (0, 1399)
        assert recipe.validation == (1400, 1449)
    (sisn,) = read_trainings(ROOT / "pipelines" / "train_sisn_x4.yaml")
    assert isinstance(sisn, TrainRecipe)
    assert network.network_options == sisn.network_options
