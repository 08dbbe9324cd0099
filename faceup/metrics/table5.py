"""Table 5 of the SISN paper from the similarities of a run: pure functions on frames.

Columns of the table: `sr`, one per candidate, then those of `FIXED` in their order. A candidate's column is named after
the subject. A subject whose name is one of `RESERVED` gets `candidate:` in front (so does a name that is such a column
already), which keeps names and columns one to one: see `candidate_column` and `candidate_subject`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from faceup.errors import DataError

COLUMNS = ("sr", "probe", "probe_subject", "gallery_subject", "genuine", "detected", "similarity", "rank")
FIXED = (
    "average_paper",
    "average_detected",
    "detected",
    "probes",
    "detection_rate",
    "rank1_hits",
    "rank1",
)
RESERVED = frozenset({"sr", "similarity", *FIXED})
DECIMALS = 6
_PREFIX = "candidate:"


def table5(similarity: pd.DataFrame, sr_order: Sequence[str]) -> pd.DataFrame:
    """Return one row per SR system with the mean best similarity of every candidate.

    A candidate is a subject with gallery pictures and probes. A probe counts as detected when its face was found and
    so was one in at least one of its subject's gallery pictures; its similarity is the best of those comparisons, its
    rank the best of theirs. Similarities are taken with six decimals, as similarity.csv prints them, so that a table
    made again from the file is the same.

    Args:
        similarity: one row per SR system, probe and gallery picture, with at least the columns `COLUMNS`: texts for
            the first four (an unknown subject is empty), 0 or 1 for `genuine` and `detected`, numbers for
            `similarity` and `rank`, which are missing where `detected` is 0.
        sr_order: the SR systems to tabulate, each once, in the order of the rows.

    Returns:
        Per row, with candidates sorted by name:

        - a candidate's column: mean over its detected probes, NaN when it has none;
        - `average_paper`: mean over the candidates of the mean over all their probes, a probe without a face as 0;
          with one probe each this is the paper's average;
        - `average_detected`: mean over the candidates that have a detected probe, NaN without any;
        - `detected`, `probes`: how many probes of candidates were detected, and how many there are;
        - `detection_rate`: their quotient;
        - `rank1_hits`: probes of rank 1; one that was not detected is a miss;
        - `rank1`: `rank1_hits` / `probes`. Rates are NaN without probes.

    Raises:
        DataError: a column is missing, an SR system has no rows or is asked for twice, or the systems do not cover the
            same probes.
    """
    order = list(sr_order)
    probes = _best_per_probe(similarity, order)
    candidates = sorted(set(probes["probe_subject"]))
    cells = _means(probes, order, candidates)
    zeros = _means(probes.fillna({"similarity": 0.0}), order, candidates)
    per_sr = pd.DataFrame(
        {
            "detected": probes["similarity"].notna(),
            "probes": 1,
            "rank1_hits": probes["rank"] == 1,
        }
    )
    counts = per_sr.groupby(probes["sr"]).sum().reindex(order, fill_value=0).astype(int)
    out: pd.DataFrame = cells.rename(columns=candidate_column)
    out.insert(0, "sr", pd.Series(order, index=out.index, dtype=object))
    out["average_paper"] = zeros.mean(axis=1)
    out["average_detected"] = cells.mean(axis=1)
    out["detected"] = counts["detected"]
    out["probes"] = counts["probes"]
    out["detection_rate"] = counts["detected"] / counts["probes"]
    out["rank1_hits"] = counts["rank1_hits"]
    out["rank1"] = counts["rank1_hits"] / counts["probes"]
    out.columns.name = None
    out.index = pd.RangeIndex(len(out))
    return out


def probes_per_candidate(similarity: pd.DataFrame) -> pd.Series[int]:
    """Return the number of probes of every candidate, indexed by subject, sorted by name.

    Args:
        similarity: as for `table5`.
    """
    genuine = similarity[similarity["genuine"] == 1]
    pairs = genuine[["probe_subject", "probe"]].drop_duplicates()
    counts: pd.Series[int] = pairs.groupby("probe_subject")["probe"].size().sort_index().astype(int)
    return counts


def of_candidates(similarity: pd.DataFrame, candidates: Sequence[str]) -> pd.DataFrame:
    """Return the rows of some candidates' probes; their ranks stay those among the whole gallery."""
    rows: pd.DataFrame = similarity[similarity["probe_subject"].isin(list(candidates))]
    return rows


def candidate_column(subject: str) -> str:
    """Return the name of a candidate's column: the subject, with `candidate:` in front of a reserved name.

    >>> candidate_column("001"), candidate_column("sr"), candidate_column("candidate:sr")
    ('001', 'candidate:sr', 'candidate:candidate:sr')
    """
    return _PREFIX + subject if _bare(subject) in RESERVED else subject


def candidate_subject(column: str) -> str:
    """Return the subject of a candidate's column; the inverse of `candidate_column`."""
    return column.removeprefix(_PREFIX) if _bare(column) in RESERVED else column


def candidate_columns(table: pd.DataFrame) -> list[str]:
    """Return the names of the candidates' columns of a table, in their order."""
    return [str(column) for column in table.columns if column not in RESERVED]


def _bare(name: str) -> str:
    while name.startswith(_PREFIX):
        name = name.removeprefix(_PREFIX)
    return name


def _best_per_probe(similarity: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Return sr, probe_subject, probe, similarity and rank, one row per SR system and probe of a candidate."""
    if missing := [column for column in COLUMNS if column not in similarity.columns]:
        raise DataError(
            f"The similarities lack the columns {', '.join(missing)}; they have {list(similarity.columns)}."
        )
    if len(set(order)) != len(order):
        raise DataError(f"Each SR system is one row of the table; asked for {', '.join(order)}.")
    if absent := sorted(set(order) - set(similarity["sr"])) if len(similarity) else []:
        raise DataError(f"The similarities have no rows of SR system {absent[0]!r}; they have {_systems(similarity)}.")
    rows = similarity[(similarity["genuine"] == 1) & similarity["sr"].isin(list(order))]
    found = (rows["detected"] == 1).to_numpy()
    compared = pd.DataFrame(
        {
            **{column: rows[column].astype(object) for column in ("sr", "probe_subject", "probe")},
            "similarity": np.where(found, rows["similarity"].astype(float).round(DECIMALS), np.nan),
            "rank": np.where(found, rows["rank"].astype(float), np.nan),
        }
    )
    best: pd.DataFrame = (
        compared.groupby(["sr", "probe_subject", "probe"], as_index=False)
        .agg(similarity=("similarity", "max"), rank=("rank", "min"))
        .astype({"similarity": float, "rank": float})
    )
    every = len(best[["probe_subject", "probe"]].drop_duplicates())
    sizes = best.groupby("sr").size().reindex(list(order), fill_value=0)
    if (sizes != every).any():
        short = str(sizes.idxmin())
        raise DataError(
            f"The SR systems were not given the same probes: {short!r} has {sizes[short]} of {every}; "
            "a table of them would compare different people."
        )
    return best


def _means(probes: pd.DataFrame, order: Sequence[str], candidates: Sequence[str]) -> pd.DataFrame:
    """Return the mean over the probes, one row per SR system, one column per candidate."""
    means = probes.groupby(["sr", "probe_subject"])["similarity"].mean().unstack("probe_subject")
    wide: pd.DataFrame = means.reindex(index=list(order), columns=list(candidates))
    return wide


def _systems(similarity: pd.DataFrame) -> str:
    return ", ".join(map(repr, dict.fromkeys(similarity["sr"])))
