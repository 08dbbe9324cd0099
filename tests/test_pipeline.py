"""The whole run on the example pictures: what it returns, what it writes, and what bad input does to it."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as PilImage

import faceup
from faceup import pipeline, registry
from faceup.cli.main import main
from faceup.defaults import RECOGNIZER
from faceup.errors import ConfigError, ContractError, DataError, WeightsError
from faceup.images import read_image
from faceup.protocols import detect_all, embed_all
from faceup.recipe import RunRecipe
from faceup.record import backend_entry
from faceup.registry import Options, build
from faceup.runtime.engine import engines
from faceup.types import AlignedFace, Image
from faceup.weights import store
from faceup.weights.catalog import spec


@pytest.fixture(scope="module")
def result(examples: Path) -> faceup.RunResult:
    return faceup.run(gallery=examples / "gallery", probes=examples / "probes", sr=["none", "bicubic"], device="cpu")


@pytest.fixture(scope="module")
def saved(result: faceup.RunResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return result.save(tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture
def sides(examples: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A gallery of two and a folder with one good probe, to be spoilt."""
    gallery, probes = tmp_path / "gallery", tmp_path / "probes"
    gallery.mkdir()
    probes.mkdir()
    for name in ("obama", "biden"):
        shutil.copy(examples / "gallery" / f"{name}_frontal.jpg", gallery)
    shutil.copy(examples / "probes" / "obama_cam1_1.jpg", probes)
    return gallery, probes


def test_every_probe_meets_every_gallery_picture(result: faceup.RunResult) -> None:
    frame = result.similarity
    names = "sr,probe,probe_subject,gallery,gallery_subject,genuine,detected,similarity,rank,cosine"
    assert list(frame.columns) == names.split(",")
    gallery, probes = len(result.record["gallery"]), len(result.record["probes"])
    assert len(frame) == 2 * gallery * probes
    assert not frame.duplicated(["sr", "probe", "gallery"]).any()


def test_a_similarity_is_the_cosine_of_the_stages_called_one_by_one(result: faceup.RunResult, examples: Path) -> None:
    from faceup.align import align
    from faceup.detect import chosen_face

    detector, embedder = build("detect", "mtcnn", Options()), build("embed", RECOGNIZER, Options())
    (probe,) = build("sr", "bicubic", Options(scale=4)).upscale([read_image(examples / "probes" / "obama_cam1_1.jpg")])
    vectors = []
    for image in (read_image(examples / "gallery" / "obama_frontal.jpg"), probe):
        (found,) = detector.detect([image])
        index = chosen_face(found, image)
        assert index is not None
        vectors.append(embedder.embed([align(image, found.landmarks[index])])[0])
    expected = max(0.0, float(np.dot(vectors[0].astype(float), vectors[1].astype(float))))
    frame = result.similarity.set_index(["sr", "probe", "gallery"])
    row = frame.loc[("bicubic", "obama_cam1_1.jpg", "obama_frontal.jpg")]
    assert row["similarity"] == pytest.approx(expected, abs=1e-4)
    assert row["genuine"] == 1


def test_detections_have_one_row_per_sr_and_picture(result: faceup.RunResult) -> None:
    frame = result.detections
    counts = frame.groupby(["role", "sr"]).size().to_dict()
    probes = len(result.record["probes"])
    assert counts == {
        ("gallery", "none"): len(result.record["gallery"]),
        ("probe", "none"): probes,
        ("probe", "bicubic"): probes,
    }
    eyes = frame[["left_eye_x", "left_eye_y", "right_eye_x", "right_eye_y"]].to_numpy()
    np.testing.assert_allclose(
        frame["inter_eye_px"], np.hypot(eyes[:, 2] - eyes[:, 0], eyes[:, 3] - eyes[:, 1]), rtol=1e-4
    )
    enlarged = frame[frame["sr"] == "bicubic"]
    assert set(zip(enlarged["width"], enlarged["height"], strict=True)) == {(300, 400), (168, 224)}


def test_the_run_folder_is_complete_and_byte_identical_on_repeat(saved: Path, examples: Path, tmp_path: Path) -> None:
    expected = {
        "similarity.csv",
        "detections.csv",
        "alarm.csv",
        "table.csv",
        "table.md",
        "table.tex",
        "report.html",
        "run.json",
        "pictures",
    }
    assert {path.name for path in saved.iterdir()} == expected
    again = faceup.run(gallery=examples / "gallery", probes=examples / "probes", sr=["none", "bicubic"], device="cpu")
    second = again.save(tmp_path / "second")
    for name in (
        "similarity.csv",
        "detections.csv",
        "alarm.csv",
        "table.csv",
        "table.md",
        "table.tex",
        "pictures/pictures.csv",
    ):
        assert (saved / name).read_bytes() == (second / name).read_bytes(), name


