"""The paper's numbers, and what a test of them says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faceup.datasets.layout import facts
from faceup.metrics.significance import holm, paired_t, sign_flip_p
from faceup.report.evaluation import Shown
from faceup.report.published import paper_cells, published_table5, published_tables
from faceup.report.run_folder import read_run
from tests.metrics.test_table5 import PAPER


def shown(folder: Path) -> list[Shown]:
    run = read_run(folder)
    return list(published_tables(run.record, run.similarity, folder.name))


def test_the_shipped_table_is_the_papers() -> None:
    frame = published_table5()
    assert list(frame["method"]) == list(PAPER)
    for row in frame.to_dict("records"):
        cells, average = PAPER[row["method"]]
        given = [row[f"candidate_{k}"] for k in range(1, 7)]
        assert [None if np.isnan(value) else value for value in given] == cells
        assert f"{row['average']:.6f}" == average
        assert f"{np.nan_to_num(given).mean():.6f}" == average


def test_three_of_the_papers_four_differences_include_zero() -> None:
    cells = paper_cells(published_table5())
    wanted = {
        "mtc": (0.035, -0.031, 0.100), "srfbn": (0.037, -0.027, 0.101),
        "rcan": (0.052, -0.015, 0.118), "sparnet": (0.063, 0.002, 0.123),
    }  # fmt: skip
    for name, numbers in wanted.items():
        assert paired_t(cells["sisn"] - cells[name]) == pytest.approx(numbers, abs=0.0006)
    p_values = [sign_flip_p(cells["sisn"] - cells[name]) for name in cells if name != "sisn"]
    assert min(holm(p_values)) > 0.05


def test_the_papers_numbers_stand_beside_ours_with_the_reminder(make_run: Callable[..., Path]) -> None:
    recipe = {"published": "table5", "data": {"kind": "scface"}}
    run = make_run(people=8, recipe=recipe, candidates=["001", "002", "003", "004", "005", "006"], distances=("1",))
    beside, gaps, scface = shown(run)
    rows = {row[0]: row[1:] for row in beside.rows}
    assert rows["sisn"][0] == "0.540106"
    assert rows["bicubic"][0] == "-"
    assert rows["rcan"][1:] == ("-", "-")
    assert beside.headings == ("Method", "Paper, n = 6", "Ours, n = 6", "Ours, all 8")
    assert "At n = 6 a mean says little" in beside.note
    sources = {row[1] for row in gaps.rows}
    assert sources == {"paper", "ours, drawn", "ours, all"}
    assert all(row[5] == "not significant at n = 6" for row in gaps.rows if row[1] != "ours, all")
    ours = [row for row in scface.rows if row[5] == "ours"]
    table = pd.read_csv(run / "similarity.csv")
    hits = ((table["sr"] == "sisn") & (table["genuine"] == 1) & (table["rank"] == 1)).sum()
    assert ours[2][:3] == ("sisn", f"{100 * hits / 8:.1f} %, {hits}/8", "-")
    memory = [row for row in scface.rows if "unverified" in row[5]]
    assert len(memory) == sum(not entry["verified"] for entry in facts("scface")["published_rank1"])
    assert all(row[6] == "from memory" for row in memory)


def test_tinyface_stands_beside_its_published_figures(make_run: Callable[..., Path]) -> None:
    (table,) = shown(make_run(recipe={"published": "tinyface"}))
    assert [row[3] for row in table.rows[:4]] == ["ours", "ours", "ours", "published"]
    assert table.rows[4][1:3] == ("76.1 %", "78.9 %")


def test_every_published_figure_names_its_source() -> None:
    for kind in ("scface", "tinyface"):
        for entry in facts(kind)["published_rank1"]:
            assert entry["source"]
            assert isinstance(entry["verified"], bool)
