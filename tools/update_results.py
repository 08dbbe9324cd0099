"""Write measured figures into README.md, docs/models/ and docs/results/, from the files that other commands wrote.

    PYTHONPATH=. python tools/update_results.py RESULTS

RESULTS is what `tools/compare_backends.py` made. Nobody types a figure: what stands between the markers
`<!-- NAME -->` and `<!-- end -->` of a document is replaced. The ablation is added where RESULTS holds `table1.csv`:

    faceup train --queue pipelines/train_table1.yaml --data-root DIR
    faceup evaluate-sr --recipe pipelines/table1.yaml --hr LONDON/neutral --out RESULTS/table1.csv
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from faceup.evaluate_sr import METRICS, QualityRecipe, compared, summary
from faceup.files import whole_or_not_at_all
from faceup.manifest import name_parts
from faceup.metrics.bootstrap import bootstrap_interval
from faceup.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[1]
# The rows in the order of the paper's tables, and the one network that was trained on camera pictures.
CLEAN = ("lcge", "rcan", "srfbn", "mtc", "sparnet", "sisn")
ORDER = ("none", "bicubic", *CLEAN, "sisn-surveillance")
NAMES = {"none": "LR image", "bicubic": "bicubic", "lcge": "LCGE", "rcan": "RCAN", "srfbn": "SRFBN", "mtc": "MTC",
         "sparnet": "SPARNet", "sisn": "SISN", "sisn-surveillance": "SISN, cameras"}  # fmt: skip
DIGITS = {"psnr": 2, "ssim": 4, "lpips": 4, "mps": 4}


def interval(values: pd.Series, digits: int) -> str:
    """Return a mean with its 95 % bootstrap interval."""
    low, high = bootstrap_interval(values)
    return f"{values.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def above_bicubic(measured: pd.DataFrame, label: str, metric: str = "psnr") -> pd.Series:
    """Return the difference of a backend to bicubic, picture by picture."""
    wide = measured.pivot_table(index="picture", columns="sr", values=metric)
    return wide[label] - wide["bicubic"]


def genuine(run: Path) -> pd.DataFrame:
    """Return the rows of a run that compare a probe with its own subject; 0 where no face was found."""
    table = pd.read_csv(run / "similarity.csv", dtype={"probe_subject": str, "gallery_subject": str})
    table = table[table["genuine"] == 1].copy()
    table["similarity"] = table["similarity"].fillna(0.0)
    return table


def backends_table(results: Path, measured: pd.DataFrame, *, intervals: bool) -> str:
    """Return the row of every backend: image quality, recognition on the clean reduction, and cost."""
    quality = {row["sr"]: row for row in summary(measured).to_dict("records")}
    costs = {row["sr"]: row for row in pd.read_csv(results / "cost.csv").to_dict("records")}
    known = genuine(results / "clean")
    rows = []
    for label in ORDER:
        part, cost = known[known["sr"] == label], costs[label]
        cells = ["-"] * len(METRICS)
        if label in quality:
            of_label = measured[measured["sr"] == label]
            cells = [
                interval(of_label[m], DIGITS[m]) if intervals else f"{of_label[m].mean():.{DIGITS[m]}f}"
                for m in METRICS
            ]
        recognised = interval(part["similarity"], 3) if intervals else f"{part['similarity'].mean():.3f}"
        counts = [f"{int((part['rank'] == 1).sum())}/{len(part)}", f"{int(part['detected'].sum())}/{len(part)}"]
        size = [f"{cost['parameters']:,.0f}", f"{cost['multiply_adds'] / 1e9:.2f}"]
        if not cost["parameters"]:
            size = ["-", "-"]
        rows.append([NAMES[label], *cells, recognised, *counts, *size, f"{cost['ms_per_crop']:.1f}"])
    head = ["method", "PSNR, dB", "SSIM", "LPIPS", "MPS", "similarity", "rank-1", "faces found", "parameters",
            "G multiply-adds", "ms per crop"]  # fmt: skip
    return markdown(head, rows)


def camera_table(run: Path) -> str:
    """Return similarity, rank-1 and faces found by backend and distance of the simulated camera."""
    known = genuine(run)
    known["distance"] = [name_parts(Path(probe).stem)[1].get("distance", "") for probe in known["probe"]]
    rows = []
    for label in ORDER:
        cells = []
        for _, part in known[known["sr"] == label].groupby("distance"):
            # One probe per subject and distance, so resampling probes is resampling subjects.
            hits, found, count = int((part["rank"] == 1).sum()), int(part["detected"].sum()), len(part)
            cells.append(f"{interval(part['similarity'], 3)}; {hits}/{count}; {found}/{count}")
        rows.append([NAMES[label], *cells])
    return markdown(["method", "d1", "d2", "d3"], rows)


def quality_table(measured: pd.DataFrame, labels: Sequence[str], names: dict[str, str]) -> str:
    """Return the four metrics with intervals, and the PSNR above bicubic."""
    rows = []
    for label in labels:
        part = measured[measured["sr"] == label]
        gain = "-" if label == "bicubic" else interval(above_bicubic(measured, label), 2)
        rows.append([names.get(label, label), *(interval(part[m], DIGITS[m]) for m in METRICS), gain])
    return markdown(["method", "PSNR, dB", "SSIM", "LPIPS", "MPS", "PSNR above bicubic, dB"], rows)


def made(weights: str) -> str:
    """Return what made a weight file, in words, from the record of its training."""
    training = json.loads((ROOT / "docs" / "models" / weights / "training.json").read_text(encoding="utf-8"))
    recipe = training["recipe"]
    return (
        f"`{weights}.safetensors`: {training['parameters']:,} parameters; {recipe['steps']:,} steps of "
        f"{recipe['batch']} crops of {recipe['patch']} x {recipe['patch']} px in "
        f"{training['training_seconds'] / 60:.0f} minutes on a busy two-core CPU; best validation at step "
        f"{training['best_step']:,}: {training['best_validation_psnr_db']:.2f} dB on "
        f"{training['validation_pictures']} synthetic portraits."
    )


def write_between(path: Path, marker: str, text: str) -> None:
    """Replace what stands between the markers `<!-- marker -->` and `<!-- end -->` of a document."""
    content = path.read_text(encoding="utf-8")
    block = f"<!-- {marker} -->\n{text}\n<!-- end -->"
    pattern = rf"<!-- {re.escape(marker)} -->.*?<!-- end -->"
    new, count = re.subn(pattern, lambda _: block, content, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{path.name} needs the marker <!-- {marker} --> with its <!-- end --> once, found {count}.")
    with whole_or_not_at_all(path) as temporary:
        temporary.write_text(new, encoding="utf-8")


def card(network: str, measured: dict[int, pd.DataFrame]) -> str:
    """Return the measured part of a model card."""
    parts = []
    for scale, frame in measured.items():
        if network in set(frame["sr"]):
            parts.append(made(f"{network}-x{scale}"))
            parts.append(
                f"Measured at x{scale} on the {frame['picture'].nunique()} neutral faces of the Face Research Lab "
                "London Set at 256 px, never trained on; means with 95 % intervals:"
            )
            parts.append(quality_table(frame, ["bicubic", network], NAMES))
    return "\n\n".join(parts)


def ablation(measured: pd.DataFrame) -> str:
    """Return Table 1 at compact size, with the paper's numbers at full size beside it."""
    recipe = read_recipe(ROOT / "pipelines" / "table1.yaml", QualityRecipe)
    rows = []
    for row in compared(measured, recipe).to_dict("records"):
        cells = []
        for metric in METRICS:
            mean, low, high, published = (
                f"{row[key]:.{DIGITS[metric]}f}"
                for key in (metric, f"{metric}_low", f"{metric}_high", f"{metric}_published")
            )
            cells.append(f"{mean} [{low}, {high}] ({published})".replace("nan", "-"))
        rows.append([row["name"], *cells])
    wide = measured.pivot_table(index="picture", columns="name", values="psnr")
    whole = wide["SISN"]
    variants = [row["name"] for row in recipe.rows if row["name"].startswith("SISN ")]
    return "\n\n".join(
        [
            f"{len(wide)} pictures, x4, means with 95 % intervals over pictures; in brackets {recipe.source}:",
            markdown(["method", "PSNR, dB", "SSIM", "LPIPS", "MPS"], rows),
            "PSNR that the whole network has more, in dB, picture by picture:",
            markdown(["against", "difference"], [[name, interval(whole - wide[name], 3)] for name in variants]),
        ]
    )


