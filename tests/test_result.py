"""What `faceup run --force` may replace: a run folder with nothing of anybody else's in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from faceup.errors import DataError
from faceup.evaluate.evaluation import refuse_other
from faceup.result import check_target

RUN = [
    *("run.json", "similarity.csv", "similarity_shared.csv", "detections.csv", "alarm.csv", "searches.npz"),
    *(f"{stem}.{end}" for stem in ("table", "table_candidates") for end in ("csv", "md", "tex")),
    *("report.html", "pictures/pictures.csv", "pictures/000000.png", "pictures/1000000.png"),
]
EVALUATION = [
    *("evaluation.json", "metrics.csv", "metrics.md", "comparisons.csv", "gain.csv", "thresholds.json"),
    *("plots/cmc.png", "plots/cmc.svg", "plots/eye_distance.png"),
]


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def test_a_whole_run_with_its_evaluation_is_replaced(tmp_path: Path) -> None:
    put(tmp_path, *RUN)
    check_target(tmp_path, force=True)
    put(tmp_path / "evaluation", *EVALUATION)
    check_target(tmp_path, force=True)
    refuse_other(tmp_path / "evaluation", force=True)


@pytest.mark.parametrize("name", ["notes.txt", "cam/anna.jpg", "pictures/anna.jpg", "table.xlsx", ".hidden"])
def test_what_lies_in_a_run_folder_and_is_not_of_the_run_is_kept(name: str, tmp_path: Path) -> None:
    put(tmp_path, *RUN, name)
    with pytest.raises(DataError, match=rf"that `faceup run` did not write, e\.g\. {name}: it is not replaced"):
        check_target(tmp_path, force=True)


@pytest.mark.parametrize("name", ["notes.txt", "plots/mine.png", "runs/run.json", "plots/cmc.pdf"])
def test_what_lies_in_an_evaluation_and_is_not_of_it_is_kept(name: str, tmp_path: Path) -> None:
    put(tmp_path, *RUN)
    put(tmp_path / "evaluation", *EVALUATION, name)
    checks: list[Callable[[], None]] = [
        lambda: check_target(tmp_path, force=True),
        lambda: refuse_other(tmp_path / "evaluation", force=True),
    ]
    for check in checks:
        with pytest.raises(
            DataError, match=rf"that `faceup \w+` did not write, e\.g\. (evaluation/)?{name}: it is not replaced"
        ):
            check()


def test_a_folder_called_evaluation_that_is_none_is_kept(tmp_path: Path) -> None:
    put(tmp_path, *RUN, "evaluation/essay.txt")
    with pytest.raises(DataError, match=r"that `faceup run` did not write, e\.g\. evaluation/essay\.txt"):
        check_target(tmp_path, force=True)


def test_pictures_that_the_run_is_to_read_are_kept(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    put(run, *RUN)
    put(elsewhere, "b.jpg")
    (elsewhere / "a.jpg").symlink_to(run / "table.csv")
    check_target(run, force=True, inputs=[elsewhere / "b.jpg"])
    check_target(tmp_path / "new", force=True, inputs=[tmp_path / "new" / "a.jpg"])
    for path in (run / "pictures" / "0001.jpg", elsewhere / "a.jpg", elsewhere / ".." / "run" / "table.csv"):
        with pytest.raises(
            DataError, match=rf"{path.name} is a picture for this run and lies in .*run, which is to be"
        ):
            check_target(run, force=True, inputs=[elsewhere / "b.jpg", path])
