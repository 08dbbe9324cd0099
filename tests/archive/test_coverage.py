"""Nothing is dropped silently: ten kinds of damaged input and what coverage.csv says of each."""

from __future__ import annotations

import csv
import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from faceup.archive import job as job_module
from faceup.archive.job import run_batch
from faceup.errors import DataError
from tests.archive import fakes


def coverage(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "results" / "coverage.csv").open(encoding="utf-8", newline="") as stream:
        return {row["input"]: row for row in csv.DictReader(stream)}


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """An archive with two good inputs and the damaged ones."""
    fakes.gallery(tmp_path / "gallery")
    folder = tmp_path / "archive"
    good = fakes.save(folder / "good.png", fakes.scene([(fakes.RED, 20, 20, 40)]))
    frames = fakes.walk(75)
    fakes.film(folder / "good.mkv", frames)
    (folder / "empty.jpg").touch()
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (90, 160, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PilImage.fromarray(noise).save(buffer, "JPEG")
    (folder / "truncated.jpg").write_bytes(buffer.getvalue()[:2000])
    (folder / "text.jpg").write_text("not a picture")
    bomb = io.BytesIO()
    PilImage.new("1", (30000, 30000)).save(bomb, "PNG")
    (folder / "bomb.png").write_bytes(bomb.getvalue())
    PilImage.fromarray(np.zeros((8, 8), np.float32)).save(folder / "float.tif")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "notes.doc").write_bytes(good.read_bytes())
    fakes.film(folder / "no_index.mp4", frames)
    data = (folder / "no_index.mp4").read_bytes()
    (folder / "no_index.mp4").write_bytes(data[: len(data) // 2])  # The index lies at the end.
    data = (folder / "good.mkv").read_bytes()
    (folder / "cut.mkv").write_bytes(data[: len(data) // 2])
    middle = bytearray(data)
    middle[len(data) // 3 : len(data) // 3 + 3000] = rng.bytes(3000)
    (folder / "scratched.mkv").write_bytes(middle)
    (folder / "linked").symlink_to(tmp_path / "gallery", target_is_directory=True)
    (folder / "playlist.mp4").write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    return tmp_path


def test_ten_kinds_of_damage_are_told(fake: Path, damaged: Path) -> None:
    totals = run_batch(fakes.batch(damaged, [damaged / "archive"]))
    rows = coverage(damaged / "job")
    there = {f"archive/{path.name}" for path in (damaged / "archive").iterdir()}
    assert set(rows) == there
    assert len(there) == 15
    good = ("archive/good.png", "archive/good.mkv")
    assert [rows[name]["status"] for name in good] == ["searched", "searched"]
    assert [rows[name]["reason"] for name in good] == ["", ""]
    assert (rows["archive/good.mkv"]["wanted"], rows["archive/good.mkv"]["faces"]) == ("75", "75")
    reasons = {
        "empty.jpg": "the file is empty",
        "truncated.jpg": "damaged or truncated",
        "text.jpg": "not a picture of a known format",
        "bomb.png": "far too many pixels",
        "float.tif": "floating-point pixels",
        "gone.png": "no such file",
        "pipe.png": "not a file but",
        "notes.doc": "neither named as a picture nor as a video",
        "linked": "a link to a folder",
        "no_index.mp4": "cannot be opened as a video",
        "playlist.mp4": "cannot be opened as a video",
    }
    for name, reason in reasons.items():
        row = rows[f"archive/{name}"]
        assert row["status"] == "not_searched", name
        assert reason in row["reason"], name
        assert row["faces"] == "0"
    cut = rows["archive/cut.mkv"]
    assert cut["status"] == "partly"
    assert "the file promises 3.000 s" in cut["reason"]
    assert 0 < int(cut["searched"]) < 75
    assert 0 < float(cut["minutes_searched"]) < float(cut["minutes"]) == 0.05
    assert abs(float(cut["minutes_searched"]) * 60 - int(cut["searched"]) * 0.04) < 0.05
    scratched = rows["archive/scratched.mkv"]
    assert scratched["status"] == "partly"
    assert "no frames in 1 gaps" in scratched["reason"]
    assert float(scratched["minutes_searched"]) < float(scratched["minutes"]) == 0.05, "a gap was not searched"
    assert int(scratched["searched"]) > 20, "what was decoded before the damage counts"
    assert totals.inputs == {"searched": 2, "partly": 2, "not_searched": 11}
    assert totals.failed_units == 0
    page = (damaged / "job" / "results" / "pages" / "coverage-000001.html").read_text()
    assert all(reason in page for reason in ("the file is empty", "neither named as a picture"))


def test_a_file_that_vanishes_meanwhile_costs_itself_only(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.gallery(tmp_path / "gallery")
    fakes.archive(tmp_path / "archive", pictures=12)
    victim = tmp_path / "archive" / "yard" / "0004.png"
    work, calls = job_module._work, []

    def work_after_a_loss(*arguments: object) -> bool:
        if not calls:
            victim.unlink()
        calls.append(1)
        return work(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(job_module, "_work", work_after_a_loss)
    totals = run_batch(fakes.batch(tmp_path, [tmp_path / "archive"]))
    assert totals.failed_units == 0
    rows = coverage(tmp_path / "job")
    assert "archive/yard/0004.png" not in rows, "it is not in the archive any more"
    assert {row["status"] for row in rows.values()} == {"searched"}


def test_a_full_disk_ends_the_job_with_a_message_and_loses_nothing(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.gallery(tmp_path / "gallery")
    fakes.archive(tmp_path / "archive", pictures=12)
    run_batch(fakes.batch(tmp_path, [tmp_path / "archive"], "whole"))
    write, calls = job_module.shards.write, []

    def full(*arguments: object) -> str:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(job_module.shards, "write", full)
    with pytest.raises(DataError, match="No space left on device. Make room, then go on with --resume"):
        run_batch(fakes.batch(tmp_path, [tmp_path / "archive"]))
    assert len(calls) == 3, "a job on a full disk goes on for nothing"
    assert not (tmp_path / "job" / "results").exists()
    with pytest.raises(DataError, match="is a job already"):
        run_batch(fakes.batch(tmp_path, [tmp_path / "archive"]))
    run_batch(fakes.batch(tmp_path, [tmp_path / "archive"], resume=True))
    assert fakes.content(tmp_path / "job" / "results") == fakes.content(tmp_path / "whole" / "results")
