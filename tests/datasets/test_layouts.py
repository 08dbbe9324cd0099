"""Trees of the shape of every data set, with pictures of one pixel: parts, counts, names, locks, and bad copies."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage
from scipy.io import loadmat, savemat

from faceup.cli.main import main
from faceup.datasets.layout import Wish, facts
from faceup.datasets.lfw import read_pairs_txt
from faceup.datasets.manifests import KINDS, check_lock, kind_of, listings, lock, write_manifests
from faceup.datasets.scface import named
from faceup.errors import ConfigError, DataError
from faceup.manifest import read_samples


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        PilImage.new("RGB", (1, 1)).save(path, format="JPEG")


def cells(names: list[str]) -> np.ndarray:
    """A column of text as MATLAB writes it."""
    column = np.empty((len(names), 1), dtype=object)
    column[:, 0] = names
    return column


def scface(root: Path, people: int = 3) -> Path:
    for k in range(1, people + 1):
        touch(root / "mugshot_frontal_original_all" / f"{k:03d}_frontal.jpg")
        for camera in range(1, 8):
            touch(*(root / "surveillance_cameras_all" / f"{k:03d}_cam{camera}_{d}.jpg" for d in (1, 2, 3)))
        touch(root / "surveillance_cameras_IR_cam8" / f"{k:03d}_cam8.jpg")
    return root


def tinyface(root: Path) -> Path:
    test = root / "tinyface" / "Testing_Set"
    touch(
        *(test / "Gallery_Match" / f"g{k}.jpg" for k in range(3)), test / "Probe" / "p0.jpg", test / "Probe" / "p1.jpg"
    )
    touch(*(test / "Gallery_Distractor" / f"d{k}.jpg" for k in range(4)))
    ids = {"gallery": [[7], [8], [8]], "probe": [[8], [7]]}
    savemat(test / "gallery_match_img_ID_pairs.mat", {"gallery_set": cells(["g0.jpg", "g1.jpg", "g2.jpg"]), "gallery_ids": np.array(ids["gallery"], np.uint16)})  # fmt: skip  # noqa: E501
    savemat(test / "probe_img_ID_pairs.mat", {"probe_set": cells(["p0.jpg", "p1.jpg"]), "probe_ids": np.array(ids["probe"])})  # fmt: skip  # noqa: E501
    return root


def survface(root: Path) -> Path:
    test, pairs = root / "Face_Identification_Test_Set", root / "Face_Verification_Test_Set"
    gallery, mated = ["1_cam1_1.jpg", "2_cam1_1.jpg"], ["1_cam2_1.jpg", "2_cam2_1.jpg", "2_cam3_1.jpg"]
    touch(*(test / "gallery" / n for n in gallery), *(test / "mated_probe" / n for n in mated))
    touch(*(test / "unmated_probe" / n for n in ("9_cam1_1.jpg", "9_cam1_2.jpg", "8_cam1_1.jpg")))
    savemat(test / "gallery_img_ID_pairs.mat", {"gallery_set": cells(gallery), "gallery_ids": np.array([[1], [2]])})
    lists = {"mated_probe_set": cells(mated), "mated_probe_ids": np.array([[1], [2], [2]])}
    savemat(test / "mated_probe_img_ID_pairs.mat", lists)
    for file, rows in (("positive", [["a_1.jpg", "a_2.jpg"], ["b_1.jpg", "b_2.jpg"]]), ("negative", [["a_1.jpg", "b_1.jpg"], ["a_2.jpg", "b_2.jpg"]])):  # fmt: skip  # noqa: E501
        touch(*(pairs / "verification_images" / name for row in rows for name in row))
        savemat(pairs / f"{file}_pairs_names.mat", {f"{file}_pairs_names": np.array(rows, dtype=object)})
    return root


def lfw(root: Path) -> Path:
    lines = ["2\t1", "Ann_Lee\t1\t2", "Ann_Lee\t1\tBo\t1", "Bo\t1\t2", "Bo\t2\tAnn_Lee\t2"]
    touch(*(root / "lfw" / n / f"{n}_{k:04d}.jpg" for n in ("Ann_Lee", "Bo") for k in (1, 2)))
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")
    return root


def portraits(root: Path) -> Path:
    touch(*(root / f"{k:05d}.jpg" for k in range(9)))
    return root


def people(root: Path) -> Path:
    touch(*(root / n / f"{k}.jpg" for n in ("anna", "ben") for k in (1, 2, 3)))
    return root


TREES: dict[str, Callable[[Path], Path]] = {
    "scface": scface, "tinyface": tinyface, "survface": survface, "lfw": lfw,
    "ffhq": portraits, "celeba": portraits, "folder": people,
}  # fmt: skip
# Who is on a picture of FFHQ and CelebA is not said.
SUBJECTS = {"scface": 3, "tinyface": 2, "survface": 2, "lfw": 2, "folder": 2}
SETTINGS = {kind: {"train": 5, "val": 2, "test": 2} for kind in ("ffhq", "celeba")}


def test_every_kind_has_a_tree_and_facts() -> None:
    assert set(TREES) == set(KINDS)
    for kind, made in KINDS.items():
        content = facts(kind)
        assert content["kind"] == kind
        assert content["licence"]
        assert set(made.protocols) == set(content["protocols"])


@pytest.mark.parametrize("kind", sorted(TREES))
def test_a_whole_copy_is_whole_and_every_missing_picture_is_named(kind: str, tmp_path: Path) -> None:
    root = TREES[kind](tmp_path / "copy")
    if kind not in SUBJECTS:
        assert "9 found" in kind_of(kind).check(root, Wish())[0]
        with pytest.raises(ConfigError, match="does not say who"):
            kind_of(kind).check(root, Wish(subjects=9))
        return
    wish = Wish(subjects=SUBJECTS[kind])
    assert kind_of(kind).check(root, wish) == []
    (wrong, *_) = kind_of(kind).check(root, Wish(subjects=500))
    assert "500" in wrong
    gone = {"tinyface": ["p0.jpg"], "survface": ["1_cam2_1.jpg"], "folder": ["2.jpg", "3.jpg"]}.get(kind)
    for name in gone or [sorted(root.rglob("*.jpg"))[0].name]:
        next(root.rglob(name)).unlink()
    assert kind_of(kind).check(root, wish) != []
    if kind == "folder":
        return  # Nobody has published how many pictures it has.
    assert kind_of(kind).check(root, Wish()) != [], "the published counts must not fit a copy of a few people"


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in sorted(KINDS) for name in KINDS[kind].protocols])
def test_manifests_name_existing_pictures_with_the_right_parts(kind: str, name: str, tmp_path: Path) -> None:
    # Protocol C of SCface has its people by number, from 44.
    root = scface(tmp_path / "copy", people=45) if name == "C" else TREES[kind](tmp_path / "copy")
    out = tmp_path / "lists" / "out"
    wish = Wish(name, settings=SETTINGS.get(kind, {}), subjects=SUBJECTS.get(kind))
    protocol = write_manifests(kind, root, wish, out)
    for file in ("gallery", "probes", "train", "pairs"):
        assert (out / f"{file}.csv").is_file() == {
            "gallery": kind not in SETTINGS, "probes": kind not in SETTINGS, "train": kind in SETTINGS,
            "pairs": bool(protocol.pairs),
        }[file]  # fmt: skip
    if kind not in SETTINGS:
        known = read_samples(out / "gallery.csv", "gallery").samples
        asked = read_samples(out / "probes.csv", "probe").samples
        assert all(sample.sha256 for sample in (*known, *asked))
        assert len(known) + len(asked) == len(protocol.entries)
    with pytest.raises(DataError, match="exists already"):
        write_manifests(kind, root, wish, out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    write_manifests(kind, root, wish, out, force=True)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_scface_names() -> None:
    assert named("001_cam6_2.jpg") == {"subject": "001", "camera": "6", "distance": "2"}
    for odd in (
        "001_cma6_2.jpg",
        "001_cam1.jpg",
        "001_cam8_1.jpg",
        "01_cam1_1.jpg",
        "001_cam9_1.jpg",
        "001_frontal2.jpg",
    ):
        assert named(odd) is None, odd


def test_scface_protocols(tmp_path: Path) -> None:
    root = scface(tmp_path, people=130)
    parts = {
        name: kind_of("scface").make(root, Wish(name, seed, settings))
        for name, seed, settings in (("A", 0, {}), ("B", 0, {}), ("C", 0, {}), ("table5", 0, {}))
    }
    roles = {name: Counter(e.role for e in p.entries) for name, p in parts.items()}
    assert roles["A"] == {"gallery": 130, "probe": 130 * 15}
    assert roles["B"] == {"gallery": 80, "probe": 80 * 15}
    assert roles["C"] == {"gallery": 87, "probe": 87 * 15}
    assert roles["table5"] == {"gallery": 130, "probe": 130}
    assert {(e.attrs["camera"], e.attrs["distance"]) for e in parts["table5"].entries if e.role == "probe"} == {
        ("1", "1")
    }
    splits = {e.split: {f.subject for f in parts["C"].entries if f.split == e.split} for e in parts["C"].entries}
    assert splits == {"dev": {f"{k:03d}" for k in range(44, 88)}, "eval": {f"{k:03d}" for k in range(88, 131)}}
    tested = {e.subject for e in parts["B"].entries}
    assert tested != {e.subject for e in kind_of("scface").make(root, Wish("B", 1)).entries}
    assert tested == {e.subject for e in kind_of("scface").make(root, Wish("B", 0)).entries}
    infrared = kind_of("scface").make(root, Wish("A", settings={"camera": "ir"}))
    assert Counter(e.attrs["camera"] for e in infrared.entries if e.role == "probe") == {"6": 390, "7": 390, "8": 130}
    with pytest.raises(ConfigError, match="protocol of scface"):
        kind_of("scface").make(root, Wish("D"))
    with pytest.raises(ConfigError, match="camera must be"):
        kind_of("scface").make(root, Wish("A", settings={"camera": 9}))
    with pytest.raises(ConfigError, match="setting of scface"):
        kind_of("scface").make(root, Wish("A", settings={"kamera": 1}))


def test_both_layouts_of_scface_are_one(tmp_path: Path) -> None:
    whole = scface(tmp_path / "whole")
    split = tmp_path / "split"
    for path in whole.rglob("*.jpg"):
        parts = named(path.name)
        assert parts is not None
        folder = split / path.parent.name
        if "distance" in parts:
            folder = split / f"surveillance_cameras_distance_{parts['distance']}" / f"cam_{parts['camera']}"
        touch(folder / path.name)
    pictures = [
        sorted((Path(e.path).name, e.role) for e in kind_of("scface").make(root, Wish()).entries)
        for root in (whole, split)
    ]
    assert pictures[0] == pictures[1]
    assert kind_of("scface").check(split, Wish(subjects=3)) == []
    # A copy that holds both at once lists each picture once.
    for path in split.rglob("*_cam*_*.jpg"):
        touch(whole / path.relative_to(split))
    assert sorted((Path(e.path).name, e.role) for e in kind_of("scface").make(whole, Wish()).entries) == pictures[0]


def test_what_is_wrong_with_a_copy_of_scface_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = scface(tmp_path / "copy")
    (root / "surveillance_cameras_all" / "002_cam6_1.jpg").rename(root / "surveillance_cameras_all" / "002_cma6_1.jpg")
    assert main(["manifest", "check", "scface", str(root), "--subjects", "3"]) == 1
    printed = capsys.readouterr().out
    assert "1 names are not those of SCface and are left out: surveillance_cameras_all/002_cma6_1.jpg" in printed
    assert "cam6_1: 1 of 3 pictures are missing, subjects 002" in printed
    assert "signed request" in printed


def test_the_parts_of_the_other_sets(tmp_path: Path) -> None:
    entries = kind_of("tinyface").make(tinyface(tmp_path / "t"), Wish()).entries
    assert [(e.subject, e.role) for e in entries if "Probe" in e.path] == [("8", "probe"), ("7", "probe")]
    assert sum(e.subject.startswith("distractor") for e in entries) == 4
    sample = kind_of("tinyface").make(tmp_path / "t", Wish(settings={"people": 1, "distractors": 2}))
    assert len({e.subject for e in sample.entries if e.role == "probe"}) == 1
    assert sum(e.subject.startswith("distractor") for e in sample.entries) == 2
    assert "not comparable" in sample.notes[0]
    entries = kind_of("survface").make(survface(tmp_path / "s"), Wish()).entries
    assert {e.subject for e in entries if "unmated" in e.path} == {"stranger 9", "stranger 8"}
    assert {e.role for e in entries if "unmated" in e.path} == {"probe"}, "unmated probes never enter the gallery"
    pairs = kind_of("survface").make(tmp_path / "s", Wish("pairs")).pairs
    assert [(Path(p.probe).name, Path(p.gallery).name, p.fold) for p in pairs] == [
        ("a_1.jpg", "a_2.jpg", 1), ("b_1.jpg", "b_2.jpg", 2), ("a_1.jpg", "b_1.jpg", 1), ("a_2.jpg", "b_2.jpg", 2),
    ]  # fmt: skip
    parts = kind_of("ffhq").make(portraits(tmp_path / "f"), Wish(settings=SETTINGS["ffhq"])).entries
    assert [e.split for e in parts] == ["train"] * 5 + ["val"] * 2 + ["test"] * 2
    assert [e.role for e in kind_of("folder").make(people(tmp_path / "p"), Wish()).entries].count("gallery") == 2


def test_pairs_txt(tmp_path: Path) -> None:
    root = lfw(tmp_path)
    assert read_pairs_txt(root / "pairs.txt") == [
        (1, ("Ann_Lee", "1"), ("Ann_Lee", "2")), (1, ("Ann_Lee", "1"), ("Bo", "1")),
        (2, ("Bo", "1"), ("Bo", "2")), (2, ("Bo", "2"), ("Ann_Lee", "2")),
    ]  # fmt: skip
    for text, message in (
        ("2\t1\nBo\t1\t2\n", "1 pairs, but its first line tells 4"),
        ("x\n", "not in the form"),
        ("10 0\nBo\t1\t2\n", "10 folds of 0 pairs"),
        ("1\t1\nBo\t1\t2\n../../etc\t1\tBo\t2\n", "is no name of a person"),
    ):
        (root / "pairs.txt").write_text(text)
        with pytest.raises(DataError, match=message):
            read_pairs_txt(root / "pairs.txt")


@pytest.mark.parametrize("kind", ["tinyface", "survface"])
def test_a_list_with_more_names_than_people_is_named(kind: str, tmp_path: Path) -> None:
    root = TREES[kind](tmp_path / "copy")
    listed = next(path for path in root.rglob("*robe_img_ID_pairs.mat"))
    content = {key: value for key, value in loadmat(str(listed)).items() if not key.startswith("__")}
    (names,) = (key for key in content if key.endswith("set"))
    savemat(listed, {**content, names: content[names][:1]})
    for command in ("make", "check"):
        more = ["--out", str(tmp_path / "out")] if command == "make" else ["--subjects", "2"]
        assert main(["manifest", command, kind, str(root), *more]) == 1
    with pytest.raises(DataError, match=f"1 entries of {names} and . entries of .*, which should be as many"):
        kind_of(kind).make(root, Wish())


def test_lists_are_not_trusted(tmp_path: Path) -> None:
    root = tinyface(tmp_path)
    path = root / "tinyface" / "Testing_Set" / "probe_img_ID_pairs.mat"
    savemat(path, {"probe_set": cells(["../../../secret.jpg"]), "probe_ids": np.array([[1]])})
    with pytest.raises(DataError, match="no plain name"):
        kind_of("tinyface").make(root, Wish())
    for content, message in ((b"not a list", "not a MATLAB file"), (None, "missing")):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            kind_of("tinyface").make(root, Wish())


def test_a_lock_finds_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = people(tmp_path / "copy")
    touch(root / "anna" / "=cmd.jpg")
    locked = tmp_path / "lock.csv"
    assert main(["manifest", "lock", "folder", str(root), "--out", str(locked)]) == 0
    assert "7 pictures" in capsys.readouterr().out
    assert check_lock(root, locked) == []
    with locked.open(encoding="utf-8", newline="") as stream:
        assert {len(row["sha256"]) for row in csv.DictReader(stream)} == {64}
    (root / "ben" / "1.jpg").unlink()
    PilImage.new("RGB", (2, 1)).save(root / "ben" / "2.jpg")
    touch(root / "ben" / "4.jpg")
    assert [p.split(":")[0] for p in check_lock(root, locked)] == [
        "1 locked pictures are missing", "1 pictures are not in the lock", "1 pictures differ from the lock",
    ]  # fmt: skip
    assert main(["manifest", "check", "folder", str(root), "--lock", str(locked)]) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures to lock"):
        lock("folder", tmp_path / "empty", locked)
    locked.write_text("x\n1\n")
    with pytest.raises(DataError, match="not a lock"):
        check_lock(root, locked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["manifest", "make", "scfaze", "{root}", "--out", "x"], "did you mean 'scface'"),
        (["manifest", "make", "scface", "nowhere", "--out", "x"], "no such folder"),
        (["manifest", "make", "folder", "{root}", "--out", "x", "--set", "gallery"], "NAME=VALUE"),
        (["manifest", "make", "folder", "{root}", "--out", "x", "--set", "gallery=9"], "no probes"),
        (["manifest", "make", "scface", "{root}", "--out", "x"], "is this a copy of SCface"),
    ],
)
def test_what_goes_wrong_has_a_message(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    root = people(tmp_path / "copy")
    assert main([a.format(root=root) for a in arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_recipe_takes_its_pictures_from_a_copy(tmp_path: Path) -> None:
    root = scface(tmp_path)
    gallery, probes = listings({"kind": "scface", "protocol": "table5", "camera": 2, "distance": 3}, root, 0)
    assert [s.subject_id for s in gallery.samples] == ["001", "002", "003"]
    assert [Path(s.sample_id).name for s in probes.samples] == [f"{k:03d}_cam2_3.jpg" for k in (1, 2, 3)]
    with pytest.raises(ConfigError, match="data needs a kind"):
        listings({"protocol": "A"}, root, 0)
    with pytest.raises(ConfigError, match="--pairs"):
        listings({"kind": "lfw"}, lfw(tmp_path / "lfw"), 0)
