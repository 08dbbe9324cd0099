"""The folder: names, table, reproducibility, pictures without a face, and whose folders are left alone."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from faceup.detect import chosen_face
from faceup.errors import ConfigError, DataError
from faceup.images import read_image
from faceup.manifest import read_samples
from faceup.registry import Options, build
from faceup.simulate import PRESETS, SimulationSummary, simulate
from faceup.simulate.camera import frame, undegraded
from faceup.types import Detections, Image


class OneFace:
    """Finds a face in the middle of every picture that is not plain, with its eyes 0.2 of the width apart."""

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        return [Detections.none() if np.ptp(image.pixels) == 0 else self._middle(image) for image in images]

    @staticmethod
    def _middle(image: Image) -> Detections:
        x, y, unit = image.width / 2, image.height / 2, image.width / 10
        points = np.array([[-1, -1], [1, -1], [0, 0], [-0.8, 1], [0.8, 1]]) * unit + [x, y]
        box = np.array([[x - 2 * unit, y - 2.5 * unit, x + 2 * unit, y + 2.5 * unit]])
        return Detections(box.astype(np.float32), np.ones(1, np.float32), points[None].astype(np.float32))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that needs no network, for what has nothing to do with detection."""
    monkeypatch.setattr("faceup.simulate.run.build", lambda *_: OneFace())


