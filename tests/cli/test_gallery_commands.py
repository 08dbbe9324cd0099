"""The gallery and batch commands as a user types them, with the shipped networks on the example pictures."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from faceup.cli.main import main

NETWORKS = ["--device", "cpu"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.conftest import ROOT

    folder = tmp_path_factory.mktemp("galleries") / "gallery"
    key = folder.parent / "key"
    key.write_text("a passphrase of some length\n")
    arguments = ["gallery", "build", str(folder), str(ROOT / "examples" / "gallery"), "--key-file", str(key)]
    assert main([*arguments, "--retain-until", "2999-12-31", *NETWORKS]) == 0
    return folder


def test_search_finds_the_people_and_leaves_a_record(
    built: Path, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = ["--key-file", str(built.parent / "key")]
    probe = str(examples / "gallery" / "hopper_frontal.jpg")
    assert main(["gallery", "search", str(built), probe, "--purpose", "case 7", "--top", "2", *key, *NETWORKS]) == 0
    told = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(told.out)))
    assert (rows[0]["rank"], rows[0]["subject"]) == ("1", "hopper")
    assert float(rows[0]["cosine"]) == pytest.approx(1, abs=1e-5)
    assert len(rows) == 2
    entry = json.loads((built / "audit.jsonl").read_text().splitlines()[-1])
    assert (entry["action"], entry["purpose"], entry["settings"]["top"]) == ("search", "case 7", 2)
    assert told.err.strip().endswith(entry["hash"])
    assert "hopper" not in (built / "audit.jsonl").read_text(), "the log of an encrypted gallery names nobody"
    assert main(["gallery", "info", str(built), *key]) == 0
    assert "subjects: 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "GALLERY", "examples", *NETWORKS], 2, "Missing option '--purpose'"),
        (["info", "GALLERY"], 1, "is encrypted: give --key-file FILE, or set FACEUP_GALLERY_KEY"),
        (["remove", "GALLERY", "nobody", "--key-file", "KEY"], 1, "'nobody' is not enrolled"),
        (["build", "GALLERY", "examples"], 1, "exists already"),
        (["info", "examples"], 1, "no gallery"),
        (["expire", "GALLERY", "--date", "soon", "--key-file", "KEY"], 1, "YYYY-MM-DD"),
    ],
)
def test_what_goes_wrong(
    built: Path,
    arguments: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FACEUP_GALLERY_KEY", raising=False)
    places = {"GALLERY": str(built), "KEY": str(built.parent / "key")}
    assert main(["gallery", *(places.get(word, word) for word in arguments)]) == code
    assert message in capsys.readouterr().err


def test_batch_over_the_example_crops(
    built: Path, examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["batch", "--gallery", str(built), "--key-file", str(built.parent / "key"), "--sr", "bicubic"]
    arguments += ["--archive", str(examples / "probes"), "--job", str(tmp_path / "job"), *NETWORKS]
    assert main([*arguments, "--purpose", "case 8", "--threshold", "0.2"]) == 0
    assert "10 pictures and 0 frames searched" in capsys.readouterr().out
    assert json.loads((built / "audit.jsonl").read_text().splitlines()[-1])["purpose"] == "case 8"
    with (tmp_path / "job" / "results" / "appearances.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 10
    right = sum(Path(row["best_source"]).name.startswith(row["subject"]) for row in rows)
    assert right >= 8
    assert {row["generated"] for row in rows} == {"0"}, "bicubic makes nothing up"
    for row in rows:
        assert row["above_threshold"] == str(int(float(row["similarity"]) >= 0.2))
    assert main(arguments) == 1
    assert "go on with it by --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "code", "message"),
    [
        (["--every", "often"], 1, "--every is seconds such as 0.2s"),
        (["--pattern", "{camra}/x"], 1, "--pattern knows each of"),
        (["--timezone", "Mars/Crater"], 1, "Unknown time zone"),
        (["--fmr", "0.1"], 1, "needs the threshold"),
        (["--sr", "sisnn"], 1, "did you mean 'sisn'"),
        (["--archive", "nowhere"], 1, "no such folder, video or manifest"),
        (["--engine", "spark"], 2, "is not one of"),
    ],
)
def test_batch_says_what_is_wrong(
    built: Path, examples: Path, tmp_path: Path, extra: list[str], code: int, message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments = [
        "batch",
        "--gallery",
        str(built),
        "--key-file",
        str(built.parent / "key"),
        "--job",
        str(tmp_path / "j"),
    ]
    assert main([*arguments, "--archive", str(examples / "probes"), "--sr", "none", *NETWORKS, *extra]) == code
    assert message in capsys.readouterr().err
