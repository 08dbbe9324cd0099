"""Write the measured figures into README.md and docs/models/sisn.md, from the files that the commands wrote.

    faceup simulate LONDON/smiling cam --distances d1,d2,d3 --seed 0
    faceup run --gallery LONDON/neutral --probes cam --sr none --sr bicubic --sr sisn --out runs/london
    faceup evaluate-sr --hr LONDON/neutral --size 256 --sr bicubic --sr sisn --out runs/london-psnr.csv
    PYTHONPATH=. python tools/update_results.py runs/london runs/london-psnr.csv

Nobody types a figure: what stands between the markers `<!-- results -->` and `<!-- end -->` is replaced.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pandas as pd

from faceup.evaluate_sr import summary
from faceup.files import whole_or_not_at_all
from faceup.manifest import name_parts
from faceup.metrics.bootstrap import bootstrap_interval

ROOT = Path(__file__).resolve().parents[1]
NAMES = {"none": "LR image"}


def recognition_table(run: Path) -> str:
    """Return mean genuine similarity, rank-1 and faces found by SR system and distance, as Markdown."""
    similarity = pd.read_csv(run / "similarity.csv", dtype={"probe_subject": str, "gallery_subject": str})
    genuine = similarity[similarity["genuine"] == 1].copy()
    genuine["distance"] = [name_parts(Path(probe).stem)[1].get("distance", "") for probe in genuine["probe"]]
    lines = ["| method | distance | similarity, not found = 0 [95 %] | rank-1 | faces found |", "|---|---|---|---|---|"]
    for label in json.loads((run / "run.json").read_text(encoding="utf-8"))["recipe"]["sr"]:
        for distance, part in genuine[genuine["sr"] == label].groupby("distance"):
            # One probe per subject and distance, so resampling probes is resampling subjects.
            values = part["similarity"].fillna(0.0)
            low, high = bootstrap_interval(values)
            hits, found, count = int((part["rank"] == 1).sum()), int(part["detected"].sum()), len(part)
            mean = f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"
            lines.append(f"| {NAMES.get(label, label)} | d{distance} | {mean} | {hits}/{count} | {found}/{count} |")
    return "\n".join(lines)


def quality_table(measured: pd.DataFrame) -> str:
    """Return PSNR and SSIM by SR system, as Markdown."""
    lines = ["| method | PSNR, dB [95 %] | SSIM [95 %] |", "|---|---|---|"]
    for row in summary(measured).to_dict("records"):
        psnr, ssim = (
            f"{row[m]:.{d}f} [{row[f'{m}_low']:.{d}f}, {row[f'{m}_high']:.{d}f}]" for m, d in (("psnr", 2), ("ssim", 4))
        )
        lines.append(f"| {row['sr']} | {psnr} | {ssim} |")
    return "\n".join(lines)


def gain(measured: pd.DataFrame) -> str:
    """Return the paired PSNR difference of sisn to bicubic with its interval, in words."""
    wide = measured.pivot_table(index="picture", columns="sr", values="psnr")
    difference = wide["sisn"] - wide["bicubic"]
    low, high = bootstrap_interval(difference)
    return f"{difference.mean():.2f} dB [{low:.2f}, {high:.2f}] above bicubic, n = {len(difference)}"


def write_between(path: Path, text: str) -> None:
    """Replace what stands between the markers of a document."""
    content = path.read_text(encoding="utf-8")
    block = f"<!-- results -->\n{text}\n<!-- end -->"
    new, count = re.subn(r"<!-- results -->.*?<!-- end -->", lambda _: block, content, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{path.name} needs the markers <!-- results --> and <!-- end --> once, found {count}.")
    with whole_or_not_at_all(path) as temporary:
        temporary.write_text(new, encoding="utf-8")


def main(run: Path, psnr_csv: Path) -> None:
    """Update both documents."""
    measured = pd.read_csv(psnr_csv)
    training = json.loads((ROOT / "docs/models/sisn-x4/training.json").read_text(encoding="utf-8"))
    pictures = f"PSNR on originals reduced to 256 x 256 px and enlarged again: sisn is {gain(measured)}."
    write_between(ROOT / "README.md", f"{recognition_table(run)}\n\n{pictures}\n\n{quality_table(measured)}")
    made = (
        f"{training['parameters']:,} parameters; {training['recipe']['steps']} steps of {training['recipe']['batch']} "
        f"crops in {training['training_seconds'] / 60:.0f} minutes on {training['threads']} CPU threads; best of the "
        f"validations at step {training['best_step']} ({training['best_validation_psnr_db']:.2f} dB on "
        f"{training['validation_pictures']} synthetic portraits)."
    )
    london = (
        f"Measured on the 102 neutral faces of the Face Research Lab London Set, never trained on: {gain(measured)}."
    )
    write_between(ROOT / "docs/models/sisn.md", f"{made}\n\n{london}\n\n{quality_table(measured)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
