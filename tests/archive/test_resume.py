"""What is done is never done again, and whatever changes makes its own unit new and no other."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from faceup.archive import job as job_module
from faceup.archive.job import run_batch
from faceup.archive.settings import parse_every
from faceup.errors import DataError, StageError
from tests.archive import fakes


@pytest.fixture
def site(fake: Path, tmp_path: Path) -> Path:
    fakes.gallery(tmp_path / "gallery")
    fakes.archive(tmp_path / "archive", pictures=20)
    return tmp_path


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the units that are done from now on."""
    keys: list[str] = []
    write = job_module.shards.write

    def noted(job: Path, key: str, data: bytes) -> str:
        keys.append(key)
        return write(job, key, data)

    monkeypatch.setattr(job_module.shards, "write", noted)
    return keys


def again(site: Path, finished: list[str], **changes: object) -> int:
    """How many units another run of the job does."""
    finished.clear()
    run_batch(fakes.batch(site, [site / "archive"], resume=True, **changes))
    return len(finished)


def test_only_what_changed_is_done_again(site: Path, finished: list[str]) -> None:
    run_batch(fakes.batch(site, [site / "archive"]))
    everything = len(finished)
    assert everything >= 4
    before = fakes.content(site / "job" / "results")
    assert again(site, finished) == 0
    assert fakes.content(site / "job" / "results") == before
    fakes.save(site / "archive" / "gate" / "0003.png", fakes.scene([(fakes.YELLOW, 9, 9, 30)], 80, 45))
    assert again(site, finished) == 1
    assert again(site, finished, threshold=0.5, top=2) == 0
    assert again(site, finished, small_eye_px=12.0) == everything
    assert again(site, finished) == 0, "the earlier settings are still there"
    assert again(site, finished, every=parse_every("2")) == 2, "only videos have other frames"
    (site / "archive" / "hall").rename(site / "archive" / "lobby")
    assert again(site, finished) == 0, "the content is the same"
    (site / "archive" / "lobby" / "walk.mp4").unlink()
    assert again(site, finished) == 0


