"""Which pictures a folder or a manifest names, and whose they are."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceup.errors import ConfigError, DataError
from faceup.images import encode_png
from faceup.manifest import name_parts, read_samples
from tests.helpers import grey, lock_folders


def put(path: Path, content: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(grey(4, 4)) if content is None else content)
    return path


@pytest.mark.parametrize(
    ("stem", "subject", "attrs"),
    [
        ("001_frontal", "001", {}),
        ("001_cam1_1", "001", {"camera": "1", "distance": "1"}),
        ("001_cam8", "001", {"camera": "8"}),
        ("obama_cam1_paper-2", "obama", {"camera": "1", "distance": "paper"}),
        ("anna_party", "anna", {}),
        ("anna.party", "anna", {}),
        ("anna", "anna", {}),
        ("_odd", "_odd", {}),
        ("001_campus_1", "001", {}),
    ],
)
def test_names_tell_subject_camera_and_distance(stem: str, subject: str, attrs: dict[str, str]) -> None:
    assert name_parts(stem) == (subject, attrs)


@given(st.text(min_size=1))
def test_every_name_has_a_subject(stem: str) -> None:
    assert name_parts(stem)[0]


def test_folder_is_read_in_the_order_of_paths_and_hashed(tmp_path: Path) -> None:
    for name in ("b_1.png", "a.jpg", "anna/2.png", "anna/1.png", "cams/001_cam1_1.png", "cams/x_cam2_3.png"):
        put(tmp_path / name, name.encode())
    listing = read_samples(tmp_path, "probe")
    assert [(s.sample_id, s.subject_id, dict(s.attrs)) for s in listing.samples] == [
        ("a.jpg", "a", {}),
        ("anna/1.png", "anna", {}),
        ("anna/2.png", "anna", {}),
        ("b_1.png", "b", {}),
        ("cams/001_cam1_1.png", "001", {"camera": "1", "distance": "1"}),
        ("cams/x_cam2_3.png", "cams", {"camera": "2", "distance": "3"}),
    ]
    assert listing.samples[0].sha256 == hashlib.sha256(b"a.jpg").hexdigest()


def test_files_that_are_no_pictures_are_named_not_dropped(tmp_path: Path) -> None:
    for name in ("a.png", "Thumbs.db", "notes.txt", ".hidden.png"):
        put(tmp_path / name)
    assert read_samples(tmp_path, "gallery").ignored == (".hidden.png", "Thumbs.db", "notes.txt")


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_bad_picture_stays_in_the_list(tmp_path: Path, content: bytes) -> None:
    put(tmp_path / "a.png", content)
    (sample,) = read_samples(tmp_path, "probe").samples
    assert bool(sample.sha256) == bool(content)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/J\xfcrgen_1.png")))
    (sample,) = read_samples(tmp_path, "probe").samples
    assert (sample.sample_id, sample.subject_id) == ("J\\xfcrgen_1.png", "J\\xfcrgen")
    assert sample.sha256


def test_csv_with_extra_columns_and_unknown_people(tmp_path: Path) -> None:
    put(tmp_path / "pics" / "1.png")
    manifest = tmp_path / "probes.csv"
    manifest.write_text("path,subject,camera,split\npics/1.png,,7,dev\nmissing.png,anna,,\n", encoding="utf-8-sig")
    first, second = read_samples(manifest, "probe").samples
    assert (first.subject_id, dict(first.attrs), first.split) == (None, {"camera": "7"}, "dev")
    assert (second.subject_id, second.sha256) == ("anna", "")


def test_cells_that_were_kept_from_spreadsheets_are_read_as_they_were(tmp_path: Path) -> None:
    for name in ("@anna", "'=1"):
        put(tmp_path / name / "1.png")
    rows = ["'@anna/1.png,'@anna,'-1,'+2", "''=1/1.png,''=1,,", "plain.png,'t Hooft,,"]
    (tmp_path / "m.csv").write_text("\n".join(["path,subject,sample,camera", *rows]))
    samples = read_samples(tmp_path / "m.csv", "gallery").samples
    assert [s.subject_id for s in samples] == ["@anna", "'=1", "'t Hooft"]
    assert [bool(s.sha256) for s in samples] == [True, True, False]
    assert (samples[0].sample_id, samples[0].attrs) == ("-1", {"camera": "+2"})


@pytest.mark.parametrize("wrap", ["samples:\n", ""])
def test_yaml(tmp_path: Path, wrap: str) -> None:
    put(tmp_path / "1.png")
    manifest = tmp_path / "m.yaml"
    manifest.write_text(f"{wrap}- {{path: 1.png, subject: 7, sample: first}}\n")
    (sample,) = read_samples(manifest, "gallery").samples
    assert (sample.sample_id, sample.subject_id, sample.path) == ("first", "7", tmp_path / "1.png")


@pytest.mark.parametrize("name", ["010", "001_1", "12:30", "1.10", "no", "2020-01-02", "2020-13-45", "1e3", "0x10"])
def test_a_name_in_a_yaml_manifest_is_the_text_that_is_written(tmp_path: Path, name: str) -> None:
    put(tmp_path / "1.png")
    (tmp_path / "m.yaml").write_text(f"- {{path: 1.png, subject: {name}, camera: {name}, split: ~}}\n")
    (sample,) = read_samples(tmp_path / "m.yaml", "gallery").samples
    assert (sample.subject_id, sample.attrs, sample.split) == (name, {"camera": name}, None)


@pytest.mark.parametrize("unknown", ["", "~", "null"])
def test_an_empty_subject_in_a_yaml_manifest_is_an_unknown_person(tmp_path: Path, unknown: str) -> None:
    put(tmp_path / "1.png")
    (tmp_path / "m.yaml").write_text(f"- path: 1.png\n  subject: {unknown}\n")
    (sample,) = read_samples(tmp_path / "m.yaml", "probe").samples
    assert sample.subject_id is None


def test_links_to_folders_are_named_and_a_folder_that_cannot_be_listed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "elsewhere" / "1.png")
    put(tmp_path / "people" / "anna" / "1.png")
    (tmp_path / "people" / "bob").symlink_to(tmp_path / "elsewhere")
    listing = read_samples(tmp_path / "people", "gallery")
    assert [sample.subject_id for sample in listing.samples] == ["anna"]
    assert listing.ignored == ("bob (a link to a folder)",)

    lock_folders(monkeypatch, lambda path: path.endswith("anna"))
    with pytest.raises(DataError, match=r"anna: the folder cannot be listed \(Permission denied\)"):
        read_samples(tmp_path / "people", "gallery")


@pytest.mark.parametrize(
    ("name", "text"), [("m.csv", "path,subject\na\0.png,anna\n"), ("m.yaml", '- {path: "a\\0.png", subject: a}')]
)
def test_a_path_that_no_file_can_have_stays_in_the_list(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (sample,) = read_samples(tmp_path / name, "gallery").samples
    assert sample.sha256 == ""


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "file,subject\n1.png,a\n", "columns path and subject"),
        ("m.csv", "path,subject\n1.png\n", "line 2: not as many fields"),
        ("m.csv", "path,subject\n1.png,a,b\n", "line 2: not as many fields"),
        ("m.csv", "path,subject\n,a\n", "no path"),
        ("m.csv", "path,subject\n1.png,\n", "needs a subject"),
        ("m.csv", "path,subject\n1.png,a\n1.png,b\n", "appear more than once"),
        ("m.csv", "path,subject\n", "no pictures"),
        ("m.csv", b"path,subject\n\xff\xfe,a\n", "cannot be read as CSV"),
        ("m.yaml", "samples: 3\n", "list of mappings"),
        ("m.txt", "", "give a folder, or a manifest"),
    ],
)
def test_a_manifest_that_cannot_be_used(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    put(tmp_path / name, text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        read_samples(tmp_path / name, "gallery")


@pytest.mark.parametrize("text", ["a: [", "[" * 3000, "subject: 2020-13-45\nwhen: !!timestamp 2020-13-45"])
def test_a_file_that_is_no_yaml(tmp_path: Path, text: str) -> None:
    put(tmp_path / "m.yaml", text.encode())
    with pytest.raises(ConfigError, match="not a YAML file"):
        read_samples(tmp_path / "m.yaml", "gallery")


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_an_empty_or_missing_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no pictures|no such folder"):
        read_samples(tmp_path / name, "gallery")