def test_the_record_names_inputs_weights_and_versions(saved: Path, examples: Path) -> None:
    from faceup.files import sha256_hex

    record = json.loads((saved / "run.json").read_text())
    hashes = {row["sample"]: row["sha256"] for row in record["gallery"]}
    assert hashes["obama_frontal.jpg"] == sha256_hex((examples / "gallery" / "obama_frontal.jpg").read_bytes())
    weights = {w["name"]: w["sha256"] for backend in record["backends"] for w in backend["weights"]}
    used = ("mtcnn-pnet", "mtcnn-rnet", "mtcnn-onet", *registry.info("embed", RECOGNIZER).weights)
    assert weights == {name: spec(name).sha256 for name in used}
    assert record["versions"]["torch"]
    assert {"read", "sr", "detect", "embed", "total"} <= set(record["timings"])


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_the_record_names_the_engine_of_a_network(sides: tuple[Path, Path], engine: str) -> None:
    options = {"sisn": {"engine": engine}}
    record = faceup.run(*sides, sr=["bicubic", "sisn"], sr_options=options, device="cpu").record
    found = {backend["label"]: backend.get("engine") for backend in record["backends"] if backend["stage"] == "sr"}
    assert found == {"bicubic": None, "sisn": engines(engine, "cpu")[0]}


@pytest.mark.parametrize("scale", [4, 8])
def test_the_record_names_the_weights_of_the_scale_that_was_used(scale: int) -> None:
    entry = backend_entry("sr", "sisn", registry.info("sr", "sisn"), None, scale)
    assert entry["weights"] == [{"name": f"sisn-x{scale}", "sha256": spec(f"sisn-x{scale}").sha256}]


