"""Options that name a file to write, given a link or a pipe."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from faceup.cli.main import main
from tests.datasets.test_layouts import people


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    return ["manifest", "lock", "folder", str(people(tmp_path / "copy")), "--out"]


def test_a_link_is_written_through(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    assert main([*arguments, str(tmp_path / "link.csv")]) == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("path,bytes,sha256\n")


def test_a_pipe_and_a_link_to_it_stay(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert main([*arguments, str(tmp_path / "pipe")]) == 1
    assert "it is no file but a device or a pipe" in capsys.readouterr().err
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    (tmp_path / "link").symlink_to("pipe")
    assert main([*arguments, str(tmp_path / "link")]) == 1
    assert (tmp_path / "link").is_symlink()
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
