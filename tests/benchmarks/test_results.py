"""What was measured and committed: records under the schema, and docs/performance.md made of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.benchmarks.schema import check_record
from tests.conftest import ROOT
from tools import performance_page

RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_committed_records_have_the_schema(path: Path) -> None:
    done = json.loads(path.read_text(encoding="utf-8"))
    check_record(done)
    assert done["benchmark"] == path.stem
    assert (ROOT / "benchmarks" / f"bench_{path.stem}.py").is_file()


def test_the_page_is_made_of_the_committed_records() -> None:
    assert performance_page.PAGE.read_text(encoding="utf-8") == performance_page.page(performance_page.records())


def test_the_readme_names_every_benchmark_and_every_benchmark_is_there() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"benchmarks\.(bench_\w+)", text))
    assert named == {path.stem for path in (ROOT / "benchmarks").glob("bench_*.py")}


def test_every_bar_stands_in_the_summary() -> None:
    bar = {"text": "x", "sense": "at most", "limit": 1, "value": 2.0, "unit": "s", "digits": 1, "met": False}
    done = {
        "benchmark": "one", "about": "About.", "command": "c", "date": "2026-01-01", "versions": {"python": "3"},
        "machine": {"processor": "p", "cores": 1, "memory_gib": 1, "gpu": None},
        "method": {"inputs": "i", "threads": 1, "warm_ups": 1, "rounds": 1, "seed": 0},
        "bars": [bar, {**bar, "value": None, "met": None}, {**bar, "value": 1.0, "met": True}],
        "tables": [], "notes": [],
    }  # fmt: skip
    text = performance_page.page([done])
    assert "1 of 3 met, 1 not measured." in text
    assert "| one: x: at most 1 s | 2.0 s | **no** |" in text
