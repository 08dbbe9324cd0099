"""Copies of data sets as people have them: manifests beside the pictures, locked folders, odd names, links."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from faceup.cli.main import main
from faceup.datasets.layout import Wish
from faceup.datasets.manifests import check_lock, kind_of, lock, write_manifests
from faceup.errors import DataError
from faceup.manifest import read_samples
from tests.datasets.test_layouts import people, touch
from tests.helpers import lock_folders

MADE = "folder, protocol first, seed 0\n"


@pytest.mark.parametrize("text", [MADE, "list of files shipped with the data set\n"])
@pytest.mark.parametrize("out", ["copy", ".", "copy/../copy", "link"])
def test_the_data_set_itself_is_never_replaced(out: str, text: str, tmp_path: Path) -> None:
    root = people(tmp_path / "copy")
    (tmp_path / "link").symlink_to(root)
    for folder in (tmp_path, root):
        (folder / "manifest.txt").write_text(text)
    before = sorted(tmp_path.rglob("*"))
    assert main(["manifest", "make", "folder", str(root), "--out", str(tmp_path / out), "--force"]) == 1
    with pytest.raises(DataError, match="holds the data set .*: choose a folder of its own for --out"):
        write_manifests("folder", root, Wish(), tmp_path / out, force=True)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("groceries\n", "gallery.csv", "was not made by `faceup manifest make`"),
        ("folder, protocol of our meeting\n", "gallery.csv", "was not made by"),
        ("\xff", "gallery.csv", "was not made by"),
        (MADE, "my_notes.txt", r"did not write, e\.g\. my_notes\.txt"),
        (MADE, "work/1.jpg", r"did not write, e\.g\. work/1\.jpg"),
    ],
)
def test_only_manifests_are_replaced(text: str, more: str, message: str, tmp_path: Path) -> None:
    root, out = people(tmp_path / "copy"), tmp_path / "out"
    touch(out / more)
    (out / "manifest.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        write_manifests("folder", root, Wish(), out, force=True)
    assert (out / more).is_file()


def test_manifests_inside_of_the_copy_are_replaced(tmp_path: Path) -> None:
    root = people(tmp_path / "copy")
    for force in (False, True):
        write_manifests("folder", root, Wish(), root / "lists", force=force)
    assert len(read_samples(root / "lists" / "gallery.csv", "gallery").samples) == 2


@pytest.mark.parametrize("name", ["@anna", "=1+1", "-anna", "+anna", "'=anna", "'t Hooft"])
def test_a_person_in_a_manifest_is_the_person_of_the_folder(name: str, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    touch(*(root / person / f"{k}.jpg" for person in (name, "bob") for k in (1, 2)))
    write_manifests("folder", root, Wish(), tmp_path / "out")
    for file in ("gallery.csv", "probes.csv"):
        listed = read_samples(tmp_path / "out" / file, "gallery").samples
        assert {s.subject_id for s in listed} == {s.subject_id for s in read_samples(root, "gallery").samples}
        assert all(s.sha256 for s in listed)


@pytest.mark.parametrize("inside", ["anna", ""])
def test_a_folder_that_cannot_be_listed_is_an_error(
    inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = people(tmp_path / "copy")
    lock("folder", root, tmp_path / "lock.csv")
    lock_folders(monkeypatch, lambda path: path.rstrip("/.") == str(root / inside))
    shut = re.escape(str(root / inside))
    for call in (
        lambda: kind_of("folder").check(root, Wish()),
        lambda: write_manifests("folder", root, Wish(), tmp_path / "out"),
        lambda: lock("folder", root, tmp_path / "new.csv"),
        lambda: check_lock(root, tmp_path / "lock.csv"),
    ):
        with pytest.raises(DataError, match=rf"{shut}: the folder cannot be listed \(Permission denied\)"):
            call()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "lock.csv"]


@pytest.mark.parametrize(
    ("name", "told"),
    [(b"caf\xe9.jpg", r"caf\xe9.jpg"), (b"a\rb.jpg", r"a\rb.jpg"), (b"J\xfcrgen/1.jpg", r"J\xfcrgen/1.jpg")],
)
def test_a_name_that_no_manifest_can_hold_is_refused(name: bytes, told: str, tmp_path: Path) -> None:
    root = people(tmp_path / "copy")
    odd = Path(os.fsdecode(os.fsencode(root / "anna") + b"/" + name))
    odd.parent.mkdir(exist_ok=True)
    odd.write_bytes(b"x")
    message = re.escape(f"1 names of pictures are not UTF-8 or hold a carriage return, e.g. anna/{told}, which")
    for call in (
        lambda: kind_of("folder").check(root, Wish()),
        lambda: write_manifests("folder", root, Wish(), tmp_path / "out"),
        lambda: lock("folder", root, tmp_path / "new.csv"),
    ):
        with pytest.raises(DataError, match=message):
            call()
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_links_to_folders_that_are_left_out_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = people(tmp_path / "copy")
    (root / "linked").symlink_to(people(tmp_path / "other"))
    assert main(["manifest", "make", "folder", str(root), "--out", str(tmp_path / "out")]) == 0
    assert "note: Nothing was taken from 1 links to folders, which are not followed: linked." in capsys.readouterr().out