def test_saving_never_replaces_what_is_not_a_run(result: faceup.RunResult, saved: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists already"):
        result.save(saved)
    before = (saved / "run.json").stat().st_ino
    result.save(saved, force=True)
    assert (saved / "run.json").stat().st_ino != before
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter1.txt").write_text("years of work")
    with pytest.raises(DataError, match="not made by `faceup run`"):
        result.save(precious, force=True)
    assert (precious / "chapter1.txt").read_text() == "years of work"


def test_a_run_on_the_pictures_of_an_earlier_one_does_not_replace_it(
    saved: Path, examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = tmp_path / "earlier"
    shutil.copytree(saved, earlier)
    gallery = tmp_path / "gallery.csv"
    picture = next((earlier / "pictures").glob("*.png"))
    gallery.write_text(f"path,subject\n{picture},obama\n")
    sides = {"gallery": gallery, "probes": examples / "probes" / "obama_cam1_1.jpg"}
    probes = tmp_path / "probes.csv"
    probes.write_text(f"path,subject\n{sides['probes']},obama\n")
    with pytest.raises(DataError, match=r"is a picture for this run and lies in .*earlier"):
        faceup.run(gallery, probes, sr="none", device="cpu").save(earlier, force=True)
    arguments = ["run", "--gallery", str(gallery), "--probes", str(probes), "--sr", "none", "--out", str(earlier)]
    assert main([*arguments, "--force"]) == 1
    assert "is a picture for this run" in capsys.readouterr().err
    assert picture.is_file()


def test_a_failed_save_leaves_nothing_and_keeps_the_old_run(
    result: faceup.RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = result.save(tmp_path / "run")
    old = (target / "run.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("faceup.result.write_report", full)
    with pytest.raises(DataError, match="No space left"):
        result.save(target, force=True)
    assert (target / "run.json").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_that_cannot_be_written(result: faceup.RunResult, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="cannot be written"):
        result.save(tmp_path / "run")


def test_an_output_below_a_file_cannot_be_written(result: faceup.RunResult, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be written"):
        result.save(tmp_path / "file" / "run")


def test_an_output_that_cannot_be_written_is_told_before_the_work(
    sides: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("faceup.pipeline.run_listed", never)
    given = ["run", "--gallery", str(sides[0]), "--probes", str(sides[1]), "--sr", "bicubic"]
    (sides[0].parent / "file").write_text("x")
    assert main([*given, "--out", str(sides[0].parent / "file" / "x")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_the_run_is_called_as_its_recipe_says_or_as_the_recipes_file(
    sides: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sides[0].parent
    monkeypatch.chdir(folder)
    names = []
    monkeypatch.setattr("faceup.pipeline.run_listed", lambda recipe, *_, **__: names.append(recipe.name) or 1 / 0)
    for file, text in (("my run (1).yaml", ""), ("r.yaml", "name: wanted\n")):
        (folder / file).write_text(f"{text}sr: bicubic\ngallery: gallery\nprobes: probes\n")
        assert main(["run", "--recipe", str(folder / file)]) == 3
    assert names == ["my run -1-", "wanted"]


def test_bad_pictures_are_rows_and_the_good_one_is_found(sides: tuple[Path, Path], tmp_path: Path) -> None:
    gallery, probes = sides
    whole = (probes / "obama_cam1_1.jpg").read_bytes()
    (probes / "obama_cam2_1.jpg").write_bytes(whole[: len(whole) // 2])
    (probes / "obama_cam3_1.jpg").write_bytes(b"")
    (probes / "obama_cam4_1.png").write_text("words")
    PilImage.new("RGB", (1, 1)).save(probes / "obama_cam5_1.png")
    PilImage.new("RGB", (60, 80), "grey").save(probes / "=cmd_cam1_1.png")
    shutil.copy(probes / "obama_cam1_1.jpg", Path(os.fsdecode(os.fsencode(probes) + b"/obama_\xff.jpg")))
    result = faceup.run(gallery=gallery, probes=probes, sr=["none", "bicubic"], device="cpu")
    rows = result.detections[(result.detections["role"] == "probe") & (result.detections["sr"] == "bicubic")]
    status = dict(zip(rows["sample"], rows["status"], strict=True))
    assert status == {
        "=cmd_cam1_1.png": "no_face",
        "obama_\\xff.jpg": "ok",
        "obama_cam1_1.jpg": "ok",
        "obama_cam2_1.jpg": "unreadable",
        "obama_cam3_1.jpg": "unreadable",
        "obama_cam4_1.png": "unreadable",
        "obama_cam5_1.png": "no_face",
    }
    assert any("3 of 7 probe pictures could not be read" in note for note in result.warnings)
    row = result.table.set_index("sr").loc["bicubic"]
    assert (row["detected"], row["probes"]) == (2, 6)
    assert row["average_paper"] == pytest.approx(row["average_detected"] * 2 / 6)
    folder = result.save(tmp_path / "run")
    with (folder / "similarity.csv").open(encoding="utf-8", newline="") as stream:
        assert "'=cmd_cam1_1.png" in {r["probe"] for r in csv.DictReader(stream)}


def test_a_picture_too_large_to_enlarge_is_a_row(sides: tuple[Path, Path]) -> None:
    gallery, probes = sides
    PilImage.new("L", (4000, 1100)).save(probes / "obama_cam9_1.png")
    result = faceup.run(gallery=gallery, probes=probes, sr=["bicubic"], device="cpu")
    rows = result.detections.set_index("sample")
    assert rows.loc["obama_cam9_1.png", "status"] == "unreadable"
    assert "after enlarging 4 times" in rows.loc["obama_cam9_1.png", "message"]
    assert [w.partition(", e.g.")[0] for w in result.warnings] == ["1 of 2 probe pictures could not be read"]


@pytest.mark.parametrize("sr", [["none", "bicubic"], ["bicubic", "none"]])
def test_a_picture_that_is_too_large_for_one_system_only_is_told(sides: tuple[Path, Path], sr: list[str]) -> None:
    gallery, probes = sides
    PilImage.new("L", (4000, 1100)).save(probes / "obama_cam9_1.png")
    result = faceup.run(gallery=gallery, probes=probes, sr=sr, device="cpu")
    (told,) = result.warnings
    assert told.startswith("1 of 2 probe pictures could not be read for bicubic, e.g. ")
    assert "after enlarging 4 times" in told


def test_what_was_left_out_of_a_folder_is_told(sides: tuple[Path, Path]) -> None:
    gallery, probes = sides
    (probes / "notes.txt").write_text("x")
    (probes / "more").symlink_to(gallery)
    result = faceup.run(gallery=gallery, probes=probes, sr=["bicubic"], device="cpu")
    assert result.warnings == [
        "1 probe files are not named as pictures: left out, e.g. notes.txt",
        "1 probe folders are links: left out, e.g. more (a link to a folder)",
    ]


def test_no_readable_probe_is_an_error(sides: tuple[Path, Path]) -> None:
    gallery, probes = sides
    (probes / "obama_cam1_1.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match=r"No probe can be read: .*obama_cam1_1\.jpg"):
        faceup.run(gallery=gallery, probes=probes, sr=["none"], device="cpu")


def test_no_face_in_the_whole_gallery_is_an_error(sides: tuple[Path, Path]) -> None:
    gallery, probes = sides
    for path in gallery.iterdir():
        PilImage.new("RGB", (64, 64)).save(path)
    with pytest.raises(DataError, match="No gallery picture can be used: no face"):
        faceup.run(gallery=gallery, probes=probes, sr=["none"], device="cpu")


def test_no_common_subject_stops_before_any_work(sides: tuple[Path, Path]) -> None:
    gallery, probes = sides
    (probes / "obama_cam1_1.jpg").rename(probes / "merkel_cam1_1.jpg")
    with pytest.raises(DataError, match="the gallery has biden, obama, the probes merkel"):
        faceup.run(gallery=gallery, probes=probes, sr=["none"], device="cpu")


def test_unknown_people_are_searched_and_said_so(sides: tuple[Path, Path]) -> None:
    gallery, probes = sides
    manifest = probes / "unknown.csv"
    manifest.write_text("path,subject\nobama_cam1_1.jpg,\n")
    result = faceup.run(gallery=gallery, probes=manifest, sr=["bicubic"], device="cpu")
    best = result.similarity.sort_values("similarity").iloc[-1]
    assert (best["gallery_subject"], best["genuine"], best["rank"]) == ("obama", 0, 1)
    assert "1 of 1 probes show nobody of the gallery: not in the table" in result.warnings
    assert result.table.loc[0, "probes"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sr": ["bicubik"]}, "did you mean 'bicubic'"),
        ({"detector": "mtccn"}, "did you mean 'mtcnn'"),
        ({"recognizer": "mobilefacnet"}, "did you mean 'mobilefacenet'"),
        ({"similarity": "cosin"}, "did you mean 'cosine'"),
        ({"speed": 11}, "Unknown setting 'speed'"),
        ({"sr": ["none:x.pt"]}, "takes no file"),
        ({"sr": ["bicubic"], "sr_options": {"bicubic": {"kernel": 3}}}, "Unknown setting of bicubic 'kernel'"),
        ({"sr": ["bicubic"], "sr_options": {"sins": {}}}, "Unknown SR backend in sr_options 'sins'"),
        ({"sr": ["bicubic"], "sr_options": {"onnx:x.onnx": {}}}, "Unknown SR backend in sr_options 'onnx:x.onnx'"),
        ({"detector_options": {"min_face_size": 3}}, "min_face_size >= 12"),
        ({"device": "tpu"}, "Device must be one of"),
    ],
)
def test_wrong_settings(sides: tuple[Path, Path], settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        faceup.run(gallery=sides[0], probes=sides[1], **settings)


def test_a_missing_side(sides: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="needs a gallery and probes"):
        faceup.run(gallery=sides[0])


def test_one_flipped_byte_in_a_weight_file(
    sides: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(store.checked_bytes("mobilefacenet-lr"))
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "mobilefacenet-lr.safetensors"
    damaged.write_bytes(bytes(data))
    located = store.locate
    monkeypatch.setattr(store, "locate", lambda w: damaged if w.name == "mobilefacenet-lr" else located(w))
    with pytest.raises(
        WeightsError, match=r"damaged or changed weights of 'mobilefacenet-lr'.*Install the package again"
    ):
        faceup.run(gallery=sides[0], probes=sides[1], sr=["none"], device="cpu")


def test_the_run_id_follows_settings_and_inputs(sides: tuple[Path, Path]) -> None:
    recipe = RunRecipe()
    first = pipeline.run_id(recipe, *pipeline.listed(recipe, *sides))
    assert first == pipeline.run_id(RunRecipe(device="cpu"), *pipeline.listed(recipe, *sides))
    assert first != pipeline.run_id(RunRecipe(scale=2), *pipeline.listed(recipe, *sides))
    shutil.copy(sides[0] / "biden_frontal.jpg", sides[0] / "biden_second.jpg")
    assert first != pipeline.run_id(recipe, *pipeline.listed(recipe, *sides))


def test_only_shown_candidates_keep_pictures_unless_all_are_wanted(examples: Path) -> None:
    kept = {}
    for everything in (False, True):
        result = faceup.run(
            gallery=examples / "gallery",
            probes=examples / "probes",
            sr=["bicubic"],
            save_images=everything,
            device="cpu",
        )
        table = result.pictures.table()
        kept[everything] = set(table[table["role"] == "probe"]["sample"])
        assert len(list(result.pictures.folder.iterdir())) == len(table)
    assert len(kept[True]) == len(list((examples / "probes").glob("*.jpg")))
    assert kept[False] < kept[True]


@pytest.mark.parametrize("shape", [(1, 4), (4,), (3, 4), (2, 5)])
def test_a_recogniser_that_returns_another_shape_gives_nobody_a_vector(shape: tuple[int, ...]) -> None:
    embedder = SimpleNamespace(dimension=4, embed=lambda _: np.full(shape, 0.5, np.float32))
    face = AlignedFace(np.zeros((112, 112, 3), np.uint8), np.eye(2, 3, dtype=np.float32))
    with pytest.raises(ContractError, match=r"where \(2, 4\) is due"):
        embed_all(embedder, [face, face])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_detector_that_returns_another_number_finds_nothing(count: int) -> None:
    detector = SimpleNamespace(detect=lambda _: [None] * count)
    with pytest.raises(ContractError, match=f"returned {count} results for 2 pictures"):
        detect_all(detector, [Image(np.zeros((2, 2, 3), np.uint8))] * 2)
