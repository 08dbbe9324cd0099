"""Write docs/performance.md from the records in benchmarks/results/, which the benchmarks wrote.

    PYTHONPATH=. python tools/performance_page.py

Nobody types a figure: a benchmark is run with `--json benchmarks/results/NAME.json`, then this.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.method import bar_lines, markdown

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
HEAD = """# Performance

How fast faceup is, beside what others do, on the machine that each section names. Every figure was written by a program
from `benchmarks/results/`, losses too; [how it was measured and how to measure again](../benchmarks/README.md). Figures
are medians; brackets hold the smallest and the largest of the rounds. Rows of one section can be compared with each
other, those of two sections only if machine and threads agree.
"""


def records(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Return all records of a folder, by file name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def page(found: Sequence[dict[str, Any]]) -> str:
    """Return the text of docs/performance.md."""
    parts = [HEAD]
    if bars := [{**bar, "text": f"{done['benchmark']}: {bar['text']}"} for done in found for bar in done["bars"]]:
        met = sum(bar["met"] is True for bar in bars)
        unknown = sum(bar["met"] is None for bar in bars)
        parts.append(f"## Bars\n\n{met} of {len(bars)} met, {unknown} not measured.\n")
        parts.append("\n".join(bar_lines(bars)) + "\n")
    parts += [markdown(done, level=2) + "\n" for done in found]
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(records()), encoding="utf-8")


if __name__ == "__main__":
    main()
