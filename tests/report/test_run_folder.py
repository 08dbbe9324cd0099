"""Reading a run folder back: exact, and suspicious."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from faceup.errors import DataError
from faceup.metrics.table5 import candidate_columns, table5
from faceup.report.html import write_report
from faceup.report.run_folder import read_run

MakeRun = Callable[..., Path]


def edit(path: Path, row: int, column: str, value: str) -> None:
    """Change one cell of a CSV file; row 1 is the first below the header."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    rows[row][rows[0].index(column)] = value
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def test_what_was_written_is_read(make_run: MakeRun) -> None:
    run = read_run(make_run(subjects=["001", "NA", "=1+1", "-x", "'=quoted", 'Łukasz, "Ł"']))
    assert run.sr == ["none", "bicubic", "sisn"]
    assert sorted(set(run.similarity["gallery_subject"])) == ["'=quoted", "-x", "001", "=1+1", "NA", 'Łukasz, "Ł"']
    assert set(run.similarity["probe_subject"]) - set(run.similarity["gallery_subject"]) == {""}
    assert candidate_columns(table5(run.similarity, run.sr)) == ["'=quoted", "-x", "001", "=1+1", "NA", 'Łukasz, "Ł"']
    first = run.similarity.iloc[0]
    assert (first["similarity"], first["rank"], first["genuine"], first["detected"]) == (0.9, 1, 1, 1)
    assert run.similarity["similarity"].isna().sum() == 6  # the probe without a face
    assert run.detections["x0"].dtype == float
    assert len(run.pictures) == 6 + 3 * 7


def test_the_table_of_the_folder_is_the_table_of_the_run(make_run: MakeRun, tmp_path: Path) -> None:
    run = read_run(make_run())
    # What a run holds in memory: float32 with all its digits, and whole ranks with gaps.
    noisy = run.similarity["similarity"].astype("float32") + 0.0000004
    memory = run.similarity.assign(similarity=noisy.astype("float32"), rank=run.similarity["rank"].astype("Int64"))
    written = memory.assign(similarity=memory["similarity"].map(lambda v: f"{v:.6f}" if pd.notna(v) else ""))
    written.to_csv(run.folder / "similarity.csv", index=False)
    again = read_run(run.folder)
    pd.testing.assert_frame_equal(table5(again.similarity, run.sr), table5(memory, run.sr), check_exact=True)


@pytest.mark.parametrize(
    ("file", "row", "column", "value", "message"),
    [
        ("similarity.csv", 1, "similarity", "high", "row 1, column similarity: a number was expected, got 'high'"),
        ("similarity.csv", 1, "similarity", "inf", "a number was expected"),
        ("similarity.csv", 1, "similarity", "1.5", "between -1 and 1"),
        ("similarity.csv", 1, "similarity", "", "similarity must be given where detected is 1 only"),
        ("similarity.csv", 2, "genuine", "1", "row 2: genuine does not say"),
        ("similarity.csv", 1, "detected", "2", "detected must be 0 or 1"),
        ("similarity.csv", 3, "rank", "0", "row 3: a rank is a whole number"),
        ("similarity.csv", 3, "rank", "1.5", "row 3: a rank is a whole number"),
        ("similarity.csv", 1, "sr", "bicubic", "row 13: the same comparison for a second time"),
        ("similarity.csv", 1, "sr", "rcan", "holds the SR systems bicubic, none, rcan, sisn"),
        ("detections.csv", 1, "status", "fine", "status must be"),
        ("detections.csv", 1, "role", "suspect", "role must be"),
        ("detections.csv", 2, "x0", "", "row 2: a face without box"),
        ("detections.csv", 2, "width", "0", "row 2: a picture without width"),
        ("pictures/pictures.csv", 1, "generated", "yes", "a number was expected, got 'yes'"),
        ("pictures/pictures.csv", 1, "file", "../../secret.png", "name of a file beside"),
        ("pictures/pictures.csv", 1, "file", "/etc/passwd", "name of a file beside"),
        ("pictures/pictures.csv", 1, "file", "..", "name of a file beside"),
    ],
)
def test_a_wrong_cell_is_found(make_run: MakeRun, file: str, row: int, column: str, value: str, message: str) -> None:
    run = make_run()
    edit(run / file, row, column, value)
    with pytest.raises(DataError, match=message) as caught:
        read_run(run)
    assert str(run / file) in str(caught.value)


def test_a_link_out_of_the_folder_is_not_followed(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    secret = tmp_path / "secret.png"
    (run / "pictures" / "003.png").rename(secret)
    (run / "pictures" / "003.png").symlink_to(secret)
    with pytest.raises(DataError, match=r"003\.png: a link to a file outside"):
        write_report(run)


def test_a_picture_of_another_size_than_detections_says_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    (run / "pictures" / "003.png").write_bytes((run / "pictures" / "000.png").read_bytes())
    with pytest.raises(DataError, match=r"003\.png: 64 x 80 px, but detections\.csv says 12 x 16 px"):
        write_report(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("backends"), "the file lacks 'backends'"),
        (lambda r: r.update(threads="2"), "'threads' of the file must be int, got str"),
        (lambda r: r.update(recipe={"sr": "none", "similarity": "clipped"}), r"recipe\.sr must list"),
        (lambda r: r["recipe"].update(similarity="l2"), r"recipe\.similarity must be one of"),
        (lambda r: r["backends"][0].pop("licence"), r"backends\[0\] lacks 'licence'"),
        (lambda r: r["backends"][2]["weights"][0].pop("sha256"), r"backends\[2\]\.weights\[0\] lacks 'sha256'"),
        (lambda r: r["probes"].append("x"), r"probes\[4\] must be an object"),
    ],
)
def test_a_wrong_record_is_found(make_run: MakeRun, change: Callable[[Any], Any], message: str) -> None:
    run = make_run()
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    change(record)
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_run(run)
