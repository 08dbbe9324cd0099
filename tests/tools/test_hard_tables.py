"""The statistics behind docs/results/hard.md against plain loops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from faceup.metrics.bootstrap import draw_weights
from tools.hard_statistics import BOTH, SECOND_STUDENT, SECOND_TEACHER, STUDENT, TEACHER, Array, Measurement, Scores
from tools.hard_tables import best_combination, hard_report

SUBJECTS, SEEDS, OTHERS = 5, 3, 40
NAMES = (TEACHER, STUDENT, SECOND_TEACHER, SECOND_STUDENT, BOTH)


def unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def vectors(seed: int = 0, noise: float = 1.5) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    gallery = unit(rng.normal(size=(SUBJECTS + OTHERS, 8)))
    probes = np.vstack([gallery[:SUBJECTS] + noise * rng.normal(size=(SUBJECTS, 8)) / 3 for _ in range(SEEDS)])
    return unit(probes), gallery


def resampled(weights: Array) -> list[int]:
    """The rows of the probes that a resample holds, as often as it holds them."""
    return [s + SUBJECTS * k for s in range(SUBJECTS) for _ in range(int(weights[s])) for k in range(SEEDS)]


def test_all_statistics_are_those_of_plain_loops_on_every_resample() -> None:
    probes, gallery = vectors()
    probes[7] = np.nan  # no face
    scores = Scores(probes, gallery, SUBJECTS)
    weights = np.vstack([np.ones(SUBJECTS), draw_weights(SUBJECTS, 20, 3)])
    got = {
        "rank1": scores.rank1(weights), "genuine": scores.mean_genuine(weights), "mean": scores.impostor_mean(weights),
        "fmr": scores.fmr(0.4)(weights), "d": scores.separation(weights), "top": scores.percentile(weights),
        "tar": scores.accepted(weights),
    }  # fmt: skip
    for i, row in enumerate(weights):
        genuine, impostor, hits = [], [], []
        for p in resampled(row):
            own, similar = p % SUBJECTS, gallery @ probes[p]
            others = np.delete(similar, own)
            hits.append(bool(similar[own] > others.max()) if p != 7 else False)
            if p != 7:
                genuine.append(similar[own])
                impostor += list(others)
        assert got["rank1"][i] == pytest.approx(np.mean(hits))
        assert got["genuine"][i] == pytest.approx(np.mean(genuine))
        assert got["mean"][i] == pytest.approx(np.mean(impostor))
        assert got["fmr"][i] == pytest.approx(np.mean(np.array(impostor) >= 0.4))
        pooled = np.sqrt((np.var(genuine) + np.var(impostor)) / 2)
        assert got["d"][i] == pytest.approx((np.mean(genuine) - np.mean(impostor)) / pooled)
        assert got["top"][i] == pytest.approx(np.quantile(impostor, 0.999, method="inverted_cdf"), abs=6e-4)
        assert got["tar"][i] == pytest.approx(np.sum(np.array(genuine) > got["top"][i]) / len(hits))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "people.json").write_text(json.dumps([f"{n:03d}" for n in range(SUBJECTS)]))
    # Ten of the others are portraits that no training saw.
    others = [f"{1390 + n:04d}" for n in range(OTHERS)][: OTHERS - 30 + 10]
    names = [f"{n:03d}" for n in range(SUBJECTS)] + others + [f"{n:04d}" for n in range(OTHERS - len(others))]
    (tmp_path / "gallery.json").write_text(json.dumps(names))
    for number, recogniser in enumerate((*NAMES, "judge")):
        folder = tmp_path / "vectors" / recogniser
        folder.mkdir(parents=True)
        good, gallery = vectors(number, 0.3)
        np.savez(folder / "gallery.npz", vectors=gallery)
        np.savez(folder / "originals.npz", vectors=good[:SUBJECTS])
        for sr, noise in (("bicubic", 2.5), ("sisn-surveillance", 1.0)):
            for seed in range(SEEDS):
                part = slice(SUBJECTS * seed, SUBJECTS * (seed + 1))
                np.savez(folder / f"probes-hard-{seed}-{sr}.npz", vectors=vectors(number, noise)[0][part])
    return tmp_path


def test_the_page_shows_every_system_and_measures_the_best_against_the_bars(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.hard_statistics.ROUNDS", 100)
    data = Measurement(work)
    best = best_combination(data)
    assert best is not None
    assert best[1] == "sisn-surveillance"
    page = hard_report(data)
    both_sides, on_the_probes = f"{STUDENT} on both sides", f"{STUDENT} on the probes"
    for judge in (TEACHER, both_sides, on_the_probes, SECOND_STUDENT, BOTH, SECOND_TEACHER, "judge"):
        assert f"## {judge}\n" in page
        assert f"| {judge} | hard | sisn-surveillance |" in page
    assert f"| hard | bicubic | {SUBJECTS * SEEDS}/{SUBJECTS * SEEDS} |" in page
    judge = data.judges[0]
    better = data.system(judge, "hard", "sisn-surveillance").minus(
        data.system(judge, "hard", "bicubic"), "mean genuine"
    )
    assert better[0] > 0.1
    assert better[1] < better[0] < better[2]
    assert "| mean genuine at least +0.10: `sisn-surveillance` against bicubic, both judge |" in page
    taught = ((both_sides, TEACHER), (SECOND_STUDENT, SECOND_TEACHER), (BOTH, TEACHER), (BOTH, SECOND_TEACHER))
    for student, teacher in taught:
        sr = best[1] if student == best[0].title else "bicubic"
        assert f"| mean genuine at least +0.10: `{sr}` with {student} against bicubic with {teacher} |" in page
        assert f"| rank-1 of the originals at most 0.005 lower: {student} against {teacher} |" in page
    assert page.count(" lower: ") - page.count("not lower: ") == len(taught) + (best[0].title == on_the_probes)
    for untaught in {TEACHER, SECOND_TEACHER, "judge", best[0].title}:
        assert page.count(f"| d' higher: `sisn-surveillance` against bicubic, both {untaught} |") == 1
    assert f"Gallery: {SUBJECTS + 10} pictures, the {SUBJECTS} neutral photos among them, and thresholds" in page
    data_rows = data.scores(judge, "hard", "bicubic", trained_on=False)
    own = np.arange(SUBJECTS * SEEDS) % SUBJECTS
    probes = np.vstack([data._vectors("mobilefacenet", f"probes-hard-{seed}-bicubic") for seed in range(SEEDS)])
    known = data._vectors("mobilefacenet", "gallery")[[*range(SUBJECTS), *range(SUBJECTS + 10, SUBJECTS + 20)]]
    assert data_rows.rank1(np.ones((1, SUBJECTS)))[0] == np.mean((probes @ known.T).argmax(axis=1) == own)
    scores, originals = (rows @ known.T for rows in (probes, data._vectors("mobilefacenet", "originals")))
    strangers = [np.delete(row, n % SUBJECTS) for n, row in enumerate(scores)]
    threshold = data.threshold(judge, trained_on=False)
    assert threshold != data.threshold(judge)
    wrong = np.concatenate([np.delete(row, n) for n, row in enumerate(originals)])
    assert not (wrong >= threshold).any(), "of fewer than 1,000 comparisons none may be accepted"
    fmr = np.mean(np.concatenate(strangers) >= threshold)
    assert f"| mobilefacenet | bicubic | {data_rows.rank1(np.ones((1, SUBJECTS)))[0]:.3f} [" in page
    assert f" | {fmr:.5f} [" in page
    assert "nan" not in page
