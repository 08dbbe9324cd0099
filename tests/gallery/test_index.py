"""The search against a plain loop over all cosines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceup.errors import ConfigError, DataError
from faceup.gallery.index import Searcher, build_index, index_from_bytes, index_to_bytes
from faceup.gallery.rows import Rows


def unit(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    vectors = rng.standard_normal((count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def gallery(vectors: np.ndarray, subjects: list[str]) -> Rows:
    n = len(subjects)
    return Rows(tuple(subjects), tuple(f"{i:05d}" for i in range(n)), ("",) * n, ("",) * n, vectors)


def naive(rows: Rows, query: np.ndarray, top: int) -> list[tuple[str, float]]:
    best: dict[str, float] = {}
    for subject, vector in zip(rows.subjects, rows.vectors, strict=True):
        best[subject] = max(best.get(subject, -2.0), float(vector @ query))
    return sorted(best.items(), key=lambda item: -item[1])[:top]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 6), st.integers(1, 8))
def test_flat_finds_what_a_loop_finds(seed: int, count: int, people: int, top: int) -> None:
    rng = np.random.default_rng(seed)
    rows = gallery(unit(rng, count, 12), [f"s{i}" for i in rng.integers(0, people, count)])
    queries = unit(rng, 5, 12)
    for query, found in zip(queries, Searcher(rows).search(queries, top), strict=True):
        expected = naive(rows, query, top)
        assert [c.subject for c in found] == [subject for subject, _ in expected]
        np.testing.assert_allclose([c.cosine for c in found], [score for _, score in expected], atol=1e-6)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_the_fast_indexes_find_the_mates_and_give_exact_scores(kind: str) -> None:
    rng = np.random.default_rng(3)
    vectors = unit(rng, 4000, 32)
    rows = gallery(vectors, [str(i) for i in range(4000)])
    searcher = Searcher(rows, kind)
    queries = vectors[::40] + 0.05 * unit(rng, 100, 32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    found = searcher.search(queries, 1)
    hits = sum(candidates[0].subject == str(40 * i) for i, candidates in enumerate(found))
    assert hits >= 99
    for query, candidates in zip(queries, found, strict=True):
        exact = float(vectors[int(candidates[0].subject)] @ query)
        assert candidates[0].cosine == pytest.approx(exact, abs=1e-6)


def test_a_subject_with_many_pictures_hides_nobody() -> None:
    """Its 50 pictures are all more alike than the second subject's only one."""
    rng = np.random.default_rng(0)
    query = unit(rng, 1, 8)
    near = query + 0.01 * unit(rng, 50, 8)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    rows = gallery(np.concatenate([near, unit(rng, 1, 8)]), ["crowd"] * 50 + ["lone"])
    (found,) = Searcher(rows).search(query, 2)
    assert [c.subject for c in found] == ["crowd", "lone"]


def test_an_index_comes_back_from_its_bytes() -> None:
    vectors = unit(np.random.default_rng(1), 200, 8)
    data = index_to_bytes(build_index(vectors, "hnsw"))
    assert index_from_bytes(data, 200).ntotal == 200
    with pytest.raises(DataError, match="200 rows, the gallery 199"):
        index_from_bytes(data, 199)
    with pytest.raises(DataError, match="index is damaged"):
        index_from_bytes(b"nothing of the kind", 200)


def test_an_empty_gallery_and_an_unknown_kind() -> None:
    empty = gallery(np.zeros((0, 4), np.float32), [])
    assert Searcher(empty).search(unit(np.random.default_rng(0), 2, 4), 3) == [[], []]
    with pytest.raises(ConfigError, match="did you mean"):
        build_index(np.zeros((0, 4), np.float32), "flatt")
