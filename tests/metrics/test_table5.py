"""Table 5 against the paper's own numbers and against naive loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceup.errors import DataError
from faceup.metrics.table5 import (
    COLUMNS,
    FIXED,
    RESERVED,
    candidate_column,
    candidate_columns,
    candidate_subject,
    probes_per_candidate,
    table5,
)

# Table 5 of the paper, cells and "Average Similarity"; None is its "-".
PAPER: dict[str, tuple[list[float | None], str]] = {
    "LR image": ([None, None, None, None, None, 0.449837], "0.074973"),
    "LCGE": ([0.468556, 0.222741, 0.269097, 0.106820, None, 0.607645], "0.279143"),
    "RCAN": ([0.356093, 0.590624, 0.509804, 0.512736, 0.347659, 0.612440], "0.488226"),
    "SRFBN": ([0.397624, 0.627165, 0.519975, 0.537452, 0.359543, 0.577195], "0.503159"),
    "MTC": ([0.430793, 0.523213, 0.583992, 0.534206, 0.404109, 0.556816], "0.505522"),
    "SPARNet": ([0.444318, 0.483088, 0.442757, 0.543900, 0.343557, 0.607939], "0.477593"),
    "SISN": ([0.475734, 0.599383, 0.502253, 0.548835, 0.490079, 0.624352], "0.540106"),
}


def paper_similarity() -> pd.DataFrame:
    rows = []
    for sr, (cells, _) in PAPER.items():
        for number, cell in enumerate(cells, start=1):
            name = f"Candidate {number}"
            found = cell is not None
            rows.append((sr, f"p{number}", name, name, 1, int(found), cell, 1 if found else None))
            # Somebody else scores higher without a word in the table: only genuine comparisons count.
            rows.append(
                (sr, f"p{number}", name, "another", 0, int(found), 0.9 if found else None, 1 if found else None)
            )
    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame


def test_all_seven_averages_of_the_paper_come_out_to_six_decimals() -> None:
    table = table5(paper_similarity(), list(PAPER))
    assert [f"{value:.6f}" for value in table["average_paper"]] == [average for _, average in PAPER.values()]
    assert list(table["sr"]) == list(PAPER)
    assert list(table.columns) == ["sr", *(f"Candidate {i}" for i in range(1, 7)), *FIXED]
    for i, (cells, _) in enumerate(PAPER.values()):
        wanted = [math.nan if cell is None else cell for cell in cells]
        np.testing.assert_array_equal(table.loc[i, candidate_columns(table)].to_numpy(float), wanted)


def test_the_average_over_the_detected_is_the_other_reading_of_the_paper() -> None:
    table = table5(paper_similarity(), list(PAPER)).set_index("sr")
    assert table.loc["LR image", "average_detected"] == pytest.approx(0.449837, abs=1e-12)
    assert f"{table.loc['LCGE', 'average_detected']:.6f}" == "0.334972"
    assert list(table["detected"]) == [1, 5, 6, 6, 6, 6, 6]
    assert list(table["probes"]) == [6] * 7


def test_the_best_of_several_gallery_pictures_counts_and_every_probe_does() -> None:
    rows = [
        # Two probes of A against two pictures of A and one of B; the third picture of A has no face.
        ("s", "p1", "A", "A", 1, 1, 0.4, 3),
        ("s", "p1", "A", "A", 1, 1, 0.6, 1),
        ("s", "p1", "A", "A", 1, 0, None, None),
        ("s", "p1", "A", "B", 0, 1, 0.5, 2),
        ("s", "p2", "A", "A", 1, 1, 0.2, 2),
        ("s", "p2", "A", "A", 1, 1, 0.1, 2),
        ("s", "p2", "A", "B", 0, 1, 0.3, 1),
        ("s", "p3", "A", "A", 1, 0, None, None),
        # Nobody knows whom p4 shows, and C has no gallery picture: neither is a candidate.
        ("s", "p4", "", "A", 0, 1, 0.9, 1),
        ("s", "p5", "C", "A", 0, 1, 0.9, 1),
        ("s", "p6", "B", "B", 1, 0, None, None),
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    (row,) = table5(frame, ["s"]).to_dict("records")
    assert row.pop("A") == pytest.approx((0.6 + 0.2) / 2)
    assert math.isnan(row.pop("B"))
    assert row.pop("sr") == "s"
    assert row == pytest.approx(
        {
            "average_paper": ((0.6 + 0.2 + 0) / 3 + 0) / 2,
            "average_detected": 0.4,
            "detected": 2,
            "probes": 4,
            "detection_rate": 2 / 4,
            "rank1_hits": 1,
            "rank1": 1 / 4,
        }
    )
    assert probes_per_candidate(frame).to_dict() == {"A": 3, "B": 1}


@st.composite
def runs(draw: st.DrawFn) -> tuple[pd.DataFrame, list[str]]:
    """A similarity frame as `faceup run` makes it, with its ranks counted naively."""
    people = draw(st.lists(st.sampled_from(["a", "b", "sr", "detected", "é|x"]), min_size=1, max_size=4, unique=True))
    gallery = [(f"{s}-g{i}", s) for s in people for i in range(draw(st.integers(0, 2)))]
    probes = [(f"{s}-p{i}", s) for s in [*people, ""] for i in range(draw(st.integers(0, 2)))]
    labels = draw(st.permutations(["none", "bicubic", "sisn:file.pt"]))[: draw(st.integers(1, 3))]
    enrolled = {g: draw(st.booleans()) for g, _ in gallery}
    # Few values, so that ties are common; negatives are clipped after ranking.
    cosine = st.sampled_from([-0.5, 0.0, 0.25, 0.1234567, 0.5, 1.0])
    rows = []
    for sr in labels:
        for p, person in probes:
            found = draw(st.booleans())
            scores = {g: draw(cosine) for g, _ in gallery if found and enrolled[g]}
            for g, subject in gallery:
                similarity: float | None = None
                rank: int | None = None
                if g in scores:
                    similarity = max(scores[g], 0.0)
                    rank = 1 + sum(scores[o] >= scores[g] for o, other in gallery if other != subject and o in scores)
                rows.append((sr, p, person, g, subject, int(person == subject), int(g in scores), similarity, rank))
    names = ["sr", "probe", "probe_subject", "gallery", "gallery_subject", "genuine", "detected", "similarity", "rank"]
    frame = pd.DataFrame(rows, columns=names)
    frame["similarity"] = frame["similarity"].astype(float)
    frame["rank"] = frame["rank"].astype("Int64")
    return frame, list(labels)


def naive(rows: list[dict[Any, Any]], labels: list[str]) -> list[dict[Any, Any]]:
    out = []
    people = sorted({r["probe_subject"] for r in rows if r["probe_subject"] == r["gallery_subject"]})
    for sr in labels:
        line: dict[Any, Any] = {"sr": sr, "detected": 0, "probes": 0, "rank1_hits": 0}
        with_zeros, with_cell = [], []
        for person in people:
            zeros, seen = [], []
            for probe in sorted({r["probe"] for r in rows if r["probe_subject"] == person}):
                own = [r for r in rows if r["sr"] == sr and r["probe"] == probe and r["gallery_subject"] == person]
                own = [r for r in own if r["detected"]]
                line["probes"] += 1
                if own:
                    seen.append(max(round(r["similarity"], 6) for r in own))
                    line["detected"] += 1
                    line["rank1_hits"] += any(r["rank"] == 1 for r in own)
                zeros.append(seen[-1] if own else 0.0)
            line[("cell", person)] = sum(seen) / len(seen) if seen else math.nan
            with_zeros.append(sum(zeros) / len(zeros))
            with_cell += [line[("cell", person)]] if seen else []
        line["average_paper"] = sum(with_zeros) / len(with_zeros) if people else math.nan
        line["average_detected"] = sum(with_cell) / len(with_cell) if with_cell else math.nan
        line["detection_rate"] = line["detected"] / line["probes"] if line["probes"] else math.nan
        line["rank1"] = line["rank1_hits"] / line["probes"] if line["probes"] else math.nan
        out.append(line)
    return out


@given(runs())
@settings(max_examples=50, deadline=None)
def test_table_equals_naive_loops(run: tuple[pd.DataFrame, list[str]]) -> None:
    frame, labels = run
    table = table5(frame, labels)
    wanted = naive(frame.to_dict("records"), labels)
    people = [key[1] for key in wanted[0] if isinstance(key, tuple)]
    assert [candidate_subject(c) for c in candidate_columns(table)] == people
    assert list(table.columns) == ["sr", *map(candidate_column, people), *FIXED]
    assert len(table) == len(labels)
    for line, (_, row) in zip(wanted, table.iterrows(), strict=True):
        assert row["sr"] == line["sr"]
        for name in FIXED:
            assert row[name] == pytest.approx(line[name], abs=1e-12, nan_ok=True), name
        for person in people:
            assert row[candidate_column(person)] == pytest.approx(line[("cell", person)], abs=1e-12, nan_ok=True)
    counts = probes_per_candidate(frame)
    assert list(counts.index) == people
    for person in people:
        assert counts[person] == frame.loc[frame["probe_subject"] == person, "probe"].nunique()


@given(runs(), st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_rows_does_not_matter(run: tuple[pd.DataFrame, list[str]], random: Any) -> None:
    frame, labels = run
    order = list(range(len(frame)))
    random.shuffle(order)
    pd.testing.assert_frame_equal(table5(frame.iloc[order], labels), table5(frame, labels))


@given(st.text(max_size=8) | st.sampled_from(sorted(RESERVED)), st.integers(0, 3))
def test_names_of_columns_and_subjects_are_one_to_one(name: str, prefixes: int) -> None:
    subject = "candidate:" * prefixes + name
    column = candidate_column(subject)
    assert column not in RESERVED
    assert candidate_subject(column) == subject


def test_two_subjects_never_share_a_column() -> None:
    subjects = [*RESERVED, *(f"candidate:{name}" for name in RESERVED), "candidate:x", "x"]
    assert len({candidate_column(subject) for subject in subjects}) == len(subjects)


def test_float32_similarities_give_the_table_of_their_six_decimals() -> None:
    frame = paper_similarity()
    single = frame.assign(similarity=frame["similarity"].astype(np.float32))
    pd.testing.assert_frame_equal(table5(single, list(PAPER)), table5(frame, list(PAPER)), check_exact=True)


def test_an_empty_frame_gives_rows_without_candidates() -> None:
    table = table5(paper_similarity().iloc[:0], ["none", "sisn"])
    assert list(table["sr"]) == ["none", "sisn"]
    assert candidate_columns(table) == []
    assert list(table["probes"]) == [0, 0]
    assert table[["average_paper", "rank1", "detection_rate"]].isna().all(axis=None)


def test_a_system_without_rows_is_an_error() -> None:
    with pytest.raises(DataError, match="'bicubic'"):
        table5(paper_similarity(), ["SISN", "bicubic"])


def test_a_system_asked_for_twice_is_an_error() -> None:
    with pytest.raises(DataError, match="one row"):
        table5(paper_similarity(), ["SISN", "SISN"])


def test_systems_with_different_probes_are_not_compared() -> None:
    frame = paper_similarity()
    short = frame[~((frame["sr"] == "MTC") & (frame["probe"] == "p3"))]
    with pytest.raises(DataError, match=r"'MTC' has 5 of 6"):
        table5(short, list(PAPER))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="lack the columns rank"):
        table5(paper_similarity().drop(columns="rank"), list(PAPER))
