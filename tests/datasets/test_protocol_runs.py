"""Every protocol from a synthetic copy to its evaluation: crops of the example pictures in the shape of each set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image as PilImage
from PIL import ImageOps

from faceup.cli.main import main
from faceup.evaluate.pairs import best_threshold, fold_accuracies
from faceup.simulate import simulate
from tests.datasets.test_layouts import cells

PEOPLE = ("044", "045", "088", "089")


@pytest.fixture(scope="module")
def material(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], dict[str, list[Path]]]:
    """Mugshots of four people, and for each two cameras' crops at d2, named as SCface names them."""
    folder = tmp_path_factory.mktemp("material")
    (folder / "hr").mkdir()
    mugshots = []
    for subject, path in zip(PEOPLE, sorted((examples / "gallery").glob("*.jpg")), strict=True):
        mugshots.append(Path(shutil.copy(path, folder / "hr" / f"{subject}_frontal.jpg")))
    simulate(folder / "hr", folder / "cam", distances=["d2"], cameras=2)
    return mugshots, {s: sorted((folder / "cam").glob(f"{s}_*.jpg")) for s in PEOPLE}


def put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def run_and_evaluate(out: Path, arguments: Sequence[str], *more: str) -> pd.DataFrame:
    assert main(["run", *arguments, "--sr", "bicubic", "--device", "cpu", "--out", str(out)]) == 0
    assert main(["evaluate", str(out), "--no-plots", "--rounds", "100", *more]) == 0
    return pd.read_csv(out / "evaluation" / "metrics.csv")


def value(metrics: pd.DataFrame, metric: str, **where: str) -> pd.Series:  # type: ignore[type-arg]
    chosen = metrics[(metrics["metric"] == metric) & (metrics["system"] == "bicubic")]
    for key, wanted in where.items():
        chosen = chosen[chosen[key].fillna("") == wanted]
    assert len(chosen) == 1
    return chosen.iloc[0]


def scface_tree(root: Path, material: tuple[list[Path], dict[str, list[Path]]]) -> Path:
    mugshots, crops = material
    for path in mugshots:
        put(path, root / "mugshot_frontal_original_all" / path.name)
    for paths in crops.values():
        for path in paths:
            put(path, root / "surveillance_cameras_all" / path.name)
    return root


def lists(kind: str, root: Path, out: Path, *more: str) -> list[str]:
    assert main(["manifest", "make", kind, str(root), "--out", str(out), *more]) == 0
    return ["--gallery", str(out / "gallery.csv"), "--probes", str(out / "probes.csv")]


def test_scface_with_its_development_and_evaluation_people(
    material: tuple[list[Path], dict[str, list[Path]]], tmp_path: Path
) -> None:
    root = scface_tree(tmp_path / "scface", material)
    sides = lists("scface", root, tmp_path / "lists", "--protocol", "C")
    metrics = run_and_evaluate(tmp_path / "run", sides, "--fmr", "0.5", "--fpir", "0.5")
    record = json.loads((tmp_path / "run" / "evaluation" / "evaluation.json").read_text())
    assert record["split"] == "splits of the manifest"
    assert (record["development"], record["test"]) == (["044", "045"], ["088", "089"])
    assert value(metrics, "rank1", part="all", stratum="all", at="")["total"] == 8
    assert value(metrics, "fta", part="all", stratum="camera = 2")["total"] == 4
    assert value(metrics, "fnmr", part="test", at="FMR 0.5")["total"] == 4