def test_another_weight_file_makes_every_unit_new(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from faceup.archive import settings
    from faceup.archive.settings import FaceSettings, faces_identity

    faces = FaceSettings(sr="bicubic", detector="squares", recognizer="mobilefacenet")
    before = faces_identity(faces)
    assert before == faces_identity(faces)
    entry = settings.backend_entry

    def other(stage: str, *arguments: object) -> dict[str, object]:
        changed = entry(stage, *arguments)  # type: ignore[arg-type]
        return {**changed, "weights": [{"name": "x", "sha256": "0" * 64}]} if stage == "sr" else changed

    monkeypatch.setattr(settings, "backend_entry", other)
    assert faces_identity(faces) != before


@pytest.mark.usefixtures("site")
def test_another_engine_makes_every_unit_new_where_a_network_has_several(monkeypatch: pytest.MonkeyPatch) -> None:
    from faceup.archive.settings import FaceSettings, faces_identity
    from faceup.runtime import engine

    systems = (
        FaceSettings(sr="bicubic", detector="squares"),  # stand-ins without weights
        FaceSettings(sr="bicubic"),
        FaceSettings(sr="sisn", detector="squares"),
        FaceSettings(sr="sisn", sr_options={"engine": "torch"}, detector="squares"),
    )
    monkeypatch.setattr(engine, "has_ncnn", lambda: False)
    monkeypatch.setattr(engine, "has_native", lambda: False)
    without = [faces_identity(settings) for settings in systems]
    # The detector is never run by ncnn.
    for name, changed in (("has_ncnn", [False, False, True, False]), ("has_native", [False, True, True, False])):
        with monkeypatch.context() as installed:
            installed.setattr(engine, name, lambda: True)
            now = [faces_identity(settings) for settings in systems]
        assert [new != old for new, old in zip(now, without, strict=True)] == changed


def test_all_shards_that_a_crash_emptied_are_made_again_at_once(site: Path, finished: list[str]) -> None:
    run_batch(fakes.batch(site, [site / "archive"]))
    before = fakes.content(site / "job" / "results")
    shards = sorted((site / "job" / "shards").rglob("*.parquet"))
    assert len(shards) >= 4
    for shard in shards:
        shard.write_bytes(b"")
    assert again(site, finished) == len(shards)
    assert fakes.content(site / "job" / "results") == before


def test_a_shard_that_is_damaged_as_soon_as_it_is_written_ends_the_job(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(job: Path, key: str, data: bytes) -> str:
        return "0" * 64 if key == keys[0] else write(job, key, data)

    run_batch(fakes.batch(site, [site / "archive"]))
    shard = min((site / "job" / "shards").rglob("*.parquet"))
    keys, write = [shard.stem], job_module.shards.write
    shard.unlink()
    monkeypatch.setattr(job_module.shards, "write", broken)
    with pytest.raises(StageError, match="damaged again as soon as they are written"):
        run_batch(fakes.batch(site, [site / "archive"], resume=True))


def test_a_damaged_shard_is_made_again(site: Path, finished: list[str]) -> None:
    run_batch(fakes.batch(site, [site / "archive"]))
    before = fakes.content(site / "job" / "results")
    shards = sorted((site / "job" / "shards").rglob("*.parquet"))
    shards[0].write_bytes(shards[0].read_bytes()[:-10] + b"0123456789")
    shards[1].unlink()
    assert again(site, finished) == 2
    assert fakes.content(site / "job" / "results") == before


def test_a_folder_that_is_no_job_is_left_alone(site: Path) -> None:
    (site / "job").mkdir()
    (site / "job" / "mine.txt").touch()
    for resume in (False, True):
        with pytest.raises(DataError, match="is no job and not empty"):
            run_batch(fakes.batch(site, [site / "archive"], resume=resume))
    assert [path.name for path in (site / "job").iterdir()] == ["mine.txt"]


def test_the_passers_by_are_those_of_the_archive(site: Path) -> None:
    """The rows are checked against what the archive was made of."""
    import pandas as pd

    totals = run_batch(fakes.batch(site, [site / "archive"], threshold=0.95, fmr=0.01, embeddings=True))
    frame = pd.read_csv(site / "job" / "results" / "appearances.csv")
    hall = frame[frame["camera"] == "hall"]
    assert hall["subject"].tolist() == ["red", "blue", "green"]
    assert hall["frames"].tolist() == [30, 30, 20]
    assert hall["start_s"].round(3).tolist() == [0.0, 4.0, 0.0]
    assert (hall["similarity"] > 0.95).all()
    assert (hall["above_threshold"] == 1).all()
    assert set(hall["fmr"]) == {0.01}
    # Pictures without a time are a row each: 20 in each camera, of which every ninth is empty.
    assert len(frame) == 3 + 2 * 17 == totals.appearances
    faces = pd.read_parquet(site / "job" / "results" / "faces.parquet")
    assert len(faces) == totals.faces == 80 + 34
    walk2 = faces[faces["source"].str.endswith("walk2.mkv")]
    steps = [int(b - a) for a, b in pairwise(fakes.UNEVEN_MS)]
    assert walk2["pts"].diff().dropna().tolist() == steps, "the timestamps are the file's"
    assert set(walk2["time_base_den"]) == {1000}
    assert len(faces["embedding"].iloc[0]) == 8
    assert (faces["super_resolved"]).any()
    columns = pd.read_parquet(site / "job" / "results" / "appearances.parquet")
    assert columns["subject"].tolist() == frame["subject"].tolist()
    for name in frame["thumbnail"]:
        assert (site / "job" / "results" / name).is_file()
    page = (site / "job" / "results" / "report.html").read_text()
    assert "80 video frames" not in page
    assert "150 video frames" in page


def test_a_watch_list_narrows_the_search(site: Path, tmp_path: Path) -> None:
    import pandas as pd

    listed = tmp_path / "watch.csv"
    listed.write_text("subject,threshold\nred,0.97\ngreen,\n")
    run_batch(fakes.batch(site, [site / "archive"], watch_list=listed, threshold=0.9, fmr=0.001))
    frame = pd.read_csv(site / "job" / "results" / "appearances.csv")
    assert set(frame["subject"]) == {"red", "green"}
    assert set(frame[frame["subject"] == "red"]["threshold"]) == {0.97}
    assert frame[frame["subject"] == "red"]["fmr"].isna().all(), "a rate belongs to its own threshold"
    assert set(frame[frame["subject"] == "green"]["fmr"]) == {0.001}
    listed.write_text("subject\nnobody\n")
    with pytest.raises(DataError, match="not in the gallery, e.g. 'nobody'"):
        run_batch(fakes.batch(site, [site / "archive"], "other", watch_list=listed))
