"""Scores and ranks against naive loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceup.errors import ConfigError
from faceup.match import cosine_scores, ranks, similarity
from faceup.types import Embeddings


def embeddings(rows: int, seed: int, failed: list[int]) -> Embeddings:
    vectors = np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mask = np.isin(np.arange(rows), failed)
    vectors[mask] = np.nan
    return Embeddings(vectors, tuple(map(str, range(rows))), mask)


def test_cosine_against_a_loop() -> None:
    gallery, probes = embeddings(5, 0, [2]), embeddings(4, 1, [0])
    scores = cosine_scores(gallery, probes).scores
    for g in range(5):
        for p in range(4):
            if g == 2 or p == 0:
                assert np.isnan(scores[g, p])
            else:
                expected = sum(float(a) * float(b) for a, b in zip(gallery.vectors[g], probes.vectors[p], strict=True))
                assert scores[g, p] == pytest.approx(expected, abs=1e-6)


def test_similarity_kinds() -> None:
    cosine = np.array([-0.5, 0.0, 0.25, np.nan], np.float32)
    np.testing.assert_array_equal(similarity(cosine, "clipped"), np.array([0, 0, 0.25, np.nan], np.float32))
    np.testing.assert_array_equal(similarity(cosine, "half"), np.array([0.25, 0.5, 0.625, np.nan], np.float32))
    np.testing.assert_array_equal(similarity(cosine, "cosine"), cosine)
    with pytest.raises(ConfigError):
        similarity(cosine, "dot")


def naive_ranks(scores: np.ndarray, subjects: list[str]) -> np.ndarray:
    out = np.zeros(scores.shape, int)
    for p in range(scores.shape[1]):
        for g in range(scores.shape[0]):
            if np.isnan(scores[g, p]):
                continue
            out[g, p] = 1 + sum(
                subjects[other] != subjects[g] and scores[other, p] >= scores[g, p] for other in range(scores.shape[0])
            )
    return out


@given(st.data())
def test_ranks_against_a_loop_with_ties_and_failures(data: st.DataObject) -> None:
    g, p = data.draw(st.integers(1, 7)), data.draw(st.integers(0, 4))
    subjects = data.draw(st.lists(st.sampled_from("abc"), min_size=g, max_size=g))
    values = data.draw(st.lists(st.sampled_from([-0.5, 0.0, 0.5, np.nan]), min_size=g * p, max_size=g * p))
    scores = np.array(values, np.float32).reshape(g, p)
    np.testing.assert_array_equal(ranks(scores, subjects), naive_ranks(scores, subjects))


@given(st.integers(0, 1000))
def test_a_monotone_transform_keeps_ranks(seed: int) -> None:
    scores = np.random.default_rng(seed).uniform(-1, 1, (6, 3)).astype(np.float32)
    subjects = list("aabbcd")
    np.testing.assert_array_equal(ranks(scores, subjects), ranks(np.exp(3 * scores), subjects))