@pytest.fixture(scope="module")
def seven_people(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of SCface's shape with one more person than table5.yaml draws: three are others' mirror images."""
    root = tmp_path_factory.mktemp("seven") / "scface"
    mugshots = root / "mugshot_frontal_original_all"
    mugshots.mkdir(parents=True)
    people = sorted((examples / "gallery").glob("*.jpg"))
    for k, path in enumerate([*people, *people[:3]]):
        with PilImage.open(path) as picture:
            turned = picture if k < len(people) else ImageOps.mirror(picture)
            turned.convert("RGB").save(mugshots / f"{k + 1:03d}_frontal.jpg", quality=95)
    simulate(mugshots, root / "surveillance_cameras_all", distances=["d1"], cameras=1)
    return root


def test_table_5_by_the_committed_recipe(
    seven_people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Path(__file__).resolve().parents[2] / "pipelines" / "table5.yaml"
    shared = ["run", "--recipe", str(recipe), "--device", "cpu"]
    assert main(shared) == 1
    assert "give --data-root, your copy" in capsys.readouterr().err
    out = tmp_path / "run"
    # The networks of `all` would cost half a minute and add rows, not paths: two systems that have none do here.
    sr = ["--sr", "none", "--sr", "bicubic"]
    assert main([*shared, *sr, "--data-root", str(seven_people), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for told in ("Table 5 of the paper beside ours", "0.540106", "Ours, n = 6", "Ours, all 7", "At n = 6 a mean says"):
        assert told in " ".join(printed.split())
    report = (out / "report.html").read_text()
    assert report.count("Table 5 of the paper beside ours") == 1
    record = json.loads((out / "run.json").read_text())
    assert (record["recipe"]["similarity"], record["recipe"]["scale"]) == ("clipped", 4)
    assert {row["attrs"]["camera"] + row["attrs"]["distance"] for row in record["probes"]} == {"11"}
    assert len(record["candidates"]) == 6
    few, every = (pd.read_csv(out / f"{name}.csv").set_index("sr") for name in ("table_candidates", "table"))
    assert list(few.columns[:6]) == record["candidates"]
    assert list(every.columns[:7]) == [f"{k:03d}" for k in range(1, 8)]
    row = every.loc["bicubic"]
    assert few.loc["bicubic", record["candidates"]].tolist() == row[record["candidates"]].tolist()
    assert main(["evaluate", str(out), "--no-plots", "--rounds", "100"]) == 0
    text = (out / "evaluation" / "metrics.md").read_text()
    for told in ("0.540106", f"{row['average_paper']:.6f}", f"{few.loc['bicubic', 'average_paper']:.6f}"):
        assert told in text
    assert "Ours, n = 6 | Ours, all 7" in text
    assert "not significant at n = 6" in text
    assert "published, unverified (from memory)" in text
    assert (out / "similarity_shared.csv").is_file()
    evaluated = (out / "report.html").read_text()
    assert "Table 5: 6 candidates drawn with the seed" in evaluated
    assert evaluated.count("Table 5 of the paper beside ours") == 1
    # Made again from the folder, the tables are those of the run.
    beside = [
        part[: part.index("</table>")] for part in (report, evaluated) for part in [part.split("paper beside ours")[1]]
    ]
    assert beside[0] == beside[1]


def test_tinyface_with_distractors(material: tuple[list[Path], dict[str, list[Path]]], tmp_path: Path) -> None:
    from scipy.io import savemat

    mugshots, crops = material
    test = tmp_path / "tinyface" / "Testing_Set"
    for k, path in enumerate(mugshots[:2]):
        put(path, test / "Gallery_Match" / f"g{k}.jpg")
        put(crops[PEOPLE[k]][0], test / "Probe" / f"p{k}.jpg")
    for path in mugshots[2:]:
        put(path, test / "Gallery_Distractor" / path.name)
    for file, name in (("gallery_match", "gallery"), ("probe", "probe")):
        content = {f"{name}_set": cells([f"{name[0]}0.jpg", f"{name[0]}1.jpg"]), f"{name}_ids": [[11], [12]]}
        savemat(test / f"{file}_img_ID_pairs.mat", content)
    metrics = run_and_evaluate(tmp_path / "run", lists("tinyface", tmp_path / "tinyface", tmp_path / "lists"))
    assert value(metrics, "rank1", part="all", stratum="all", at="")["total"] == 2
    assert value(metrics, "map", part="benchmark")["total"] == 2
    searched = pd.read_csv(tmp_path / "run" / "similarity.csv", dtype=str)
    assert searched["gallery_subject"].str.startswith("distractor").sum() == 4


def test_survface_open_set_and_pairs(material: tuple[list[Path], dict[str, list[Path]]], tmp_path: Path) -> None:
    from scipy.io import savemat

    mugshots, crops = material
    root = tmp_path / "survface"
    test, pairs = root / "Face_Identification_Test_Set", root / "Face_Verification_Test_Set"
    for k in (0, 1):
        put(mugshots[k], test / "gallery" / f"{k}_cam1_1.jpg")
        put(crops[PEOPLE[k]][0], test / "mated_probe" / f"{k}_cam2_1.jpg")
        put(crops[PEOPLE[k + 2]][0], test / "unmated_probe" / f"{k + 2}_cam2_1.jpg")
        for j in (0, 1):
            put(crops[PEOPLE[k]][j], pairs / "verification_images" / f"{k}_cam{j}_1.jpg")
    ids = [[1], [2]]
    savemat(
        test / "gallery_img_ID_pairs.mat", {"gallery_set": cells(["0_cam1_1.jpg", "1_cam1_1.jpg"]), "gallery_ids": ids}
    )
    mated = {"mated_probe_set": cells(["0_cam2_1.jpg", "1_cam2_1.jpg"]), "mated_probe_ids": ids}
    savemat(test / "mated_probe_img_ID_pairs.mat", mated)
    for sign, rows in (("positive", [("0_cam0", "0_cam1"), ("1_cam0", "1_cam1")]), ("negative", [("0_cam0", "1_cam0"), ("0_cam1", "1_cam1")])):  # fmt: skip  # noqa: E501
        names = [[f"{a}_1.jpg", f"{b}_1.jpg"] for a, b in rows]
        import numpy as np

        savemat(pairs / f"{sign}_pairs_names.mat", {f"{sign}_pairs_names": np.array(names, dtype=object)})
    sides = lists("survface", root, tmp_path / "search")
    metrics = run_and_evaluate(tmp_path / "open", sides, "--fpir", "0.5")
    found = [value(metrics, "tpir20", part="benchmark", at=f"FPIR {x}") for x in ("0.3", "0.2", "0.1", "0.01")]
    assert [(row["total"], row["people"]) for row in found] == [(2, 2)] * 4
    stored = json.loads((tmp_path / "open" / "evaluation" / "thresholds.json").read_text())
    assert any("not enrolled" in entry["basis"] for entry in stored if entry["rate"] == "FPIR")
    sides = lists("survface", root, tmp_path / "lists", "--protocol", "pairs")
    metrics = run_and_evaluate(tmp_path / "pairs", [*sides, "--pairs", str(tmp_path / "lists" / "pairs.csv")])
    assert value(metrics, "accuracy", part="pairs")["total"] == 4
    rows = pd.read_csv(tmp_path / "pairs" / "similarity.csv", dtype=str)
    assert len(rows) == 4
    assert rows["genuine"].tolist() == ["1", "1", "0", "0"]
    assert sorted(rows["fold"]) == ["1", "1", "2", "2"]


def test_lfw_pairs(material: tuple[list[Path], dict[str, list[Path]]], tmp_path: Path) -> None:
    _, crops = material
    root = tmp_path / "lfw"
    for name, k in (("Ann", 0), ("Bo", 1)):
        for j, path in enumerate(crops[PEOPLE[k]]):
            put(path, root / "lfw" / name / f"{name}_{j + 1:04d}.jpg")
    (root / "pairs.txt").write_text("2 1\nAnn 1 2\nAnn 1 Bo 2\nBo 1 2\nBo 1 Ann 2\n")
    sides = lists("lfw", root, tmp_path / "lists")
    arguments = [*sides, "--pairs", str(tmp_path / "lists" / "pairs.csv")]
    metrics = run_and_evaluate(tmp_path / "run", arguments)
    accuracy = value(metrics, "accuracy", part="pairs")
    assert accuracy["total"] == 4
    rows = pd.read_csv(tmp_path / "run" / "similarity.csv")
    folds = fold_accuracies(rows["cosine"].to_numpy(), (rows["genuine"] == 1).to_numpy(), rows["fold"].to_numpy())
    assert accuracy["value"] == pytest.approx(sum(folds) / 2)
    assert rows[rows["genuine"] == 1]["cosine"].min() > rows[rows["genuine"] == 0]["cosine"].max()
    assert value(metrics, "eer", part="pairs")["value"] == 0


def test_a_folder_of_folders(material: tuple[list[Path], dict[str, list[Path]]], tmp_path: Path) -> None:
    mugshots, crops = material
    for name, k in (("anna", 0), ("ben", 1)):
        put(mugshots[k], tmp_path / "set" / name / "1.jpg")
        put(crops[PEOPLE[k]][0], tmp_path / "set" / name / "2.jpg")
    metrics = run_and_evaluate(tmp_path / "run", lists("folder", tmp_path / "set", tmp_path / "lists"))
    got = value(metrics, "rank1", part="all", stratum="all", at="")
    assert (got["count"], got["total"]) == (2, 2)


def test_the_threshold_of_a_fold_is_the_best_of_the_others() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    for _ in range(30):
        scores = np.round(rng.normal(0, 1, 40), 1)
        scores[rng.integers(0, 40, 3)] = np.nan
        genuine = rng.integers(0, 2, 40).astype(bool)
        folds = rng.integers(1, 4, 40)
        wanted = []
        for fold in (1, 2, 3):
            inside = folds == fold
            best, chosen = -1, 0.0
            for t in [*sorted(set(scores[~np.isnan(scores) & ~inside])), np.inf]:
                right = sum((s >= t) == g for s, g in zip(scores[~inside], genuine[~inside], strict=True))
                if right > best:
                    best, chosen = right, t
            told = [(s >= chosen) == g for s, g in zip(scores[inside], genuine[inside], strict=True)]
            wanted.append(sum(told) / len(told))
        assert fold_accuracies(scores, genuine, folds) == pytest.approx(wanted)
    assert best_threshold(np.array([0.1, 0.9]), np.array([True, False])) == 0.1
