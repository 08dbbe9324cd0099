"""Archives as they come: manifests, patterns, odd names; and one passer-by across two files of a camera."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from faceup.archive.job import STEP, run_batch
from faceup.archive.places import Places
from faceup.errors import DataError
from faceup.gallery.enrol import Networks, enrol
from faceup.gallery.store import Gallery
from tests.archive import fakes


def appearances(folder: Path, job: str = "job") -> pd.DataFrame:
    return pd.read_csv(folder / job / "results" / "appearances.csv")


@pytest.fixture
def site(fake: Path, tmp_path: Path) -> Path:
    fakes.gallery(tmp_path / "gallery")
    return tmp_path


def test_a_passer_by_across_two_files_of_a_camera_is_one_row(site: Path) -> None:
    frames = fakes.walk(40, fakes.RED)
    fakes.film(site / "archive" / "gate" / "20240131" / "120000.mp4", frames[:20])
    fakes.film(site / "archive" / "gate" / "20240131" / "120001.mp4", frames[20:])
    fakes.film(site / "archive" / "gate" / "20240131" / "120100.mp4", frames[20:])
    places = Places("{camera}/{date}/{time}.mp4")
    run_batch(fakes.batch(site, [site / "archive"], places=places))
    rows = appearances(site)
    assert rows["camera"].tolist() == ["gate", "gate"]
    assert rows["frames"].tolist() == [40, 20]
    assert rows["start"].tolist() == ["2024-01-31T12:00:00.000Z", "2024-01-31T12:01:00.000Z"]
    assert rows["end"].tolist() == ["2024-01-31T12:00:01.760Z", "2024-01-31T12:01:00.760Z"]
    assert rows["start_source"].iloc[0].endswith("120000.mp4")
    assert rows["end_source"].iloc[0].endswith("120001.mp4")
    faces = pd.read_parquet(site / "job" / "results" / "faces.parquet")
    assert faces["time"].is_monotonic_increasing
    # Without a pattern nobody knows that the files follow each other.
    run_batch(fakes.batch(site, [site / "archive"], "untimed"))
    assert appearances(site, "untimed")["frames"].tolist() == [20, 20, 20]


def test_frames_in_a_folder_are_linked_by_number_and_rate(site: Path) -> None:
    for i, frame in enumerate(fakes.walk(12, fakes.GREEN)):
        big = fakes.scene([], 320, 200).pixels.copy()
        big[:90, :160] = frame.pixels
        fakes.save(site / "archive" / "yard" / f"f{i:04d}.png", type(frame)(big))
    run_batch(fakes.batch(site, [site / "archive"], places=Places("{camera}/f{frame}.png", fps=5)))
    rows = appearances(site)
    assert (rows["frames"].tolist(), rows["subject"].tolist()) == ([12], ["green"])


def test_a_manifest_names_files_cameras_and_times(site: Path) -> None:
    fakes.film(site / "store" / "x1.mp4", fakes.walk(10, fakes.RED))
    fakes.save(site / "store" / "x2.png", fakes.scene([(fakes.BLUE, 20, 20, 40)]))
    listed = site / "listed.csv"
    listed.write_text(
        "path,camera,start\nstore/x1.mp4,gate,2024-01-31T12:00:00\nstore/x2.png,yard,\nstore/no.png,yard,\n"
    )
    totals = run_batch(fakes.batch(site, [listed]))
    assert totals.inputs == {"searched": 2, "not_searched": 1}
    rows = appearances(site)
    assert dict(zip(rows["camera"], rows["subject"], strict=True)) == {"gate": "red", "yard": "blue"}
    listed.write_text("path,camera,start\nstore/x1.mp4,gate,noon\n")
    with pytest.raises(DataError, match="line 2: start must be a time"):
        run_batch(fakes.batch(site, [listed], resume=True))
    listed.write_text("file\nx\n")
    with pytest.raises(DataError, match="must name the columns path and camera"):
        run_batch(fakes.batch(site, [listed], resume=True))


def test_names_cannot_run_in_spreadsheets_or_browsers(site: Path) -> None:
    square = fakes.scene([(fakes.RED, 20, 20, 40)])
    fakes.save(site / "archive" / "<script>alert(1)<" / "a.png", square)
    fakes.save(site / "archive" / "=cmd()" / "a.png", fakes.scene([(fakes.BLUE, 20, 20, 40)]))
    run_batch(fakes.batch(site, [site / "archive"]))
    results = site / "job" / "results"
    for page in [results / "report.html", *(results / "pages").iterdir()]:
        text = page.read_text()
        assert "<script>" not in text
        assert "http" not in text.replace('http-equiv="Content-Security-Policy"', ""), "a report opens offline"
    with (results / "appearances.csv").open(encoding="utf-8", newline="") as stream:
        cameras = [row["camera"] for row in csv.DictReader(stream)]
    assert "'=cmd()" in cameras


def test_names_that_are_not_text(site: Path) -> None:
    path = fakes.save(site / "archive" / "a.png", fakes.scene([(fakes.RED, 20, 20, 40)]))
    path.rename(Path(f"{path.parent}/b\udcff.png"))
    totals = run_batch(fakes.batch(site, [site / "archive"]))
    assert totals.inputs == {"searched": 1}
    assert "b\\xff.png" in (site / "job" / "results" / "coverage.csv").read_text()


def test_thousands_of_rows_are_paged(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from faceup.archive import report

    monkeypatch.setattr(report, "PAGE_ROWS", 4)
    fakes.archive(site / "archive", pictures=10)
    totals = run_batch(fakes.batch(site, [site / "archive"]))
    pages = sorted(path.name for path in (site / "job" / "results" / "pages").glob("appearances-*"))
    assert len(pages) == -(-totals.appearances // 4)
    texts = [(site / "job" / "results" / "pages" / name).read_text() for name in pages]
    shown = [text.count("<tr id=") for text in texts]
    assert sum(shown) == totals.appearances
    assert all("next page" in text for text in texts[:-1])
    assert "next page" not in texts[-1]
    for text in texts:
        for link in (part.split('"')[0] for part in text.split('href="')[1:]):
            assert (site / "job" / "results" / "pages" / link).resolve().is_file(), link


def test_a_job_inside_its_archive_is_refused(site: Path) -> None:
    fakes.save(site / "archive" / "gate" / "1.png", fakes.scene([(fakes.RED, 20, 20, 40)]))
    for job in ("archive/job", "archive/gate/deep/job", "archive"):
        with pytest.raises(DataError, match="give a --job outside of it|is no job and not empty"):
            run_batch(fakes.batch(site, [site / "archive"], job))
    assert not (site / "archive" / "job").exists()


def test_a_path_that_no_file_can_have_is_a_row(site: Path) -> None:
    fakes.save(site / "store" / "x.png", fakes.scene([(fakes.BLUE, 20, 20, 40)]))
    (site / "list.csv").write_text("path,camera\nstore/x.png,yard\nstore/\0.png,yard\n")
    run_batch(fakes.batch(site, [site / "list.csv"]))
    rows = pd.read_csv(site / "job" / "results" / "coverage.csv").set_index("status")
    assert set(rows.index) == {"searched", "not_searched"}
    assert "no name of a file" in rows.loc["not_searched", "reason"]


def test_clips_joined_byte_by_byte_are_told(site: Path) -> None:
    parts = [fakes.film(site / f"{k}.ts", fakes.walk(30, c)) for k, c in enumerate((fakes.RED, fakes.BLUE))]
    (site / "archive").mkdir()
    (site / "archive" / "joined.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    run_batch(fakes.batch(site, [site / "archive"]))
    (row,) = pd.read_csv(site / "job" / "results" / "coverage.csv").to_dict("records")
    assert row["status"] == "searched"
    assert "timestamps begin anew" in row["reason"]
    assert appearances(site)["subject"].tolist() == ["red", "blue"]


def test_nobody_is_found_after_the_retention_date(site: Path) -> None:
    fakes.save(site / "archive" / "gate" / "1.png", fakes.scene([(fakes.RED, 20, 20, 40)]))
    lines = [f"gallery/{name}_1.png,{name},{day}" for name, day in (("red", "2020-01-01"), ("blue", "2999-01-01"))]
    (site / "people.csv").write_text("\n".join(["path,subject,retain_until", *lines]) + "\n")
    run_batch(fakes.batch(site, [site / "archive"], gallery=site / "people.csv"))
    assert appearances(site)["subject"].tolist() == ["blue"]
    assert "1 gallery pictures are past their retention date" in (site / "job" / "job.json").read_text()


def test_who_is_removed_while_the_job_runs_is_not_found(site: Path) -> None:
    fakes.save(site / "archive" / "gate" / "1.png", fakes.scene([(fakes.RED, 20, 20, 40)]))
    stages, model = Networks("squares", {}, "squares", {}, "cpu").build()
    Gallery.create(site / "built", model, enrol(site / "gallery", stages).rows)

    def tell(step: str, done: int, total: int) -> None:
        if step == STEP and done == total:
            Gallery.open(site / "built").remove(["red"])

    run_batch(fakes.batch(site, [site / "archive"], gallery=site / "built"), progress=tell)
    assert "red" not in appearances(site)["subject"].tolist()
    with pytest.raises(DataError, match="subjects are not in the gallery, e.g. 'red'"):
        Gallery.open(site / "built").rows().of_subjects(["red"])


def test_an_archive_without_anything_to_search(site: Path) -> None:
    (site / "archive").mkdir()
    (site / "archive" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"No picture and no video .*notes.txt: neither named"):
        run_batch(fakes.batch(site, [site / "archive"]))
