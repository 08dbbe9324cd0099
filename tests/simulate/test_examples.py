"""The example pictures: each is listed with its hash, small, and usable, and the probes are the simulator's."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from faceup.files import sha256_hex
from faceup.images import read_image
from faceup.manifest import read_samples
from faceup.registry import Options, build
from faceup.simulate import PRESETS, simulate

DISTANCE_OF = {"1": "d1", "paper": "paper"}


def pictures(examples: Path) -> dict[str, Path]:
    return {p.relative_to(examples).as_posix(): p for p in sorted(examples.glob("*/*")) if p.is_file()}


def test_every_picture_is_listed_with_its_hash_and_every_listed_picture_exists(examples: Path) -> None:
    text = (examples / "SOURCES.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `((?:gallery|probes)/[^`]+)` \|.*\| `([0-9a-f]{64})` \|$", text, re.MULTILINE))
    assert listed == {name: sha256_hex(path.read_bytes()) for name, path in pictures(examples).items()}
    assert len(listed) == 4 + 10


def test_the_table_of_the_simulation_is_that_of_the_probes(examples: Path) -> None:
    with (examples / "simulation.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["output"]: row["output_sha256"] for row in rows} == {
        path.name: sha256_hex(path.read_bytes()) for path in (examples / "probes").iterdir()
    }


def test_examples_are_small(examples: Path) -> None:
    assert sum(path.stat().st_size for path in examples.rglob("*") if path.is_file()) < 600_000
    for sample in read_samples(examples / "gallery", "gallery").samples:
        image = read_image(sample.path)
        assert max(image.width, image.height) <= 512
    for name, path in pictures(examples).items():
        if name.startswith("probes/"):
            preset = PRESETS[DISTANCE_OF[path.stem.split("_")[2].split("-")[0]]]
            image = read_image(path)
            assert (image.width, image.height) == (preset.width, preset.height)


def test_every_probe_has_its_person_in_the_gallery_and_every_portrait_one_face(examples: Path) -> None:
    gallery = read_samples(examples / "gallery", "gallery").samples
    probes = read_samples(examples / "probes", "probe")
    assert {sample.subject_id for sample in gallery} == {"biden", "collins", "hopper", "obama"}
    assert {sample.subject_id for sample in probes.samples} == {sample.subject_id for sample in gallery}
    assert probes.ignored == ()
    detector = build("detect", "mtcnn", Options())
    assert [len(found) for found in detector.detect([read_image(sample.path) for sample in gallery])] == [1] * 4


def test_the_probe_of_collins_comes_out_of_the_simulator_again(examples: Path, tmp_path: Path) -> None:
    """Within what other versions of Pillow and OpenCV may do to a JPEG; the noise alone would differ by far more."""
    skimage = pytest.importorskip("skimage")
    (tmp_path / "in").mkdir()
    shutil.copyfile(Path(skimage.__file__).parent / "data" / "astronaut.png", tmp_path / "in" / "collins_1.png")
    simulate(tmp_path / "in", tmp_path / "out", distances=["d1", "paper"])
    for name in ("collins_cam1_1.jpg", "collins_cam1_paper.jpg"):
        made = read_image(tmp_path / "out" / name).pixels.astype(np.int64)
        kept = read_image(examples / "probes" / name).pixels.astype(np.int64)
        assert np.abs(made - kept).mean() < 1.0
    simulate(tmp_path / "in", tmp_path / "other", distances=["d1"], seed=1)
    other = read_image(tmp_path / "other" / "collins_cam1_1.jpg").pixels.astype(np.int64)
    assert np.abs(other - read_image(examples / "probes" / "collins_cam1_1.jpg").pixels).mean() > 3.0
