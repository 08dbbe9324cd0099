"""Names that can be shown, spreadsheet cells, and files that are whole or not there."""

from __future__ import annotations

import csv
import io
import os
import re
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceup.errors import DataError
from faceup.files import csv_text, plain_text, refuse_existing, sha256_hex, shown, whole_folder, whole_or_not_at_all
from tests.helpers import lock_folders


@given(st.binary(max_size=30))
def test_every_file_name_can_be_shown(name: bytes) -> None:
    text = shown(os.fsdecode(name))
    text.encode("utf-8")
    try:
        assert text == name.decode("utf-8")
    except UnicodeDecodeError:
        assert "\\x" in text


def test_shown_of_bytes_that_are_not_utf8() -> None:
    assert shown(Path(os.fsdecode(b"a/caf\xe9.png"))) == "a/caf\\xe9.png"
    assert shown("Müller/図.png") == "Müller/図.png"


def test_sha256_of_a_known_text() -> None:
    # FIPS 180-2, appendix B.1.
    assert sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(st.text(max_size=8))
def test_no_cell_starts_a_formula_and_the_text_stays_readable(value: str) -> None:
    cell = csv_text(value)
    assert not cell.startswith(("=", "+", "-", "@", "\t"))
    assert "\r" not in cell
    readable = value.replace("\r", "\\r")
    assert cell == readable or (cell == "'" + readable and value[0] in "=+-@\t'")
    assert plain_text(cell) == readable


def test_a_cr_in_a_cell_begins_no_row() -> None:
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerow([csv_text("a\r=1+1.png"), "picture"])
    assert list(csv.reader(io.StringIO(sink.getvalue(), newline=""))) == [["a\\r=1+1.png", "picture"]]


def test_a_good_block_leaves_the_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "table.csv"
    with whole_or_not_at_all(target) as temporary:
        assert temporary.parent == target.parent
        temporary.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


def write_half(target: Path, kind: type[BaseException]) -> None:
    with whole_or_not_at_all(target) as temporary:
        temporary.write_bytes(b"half of the n")
        raise kind("halfway")


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failed_block_keeps_the_old_file_and_leaves_nothing(kind: type[BaseException], tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_bytes(b"old")
    with pytest.raises(kind):
        write_half(target, kind)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_block_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="halfway"):
        write_half(tmp_path / "table.csv", ValueError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_mode_follows_the_umask(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        with whole_or_not_at_all(tmp_path / "a") as temporary:
            temporary.write_bytes(b"x")
        (tmp_path / "b").write_bytes(b"x")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"]
    assert modes[0] == modes[1] == 0o666 & ~mask


def test_a_block_that_puts_a_private_file_in_place_does_not_make_the_result_private(tmp_path: Path) -> None:
    with whole_or_not_at_all(tmp_path / "a") as temporary:
        other = tmp_path / "other"
        other.touch(0o600)
        other.replace(temporary)
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_the_umask_of_the_process_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Reading it means setting it, and what another thread writes meanwhile would get the wrong mode.
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("umask was changed"))
    with whole_or_not_at_all(tmp_path / "a") as temporary:
        temporary.write_bytes(b"x")


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 251 + ".csv")
    with whole_or_not_at_all(target) as temporary:
        temporary.write_bytes(b"x")
    assert target.read_bytes() == b"x"


def test_names_that_are_not_utf8_can_be_written(tmp_path: Path) -> None:
    target = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv"))
    with whole_or_not_at_all(target) as temporary:
        temporary.write_bytes(b"x")
    assert [os.fsencode(path.name) for path in tmp_path.iterdir()] == [b"caf\xe9.csv"]


def test_many_writers_of_one_file_leave_one_of_their_files_whole(tmp_path: Path) -> None:
    target = tmp_path / "shared.bin"
    contents = [bytes([i]) * 50_000 for i in range(16)]

    def write(content: bytes) -> None:
        with whole_or_not_at_all(target) as temporary:
            for start in range(0, len(content), 10_000):
                with temporary.open("ab") as handle:
                    handle.write(content[start : start + 10_000])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, contents))
    assert target.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(DataError, match=r"file/out\.csv: cannot be written \("),
        whole_or_not_at_all(tmp_path / "file" / "out.csv"),
    ):
        pytest.fail("the block was entered")
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(DataError, match=r"folder: cannot be written \("),
        whole_or_not_at_all(tmp_path / "folder") as temporary,
    ):
        temporary.write_bytes(b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_an_error_of_the_block_itself_is_passed_on_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"), whole_or_not_at_all(tmp_path / "a"):
        raise OSError(28, "disk full")


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_written_through(there: bool, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "table.csv"
    target.parent.mkdir()
    if there:
        target.write_bytes(b"old")
    (tmp_path / "link.csv").symlink_to(Path("elsewhere") / "table.csv")
    with whole_or_not_at_all(tmp_path / "link.csv", follow=True) as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "link.csv").is_symlink()
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_a_link_in_a_folder_of_somebody_else_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"old")
    (tmp_path / "report.html").symlink_to("precious")
    with whole_or_not_at_all(tmp_path / "report.html") as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "precious").read_bytes() == b"old"
    assert not (tmp_path / "report.html").is_symlink()
    assert (tmp_path / "report.html").read_bytes() == b"new"


