"""Ranks, CMC and open-set rates against loops, and their laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceup.errors import DataError
from faceup.match import ranks as picture_ranks
from faceup.metrics.identification import (
    average_precision,
    cmc,
    fnir,
    fpir,
    mate_ranks,
    mate_scores,
    nonmated_tops,
    threshold_at_fpir,
    tpir_at_fpir,
    tpir_statistic,
)


@st.composite
def searches(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties and failures, and the mates."""
    probes, subjects = draw(st.integers(1, 6)), draw(st.integers(2, 6))
    cells = st.one_of(st.integers(-3, 3).map(lambda k: k / 4), st.just(math.nan))
    scores = np.array(draw(st.lists(cells, min_size=probes * subjects, max_size=probes * subjects)))
    scores = scores.reshape(probes, subjects)
    mate = draw(st.lists(st.integers(-1, subjects - 1), min_size=probes, max_size=probes))
    return scores, np.array(mate)


def naive_rank(row: np.ndarray, mate: int) -> int:
    if mate < 0 or math.isnan(row[mate]):
        return 0
    return 1 + sum(1 for k, score in enumerate(row) if k != mate and score >= row[mate])


@given(searches())
def test_ranks_are_those_of_a_loop(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, mate = case
    assert mate_ranks(scores, mate).tolist() == [naive_rank(row, m) for row, m in zip(scores, mate, strict=True)]


@given(searches())
def test_ranks_are_those_that_similarity_csv_prints(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, mate = case
    printed = picture_ranks(scores.T.astype(np.float32), [f"s{k}" for k in range(scores.shape[1])])
    wanted = [int(printed[m, p]) if m >= 0 else 0 for p, m in enumerate(mate)]
    assert mate_ranks(scores, mate).tolist() == wanted


@given(searches(), st.randoms(use_true_random=False))
def test_monotone_transforms_and_permutations_keep_ranks(case: tuple[np.ndarray, np.ndarray], random) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    scores, mate = case
    ranks = mate_ranks(scores, mate)
    np.testing.assert_array_equal(mate_ranks(np.exp(3 * scores) - 1, mate), ranks)
    order = list(range(scores.shape[1]))
    random.shuffle(order)
    moved = np.array([order.index(m) if m >= 0 else -1 for m in mate])
    np.testing.assert_array_equal(mate_ranks(scores[:, order], moved), ranks)
    rows = list(range(len(scores)))
    random.shuffle(rows)
    np.testing.assert_array_equal(mate_ranks(scores[rows], mate[rows]), ranks[rows])


@given(searches(), st.integers(1, 7))
def test_the_cmc_counts_every_failure_as_a_miss(case: tuple[np.ndarray, np.ndarray], depth: int) -> None:
    scores, mate = case
    ranks = mate_ranks(scores, mate)
    curve = cmc(ranks, depth)
    for k in range(1, depth + 1):
        assert curve[k - 1] == pytest.approx(sum(1 for r in ranks if 0 < r <= k) / len(ranks))
    assert (np.diff(curve) >= 0).all()
    failed = np.append(ranks, 0)
    np.testing.assert_allclose(cmc(failed, depth), curve * len(ranks) / len(failed))


@given(searches(), st.sampled_from([-0.5, 0.0, 0.25, 0.6]), st.integers(1, 3))
def test_open_set_rates_are_those_of_a_loop(case: tuple[np.ndarray, np.ndarray], threshold: float, depth: int) -> None:
    scores, mate = case
    mated = mate >= 0
    misses = 0
    for row, m in zip(scores[mated], mate[mated], strict=True):
        misses += not (0 < naive_rank(row, m) <= depth and row[m] >= threshold)
    own, ranks = mate_scores(scores, mate)[mated], mate_ranks(scores, mate)[mated]
    got = fnir(own, ranks, threshold, depth)
    assert math.isnan(got) if not mated.any() else got == pytest.approx(misses / mated.sum())
    for leave_out in (False, True):
        alarms = searched = 0
        for row, m in zip(scores, mate, strict=True):
            if m >= 0 and not leave_out:
                continue
            searched += 1
            alarms += any(s >= threshold for k, s in enumerate(row) if k != m)
        rate = fpir(nonmated_tops(scores, mate, leave_out=leave_out), threshold)
        assert math.isnan(rate) if not searched else rate == pytest.approx(alarms / searched)


@given(searches(), st.sampled_from([0.0, 0.2, 0.5]))
def test_the_open_set_threshold_is_the_smallest_that_keeps_the_target(
    case: tuple[np.ndarray, np.ndarray], target: float
) -> None:
    tops = nonmated_tops(*case, leave_out=True)
    threshold = threshold_at_fpir(tops, target)
    assert fpir(tops, threshold) <= target + 1e-9
    assert threshold == -math.inf or fpir(tops, float(np.nextafter(threshold, -np.inf))) > target


def test_no_probe_is_an_error() -> None:
    with pytest.raises(DataError, match="at least one probe"):
        cmc([], 3)
    with pytest.raises(DataError, match="non-mated"):
        threshold_at_fpir([], 0.1)


def naive_average_precision(row: list[float], own: list[bool]) -> float:
    """Walk down the ranked pictures, those of others first where scores are equal, and add up trapezoids."""
    ranked = sorted(range(len(row)), key=lambda k: (-row[k] if not math.isnan(row[k]) else math.inf, own[k]))
    area = recall_before = 0.0
    precision_before, hits = 1.0, 0
    for seen, k in enumerate(ranked, start=1):
        hits += own[k] and not math.isnan(row[k])
        recall, precision = hits / sum(own), hits / seen
        area += (recall - recall_before) * (precision_before + precision) / 2
        recall_before, precision_before = recall, precision
    return area


@given(st.lists(st.tuples(st.one_of(st.integers(-3, 3).map(lambda k: k / 4), st.just(math.nan)), st.booleans()), min_size=1, max_size=12).filter(lambda rows: any(own for _, own in rows)))  # fmt: skip  # noqa: E501
def test_average_precision_is_that_of_a_walk_down_the_list(rows: list[tuple[float, bool]]) -> None:
    scores, own = [score for score, _ in rows], [mine for _, mine in rows]
    subjects = ["own" if mine else f"other {k}" for k, mine in enumerate(own)]
    printed = picture_ranks(np.array(scores, np.float32)[:, None], subjects)[:, 0]
    ranks = [math.nan if rank == 0 else rank for rank, mine in zip(printed, own, strict=True) if mine]
    assert average_precision(ranks) == pytest.approx(naive_average_precision(scores, own))


def test_average_precision_needs_a_picture() -> None:
    with pytest.raises(DataError, match="at least one gallery picture"):
        average_precision([])


@given(searches(), st.sampled_from([0.0, 0.2, 0.3, 0.5]), st.integers(1, 3))
def test_tpir_is_the_best_of_a_loop_over_every_threshold(
    case: tuple[np.ndarray, np.ndarray], target: float, depth: int
) -> None:
    scores, mate = case
    mated = mate >= 0
    tops = nonmated_tops(scores, mate)
    if not mated.any() or mated.all():
        return
    own, ranks = mate_scores(scores, mate)[mated], mate_ranks(scores, mate)[mated]
    best = 0.0
    for threshold in [-9.0, *(s + 1e-9 for s in np.unique(scores[~np.isnan(scores)])), 9.0]:
        alarms = sum(any(s >= threshold for s in row) for row in scores[~mated])
        if alarms / (~mated).sum() <= target + 1e-9:
            hits = sum(
                0 < naive_rank(row, m) <= depth and row[m] >= threshold
                for row, m in zip(scores[mated], mate[mated], strict=True)
            )
            best = max(best, hits / mated.sum())
    assert tpir_at_fpir(own, ranks, tops, target, depth) == pytest.approx(best)


def test_a_resample_of_tpir_is_that_of_the_people_drawn_one_by_one() -> None:
    rng = np.random.default_rng(5)
    people, mated_people = 9, 5
    for _ in range(20):
        own = np.round(rng.normal(0.5, 0.5, 10), 1)
        own[[1, 4]] = np.nan
        tops = np.round(rng.normal(0, 0.5, 8), 1)
        tops[2] = np.nan
        own_person, tops_person = rng.integers(0, mated_people, 10), rng.integers(mated_people, people, 8)
        ranks = np.where(np.isnan(own), 0, rng.choice([1, 20, 21], 10))
        found = np.where((ranks >= 1) & (ranks <= 20), own, np.nan)
        for target in (0.0, 0.1, 0.3):
            rate = tpir_statistic(found, own_person, tops, tops_person, target)
            assert rate(np.ones((1, people)))[0] == pytest.approx(tpir_at_fpir(own, ranks, tops, target))
            drawn = rng.integers(0, people, people)
            mine = np.concatenate([np.flatnonzero(own_person == one) for one in drawn])
            others = np.concatenate([np.flatnonzero(tops_person == one) for one in drawn])
            got = rate(np.bincount(drawn, minlength=people)[None, :].astype(float))[0]
            if not len(mine) or not len(others):
                assert math.isnan(got)
            else:
                assert got == pytest.approx(tpir_at_fpir(own[mine], ranks[mine], tops[others], target))
