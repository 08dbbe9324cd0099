"""From embeddings of gallery and probes to the rows of similarity.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceup.errors import DataError
from faceup.files import plain_text, shown
from faceup.match import cosine_scores, ranks, similarity
from faceup.search import Searched, search
from faceup.types import Embeddings, Floats, Sample

Numbers = npt.NDArray[np.int64]
# More comparisons than this are not kept one by one: some hundred megabytes of CSV for each SR system.
LIMIT = 4_000_000


def compared(
    label: str,
    gallery: Embeddings,
    probes: Embeddings,
    gallery_samples: Sequence[Sample],
    probe_samples: Sequence[Sample],
    *,
    kind: str,
    pairs: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, Searched | None]:
    """Return one row per probe and gallery picture, or per listed pair, in the columns of similarity.csv.

    Of more than `LIMIT` comparisons only those that `faceup.search` keeps have a row, and what else is kept of them is
    returned beside; else that is None.

    Args:
        label: of the SR system.
        gallery: embeddings of `gallery_samples`.
        probes: embeddings of `probe_samples`.
        gallery_samples: whose pictures they are.
        probe_samples: likewise.
        kind: the similarity that is printed.
        pairs: of `read_pairs`; ranks are those among the whole gallery all the same.
    """
    subjects = np.array([s.subject_id or "" for s in gallery_samples], dtype=object)
    probe_subjects = np.array([s.subject_id or "" for s in probe_samples], dtype=object)
    searched: Searched | None = None
    if pairs is None and len(gallery_samples) * len(probe_samples) > LIMIT:
        kept, searched = search(gallery, probes, list(subjects), list(probe_subjects))
        row, column, cosine, rank = kept.gallery, kept.probe, kept.cosine, kept.rank
    elif pairs is None:
        scores = cosine_scores(gallery, probes).scores
        g, p = scores.shape
        row, column = np.tile(np.arange(g), p), np.repeat(np.arange(p), g)
        cosine, rank = scores[row, column], ranks(scores, list(subjects))[row, column]
    else:
        row, column = pairs["gallery_index"].to_numpy(), pairs["probe_index"].to_numpy()
        cosine, rank = _listed(gallery, probes, row, column, list(subjects))
    detected = ~np.isnan(cosine)
    frame = pd.DataFrame(
        {
            "sr": label,
            "probe": np.array(probes.sample_ids, dtype=object)[column],
            "probe_subject": probe_subjects[column],
            "gallery": np.array(gallery.sample_ids, dtype=object)[row],
            "gallery_subject": subjects[row],
        }
    )
    known = frame["probe_subject"] != ""
    frame["genuine"] = (known & (frame["probe_subject"] == frame["gallery_subject"])).astype(int)
    frame["detected"] = detected.astype(int)
    frame["similarity"] = similarity(cosine, kind)
    frame["rank"] = pd.array(rank, dtype="Int64")
    frame["rank"] = frame["rank"].mask(~detected)
    frame["cosine"] = cosine
    if pairs is not None:
        frame["fold"] = pairs["fold"].to_numpy()
    return frame, searched


def _listed(
    gallery: Embeddings, probes: Embeddings, row: Numbers, column: Numbers, subjects: list[str]
) -> tuple[Floats, Numbers]:
    """Return cosine and rank of listed pairs; the rank needs the whole gallery, so some probes at a time."""
    cosine, rank = np.full(len(row), np.nan, np.float32), np.zeros(len(row), np.int64)
    step = max(1, LIMIT // len(gallery.sample_ids))
    for start in range(0, len(probes.sample_ids), step):
        chosen = slice(start, start + step)
        inside = (column >= start) & (column < start + step)
        part = Embeddings(probes.vectors[chosen], probes.sample_ids[chosen], probes.failed[chosen])
        scores = cosine_scores(gallery, part).scores
        places = row[inside], column[inside] - start
        cosine[inside], rank[inside] = scores[places], ranks(scores, subjects)[places]
    return cosine, rank


def read_pairs(path: Path, gallery: Sequence[Sample], probes: Sequence[Sample]) -> pd.DataFrame:
    """Return the listed pairs with the numbers of their pictures: probe_index, gallery_index and fold (0 if none).

    Raises:
        DataError: the file cannot be read, lacks a column, or names a picture that is on neither side.
    """
    try:
        read: pd.DataFrame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8").map(plain_text)
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise DataError(f"{shown(path)}: not CSV in UTF-8 ({error}).") from error
    if missing := {"probe", "gallery"} - set(read.columns):
        raise DataError(f"{shown(path)}: pairs need the columns probe and gallery; missing: {', '.join(missing)}.")
    if not len(read):
        raise DataError(f"{shown(path)}: no pair is listed.")
    out = pd.DataFrame(index=read.index)
    for side, samples in (("probe", probes), ("gallery", gallery)):
        numbers = {s.sample_id: k for k, s in enumerate(samples)}
        if unknown := [name for name in read[side] if name not in numbers]:
            raise DataError(
                f"{shown(path)}: {len(unknown)} pairs name a {side} picture that the run does not have, "
                f"e.g. {unknown[0]!r}."
            )
        out[f"{side}_index"] = [numbers[name] for name in read[side]]
    try:
        out["fold"] = read["fold"].astype(int) if "fold" in read.columns else 0
    except ValueError as error:
        raise DataError(f"{shown(path)}: fold must be a whole number ({error}).") from error
    if out.duplicated(["probe_index", "gallery_index"]).any():
        raise DataError(f"{shown(path)}: the same pair is listed twice.")
    return out
