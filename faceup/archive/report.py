"""report.html of a job and the pages it leads to: they open offline and page through any number of appearances."""

from __future__ import annotations

import heapq
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from faceup.archive.outputs import Appearance
from faceup.archive.places import write_time
from faceup.report.templates import environment
from faceup.report.text import number

if TYPE_CHECKING:
    from faceup.archive.results import Search, Totals

PAGE_ROWS = 200
LEADS = 100


class Report:
    """Writes the pages while the appearances come; `finish` writes the first page."""

    def __init__(self, folder: Path, search: Search) -> None:
        self.folder, self.search = folder, search
        self._rows: list[dict[str, Any]] = []
        self._inputs: list[dict[str, Any]] = []
        self._leads: list[tuple[float, int, dict[str, Any]]] = []
        self._pages = {"appearances": 0, "coverage": 0}
        (folder / "pages").mkdir()

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows, self._inputs, self._leads = [], [], []

    def add(self, seen: Appearance) -> None:
        """Take in an appearance."""
        row = _shown(seen, self.search)
        self._rows.append(row)
        if seen.candidates:
            # The number breaks ties: of equal scores the earlier appearance stays.
            heapq.heappush(self._leads, (seen.candidates[0].cosine, -seen.track.number, row))
            if len(self._leads) > LEADS:
                heapq.heappop(self._leads)
        if len(self._rows) == PAGE_ROWS:
            self._write("appearances", self._rows, last=False)
            self._rows = []

    def cover(self, row: dict[str, Any]) -> None:
        """Take in a row of coverage.csv."""
        self._inputs.append(row)
        if len(self._inputs) == PAGE_ROWS:
            self._write("coverage", self._inputs, last=False)
            self._inputs = []

    def finish(self, totals: Totals) -> None:
        """Write what is left and report.html."""
        if self._rows or not self._pages["appearances"]:
            self._write("appearances", self._rows, last=True)
        if self._inputs or not self._pages["coverage"]:
            self._write("coverage", self._inputs, last=True)
        leads = [row for _, _, row in sorted(self._leads, key=lambda lead: lead[:2], reverse=True)]
        text = (
            _environment()
            .get_template("report.html.j2")
            .render(
                totals=totals,
                facts=self.search.facts,
                leads=leads,
                pages=dict(self._pages),
                rows=PAGE_ROWS,
                root="",
                settings=self.search.settings,
                style=_style(),
            )
        )
        (self.folder / "report.html").write_text(text, encoding="utf-8", newline="\n")

    def _write(self, kind: str, rows: list[dict[str, Any]], *, last: bool) -> None:
        self._pages[kind] += 1
        page = self._pages[kind]
        text = (
            _environment()
            .get_template(f"{kind}.html.j2")
            .render(rows=rows, page=page, last=last, root="../", settings=self.search.settings, style=_style())
        )
        (self.folder / "pages" / page_name(kind, page)).write_text(text, encoding="utf-8", newline="\n")


def page_name(kind: str, page: int) -> str:
    """Return the file name of a page, counted from 1."""
    return f"{kind}-{page:06d}.html"


def _shown(seen: Appearance, search: Search) -> dict[str, Any]:
    track, best = seen.track, seen.track.best[0]
    leads = []
    for rank, candidate in enumerate(seen.candidates, start=1):
        threshold = search.thresholds.get(candidate.subject, search.settings.threshold)
        leads.append(
            {
                "rank": rank,
                "subject": candidate.subject,
                "similarity": number(candidate.cosine, 3),
                "above": threshold is not None and candidate.cosine >= threshold,
            }
        )
    return {
        "number": track.number,
        "camera": track.first.camera,
        "start": _when(track.first.utc_us, track.first.seconds),
        "end": _when(track.last.utc_us, track.last.seconds),
        "source": best.source,
        "frames": track.frames,
        "quality": number(best.face.quality, 2),
        "eyes": number(best.face.eye_px, 1),
        "generated": seen.generated,
        "thumbnail": seen.thumbnail,
        "leads": leads,
    }


def _when(utc_us: int | None, seconds: float | None) -> str:
    if utc_us is not None:
        return write_time(utc_us)
    return "-" if seconds is None else f"{seconds:.3f} s"


@cache
def _environment() -> jinja2.Environment:
    made = environment("archive")
    made.globals["page_name"] = page_name
    return made


@cache
def _style() -> str:
    return resources.files("faceup.report").joinpath("report.css").read_text(encoding="utf-8")
