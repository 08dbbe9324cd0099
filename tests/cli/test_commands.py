"""The commands as a user types them: exit codes, messages, files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from faceup import registry
from faceup.cli import main as cli_main
from faceup.cli.main import COMMANDS, main
from faceup.runtime.engine import engines


@pytest.fixture
def sides(examples: Path, tmp_path: Path) -> list[str]:
    probes = tmp_path / "cam"
    probes.mkdir()
    shutil.copy(examples / "probes" / "obama_cam1_1.jpg", probes)
    return ["--gallery", str(examples / "gallery"), "--probes", str(probes), "--device", "cpu"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert "Usage: faceup" in capsys.readouterr().out


def test_run_prints_the_table_and_writes_the_folder(
    sides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", *sides, "--sr", "none", "--sr", "bicubic"]) == 0
    printed = capsys.readouterr().out
    assert "LR image" in printed
    (folder,) = (tmp_path / "runs").iterdir()
    assert str(folder.relative_to(tmp_path)) in printed
    record = json.loads((folder / "run.json").read_text())
    assert record["recipe"]["sr"] == ["none", "bicubic"]
    assert main(["run", *sides, "--sr", "none", "--sr", "bicubic"]) == 1
    assert "replace it with --force" in capsys.readouterr().err


def test_options_win_over_the_recipe(sides: list[str], tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("sr: [bicubic]\nsimilarity: half\ngallery: elsewhere\n")
    out = tmp_path / "out"
    arguments = ["run", *sides, "--recipe", str(recipe), "--similarity", "cosine", "--min-face-size", "24"]
    assert main([*arguments, "--out", str(out)]) == 0
    settings = json.loads((out / "run.json").read_text())["recipe"]
    assert (settings["sr"], settings["similarity"], settings["name"]) == (["bicubic"], "cosine", "mine")
    assert settings["detector_options"] == {"min_face_size": 24}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "--sr", "sisnn"], 1, "did you mean 'sisn'"),
        (["run", "--sr", "none", "--out", "."], 1, "exists already"),
        (["run", "--recipe", "nowhere.yaml"], 1, "nowhere.yaml: cannot be read"),
        (["run", "--similarity", "dot"], 2, "is not one of"),
        (["run", "--scale", "0"], 2, "not in the range"),
        (["rnu"], 2, "No such command"),
        (["evaluate-sr", "--hr", "nowhere", "--sr", "bicubic"], 1, "no such folder"),
        (["models", "info", "mobilefacnet"], 1, "did you mean 'mobilefacenet'"),
        (["train", "nowhere.yaml", "--data-root", "."], 1, "nowhere.yaml: cannot be read"),
    ],
)
def test_what_goes_wrong_has_a_message_and_a_code(
    sides: list[str], arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments + (sides if arguments[0] == "run" else [])
    assert main(given) == code
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown


def test_a_run_without_sides_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run"]) == 1
    assert "--gallery and --probes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"), [(KeyboardInterrupt(), 130, "interrupted"), (KeyError("x"), 3, "bug")]
)
def test_interrupts_and_bugs(
    error: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli_main.cli, "main", fail)
    assert main(["doctor"]) == code
    assert message in capsys.readouterr().err


def test_models_verify_and_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify", "mobilefacenet", "mtcnn-pnet"]) == 0
    assert capsys.readouterr().out == "mobilefacenet: ok\nmtcnn-pnet: ok\n"
    assert main(["models", "list"]) == 0
    assert "mtcnn-onet" in capsys.readouterr().out
    assert main(["models", "info", "mobilefacenet"]) == 0
    assert "MS-Celeb-1M" in capsys.readouterr().out


def test_doctor_finds_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "nothing is missing" in printed
    assert "weights sisn-x4: found" in printed
    assert f"engines of SR networks on the CPU: {', '.join(engines('auto', 'cpu'))}" in printed


def test_doctor_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from faceup.errors import WeightsError
    from faceup.weights import store

    def missing(name: str) -> bytes:
        raise WeightsError(f"Weights {name!r} are not installed.")

    monkeypatch.setattr(store, "checked_bytes", missing)
    assert main(["doctor"]) == 1
    assert "weights mobilefacenet: Weights 'mobilefacenet' are not installed." in capsys.readouterr().out


def test_simulate_and_run_on_what_it_made(examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(examples / "gallery"), str(tmp_path / "cam"), "--distances", "d2"]) == 0
    assert "simulation.csv" in capsys.readouterr().out
    sides = ["--gallery", str(examples / "gallery"), "--probes", str(tmp_path / "cam")]
    assert main(["run", *sides, "--sr", "bicubic", "--out", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert "1 probe files are not named as pictures: left out, e.g. simulation.csv" in capsys.readouterr().out


def test_evaluate_sr_prints_and_writes(examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "numbers.csv"
    arguments = ["evaluate-sr", "--hr", str(examples / "gallery"), "--size", "64", "--sr", "bicubic", "--out", str(out)]
    assert main([*arguments, "--metrics", "psnr,ssim", "--crop", "paper", "--channel", "y"]) == 0
    (line, _) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"bicubic +PSNR [\d.]+ dB \[[\d.]+, [\d.]+\]  SSIM 0\.\d+ \[0\.\d+, 0\.\d+\]  n = 4", line)
    header, first, *_ = out.read_text().splitlines()
    assert header == "sr,picture,width,height,scale,channel,crop,psnr,ssim"
    assert re.match(r"bicubic,biden_frontal\.jpg,64,80,4,y,10,\d", first)


def test_evaluate_sr_with_lpips(examples: Path, lpips_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate-sr", "--hr", str(examples / "gallery"), "--size", "48", "--sr", "bicubic"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"LPIPS 0\.\d{4} \[0\.\d{4}, 0\.\d{4}\]  MPS 0\.\d{4} \[", printed)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--crop", "half", "neither a number of pixels nor 'paper'"),
        ("--crop", "-1", "neither a number of pixels nor 'paper'"),
        ("--sr-option", "onnx=1", "not of the form NAME.KEY=VALUE"),
        ("--channel", "cb", "is not one of"),
    ],
)
def test_evaluate_sr_refuses(
    option: str, value: str, message: str, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate-sr", "--hr", str(examples / "gallery"), "--sr", "bicubic", option, value]) == 2
    assert message in capsys.readouterr().err


def test_settings_of_a_backend_reach_it(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate-sr", "--hr", str(examples / "gallery"), "--sr", "bicubic", "--metrics", "psnr"]
    assert main([*arguments, "--sr-option", "bicubic.sharp=1"]) == 1
    assert "Unknown setting of bicubic 'sharp'" in capsys.readouterr().err


def test_run_all_has_a_row_for_every_backend_with_weights(sides: list[str], tmp_path: Path) -> None:
    assert main(["run", *sides, "--sr", "all", "--out", str(tmp_path / "run")]) == 0
    expected = registry.expanded(["all"], 4)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]["sr"] == expected
    rows = pd.read_csv(tmp_path / "run" / "similarity.csv")
    assert list(dict.fromkeys(rows["sr"])) == expected


def test_the_program_seldom_looks_for_garbage_and_not_when_it_ends() -> None:
    code = (
        "import atexit, gc, sys; from faceup.cli.main import entry_point; sys.argv = ['faceup', '--version'];"
        "atexit.register(lambda: print(gc.get_threshold()[0], gc.isenabled(), gc.get_freeze_count() > 1000));"
        "entry_point()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "50000 True True"