def main(results: Path) -> None:
    """Update all documents."""
    measured = {scale: pd.read_csv(results / f"quality-x{scale}.csv") for scale in (4, 8)}
    write_between(ROOT / "README.md", "backends", backends_table(results, measured[4], intervals=False))
    write_between(ROOT / "README.md", "camera", camera_table(results / "camera"))
    for network in CLEAN:
        write_between(ROOT / "docs" / "models" / f"{network}.md", "results", card(network, measured))
    details = ROOT / "docs" / "results" / "backends.md"
    write_between(details, "backends", backends_table(results, measured[4], intervals=True))
    for scale, frame in measured.items():
        labels = [label for label in ORDER if label in set(frame["sr"])]
        write_between(details, f"quality x{scale}", quality_table(frame, labels, NAMES))
    cost = pd.read_csv(results / "cost.csv").iloc[0]
    write_between(
        details,
        "cost",
        f"Crops of {cost['width']} x {cost['height']} px, {cost['crops_per_call']} in one call, on "
        f"{cost['threads']} CPU threads; median of seven calls after one to warm up.",
    )
    if (results / "table1.csv").exists():
        table1 = ablation(pd.read_csv(results / "table1.csv"))
        write_between(ROOT / "docs" / "results" / "table1.md", "table1", table1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
