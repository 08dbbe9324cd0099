"""Results that took long are not lost: where they go is tried first, and no terminal ends them in a traceback."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from faceup.cli.main import main

SMALL_BENCH = ["bench", "--sr", "none", "--size", "12x10", "--batch", "1", "--rounds", "1", "--device", "cpu"]
COMPUTING = {
    "evaluate-sr": "faceup.evaluate_sr.evaluate_sr",
    "bench": "faceup.bench.bench",
    "gallery": "faceup.cli.gallery._enrolled",
}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.conftest import ROOT

    folder = tmp_path_factory.mktemp("galleries") / "gallery"
    assert main(["gallery", "build", str(folder), str(ROOT / "examples" / "gallery"), "--device", "cpu"]) == 0
    return folder


@pytest.fixture
def commands(examples: Path, gallery: Path) -> dict[str, list[str]]:
    """Each command that writes one file, without the file's name."""
    return {
        "evaluate-sr": ["evaluate-sr", "--hr", str(examples / "gallery"), "--sr", "bicubic", "--metrics", "psnr",
                        "--out"],
        "bench": [*SMALL_BENCH, "--json"],
        "gallery": ["gallery", "search", str(gallery), str(examples / "probes"), "--purpose", "x", "--out"],
    }  # fmt: skip


@pytest.mark.parametrize("command", COMPUTING)
def test_where_nothing_can_be_written_nothing_is_computed(
    command: str,
    commands: dict[str, list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compute(*_: Any, **__: Any) -> None:
        pytest.fail("it was computed")

    monkeypatch.setattr(COMPUTING[command], compute)
    (tmp_path / "file").touch()
    assert main([*commands[command], str(tmp_path / "file" / "x")]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert main([*commands[command], str(tmp_path)]) == 2
    assert "is a directory" in capsys.readouterr().err


def test_the_json_of_a_bench_is_there_before_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("rich.console.Console.print", fail)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.dup2", lambda *_: None)  # what main does then is for a process that ends
        assert main([*SMALL_BENCH, "--json", str(tmp_path / "b.json")]) == 1
    assert json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))["rates"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_with_few_letters(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)

    def show(*_: object, **__: object) -> None:
        print("Žofie")  # noqa: T201
        print("Žofie", file=sys.stderr)  # noqa: T201

    monkeypatch.setattr("faceup.cli.main.cli.main", show)
    assert main(["doctor"]) == 0
    for stream in (out, err):
        stream.flush()
        buffer = stream.buffer
        assert isinstance(buffer, io.BytesIO)
        assert buffer.getvalue() == b"\\u017dofie\n"
