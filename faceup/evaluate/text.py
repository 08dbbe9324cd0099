"""metrics.md: the tables of an evaluation for people who read text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from faceup.report.evaluation import PLOTS, Shown
from faceup.report.tables import markdown_row, markdown_text
from faceup.report.text import shortened

LEAD = (
    "A similarity, a rank and an acceptance are investigative leads for a trained examiner. None is a match: that word "
    "needs a threshold and its false match rate, measured on pictures like those in question (docs/responsible_use.md)."
)


def markdown(tables: Sequence[Shown], record: Mapping[str, Any], plots: Sequence[str]) -> str:
    """Return the evaluation as GitHub-flavoured Markdown.

    Args:
        tables: as they are shown.
        record: the content of evaluation.json.
        plots: names of the plots that lie in the folder `plots` beside it.
    """
    lines = ["# Evaluation", "", LEAD, ""]
    runs = ", ".join(markdown_text(shortened(run["name"])) for run in record["runs"])
    lines += [
        f"Runs: {runs}. Thresholds: {markdown_text(str(record['split']))}. Made by faceup {record['faceup']}.",
        "",
    ]
    for table in tables:
        lines += [f"## {markdown_text(table.title)}", ""]
        lines.append(markdown_row([markdown_text(heading) for heading in table.headings]))
        lines.append(markdown_row([":--", *("--:" for _ in table.headings[1:])]))
        lines += [markdown_row([markdown_text(shortened(cell, 80)) for cell in row]) for row in table.rows]
        lines += ["", markdown_text(table.note), ""] if table.note else [""]
    for name in plots:
        lines += [f"![{PLOTS[name]}](plots/{name}.svg)", ""]
    return "\n".join(lines)
