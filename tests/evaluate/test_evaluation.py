"""What `faceup evaluate` measures against loops over the files, and what it writes."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faceup.cli.main import main
from faceup.errors import ConfigError, DataError
from faceup.evaluate.evaluation import evaluate, measured
from faceup.evaluate.gain import split_gain
from faceup.evaluate.measure import Settings
from faceup.evaluate.systems import read_runs, run_names, systems
from faceup.images import encode_png
from faceup.metrics.alarm import MEASURES
from faceup.metrics.table5 import table5
from faceup.report.html import write_report
from tests.helpers import noise

MakeRun = Callable[..., Path]
QUICK = Settings(rounds=200, pair_rounds=100)


def rows_of(run: Path, name: str = "similarity.csv") -> list[dict[str, str]]:
    with (run / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def pick(
    metrics: pd.DataFrame, system: str, metric: str, *, part: str = "all", stratum: str = "all", at: str = ""
) -> pd.Series:  # type: ignore[type-arg]
    wanted = (metrics["system"] == system) & (metrics["metric"] == metric) & (metrics["part"] == part)
    found = metrics[wanted & (metrics["stratum"] == stratum) & (metrics["at"] == at)]
    assert len(found) == 1
    return found.iloc[0]


def test_averages_and_ranks_are_those_of_table_5(make_run: MakeRun) -> None:
    run = make_run()
    (read,) = read_runs([run])
    table = table5(read.similarity, read.sr).set_index("sr")
    metrics = measured([read], QUICK).metrics
    for sr in read.sr:
        assert pick(metrics, sr, "average_paper")["value"] == pytest.approx(table.loc[sr, "average_paper"])
        assert pick(metrics, sr, "average_detected")["value"] == pytest.approx(table.loc[sr, "average_detected"])
        first = pick(metrics, sr, "rank1")
        assert (first["count"], first["total"]) == (table.loc[sr, "rank1_hits"], table.loc[sr, "probes"])
        missed = pick(metrics, sr, "fta")
        assert missed["total"] - missed["count"] == table.loc[sr, "detected"]
        assert first["low"] <= first["value"] <= first["high"]


def test_thresholds_come_from_other_people_and_rates_are_those_of_a_loop(make_run: MakeRun) -> None:
    run = make_run(people=20, splits=["dev"] * 10 + ["eval"] * 10)
    results = measured(read_runs([run]), Settings(rounds=200, pair_rounds=100, fmr_targets=(0.1,), fpir_targets=(0.2,)))
    development = {f"{k:03d}" for k in range(1, 11)}
    assert results.record["split"] == "splits of the manifest"
    assert set(results.record["development"]) == development
    for sr in ("none", "bicubic", "sisn"):
        (stored,) = [t for t in results.thresholds if t["system"] == sr and t["rate"] == "FMR"]
        threshold = stored["threshold"]
        assert isinstance(threshold, float)
        counts: dict[tuple[str, str], list[bool]] = defaultdict(list)
        attempts: dict[str, bool] = {}
        for row in rows_of(run):
            if row["sr"] != sr:
                continue
            halves = {(s in development) for s in (row["probe_subject"], row["gallery_subject"])}
            if len(halves) == 2:
                continue
            half = "dev" if halves == {True} else "test"
            if half == "test":
                attempts[row["probe"]] = row["detected"] == "0"
            if row["detected"] == "1":
                kind = "genuine" if row["genuine"] == "1" else "impostor"
                counts[half, kind].append(float(row["cosine"]) >= threshold)
        assert np.mean(counts["dev", "impostor"]) <= 0.1
        # The next lower score would let too many through.
        rejected = max(
            float(r["cosine"]) for r in rows_of(run)
            if r["sr"] == sr and r["detected"] == "1" and r["genuine"] == "0"
            and {r["probe_subject"], r["gallery_subject"]} <= development and float(r["cosine"]) < threshold
        )  # fmt: skip
        assert (sum(counts["dev", "impostor"]) + 1) / len(counts["dev", "impostor"]) > 0.1
        assert rejected < threshold
        fmr, fnmr = np.mean(counts["test", "impostor"]), 1 - np.mean(counts["test", "genuine"])
        fta = np.mean(list(attempts.values()))
        wanted = {"fmr": fmr, "fnmr": fnmr, "far": fmr * (1 - fta), "frr": fta + fnmr * (1 - fta)}
        for metric, value in wanted.items():
            assert pick(results.metrics, sr, metric, part="test", at="FMR 0.1")["value"] == pytest.approx(value)


@pytest.mark.parametrize("strangers", [0, 8])
def test_open_set_rates_are_those_of_a_loop(make_run: MakeRun, strangers: int) -> None:
    run = make_run(people=16, strangers=strangers)
    results = measured(read_runs([run]), Settings(rounds=200, pair_rounds=100, fpir_targets=(0.2,)))
    test = set(results.record["test"])
    for sr in ("bicubic", "sisn"):
        (stored,) = [t for t in results.thresholds if t["system"] == sr and t["rate"] == "FPIR"]
        threshold = stored["threshold"]
        assert isinstance(threshold, float)
        assert ("not enrolled" in str(stored["basis"])) == (strangers > 0)
        scores: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        for row in rows_of(run):
            person = row["probe_subject"] or f"unknown, {row['probe']}"
            if row["sr"] == sr and person in test and row["gallery_subject"] in test:
                scores[row["probe"], row["probe_subject"]][row["gallery_subject"]] = float(row["cosine"] or "nan")
        missed = mated = alarms = searched = 0
        for (_, subject), candidates in scores.items():
            others = [v for name, v in candidates.items() if name != subject]
            if subject:
                own = candidates[subject]
                mated += 1
                missed += not (own >= threshold and all(own > v for v in others))
            if not subject or not strangers:
                searched += 1
                alarms += any(v >= threshold for v in others)
        got = pick(results.metrics, sr, "fnir", part="test", at="FPIR 0.2")
        assert (got["count"], got["total"]) == (missed, mated)
        got = pick(results.metrics, sr, "fpir", part="test", at="FPIR 0.2")
        assert (got["count"], got["total"]) == (alarms, searched)


def test_what_benchmarks_print_is_that_of_a_loop(make_run: MakeRun) -> None:
    run = make_run(people=30, strangers=11, strength=(0.2, 0.3, 0.4))
    metrics = measured(read_runs([run]), QUICK).metrics
    for sr in ("bicubic", "sisn"):
        scores: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        for row in rows_of(run):
            if row["sr"] == sr:
                scores[row["probe"], row["probe_subject"]][row["gallery_subject"]] = float(row["cosine"] or "nan")
        tops = [max(row.values()) for (_, subject), row in scores.items() if not subject]
        tops = sorted([-math.inf if math.isnan(top) else top for top in tops], reverse=True)
        places = [
            (0.0, 0) if math.isnan(row[s]) else (row[s], 1 + sum(v >= row[s] for name, v in row.items() if name != s))
            for (_, s), row in scores.items()
            if s
        ]
        got = pick(metrics, sr, "map", part="benchmark")
        # With one picture each, the precision before it is 0, or 1 if it comes first.
        areas = [1.0 if place == 1 else 0.5 / place if place else 0.0 for _, place in places]
        assert got["value"] == pytest.approx(np.mean(areas))
        assert got["low"] < got["value"] < got["high"]
        assert (got["total"], got["people"]) == (60, 30)
        for target in (0.3, 0.2, 0.1, 0.01):
            refused = tops[int(target * len(tops))]
            hits = sum(0 < place <= 20 and score > refused for score, place in places)
            got = pick(metrics, sr, "tpir20", part="benchmark", at=f"FPIR {target:g}")
            assert got["value"] == pytest.approx(hits / len(places))
            assert got["low"] <= got["value"] <= got["high"]
            assert "only 11 non-mated searches" in got["note"]
    d_prime = pick(metrics, "sisn", "d_prime")
    assert d_prime["low"] < d_prime["value"] < d_prime["high"]
    assert d_prime["method"] == "percentile"


def test_a_person_in_both_halves_is_refused(make_run: MakeRun) -> None:
    run = make_run(splits=["dev"] * 6 + ["test"] * 6)
    record = json.loads((run / "run.json").read_text())
    record["probes"][0]["split"] = "test"
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="1 people are in the development and in the test split, e.g. '001'"):
        measured(read_runs([run]), QUICK)


def test_a_seeded_split_keeps_people_apart(make_run: MakeRun) -> None:
    run = make_run()
    halves = [measured(read_runs([run]), Settings(seed=s, rounds=100, pair_rounds=100)).record for s in (0, 0, 1)]
    assert halves[0]["development"] == halves[1]["development"] != halves[2]["development"]
    assert set(halves[0]["development"]).isdisjoint(halves[0]["test"])
    assert len(halves[0]["development"]) + len(halves[0]["test"]) == 12


def test_differences_are_paired_and_corrected(make_run: MakeRun) -> None:
    run = make_run()
    comparisons = measured(read_runs([run]), QUICK).comparisons
    whole = comparisons[(comparisons["stratum"] == "all") & (comparisons["metric"] == "average_paper")]
    assert len(whole) == 3
    means: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows_of(run):
        if row["genuine"] == "1":
            means[row["sr"], row["probe_subject"]].append(float(row["similarity"] or 0))
    people = sorted({s for _, s in means})
    for row in whole.to_dict("records"):
        gaps = [np.mean(means[row["first"], s]) - np.mean(means[row["second"], s]) for s in people]
        assert row["difference"] == pytest.approx(np.mean(gaps))
        assert row["p_holm"] >= row["p"]
        assert row["verdict"].startswith("significant" if row["p_holm"] < 0.05 else "not significant")
    strong = whole[(whole["first"] == "none") & (whole["second"] == "sisn")].iloc[0]
    assert strong["verdict"] == "significant at n = 12"


def test_six_people_never_reach_significance_after_correction(make_run: MakeRun) -> None:
    run = make_run(people=6)
    comparisons = measured(read_runs([run]), QUICK).comparisons
    assert set(comparisons["verdict"]) == {"not significant at n = 6"}


def test_the_parts_of_a_gain_add_up_to_the_difference_of_table_5s_averages(make_run: MakeRun) -> None:
    run = make_run()
    (read,) = read_runs([run])
    table = table5(read.similarity, read.sr).set_index("sr")["average_paper"]
    assert read.shared is not None
    again = table5(read.shared, read.sr).set_index("sr")["average_paper"]
    gain = measured([read], QUICK).gain
    for system, against in (("bicubic", "none"), ("sisn", "none"), ("sisn", "bicubic")):
        own = gain[(gain["system"] == system) & (gain["against"] == against) & (gain["stratum"] == "all")]
        value = dict(zip(own["part"], own["value"], strict=True))
        assert value["gain"] == pytest.approx(table[system] - table[against], abs=1e-12)
        assert value["better_embedding"] == pytest.approx(again[system] - again[against], abs=1e-12)
        assert value["better_embedding"] + value["faces"] == pytest.approx(value["gain"], abs=1e-12)
        assert value["more_found"] + value["landmarks"] == pytest.approx(value["faces"], abs=1e-12)
    by_name = {s.sr: s for s in systems([read])}
    parts = split_gain(read, by_name["sisn"], by_name["none"])
    one_only = np.isnan(by_name["sisn"].printed) != np.isnan(by_name["none"].printed)
    assert one_only.any()
    assert (parts["landmarks"][one_only] == 0).all()


def test_rank_1_with_and_without_flagged_probes(make_run: MakeRun) -> None:
    run = make_run()
    metrics = measured(read_runs([run]), QUICK).metrics
    flagged = {(r["sr"], r["probe"]) for r in rows_of(run, "alarm.csv") if r["flagged"] == "1"}
    for sr in ("bicubic", "sisn"):
        counts = {True: [0, 0], False: [0, 0]}
        for row in rows_of(run):
            if row["sr"] == sr and row["genuine"] == "1" and row["detected"] == "1":
                group = counts[(sr, row["probe"]) in flagged]
                group[0] += row["rank"] == "1"
                group[1] += 1
        for at, group in (("flagged", counts[True]), ("not flagged", counts[False])):
            got = pick(metrics, sr, "rank1", part="alarm", at=at)
            assert [got["count"], got["total"]] == group
            assert group[1] > 0


def test_probes_of_which_nothing_was_checked_are_not_counted_as_unflagged(make_run: MakeRun) -> None:
    run = make_run()
    rows = rows_of(run, "alarm.csv")
    nothing = " ".join(MEASURES)
    for number, row in enumerate(rows):
        if row["sr"] == "sisn" or number % 2:
            row.update(flagged="0", reasons="", unchecked=nothing)
    with (run / "alarm.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    metrics = measured(read_runs([run]), QUICK).metrics
    assert not ((metrics["system"] == "sisn") & (metrics["part"] == "alarm")).any()
    assert not ((metrics["system"] == "sisn") & (metrics["metric"] == "flagged")).any()
    checked = [r for r in rows if r["sr"] == "bicubic" and r["unchecked"] != nothing]
    got = pick(metrics, "bicubic", "flagged")
    assert [got["count"], got["total"]] == [sum(r["flagged"] == "1" for r in checked), len(checked)]


def test_runs_of_one_name_are_told_apart(make_run: MakeRun, tmp_path: Path) -> None:
    folders = [make_run(name) for name in ("x/a", "x/a (2)", "x/a (3)", "y/a", "z/a")]
    names = run_names(read_runs(folders))
    assert names[:3] == ["a", "a (2)", "a (3)"]
    assert len(set(names)) == 5


def test_strata_hold_every_probe_once(make_run: MakeRun) -> None:
    metrics = measured(read_runs([make_run()]), QUICK).metrics
    own = metrics[(metrics["system"] == "sisn") & (metrics["metric"] == "fta") & (metrics["part"] == "all")]
    total = dict(zip(own["stratum"], own["total"], strict=True))
    for begin in ("distance", "eyes", "sharpness", "detector score"):
        parts = [n for name, n in total.items() if name.startswith(begin)]
        missing = 0 if begin == "distance" else total["no face after bicubic"]
        assert len(parts) >= 2
        assert sum(parts) + missing == total["all"] == 24


def test_no_error_seen_is_bounded_by_people(make_run: MakeRun) -> None:
    metrics = measured(read_runs([make_run(strength=(0.9, 0.9, 0.9))]), QUICK).metrics
    rates = metrics[(metrics["metric"] == "fnmr") & (metrics["count"] == 0)]
    assert len(rates)
    for row in rates.to_dict("records"):
        assert row["high"] == pytest.approx(1 - 0.05 ** (1 / row["people"]))
        assert "rule of three" in row["note"]


def test_every_rate_of_0_or_1_has_the_bound_and_not_an_interval_without_width(make_run: MakeRun) -> None:
    runs = read_runs([make_run("sure", strength=(0.99,) * 3), make_run("never", strength=(-0.9,) * 3, strangers=6)])
    metrics = measured(runs, QUICK).metrics
    rates = metrics[~metrics["metric"].isin(["average_paper", "average_detected", "d_prime"])]
    ends = rates[rates["value"].isin([0.0, 1.0])]
    assert {"fmr", "fnmr", "far", "tar", "eer", "tpir20", "rank1", "fnir"} <= set(ends["metric"])
    for row in ends.to_dict("records"):
        bound = 1 - 0.05 ** (1 / row["people"])
        wanted = (0.0, bound) if row["value"] == 0 else (1 - bound, 1.0)
        assert (row["low"], row["high"]) == pytest.approx(wanted), row


def test_a_failure_to_acquire_is_no_false_positive_where_every_candidate_passes(make_run: MakeRun) -> None:
    """`none` finds 4 of 15 faces: at a target of 0.9 even a threshold that lets all pass is below it."""
    run = make_run(people=30)
    results = measured(read_runs([run]), Settings(rounds=200, pair_rounds=100, fpir_targets=(0.9,)))
    test = set(results.record["test"])
    rows = [r for r in rows_of(run) if r["sr"] == "none" and {r["probe_subject"], r["gallery_subject"]} <= test]
    found = {r["probe"] for r in rows if r["detected"] == "1"}
    got = pick(results.metrics, "none", "fpir", part="test", at="FPIR 0.9")
    assert (got["count"], got["total"]) == (len(found), len({r["probe"] for r in rows}))
    assert 0 < got["value"] < 0.5
    (stored,) = [t for t in results.thresholds if t["system"] == "none" and t["rate"] == "FPIR"]
    assert stored["threshold"] is None
    development = set(results.record["development"])
    seen = {r["probe"] for r in rows_of(run) if r["sr"] == "none" and r["detected"] == "1"} & {
        r["probe"] for r in rows_of(run) if r["probe_subject"] in development
    }
    assert str(stored["basis"]).startswith(f"{len(seen)} of ")


def test_rates_that_rest_on_too_few_searches_say_so(make_run: MakeRun) -> None:
    run = make_run(people=16)
    evaluate([run], settings=replace(QUICK, fpir_targets=(0.2, 0.01)))
    text = (run / "evaluation" / "metrics.md").read_text()
    table = text[text.index("Open-set search at thresholds") :]
    table = table[: table.index("\n#")] if "\n#" in table else table
    cells = [line.split("|")[3:5] for line in table.splitlines() if line.startswith("| chosen")]
    assert len(cells) == 6
    assert all(r"\*" in cell for row in cells for cell in row)
    for target, errors in (("0.2", "3.2"), ("0.01", "0.2")):
        assert f"a rate of {target} rests on {errors} errors" in table
    assert table.count("N = 8") == 1


def test_several_runs_stand_side_by_side(make_run: MakeRun, tmp_path: Path) -> None:
    first, second = make_run("one"), make_run("two", seed=5, strength=(0.3, 0.5, 0.9))
    results = evaluate([first, second], tmp_path / "both", settings=QUICK, plots=False)
    assert set(results.metrics["system"]) == {f"{r}: {s}" for r in ("one", "two") for s in ("none", "bicubic", "sisn")}
    pairs = set(zip(results.comparisons["first"], results.comparisons["second"], strict=True))
    assert ("one: sisn", "two: sisn") in pairs
    assert (first / "evaluation" / "metrics.csv").is_file()
    assert set(pd.read_csv(first / "evaluation" / "metrics.csv")["system"]) == {"none", "bicubic", "sisn"}
    assert "two: LR image" in (tmp_path / "both" / "metrics.md").read_text()


def test_everything_is_written_and_byte_identical_on_repeat(make_run: MakeRun) -> None:
    run = make_run()
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    evaluate([run], settings=QUICK)
    written = {p.relative_to(run).as_posix(): p.read_bytes() for p in run.rglob("*") if p.is_file()}
    plots = {f"evaluation/plots/{n}.{e}" for n in ("cmc", "det", "scores", "eye_distance") for e in ("png", "svg")}
    tables = {"metrics.csv", "metrics.md", "comparisons.csv", "gain.csv", "thresholds.json", "evaluation.json"}
    wanted = plots | {f"evaluation/{n}" for n in tables} | set(before) | {"report.html", "pictures/pictures.csv"}
    assert set(written) == wanted
    assert all(written[name] == content for name, content in before.items())
    evaluate([run], settings=QUICK)
    assert {p.relative_to(run).as_posix(): p.read_bytes() for p in run.rglob("*") if p.is_file()} == written
    for name in plots:
        if name.endswith(".svg"):
            text = written[name].decode()
            assert "<script" not in text
            assert "/tmp" not in text
    report = written["report.html"].decode()
    assert report.count('class="plot"') == 4
    assert "Where the gain comes from" in report
    assert "not significant at n = 12" in report


def test_without_matplotlib_it_says_what_to_install(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run = make_run()
    with pytest.raises(ConfigError, match=r"pip install 'faceup\[plots\]'"):
        evaluate([run], settings=QUICK)
    assert not (run / "evaluation").exists()


def test_a_plot_that_leads_out_of_the_folder_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    evaluate([run], settings=QUICK, plots=False)
    (run / "evaluation" / "plots").mkdir(exist_ok=True)
    (tmp_path / "secret.png").write_bytes(encode_png(noise(4, 4)))
    (run / "evaluation" / "plots" / "cmc.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match="outside the evaluation"):
        write_report(run)


def test_only_an_evaluation_is_replaced(make_run: MakeRun, tmp_path: Path) -> None:
    run, out = make_run(), tmp_path / "out"
    evaluate([run], out, settings=QUICK, plots=False, reports=False)
    assert not (run / "evaluation").exists()
    with pytest.raises(DataError, match="exists already"):
        evaluate([run], out, settings=QUICK, plots=False)
    evaluate([run], out, settings=QUICK, plots=False, reports=False, force=True)
    precious = tmp_path / "thesis"
    precious.mkdir()
    with pytest.raises(DataError, match="not made by `faceup evaluate`"):
        evaluate([run], precious, settings=QUICK, plots=False, force=True)
    with pytest.raises(ConfigError, match="--out"):
        evaluate([run, make_run("two")], settings=QUICK)
    with pytest.raises(DataError, match="given twice"):
        evaluate([run, run], tmp_path / "x", settings=QUICK)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fmr", "0.1,x"], "Rates are numbers"),
        (["--fmr", "0"], "Rates are numbers"),
        (["--fpir", "0.1,0.1"], "each once"),
    ],
)
def test_wrong_rates_on_the_command_line(
    make_run: MakeRun, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(make_run()), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_the_command_line(make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path / "nowhere")]) == 1
    assert "no such run folder" in capsys.readouterr().err
    run = make_run()
    assert main(["evaluate", str(run), "--no-plots", "--rounds", "100"]) == 0
    printed = capsys.readouterr().out
    assert "Systems, all probes" in printed
    assert "metrics.csv" in printed
    thresholds = json.loads((run / "evaluation" / "thresholds.json").read_text())
    assert {t["rate"] for t in thresholds} == {"FMR", "FPIR"}
    assert all("development half" in t["chosen_on"] for t in thresholds)


def test_folders_of_earlier_versions_are_read(make_run: MakeRun) -> None:
    run = make_run(shared=False)
    (run / "alarm.csv").unlink()
    frame = pd.read_csv(run / "similarity.csv", dtype=str, keep_default_na=False).drop(columns="cosine")
    frame.to_csv(run / "similarity.csv", index=False)
    frame = pd.read_csv(run / "detections.csv", dtype=str, keep_default_na=False).drop(columns=["scale", "sharpness"])
    frame.to_csv(run / "detections.csv", index=False)
    record = json.loads((run / "run.json").read_text())
    for probe in record["probes"]:
        del probe["attrs"], probe["split"]
    (run / "run.json").write_text(json.dumps(record))
    results = measured(read_runs([run]), QUICK)
    assert len(results.gain) == 0
    assert not math.isnan(pick(results.metrics, "sisn", "eer")["value"])
    assert not (results.metrics["part"] == "alarm").any()


@pytest.mark.parametrize("odd", [{"people": 1}, {"people": 3, "distances": (), "strangers": 4}, {"people": 2}])
def test_runs_with_hardly_anything_to_compare_are_evaluated_all_the_same(
    make_run: MakeRun, odd: dict[str, object]
) -> None:
    run = make_run(**odd)
    results = evaluate([run], settings=QUICK)
    assert set(results.metrics["metric"]) >= {"fta"}
    assert (run / "evaluation" / "metrics.md").is_file()
    assert "Evaluation" in (run / "report.html").read_text()
    assert not results.metrics["value"].isin([np.inf, -np.inf]).any()