def test_what_is_no_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # The path of a socket must be short.
    os.mkfifo("pipe")
    Path("folder").mkdir()
    Path("linked").symlink_to("pipe")
    Path("circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    before = {path.name: path.lstat().st_ino for path in tmp_path.iterdir()}
    for name, kind in (
        ("pipe", "a device or a pipe"),
        ("linked", "a device or a pipe"),
        ("socket", "a device or a pipe"),
        ("folder", "a folder"),
        ("circle", "a link in a circle"),
        (os.devnull, "a device or a pipe"),
    ):
        message = rf"{name}: cannot be written \(it is no file but {kind}\): give the name of a file"
        with pytest.raises(DataError, match=message), whole_or_not_at_all(Path(name), follow=True):
            pytest.fail("the block was entered")
    assert {path.name: path.lstat().st_ino for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(not os.path.islink("/dev/stdout"), reason="the system has no such link")  # noqa: PTH114
@pytest.mark.parametrize("folder", ["/dev", "/dev/fd", "/proc/self/fd"])
def test_the_file_behind_an_open_stream_is_not_replaced(folder: str, tmp_path: Path) -> None:
    with (tmp_path / "printed.txt").open("w") as stream:
        names = {"/dev": "stdout"}
        path = Path(folder) / names.get(folder, str(stream.fileno()))
        opened = whole_or_not_at_all(path, follow=True)
        with pytest.raises(DataError, match="it stands for an open stream"), opened:
            pytest.fail("the block was entered")
    assert [path.name for path in tmp_path.iterdir()] == ["printed.txt"]


def test_only_a_folder_of_the_same_command_with_nothing_else_in_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    own = re.compile(r"it\.json|pictures/\d+\.png|linked/1\.png")

    def check(place: Path = folder, *, force: bool = True) -> None:
        refuse_existing(place, "`it`", "it.json", own.fullmatch, force=force)

    check(force=False)
    (folder / "pictures").mkdir(parents=True)
    (folder / "pictures" / "1.png").touch()
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="exists already"):
        check(force=False)
    with pytest.raises(DataError, match=r"was not made by `it` \(no it\.json of its kind in it\)"):
        check()
    (folder / "it.json").touch()
    check()
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(DataError, match="was not made by `it`"):
        check(tmp_path / "link")
    with pytest.raises(DataError, match="was not made by `it`"):
        refuse_existing(
            folder, "`it`", "it.json", own.fullmatch, force=True, marked=lambda mark: mark.read_text() != ""
        )
    for name in ("notes.txt", "pictures/x.png", "pictures/1.png.bak", "other/1.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
        with pytest.raises(DataError, match=rf"holds 1 files or folders that `it` did not write, e\.g\. {name}:"):
            check()
        (folder / name).unlink()
    (folder / "linked").symlink_to("pictures")
    with pytest.raises(DataError, match=r"e\.g\. linked:"):
        check()
    (folder / "linked").unlink()
    lock_folders(monkeypatch, lambda path: path.endswith("pictures"))
    with pytest.raises(DataError, match=r"e\.g\. pictures:"):
        check()


def allow(_: Path) -> None:
    """Let `whole_folder` replace anything."""


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for content in ("old", "new"):
        with whole_folder(target, allow) as folder:
            (folder / content).write_text(content)
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_old_folder_comes_back_when_the_move_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    honest = Path.rename

    def failing(self: Path, to: Path) -> Path:
        if self.suffix == ".part":
            raise OSError(28, "No space left on device")
        return honest(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(DataError, match="No space left"), whole_folder(target, allow) as folder:
        (folder / "new").write_text("new")
    assert (target / "old").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("x")])
def test_a_broken_block_leaves_no_folder(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), whole_folder(tmp_path / "out", allow) as folder:
        (folder / "new").write_text("new")
        raise error
    assert not list(tmp_path.iterdir())


def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def refuse(existing: Path) -> None:
        if existing.exists():
            raise DataError("taken")

    with pytest.raises(DataError, match="taken"), whole_folder(target, refuse) as folder:
        (folder / "new").write_text("new")
        target.mkdir()
        (target / "theirs").write_text("theirs")
    assert (target / "theirs").read_text() == "theirs"
