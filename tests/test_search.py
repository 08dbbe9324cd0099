"""The search in blocks against the path that keeps every comparison, on sets small enough for both."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faceup import compare, search
from faceup.cli.main import main
from faceup.errors import DataError
from faceup.evaluate.evaluation import measured
from faceup.evaluate.measure import Settings
from faceup.evaluate.systems import read_runs
from faceup.files import sha256_hex
from faceup.metrics.binned import BINS, EDGES, WIDTH, BinnedComparisons, bins_of
from faceup.metrics.verification import Comparisons
from faceup.types import Embeddings, Role, Sample


def embedded(
    count: int, people: int, rng: np.random.Generator, role: Role, *, failed: int
) -> tuple[Embeddings, list[Sample]]:
    centres = np.random.default_rng(99).normal(size=(people, 24))
    subject = rng.integers(0, people, count)
    vectors = (centres[subject] + rng.normal(0, 1.2, (count, 24))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = np.zeros(count, bool)
    bad[rng.permutation(count)[:failed]] = True
    vectors[bad] = np.nan
    names = [f"{role}{k:04d}.png" for k in range(count)]
    samples = [
        Sample(n, None if role == "probe" and k % 7 == 0 else f"person {s:03d}", Path(n), role, "ab" * 32)
        for k, (n, s) in enumerate(zip(names, subject, strict=True))
    ]
    return Embeddings(vectors, tuple(names), bad), samples


Sides = tuple[Embeddings, list[Sample], Embeddings, list[Sample]]


@pytest.fixture
def sides() -> Sides:
    rng = np.random.default_rng(3)
    gallery = embedded(160, 60, rng, "gallery", failed=9)
    probes = embedded(90, 70, rng, "probe", failed=6)
    return *gallery, *probes


def both(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, pd.DataFrame, search.Searched]:
    gallery, gallery_samples, probes, probe_samples = sides
    given = ("none", gallery, probes, gallery_samples, probe_samples)
    whole, nothing = compare.compared(*given, kind="clipped")
    assert nothing is None
    monkeypatch.setattr(compare, "LIMIT", 100)
    monkeypatch.setattr(search, "BLOCK", 1000)  # a few probes at a time
    few, searched = compare.compared(*given, kind="clipped")
    assert searched is not None
    return whole, few, searched


def test_what_is_kept_is_what_the_whole_has(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, few, searched = both(sides, monkeypatch)
    keys = ["sr", "probe", "gallery"]
    joined = few.merge(whole, on=keys, suffixes=("", "_whole"), validate="one_to_one")
    assert len(joined) == len(few) < len(whole) / 3
    for column in ("probe_subject", "gallery_subject", "genuine", "detected"):
        assert (joined[column] == joined[f"{column}_whole"]).all()
    for column in ("similarity", "cosine", "rank"):
        a, b = (joined[name].astype(float).to_numpy() for name in (column, f"{column}_whole"))
        np.testing.assert_allclose(a, b, atol=1e-6)
    # Every comparison with the own person is there.
    assert (few["genuine"] == 1).sum() == (whole["genuine"] == 1).sum() > 100
    for k, sample in enumerate(sides[3]):
        rows = whole[(whole["probe"] == sample.sample_id) & (whole["detected"] == 1)]
        best = rows.groupby("gallery_subject")["cosine"].max()
        own = best.get(sample.subject_id or "")
        others = best.drop(sample.subject_id or "", errors="ignore").sort_values(ascending=False)
        mine = few[(few["probe"] == sample.sample_id) & (few["genuine"] == 0)]
        assert mine["gallery_subject"].tolist() == others.index[: search.OTHERS].tolist()
        assert searched.rank[k] == (0 if own is None else 1 + (others >= own).sum())
        np.testing.assert_array_equal(searched.impostors[k], np.bincount(bins_of(others), minlength=BINS))


def test_listed_pairs_are_those_of_the_whole_however_few_probes_are_taken_at_a_time(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery, gallery_samples, probes, probe_samples = sides
    given = ("none", gallery, probes, gallery_samples, probe_samples)
    whole, _ = compare.compared(*given, kind="clipped")
    rng = np.random.default_rng(4)
    places = rng.permutation(len(gallery_samples) * len(probe_samples))[:300]
    pairs = pd.DataFrame({"gallery_index": places % 160, "probe_index": places // 160, "fold": 1})
    monkeypatch.setattr(compare, "LIMIT", 700)
    few, searched = compare.compared(*given, kind="clipped", pairs=pairs)
    assert searched is None
    wanted = whole.iloc[places].reset_index(drop=True)
    pd.testing.assert_frame_equal(few.drop(columns="fold"), wanted, atol=1e-6, check_exact=False)


def test_a_list_without_a_pair_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("probe,gallery,fold\n")
    with pytest.raises(DataError, match="no pair is listed"):
        compare.read_pairs(tmp_path / "pairs.csv", [], [])


def test_a_run_of_many_comparisons_says_what_it_kept_and_is_evaluated(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare, "LIMIT", 39)
    monkeypatch.setattr(search, "OTHERS", 2)
    out = tmp_path / "run"
    sides = ["--gallery", str(examples / "gallery"), "--probes", str(examples / "probes")]
    arguments = ["run", *sides, "--sr", "none", "--sr", "bicubic", "--split-gain", "--device", "cpu"]
    assert main([*arguments, "--out", str(out)]) == 0
    assert "4 x 10 comparisons for each SR system" in " ".join(capsys.readouterr().out.split())
    rows = pd.read_csv(out / "similarity.csv")
    assert (rows[rows["genuine"] == 0].groupby(["sr", "probe"]).size() == 2).all()
    assert (rows["genuine"] == 1).sum() == 20
    assert main(["evaluate", str(out), "--rounds", "100"]) == 0
    record = json.loads((out / "evaluation" / "evaluation.json").read_text())
    assert record["runs"][0]["searches_sha256"] == sha256_hex((out / search.FILE).read_bytes())
    assert (out / "evaluation" / "plots" / "det.svg").is_file()
    assert (out / "evaluation" / "gain.csv").is_file()


def written(folder: Path, sides: Sides, frame: pd.DataFrame, searched: search.Searched | None) -> Path:
    """A run folder of one SR system from comparisons."""
    gallery, gallery_samples, probes, probe_samples = sides
    (folder / "pictures").mkdir(parents=True)
    frame.to_csv(folder / "similarity.csv", index=False)
    (folder / "pictures" / "pictures.csv").write_text("sr,role,sample,file,generated\n")
    face = dict.fromkeys(("x0", "y0", "x1", "y1", "score", "inter_eye_px", "faces", "scale", "sharpness"), 9.0)
    face |= {f"{n}_{a}": 9.0 for n in ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth") for a in "xy"}
    rows = []
    for embeddings, samples in ((gallery, gallery_samples), (probes, probe_samples)):
        for failed, s in zip(embeddings.failed, samples, strict=True):
            about = {"sr": "none", "role": s.role, "sample": s.sample_id, "subject": s.subject_id or "", "message": ""}
            rows.append(
                {
                    **about,
                    "status": "no_face" if failed else "ok",
                    "width": 30,
                    "height": 40,
                    **({} if failed else face),
                }
            )
    pd.DataFrame(rows).to_csv(folder / "detections.csv", index=False)
    listed = [[{"sample": s.sample_id, "subject": s.subject_id or "", "sha256": s.sha256} for s in side] for side in (gallery_samples, probe_samples)]  # fmt: skip  # noqa: E501
    texts = {"faceup": "0", "created": "", "device": "cpu"}
    empty: dict[str, list[str]] = {"command": [], "backends": [], "warnings": []}
    record = {**texts, **empty, "versions": {}, "timings": {}, "threads": 1, "seed": 0, "gallery": listed[0]}
    record |= {"probes": listed[1], "recipe": {"sr": ["none"], "similarity": "clipped", "scale": 4}}
    (folder / "run.json").write_text(json.dumps(record))
    if searched is not None:
        search.write_searches(folder / search.FILE, {"none": searched})
    return folder


def test_an_evaluation_of_what_is_kept_is_that_of_the_whole(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, few, searched = both(sides, monkeypatch)
    settings = Settings(rounds=200, pair_rounds=100, fmr_targets=(0.1, 0.01), fpir_targets=(0.3,))
    frames = []
    for name, frame, kept in (("whole", whole, None), ("few", few, searched)):
        run = written(tmp_path / name, sides, frame, kept)
        frames.append(measured(read_runs([run]), settings).metrics.set_index(["part", "stratum", "metric", "at"]))
    assert list(frames[0].index) == list(frames[1].index)
    # These differ by what the scores within one bin make of a rate, and in halves by whom the gallery holds.
    binned = {"eer": 0.03, "tar": 0.05, "d_prime": 0.01, "fmr": 0.05, "fnmr": 0.05, "far": 0.05, "frr": 0.05}
    for key, a in frames[0].iterrows():
        b = frames[1].loc[key]
        metric = key[2]
        assert b["value"] == pytest.approx(a["value"], abs=binned.get(metric, 1e-6), nan_ok=True), key
        if metric not in binned:
            assert (b["count"], b["total"], b["people"]) == (a["count"], a["total"], a["people"]) or pd.isna(a["count"])
            assert (b["total"], b["people"]) == (a["total"], a["people"])
    assert {"map", "tpir20", "rank1", "fpir", "fnir"} <= {key[2] for key in frames[0].index}
    assert (
        frames[1].loc[("all", "all", "eer", "")]["note"] == "impostor scores with the whole gallery, in bins of 0.0025"
    )


def test_binned_rates_are_exactly_those_of_scores_on_the_edges() -> None:
    rng = np.random.default_rng(1)
    people = 9
    genuine, owner = EDGES[rng.integers(300, BINS, 30)], rng.integers(0, people, 30)
    probe = rng.integers(0, people, 400)
    impostor = rng.integers(200, 560, 400)
    counts = np.zeros((400, BINS))
    counts[np.arange(400), impostor] = 1
    binned = BinnedComparisons(genuine, owner, counts, probe)
    assert (binned.impostors, len(binned)) == (400, 430)
    # Everybody's impostors are people nobody draws, so that both weigh a comparison by the probe's person alone.
    exact = Comparisons(genuine, owner, EDGES[impostor], probe, np.full(400, people))
    weights = np.append(rng.multinomial(people, np.full(people, 1 / people), 50), np.ones((50, 1)), axis=1).astype(
        float
    )
    weights[0] = 1
    for k in (250, 401, 500):
        threshold = float(EDGES[k])
        assert binned.accepted(threshold) == exact.accepted(threshold)
        np.testing.assert_allclose(binned.fmr(threshold)(weights), exact.fmr(threshold)(weights))
        np.testing.assert_allclose(binned.fnmr(threshold)(weights), exact.fnmr(threshold)(weights))
    for target in (0.0, 0.01, 0.1, 0.3):
        np.testing.assert_allclose(binned.tar_at_fmr(target)(weights), exact.tar_at_fmr(target)(weights))
        # The exact threshold is just above a score, the binned one the next edge.
        assert binned.threshold(target) - exact.threshold(target) == pytest.approx(WIDTH, abs=1e-9)
        assert binned.accepted(binned.threshold(target)) == exact.accepted(exact.threshold(target))
    np.testing.assert_allclose(binned.eer()(weights), exact.eer()(weights), atol=1e-12)
    middle = Comparisons(genuine, owner, EDGES[impostor] + WIDTH / 2, probe, np.full(400, people))
    np.testing.assert_allclose(binned.d_prime()(weights), middle.d_prime()(weights))
    shares, edges = binned.impostor_shares(80)
    wanted, places = middle.impostor_shares(80)
    np.testing.assert_allclose(shares, wanted)
    np.testing.assert_allclose(edges, places, atol=1e-12)
    curve = binned.curve()
    np.testing.assert_allclose(curve.fmr[400], (impostor >= 400).mean())
    np.testing.assert_allclose(curve.fnmr[400], (genuine < EDGES[400]).mean())


@pytest.mark.parametrize("harm", ["cut", "other", "probes", "pickle"])
def test_a_damaged_file_of_searches_is_refused(tmp_path: Path, harm: str) -> None:
    path = tmp_path / search.FILE
    kept = search.Searched(np.zeros(3, np.int64), np.zeros((3, BINS), np.uint32))
    search.write_searches(path, {"none": kept})
    assert search.read_searches(path, ["none"], 3)["none"].impostors.shape == (3, BINS)
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:100])
    elif harm == "other":
        np.savez(path, rank_0=np.zeros(3))
    elif harm == "pickle":
        np.savez(path, rank_0=np.array([{}, {}, {}], dtype=object), impostors_0=np.zeros((3, BINS), np.uint32))
    with pytest.raises(DataError, match="not what a run writes"):
        search.read_searches(path, ["none"], 4 if harm == "probes" else 3)


def test_a_file_of_searches_that_would_fill_the_memory_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / search.FILE
    search.write_searches(path, {"none": search.Searched(np.zeros(3, np.int64), np.zeros((3, BINS), np.uint32))})
    with zipfile.ZipFile(path) as content:
        size = sum(member.file_size for member in content.infolist())
    monkeypatch.setattr(search, "MAX_BYTES", size - 1)
    with pytest.raises(DataError, match="more than"):
        search.read_searches(path, ["none"], 3)
