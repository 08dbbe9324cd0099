"""The result of a search as CSV text."""

from __future__ import annotations

import csv
import io

from faceup.files import csv_text
from faceup.gallery.enrol import Enrolled
from faceup.gallery.index import Searcher

COLUMNS = ("picture", "status", "rank", "subject", "gallery_picture", "cosine")


def search_results(searcher: Searcher, queries: Enrolled, top: int, threshold: float | None) -> str:
    """Return one row per picture and candidate; a picture without a face or a candidate has one row that says so.

    Args:
        searcher: over the gallery.
        queries: the pictures to look for.
        top: candidates per picture.
        threshold: leave out smaller cosines.
    """
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(COLUMNS)
    found = searcher.search(queries.rows.vectors, top)
    for sample, candidates in zip(queries.rows.samples, found, strict=True):
        kept = [c for c in candidates if threshold is None or c.cosine >= threshold]
        for rank, c in enumerate(kept, start=1):
            writer.writerow([csv_text(sample), "ok", rank, csv_text(c.subject), csv_text(c.sample), f"{c.cosine:.6f}"])
        if not kept:
            writer.writerow([csv_text(sample), "below_threshold" if candidates else "empty_gallery", "", "", "", ""])
    for row in queries.failed:
        writer.writerow([csv_text(row.sample.sample_id), row.status, "", "", "", ""])
    return sink.getvalue()