def picture(path: Path, seed: int, size: tuple[int, int] = (260, 300)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    PilImage.fromarray(coarse).resize(size, PilImage.Resampling.BICUBIC).save(path, format="PNG")
    return path


def plain(path: Path) -> Path:
    PilImage.new("RGB", (200, 200), "grey").save(path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "simulation.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def outputs(summary: SimulationSummary) -> list[str]:
    return [row.output for row in summary.rows if row.status == "ok"]


def test_the_same_call_gives_the_same_bytes_and_another_seed_others(examples: Path, tmp_path: Path) -> None:
    calls = {"a": 0, "b": 0, "c": 1}
    for name, seed in calls.items():
        simulate(examples / "gallery", tmp_path / name, distances=["d1", "hard"], seed=seed, cameras=2)
    first, again, other = (contents(tmp_path / name) for name in calls)
    assert first == again
    assert first.keys() == other.keys()
    assert [name for name in first if first[name] == other[name]] == []


def test_sizes_hashes_and_eyes_in_the_table_are_those_of_the_files(examples: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = simulate(examples / "gallery", out, distances=list(PRESETS))
    rows = table(out)
    assert len(rows) == len(summary.rows) == 4 * len(PRESETS)
    assert {row["output"] for row in rows} == contents(out).keys() - {"simulation.csv"}
    for row in rows:
        source = (examples / "gallery" / row["source"]).read_bytes()
        assert row["source_sha256"] == hashlib.sha256(source).hexdigest()
        if row["status"] == "too_small":
            continue
        data = (out / row["output"]).read_bytes()
        assert row["output_sha256"] == hashlib.sha256(data).hexdigest()
        with PilImage.open(out / row["output"]) as made:
            assert made.format == "JPEG"
            assert made.size == (int(row["width"]), int(row["height"]))
            assert made.size == (PRESETS[row["distance"]].width, PRESETS[row["distance"]].height)
        if row["target_eye_px"]:
            assert float(row["achieved_eye_px"]) == pytest.approx(float(row["target_eye_px"]), rel=0.03)
        else:
            assert row["distance"] == "hard"
            assert 8 < float(row["achieved_eye_px"]) < 13
    assert summary.counts == {"ok": 20}


def check_found_eyes(path: Path) -> None:
    """The eyes that MTCNN finds in a clean picture of the same view, four times as fine, are as far apart as asked."""
    image = read_image(path)
    detector = build("detect", "mtcnn", Options())
    found = detector.detect([image])[0]
    face = chosen_face(found, image)
    for preset in PRESETS.values():
        if preset.eye_px is None:
            continue
        view = frame(preset, found.boxes[face], found.landmarks[face])
        fine = dataclasses.replace(preset, width=4 * preset.width, height=4 * preset.height)
        clean = undegraded(image, view, fine)
        again = detector.detect([clean])[0]
        eyes = again.landmarks[chosen_face(again, clean)]
        assert np.linalg.norm(eyes[1] - eyes[0]) / 4 == pytest.approx(preset.eye_px, rel=0.03), (path.name, preset.name)


@pytest.mark.parametrize("person", ["biden", "collins", "hopper", "obama"])
def test_found_eyes_are_as_far_apart_as_asked(examples: Path, person: str) -> None:
    check_found_eyes(examples / "gallery" / f"{person}_frontal.jpg")


@pytest.mark.parametrize("person", ["001", "010", "033"])
def test_found_eyes_are_as_far_apart_as_asked_in_other_faces(shared: Path, person: str) -> None:
    check_found_eyes(shared / "data" / "london" / "smiling" / f"{person}.jpg")


@pytest.mark.usefixtures("quick")
def test_a_picture_does_not_depend_on_the_others(tmp_path: Path) -> None:
    for number, name in enumerate(("a_1.png", "b_1.png", "c_1.png", "d_1.png")):
        picture(tmp_path / "all" / name, number)
    shutil.copytree(tmp_path / "all", tmp_path / "some")
    (tmp_path / "some" / "b_1.png").unlink()
    picture(tmp_path / "some" / "aa_1.png", 9)
    everything = simulate(tmp_path / "all", tmp_path / "x", distances=["d1", "d2", "hard"], cameras=2)
    some = simulate(tmp_path / "some", tmp_path / "y", distances=["hard", "d2"], cameras=3)
    x, y = contents(tmp_path / "x"), contents(tmp_path / "y")
    common = (set(outputs(everything)) & set(outputs(some))) - {"simulation.csv"}
    assert len(common) == 3 * 2 * 2
    assert all(x[name] == y[name] for name in common)
    rows = {row.output: row for row in everything.rows}
    assert all(rows[row.output] == row for row in some.rows if row.output in common)


@pytest.mark.usefixtures("quick")
def test_names_are_those_of_scface_and_tell_the_subject_again(tmp_path: Path) -> None:
    for number, name in enumerate(
        (
            "001_frontal.png",
            "001_old.png",
            "Anna.png",
            "anna.png",
            "eve.jr/x.png",
            "eve.jr/y.png",
            "=2+2/x.png",
            ".h/z.png",
        )
    ):
        picture(tmp_path / "in" / name, number)
    out = tmp_path / "out"
    summary = simulate(tmp_path / "in", out, distances=["d1", "paper"], cameras=2)
    names = {(row.source, row.camera, row.distance): row.output for row in summary.rows}
    assert names["001_frontal.png", 1, "d1"] == "001_cam1_1.jpg"
    assert names["001_frontal.png", 2, "paper"] == "001_cam2_paper.jpg"
    assert names["001_old.png", 1, "d1"] == "001_cam1_1-2.jpg"
    assert names["Anna.png", 1, "d1"] == "Anna_cam1_1.jpg"
    assert names["anna.png", 1, "d1"] == "anna_cam1_1-2.jpg"  # some file systems take Anna for anna
    assert names["eve.jr/x.png", 1, "d1"] == "eve.jr/cam1_1.jpg"
    assert names["eve.jr/y.png", 2, "paper"] == "eve.jr/cam2_paper-2.jpg"
    assert len(set(names.values())) == len(summary.rows) == 8 * 4
    read_again = {sample.sample_id: sample.subject_id for sample in read_samples(out, "probe").samples}
    assert read_again == {row.output: row.subject for row in summary.rows}
    cells = {(row["source"], row["subject"], row["output"]) for row in table(out) if row["subject"].startswith("'")}
    assert ("'=2+2/x.png", "'=2+2", "'=2+2_cam1_1.jpg") in cells
    # The escaped names are known again when the folder is replaced.
    assert outputs(simulate(tmp_path / "in", out, distances=["d1"], force=True))
    assert len(contents(out)) == 8 + 1


@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.usefixtures("quick")
def test_numbers_within_a_subject_do_not_depend_on_what_is_found(tmp_path: Path, missing: int) -> None:
    for number in (1, 2, 3):
        path = tmp_path / "in" / f"s_{number}.png"
        picture(path, number)
        if number == missing:
            plain(path)
    summary = simulate(tmp_path / "in", tmp_path / "out", distances=["d1"])
    wanted = ["s_cam1_1.jpg", "s_cam1_1-2.jpg", "s_cam1_1-3.jpg"]
    wanted[missing - 1] = ""
    assert [row.output for row in summary.rows] == wanted


def test_pictures_that_cannot_be_used_are_rows_too(examples: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    shutil.copy(examples / "gallery" / "obama_frontal.jpg", source / "good.jpg")
    plain(source / "noface.png")
    (source / "empty.jpg").write_bytes(b"")
    (source / "text.png").write_text("not a picture")
    (source / "cut.jpg").write_bytes((source / "good.jpg").read_bytes()[:4000])
    (source / "notes.txt").write_text("kept out")
    with PilImage.open(source / "good.jpg") as large:
        large.resize((82, 102)).save(source / "small.png")
    steps: list[tuple[int, int]] = []
    summary = simulate(source, tmp_path / "out", distances=["d3", "d1"], progress=lambda *step: steps.append(step))
    status = {(row["source"], row["distance"]): row["status"] for row in table(tmp_path / "out")}
    for name in ("cut.jpg", "empty.jpg", "text.png"):
        assert status[name, "d3"] == status[name, "d1"] == "unreadable"
    assert status["noface.png", "d1"] == "no_face"
    assert status["good.jpg", "d1"] == status["good.jpg", "d3"] == "ok"
    assert status["small.png", "d3"] == "too_small"
    assert len(status) == 6 * 2
    assert sum(summary.counts.values()) == 12
    assert summary.counts["unreadable"] == 6
    assert summary.ignored == ("notes.txt",)
    assert contents(tmp_path / "out").keys() == {"simulation.csv", *outputs(summary)}
    for row in table(tmp_path / "out"):
        assert (
            (row["output"] == "") == (row["output_sha256"] == "") == (row["message"] != "") == (row["status"] != "ok")
        )
        assert (row["source_sha256"] == "") == (row["source"] == "empty.jpg")
        assert str(tmp_path) not in row["message"]
    assert steps == [(done, 6) for done in range(1, 7)]


@pytest.mark.usefixtures("quick")
def test_each_camera_has_its_tint(tmp_path: Path) -> None:
    base = PilImage.new("RGB", (300, 300), (120, 120, 120))
    base.putpixel((0, 0), (121, 120, 120))  # not plain, so that the stand-in detector finds a face
    (tmp_path / "in").mkdir()
    base.save(tmp_path / "in" / "s.png")
    simulate(tmp_path / "in", tmp_path / "out", distances=["d1", "hard"], cameras=4)
    means = [read_image(tmp_path / "out" / f"s_cam{c}_1.jpg").pixels.mean(axis=(0, 1)) for c in range(1, 5)]
    assert np.std(means, axis=0).min() > 1.0
    untinted = [read_image(tmp_path / "out" / f"s_cam{c}_hard.jpg").pixels.mean(axis=(0, 1)) for c in range(1, 5)]
    np.testing.assert_allclose(untinted, 120, atol=1.2)


@pytest.mark.usefixtures("quick")
def test_an_existing_folder_is_refused_and_replaced_only_if_a_simulation_made_all_of_it(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    picture(source / "s.png", 1)
    simulate(source, out, distances=["d1", "d2"])
    before = contents(out)
    with pytest.raises(DataError, match="exists already"):
        simulate(source, out, distances=["d1"])
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"1 files or folders that `faceup simulate` did not write, e\.g\. notes"):
        simulate(source, out, distances=["d1"], force=True)
    assert contents(out) == {**before, "notes.txt": b"mine"}
    (out / "notes.txt").unlink()
    simulate(source, out, distances=["d1"], force=True)
    assert contents(out).keys() == {"simulation.csv", "s_cam1_1.jpg"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.usefixtures("quick")
def test_a_folder_that_no_simulation_made_is_left_alone(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "s.png", 1)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    (tmp_path / "link").symlink_to(mine)
    (tmp_path / "file").write_text("mine")
    for name in ("mine", "link", "file"):
        with pytest.raises(DataError, match="not made by `faceup simulate`"):
            simulate(tmp_path / "in", tmp_path / name, distances=["d1"], force=True)
    assert contents(mine) == {"thesis.txt": b"mine"}
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(("source", "out"), [("in", "in"), ("in", "in/out"), ("out/in", "out"), ("in", "in/../in/x")])
@pytest.mark.usefixtures("quick")
def test_source_and_output_must_not_contain_each_other(tmp_path: Path, source: str, out: str) -> None:
    kept = picture(tmp_path / source / "s.png", 1)
    with pytest.raises(DataError, match="inside the other"):
        simulate(tmp_path / source, tmp_path / out, distances=["d1"], force=True)
    assert kept.is_file()


@pytest.mark.usefixtures("quick")
def test_a_run_that_fails_leaves_nothing_and_spoils_nothing(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    picture(source / "a.png", 1)
    picture(source / "b.png", 2)

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(source, out, distances=["d1"], progress=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    simulate(source, out, distances=["d1"])
    before = contents(out)
    with pytest.raises(KeyboardInterrupt):
        simulate(source, out, distances=["d2"], force=True, progress=stop)
    assert contents(out) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


def test_folders_without_pictures_are_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("no picture")
    with pytest.raises(DataError, match="no pictures"):
        simulate(tmp_path / "empty", tmp_path / "out", distances=["d1"])
    with pytest.raises(DataError, match="not a folder"):
        simulate(tmp_path / "nowhere", tmp_path / "out", distances=["d1"])
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distances": []}, "at least one distance"),
        ({"distances": "d1"}, "as a list"),
        ({"distances": ["d1", "d9"]}, "Unknown distance 'd9': known: d1, d2, d3"),
        ({"distances": ["d1", "d2", "d1"]}, "named twice"),
        ({"distances": ["d1"], "cameras": 0}, "at least 1, got 0"),
        ({"distances": ["d1"], "device": "abacus"}, "Device must be"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    picture(tmp_path / "in" / "s.png", 1)
    with pytest.raises(ConfigError, match=message):
        simulate(tmp_path / "in", tmp_path / "out", **settings)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_source_that_may_not_be_looked_at_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.stat

    def stat(path: Any, *rest: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(str(tmp_path / "secret")):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(DataError, match="secret/in: not a folder that can be opened"):
        simulate(tmp_path / "secret" / "in", tmp_path / "out", distances=["d1"])
