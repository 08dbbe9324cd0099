"""report.html: one file that opens anywhere, offline, and shows what a run did and found.

It is made from the run folder alone, so that any report can be made again later; the same folder gives the same bytes.
"""

from __future__ import annotations

import json
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from faceup.files import whole_or_not_at_all
from faceup.metrics.alarm import MEASURES, checked
from faceup.metrics.table5 import of_candidates, probes_per_candidate, table5
from faceup.report.evaluation import read_evaluation
from faceup.report.panels import Panels
from faceup.report.published import published_tables
from faceup.report.run_folder import Run, read_run
from faceup.report.tables import METHOD, layout, note
from faceup.report.templates import environment
from faceup.report.text import DASH, counted, method_name, share


def write_report(run: Path) -> Path:
    """Write report.html into a run folder, whole or not at all, and return its path.

    Args:
        run: the folder that `faceup run` wrote; nothing else is read.

    Raises:
        DataError: a file of the folder is missing or damaged, or the report cannot be written.
    """
    text = render(read_run(Path(run)))
    target = Path(run) / "report.html"
    with whole_or_not_at_all(target) as temporary:
        temporary.write_bytes(text.encode("utf-8"))
    return target


def render(run: Run) -> str:
    """Return the report as HTML. Every text of the run is escaped, and hidden characters in it are spelled out."""
    table = table5(run.similarity, run.sr)
    counts = probes_per_candidate(run.similarity)
    columns = layout(table)
    builder = Panels(run)
    panels = builder.build()
    known = [panel for panel in panels if panel.known]
    evaluation = read_evaluation(run.folder)
    return _template().render(
        record=run.record,
        settings=_settings(run.record),
        backends=run.record["backends"],
        gallery=_gallery_counts(run),
        probes=_probe_counts(run, counts),
        by_sr=[_acquisition(run, label) for label in run.sr],
        columns=columns,
        candidates=[c.heading for c in columns if c.kind == "candidate"],
        summary=[c for c in columns if c.kind != "candidate"],
        method_heading=METHOD,
        methods=[method_name(label) for label in run.sr],
        note=note(table, counts, run.record["recipe"]["similarity"]),
        panels=panels,
        known=known,
        strangers=[panel for panel in panels if not panel.known],
        anchors={panel.subject: panel.anchor for panel in known},
        left_out=builder.left_out,
        evaluation=evaluation,
        # An evaluation has these tables among its own.
        published=[] if evaluation else list(published_tables(run.record, run.similarity, "of this folder")),
        drawn=_drawn(run),
        alarm=_alarm(run),
    )


@cache
def _template() -> jinja2.Template:
    return environment("report").get_template("report.html.j2")


def _settings(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the settings as pairs of name and text, as they stand in run.json."""
    rows = [
        ("command", shlex.join(str(part) for part in record["command"]) or "none: called from Python"),
        ("created", record["created"]),
        ("faceup", record["faceup"]),
        ("device", record["device"]),
        ("threads", str(record["threads"])),
        ("seed", str(record["seed"])),
    ]
    # Folders of earlier versions do not say it.
    rows += [(f"default: {key}", _plain(value)) for key, value in sorted(record.get("defaults", {}).items())]
    rows += [(f"recipe: {key}", _plain(value)) for key, value in sorted(record["recipe"].items())]
    rows += [(f"version: {key}", _plain(value)) for key, value in sorted(record["versions"].items())]
    rows += [(f"seconds: {key}", _plain(value)) for key, value in sorted(record["timings"].items())]
    return rows


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _gallery_counts(run: Run) -> dict[str, str]:
    rows = run.detections[run.detections["role"] == "gallery"]
    return {
        "pictures": counted(len(rows), "picture"),
        "people": "1 person" if rows["subject"].nunique() == 1 else f"{rows['subject'].nunique()} people",
        **_failures(rows),
    }


def _probe_counts(run: Run, counts: pd.Series[int]) -> dict[str, str]:
    total = len(run.record["probes"])
    enrolled = {row["subject"] for row in run.record["gallery"]}
    mated = sum(row["subject"] in enrolled for row in run.record["probes"])
    return {
        "all": counted(total, "probe"),
        "mated": share(mated, total),
        "candidates": counted(len(counts), "candidate"),
        "others": share(total - mated, total),
    }


def _acquisition(run: Run, label: str) -> dict[str, str]:
    rows = run.detections[(run.detections["role"] == "probe") & (run.detections["sr"] == label)]
    return {"method": method_name(label), **_failures(rows)}


def _drawn(run: Run) -> dict[str, Any] | None:
    """Return Table 5 of the candidates that the recipe has drawn, None where it has drawn none."""
    names = run.record.get("candidates")
    if not isinstance(names, list) or not names:
        return None
    rows = of_candidates(run.similarity, [str(name) for name in names])
    table = table5(rows, run.sr)
    foot = note(table, probes_per_candidate(rows), run.record["recipe"]["similarity"])
    return {"columns": layout(table), "count": len(names), "note": foot}


def _alarm(run: Run) -> list[dict[str, str]]:
    """Return, for every SR system with an alarm, how many probes are flagged and for what."""
    if run.alarm is None:
        return []
    lines = []
    for label in run.sr:
        rows = run.alarm[run.alarm["sr"] == label]
        if len(rows):
            some = rows[[checked(text) for text in rows["unchecked"]]]
            counts = {measure: _flagged_for(some, measure) for measure in MEASURES}
            lines.append(
                {
                    "method": method_name(label),
                    "flagged": share(int(some["flagged"].sum()), len(some)),
                    "unchecked": str(len(rows) - len(some)),
                    **counts,
                }
            )
    return lines


def _flagged_for(rows: pd.DataFrame, measure: str) -> str:
    """Return how many probes a measure flagged, a dash where it was checked of none."""
    unchecked = [measure in text.split() for text in rows["unchecked"]]
    return DASH if all(unchecked) else str(sum(measure in text.split() for text in rows["reasons"]))


def _failures(rows: pd.DataFrame) -> dict[str, str]:
    no_face, unreadable = (int((rows["status"] == status).sum()) for status in ("no_face", "unreadable"))
    return {
        "failed": share(no_face + unreadable, len(rows)),
        "no_face": str(no_face),
        "unreadable": str(unreadable),
        "several": share(int((rows["faces"] > 1).sum()), len(rows)),
    }
