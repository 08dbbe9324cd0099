"""`faceup bench`, in Python and as a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faceup import registry
from faceup.bench import BenchSettings, bench
from faceup.cli.main import main
from faceup.defaults import RECOGNIZER
from faceup.errors import ConfigError, DataError

SMALL = ["--size", "12x10", "--batch", "2", "--rounds", "1", "--device", "cpu"]


def test_rates_come_from_the_times() -> None:
    rates = bench(BenchSettings(sr=("bicubic",), width=12, height=10, batch=3, rounds=2, device="cpu"))
    assert [(rate.stage, rate.backend) for rate in rates] == [
        ("sr", "bicubic"), ("detect", "mtcnn"), ("embed", RECOGNIZER),
    ]  # fmt: skip
    for rate in rates:
        assert len(rate.seconds) == 2
        assert rate.slowest == 3 / max(rate.seconds)
        assert rate.fastest == 3 / min(rate.seconds)
        assert rate.slowest <= rate.median <= rate.fastest


def test_the_command_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], examples: Path
) -> None:
    file = tmp_path / "bench.json"
    asked = ["--sr", "sisn", "--sr", "rcan", "--engine", "torch", "--crops", str(examples / "probes")]
    assert main(["bench", *SMALL, *asked, "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "crops/s" in printed
    assert "made up" not in printed
    written = json.loads(file.read_text(encoding="utf-8"))
    assert [(rate["backend"], rate["engine"]) for rate in written["rates"]] == [
        ("sisn", "torch"), ("rcan", "torch"), ("mtcnn", "-"), (RECOGNIZER, "-"),
    ]  # fmt: skip
    assert (written["settings"]["width"], written["settings"]["height"]) == (12, 10)
    assert {"faceup", "python", "torch"} <= set(written["versions"])


def test_all_gives_the_engine_to_those_that_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "expanded", lambda labels, scale: ["bicubic", "lcge", "sisn"])
    rates = bench(BenchSettings(("all",), width=12, height=10, batch=1, rounds=1, device="cpu", engine="torch"))
    assert [(rate.backend, rate.engine) for rate in rates[:3]] == [("bicubic", "-"), ("lcge", "-"), ("sisn", "torch")]
    with pytest.raises(ConfigError, match="Unknown setting of bicubic 'engine'"):
        bench(BenchSettings(("all", "bicubic"), width=12, height=10, batch=1, device="cpu", engine="torch"))


def test_made_up_crops_are_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *SMALL, "--sr", "none"]) == 0
    assert "The crops are made up and hold no face" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--size", "42"], 2, "'42' is no size: write it like 42x56"),
        (["--size", "0x5"], 2, "is no size"),
        (["--size", "99999x99999"], 1, "99999 x 99999 px enlarged 4 times have more than the 64000000 px allowed"),
        (["--engine", "tensorrt"], 2, "'tensorrt' is not one of"),
        (["--sr", "bicubic", "--engine", "torch"], 1, "Unknown setting of bicubic 'engine'"),
        (["--sr", "nonsense"], 1, "Unknown sr backend 'nonsense'"),
    ],
)
def test_wrong_options(arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *SMALL, *arguments]) == code
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"rounds": 0}, {"width": 0}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} must be at least 1"):
        BenchSettings(**wrong)


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        bench(BenchSettings(crops=tmp_path, sr=("none",), device="cpu"))
