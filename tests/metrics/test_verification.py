"""Error rates against loops over every threshold, scikit-learn, and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from faceup.errors import DataError
from faceup.metrics.separation import d_prime, histogram
from faceup.metrics.verification import (
    Comparisons,
    equal_error_rate,
    error_curve,
    error_rates,
    tar_at_fmr,
    threshold_at_fmr,
    with_failures,
)

# Few values, so that ties are common.
SCORES = st.lists(st.integers(-5, 5).map(lambda k: k / 5), min_size=1, max_size=12)


def naive_rates(genuine: list[float], impostor: list[float], threshold: float) -> tuple[float, float]:
    accepted = sum(1 for s in impostor if s >= threshold)
    refused = sum(1 for s in genuine if s < threshold)
    return accepted / len(impostor), refused / len(genuine)


@given(SCORES, SCORES)
def test_the_curve_is_that_of_a_loop_over_every_threshold(genuine: list[float], impostor: list[float]) -> None:
    curve = error_curve(genuine, impostor)
    assert curve.thresholds.tolist() == [*sorted({*genuine, *impostor}), math.inf]
    for k, threshold in enumerate(curve.thresholds):
        wanted = naive_rates(genuine, impostor, threshold)
        assert (curve.fmr[k], curve.fnmr[k]) == pytest.approx(wanted)
        assert error_rates(genuine, impostor, threshold) == pytest.approx(wanted)


@given(SCORES, SCORES)
def test_the_curve_is_that_of_scikit_learn(genuine: list[float], impostor: list[float]) -> None:
    labels, scores = [1] * len(genuine) + [0] * len(impostor), [*genuine, *impostor]
    false_positives, true_positives, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    curve = error_curve(genuine, impostor)
    np.testing.assert_allclose(thresholds[::-1], curve.thresholds)
    np.testing.assert_allclose(false_positives[::-1], curve.fmr, atol=1e-12)
    np.testing.assert_allclose(true_positives[::-1], 1 - curve.fnmr, atol=1e-12)


@given(SCORES, SCORES)
def test_eer_lies_on_the_line_between_the_points_where_the_curves_cross(g: list[float], i: list[float]) -> None:
    points = [naive_rates(g, i, t) for t in [*sorted({*g, *i}), math.inf]]
    k = next(k for k, (fmr, fnmr) in enumerate(points) if fnmr >= fmr)
    (a, b), (c, d) = points[max(k - 1, 0)], points[k]
    wanted = c if a - b + d - c == 0 else a + (a - b) / ((a - b) + (d - c)) * (c - a)
    rate, threshold = equal_error_rate(g, i)
    assert rate == pytest.approx(wanted)
    assert threshold == [*sorted({*g, *i}), math.inf][k]
    assert 0 <= rate <= 1


@given(SCORES, st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]))
def test_the_threshold_is_the_smallest_that_keeps_the_target(impostor: list[float], target: float) -> None:
    threshold = threshold_at_fmr(impostor, target)
    assert naive_rates([0.0], impostor, threshold)[0] <= target + 1e-9
    lower = np.nextafter(threshold, -np.inf)
    assert naive_rates([0.0], impostor, float(lower))[0] > target


@given(SCORES, SCORES, st.sampled_from([0.0, 0.1, 0.25, 0.5]))
def test_tar_is_the_best_of_all_thresholds_that_keep_the_target(g: list[float], i: list[float], target: float) -> None:
    best = 0.0
    for threshold in [*{*g, *i}, math.inf]:
        fmr, fnmr = naive_rates(g, i, threshold)
        if fmr <= target + 1e-9:
            best = max(best, 1 - fnmr)
    assert tar_at_fmr(g, i, target) == pytest.approx(best)


@given(SCORES, SCORES)
def test_monotone_transforms_and_permutations_change_no_rate(genuine: list[float], impostor: list[float]) -> None:
    g, i = np.array(genuine), np.array(impostor)
    base = error_curve(g, i)
    for other in (error_curve(np.exp(g), np.exp(i)), error_curve(g[::-1], np.roll(i, 1))):
        np.testing.assert_array_equal(other.fmr, base.fmr)
        np.testing.assert_array_equal(other.fnmr, base.fnmr)
    assert equal_error_rate(np.exp(g), np.exp(i))[0] == equal_error_rate(g, i)[0]


@given(SCORES, SCORES, st.integers(0, 4))
def test_comparisons_that_were_not_made_change_no_rate(g: list[float], i: list[float], failed: int) -> None:
    gap = [math.nan] * failed
    np.testing.assert_array_equal(error_curve(g + gap, gap + i).fmr, error_curve(g, i).fmr)
    assert histogram(g + gap)[2] == failed
    assert histogram(g + gap)[0].sum() == pytest.approx(len(g) / (len(g) + failed))


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 50))
def test_failures_to_acquire_are_refusals_of_everybody(fmr: float, fnmr: float, failed: int) -> None:
    made = 100
    far, frr = with_failures(fmr, fnmr, failed / (made + failed))
    assert far == pytest.approx(fmr * made / (made + failed))
    assert frr == pytest.approx((failed + fnmr * made) / (made + failed))


def sample(seed: int, subjects: int = 8, ties: bool = False) -> tuple[np.ndarray, np.ndarray, Comparisons]:
    """A square of scores of two probes per subject, the subject of each probe, and the same as comparisons."""
    rng = np.random.default_rng(seed)
    probe = np.repeat(np.arange(subjects), 2)
    scores = rng.normal(0, 1, (len(probe), subjects)) + 1.5 * (probe[:, None] == np.arange(subjects))
    if ties:
        scores = np.round(scores)
    scores[3] = np.nan
    own = probe[:, None] == np.arange(subjects)
    row, column = np.nonzero(~own)
    return scores, probe, Comparisons(scores[own], probe, scores[row, column], probe[row], column)


@pytest.mark.parametrize("ties", [False, True])
def test_statistics_without_resampling_are_the_metrics(ties: bool) -> None:
    scores, probe, comparisons = sample(0, ties=ties)
    own = probe[:, None] == np.arange(scores.shape[1])
    g, i = scores[own], scores[~own]
    ones = np.ones((1, scores.shape[1]))
    assert comparisons.eer()(ones)[0] == pytest.approx(equal_error_rate(g, i)[0])
    for target in (0.0, 0.01, 0.1, 0.3):
        assert comparisons.tar_at_fmr(target)(ones)[0] == pytest.approx(tar_at_fmr(g, i, target))
    assert comparisons.d_prime()(ones)[0] == pytest.approx(d_prime(g, i))
    fmr, fnmr = error_rates(g, i, 0.5)
    assert (comparisons.fmr(0.5)(ones)[0], comparisons.fnmr(0.5)(ones)[0]) == pytest.approx((fmr, fnmr))


@pytest.mark.parametrize("ties", [False, True])
def test_a_resample_is_the_metric_of_the_people_drawn_one_by_one(ties: bool) -> None:
    scores, probe, comparisons = sample(1, ties=ties)
    rng = np.random.default_rng(2)
    for _ in range(20):
        drawn = rng.integers(0, scores.shape[1], scores.shape[1])
        g, i = [], []
        for subject in drawn:
            g += [s for p in np.flatnonzero(probe == subject) if not math.isnan(s := scores[p, subject])]
            for other in drawn:
                if other != subject:  # copies of one person are not impostors of each other
                    i += [s for p in np.flatnonzero(probe == subject) if not math.isnan(s := scores[p, other])]
        weights = np.bincount(drawn, minlength=scores.shape[1])[None, :].astype(float)
        assert comparisons.eer()(weights)[0] == pytest.approx(equal_error_rate(g, i)[0])
        assert comparisons.tar_at_fmr(0.1)(weights)[0] == pytest.approx(tar_at_fmr(g, i, 0.1))
        assert comparisons.d_prime()(weights)[0] == pytest.approx(d_prime(g, i))
        assert comparisons.fmr(0.4)(weights)[0] == pytest.approx(naive_rates(g, i, 0.4)[0])
        assert comparisons.fnmr(0.4)(weights)[0] == pytest.approx(naive_rates(g, i, 0.4)[1])


@given(SCORES.filter(lambda s: len(set(s)) > 1), SCORES.filter(lambda s: len(s) > 1))
@settings(max_examples=50)
def test_d_prime_is_that_of_the_textbook(g: list[float], i: list[float]) -> None:
    mean_g, mean_i = sum(g) / len(g), sum(i) / len(i)
    var_g = sum((x - mean_g) ** 2 for x in g) / (len(g) - 1)
    var_i = sum((x - mean_i) ** 2 for x in i) / (len(i) - 1)
    assert d_prime(g, i) == pytest.approx((mean_g - mean_i) / math.sqrt((var_g + var_i) / 2))


def test_one_side_alone_is_an_error_or_nan() -> None:
    with pytest.raises(DataError, match="got 0 and 1"):
        error_curve([], [0.5])
    with pytest.raises(DataError, match="target"):
        threshold_at_fmr([0.1], 1.0)
    assert math.isnan(d_prime([1.0], [0.0, 0.1]))
    assert math.isnan(Comparisons([1.0], [0], [0.0, 0.1], [0, 1], [1, 0]).d_prime()(np.ones((1, 2)))[0])
    assert math.isnan(error_rates([], [0.1], 0.5)[1])
