"""Make docs/results/london/ from runs on the Face Research Lab London Set: nobody types a figure.

    faceup simulate LONDON/smiling cam --distances d1,d2,d3 --seed 0
    faceup run --gallery LONDON/neutral --probes cam --sr all --recognizer mobilefacenet --split-gain --out runs/camera
    faceup run --gallery LONDON/neutral --probes cam --split-gain --out runs/default
    PYTHONPATH=. python tools/london_results.py runs/camera runs/default

Give any SR backends; every run folder that is named is evaluated, and what people read of it is copied: the tables, the
CSV files and the plots, no picture of anybody and no path of this machine. Several folders stand side by side.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from faceup.defaults import RECOGNIZER
from faceup.evaluate.evaluation import evaluate
from faceup.evaluate.systems import read_runs
from faceup.files import whole_folder

TARGET = Path(__file__).resolve().parents[1] / "docs/results/london"
MARK = "metrics.md"
COPIED = ("metrics.csv", "comparisons.csv", "gain.csv", "thresholds.json")


def commands(folders: Sequence[Path]) -> list[str]:
    """Return what makes the runs again, with their settings as recorded."""
    lines = ["faceup simulate LONDON/smiling cam --distances d1,d2,d3 --seed 0"]
    for run in read_runs(folders):
        recipe = run.record["recipe"]
        systems = " ".join(f"--sr {shlex.quote(label)}" for label in recipe["sr"])
        split = " --split-gain" if recipe.get("split_gain") else ""
        threads = f" --threads {recipe['threads']}" if recipe["threads"] else ""
        other = "" if recipe["recognizer"] == RECOGNIZER else f" --recognizer {shlex.quote(recipe['recognizer'])}"
        out = shlex.quote(f"runs/{run.folder.name}")
        lines.append(f"faceup run --gallery LONDON/neutral --probes cam {systems}{other}{split}{threads} --out {out}")
    return [*lines, f"PYTHONPATH=. python tools/london_results.py {' '.join(f'runs/{f.name}' for f in folders)}"]


def heading(folders: Sequence[Path]) -> str:
    """Return the first lines of the page."""
    record = read_runs(folders)[0].record
    people = len({row["subject"] for row in record["gallery"]})
    code = "\n".join(f"    {line}" for line in commands(folders))
    return (
        "# London through the simulated camera\n\n"
        f"{people} people of the Face Research Lab London Set (CC BY 4.0, DeBruine and Jones, 2017): gallery the "
        f"neutral photos, probes {len(record['probes'])} crops of the smiling ones at SCface's three distances, x4, "
        f"faceup {record['faceup']}. A simulation is not a camera (docs/simulate.md). Made by\n\n{code}\n"
    )


def main(folders: Sequence[Path]) -> None:
    """Replace docs/results/london by the evaluation of the runs."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "evaluation"
        evaluate(folders, made, reports=False)
        with whole_folder(TARGET, _refuse) as staging:
            for name in COPIED:
                if (made / name).is_file():
                    shutil.copyfile(made / name, staging / name)
            (staging / "plots").mkdir()
            for plot in sorted((made / "plots").glob("*.png")):
                shutil.copyfile(plot, staging / "plots" / plot.name)
            # One kind of plot is enough in a repository.
            text = (made / MARK).read_text(encoding="utf-8").removeprefix("# Evaluation\n").replace(".svg)", ".png)")
            (staging / MARK).write_text(heading(folders) + text, encoding="utf-8")


def _refuse(existing: Path) -> None:
    if existing.exists() and not (existing / MARK).is_file():
        raise SystemExit(f"{existing} is not the folder of results: it is not replaced.")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
