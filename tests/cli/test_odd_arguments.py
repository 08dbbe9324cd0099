"""Odd arguments and inputs of the commands, each answered by one clear sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from faceup.cli.main import main


@pytest.mark.parametrize("value", ["onnx.range=[", "onnx.mean=*x", "onnx.day=2024-99-99"])
def test_a_setting_that_is_no_yaml(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate-sr", "--hr", "x", "--sr", "bicubic", "--sr-option", value]) == 2
    assert f"the value in '{value}' is no YAML" in " ".join(capsys.readouterr().err.split())


def test_a_simulation_of_broken_pictures_only_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_text("no picture")
    assert main(["simulate", str(tmp_path / "in"), str(tmp_path / "out"), "--distances", "d1"]) == 1
    assert "no crop could be made of any picture" in capsys.readouterr().err
    assert (tmp_path / "out" / "simulation.csv").is_file()


def test_a_simulation_says_what_it_leaves_out(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(examples / "gallery" / "obama_frontal.jpg", tmp_path / "in")
    (tmp_path / "in" / "notes.txt").touch()
    (tmp_path / "in" / "elsewhere").symlink_to(examples / "probes")
    assert main(["simulate", str(tmp_path / "in"), str(tmp_path / "out"), "--distances", "d1"]) == 0
    printed = capsys.readouterr().out
    assert "note: 1 files are not named as pictures: left out, e.g. notes.txt" in printed
    assert "note: 1 folders are links: left out, e.g. elsewhere" in printed


def test_a_subject_named_twice_is_removed_and_counted_once(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "gallery"
    assert main(["gallery", "build", str(folder), str(examples / "gallery"), "--device", "cpu"]) == 0
    assert main(["gallery", "remove", str(folder), "obama", "obama"]) == 0
    assert "removed 1 pictures of 1 subjects" in capsys.readouterr().out
    changes = [json.loads(line) for line in (folder / "audit.jsonl").read_text(encoding="utf-8").splitlines()]
    assert next(entry["settings"]["subjects"] for entry in changes if "subjects" in entry["settings"]) == 1


def test_a_threshold_that_is_no_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["gallery", "search", str(tmp_path), "x.jpg", "--purpose", "x", "--threshold", "nan"]
    assert main(asked) == 1
    assert "A threshold is a cosine between -1 and 1, got nan" in capsys.readouterr().err
