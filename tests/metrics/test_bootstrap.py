"""Intervals against scipy, loops and what they promise; tests of differences against scipy and by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from faceup.errors import DataError
from faceup.metrics.bootstrap import (
    bootstrap_interval,
    difference,
    draw_weights,
    mean_statistic,
    ratio_statistic,
    subject_interval,
)
from faceup.metrics.significance import holm, paired_t, sign_flip_p, verdict, zero_error_bound


@pytest.mark.parametrize("method", ["BCa", "percentile"])
def test_the_interval_of_a_skewed_mean_is_that_of_scipy(method: str) -> None:
    values = np.random.default_rng(0).exponential(1.0, 40)
    wanted = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method=method, rng=np.random.default_rng(1)
    ).confidence_interval
    got = subject_interval(mean_statistic(values), 40, rounds=20_000, method=method.lower())  # type: ignore[arg-type]
    assert got.method == method.lower()
    assert (got.low, got.high) == pytest.approx(tuple(wanted), abs=0.012)
    # The two methods differ by more than that, so the right one was compared.
    other = subject_interval(mean_statistic(values), 40, rounds=20_000, method="percentile")
    assert method == "percentile" or got.high - other.high > 0.03


def test_the_interval_of_a_ratio_of_clusters_is_that_of_scipy() -> None:
    rng = np.random.default_rng(3)
    probes = rng.integers(1, 9, 30)
    hits = rng.binomial(probes, 0.7)
    wanted = stats.bootstrap(
        (hits, probes), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True, n_resamples=20_000,
        rng=np.random.default_rng(4),
    ).confidence_interval  # fmt: skip
    got = subject_interval(ratio_statistic(hits, probes), 30, rounds=20_000)
    assert got.estimate == hits.sum() / probes.sum()
    assert (got.low, got.high) == pytest.approx(tuple(wanted), abs=0.006)


def test_resamples_draw_as_many_people_as_there_are_and_are_seeded() -> None:
    weights = draw_weights(7, rounds=500, seed=5)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)
    np.testing.assert_array_equal(weights, draw_weights(7, rounds=500, seed=5))
    assert (weights != draw_weights(7, rounds=500, seed=6)).any()


def test_nothing_to_vary_gives_a_point_and_one_person_none() -> None:
    assert subject_interval(mean_statistic([0.5, 0.5, 0.5]), 3).method == "percentile"
    got = subject_interval(ratio_statistic([3.0], [4.0]), 1)
    assert (got.estimate, got.method) == (0.75, "none")
    assert math.isnan(got.low)
    assert math.isnan(subject_interval(mean_statistic([math.nan, math.nan]), 2).estimate)
    with pytest.raises(DataError, match="at least one"):
        bootstrap_interval([])


def test_portions_change_nothing() -> None:
    values = np.random.default_rng(0).normal(size=20)
    whole, parts = (subject_interval(mean_statistic(values), 20, comparisons=c) for c in (1, 10**6))
    assert whole == parts


def test_a_paired_difference_uses_the_same_people_on_both_sides() -> None:
    values = np.random.default_rng(0).normal(size=12)
    paired = subject_interval(difference(mean_statistic(values + 0.5), mean_statistic(values)), 12)
    assert (paired.low, paired.high) == pytest.approx((0.5, 0.5))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=7))
def test_the_exact_test_counts_all_signs(values: list[float]) -> None:
    seen = abs(sum(values))
    total = sum(map(abs, values))
    patterns = list(itertools.product((1, -1), repeat=len(values)))
    hits = sum(abs(sum(s * v for s, v in zip(p, values, strict=True))) >= seen - 1e-12 * total for p in patterns)
    assert sign_flip_p(values) == pytest.approx(hits / len(patterns))


def test_the_random_test_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).normal(0.3, 1, 30)
    wanted = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(0)
    ).pvalue
    assert sign_flip_p(values, rounds=20_000) == pytest.approx(wanted, abs=0.012)
    assert 0.02 < wanted < 0.5


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_the_textbooks(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for k, p in enumerate(p_values):
        below = [(len(p_values) - sum(q < o for q in p_values)) * o for o in p_values if o <= p]
        # Among equal p values the first in order has the largest factor, and the maximum carries it to the others.
        assert adjusted[k] == pytest.approx(min(1.0, max(below)))
        assert p <= adjusted[k] <= min(1.0, len(p_values) * p) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_no_error_seen_still_bounds_the_rate() -> None:
    assert (1 - zero_error_bound(50)) ** 50 == pytest.approx(0.05)
    assert zero_error_bound(1000) == pytest.approx(3 / 1000, rel=0.01)
    assert math.isnan(zero_error_bound(0))


def test_six_people_can_just_reach_significance_and_five_cannot() -> None:
    assert sign_flip_p([1.0] * 6) == 2 / 64
    assert sign_flip_p([1.0] * 5) == 2 / 32 > 0.05
    assert verdict(2 / 32, 5) == "not significant at n = 5"


def test_students_interval_is_that_of_scipy() -> None:
    values = [0.1, 0.4, -0.2, 0.3, 0.25]
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert paired_t(values)[1:] == pytest.approx((wanted.low, wanted.high))
