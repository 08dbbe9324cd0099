"""Makes docs/results/archive.md: `faceup batch` over three short videos, with people of later frames in the gallery.

    python tools/show_archive.py --shared ../shared --work /tmp/show

The archive is the first half of each video, copied without decoding. The gallery holds the faces of each video's last
frame, cut out by the detector, and the 102 people of the London set as distractors. Who is who is told by where people
stand: in none of the videos does anybody pass in front of another.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from faceup import registry
from faceup.archive.settings import Every
from faceup.archive.video import Part, inventory, need_av, wanted
from faceup.gallery.store import Gallery
from faceup.images import encode_png
from faceup.registry import Options
from faceup.types import Image

ROOT = Path(__file__).resolve().parents[1]
VIDEOS = {
    "corridor_pause": ("left", "middle", "right"),
    "classroom": ("front left", "back left", "back right", "front right"),
    "headpose_male": ("man",),
}
MIN_FACE = 12


def first_half(source: Path, target: Path) -> int:
    """Copy the packets of the first half of a video and return how many frames that is."""
    av = need_av()
    kept = 0
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        packets = [packet for packet in reader.demux(stream) if packet.size]
        for packet in packets[: len(packets) // 2]:
            packet.stream = copy
            writer.mux(packet)
            kept += 1
    return kept


def last_faces(source: Path, names: tuple[str, ...], folder: Path) -> list[tuple[str, str, float]]:
    """Cut the faces out of a video's last frame, from left to right; return file, subject and centre of each."""
    frames = inventory(source)
    *_, (_, frame) = Part(source, frames.pts[0], tuple(wanted(frames, Every())), frames.timed)
    detector = registry.build("detect", "mtcnn", Options(extra={"min_face_size": MIN_FACE}))
    (found,) = detector.detect([frame])
    order = np.argsort(found.boxes[:, 0])
    if len(order) != len(names):
        raise SystemExit(f"{source.name}: {len(order)} faces in the last frame, expected {len(names)}")
    rows = []
    for index, name in zip(order, names, strict=True):
        x0, y0, x1, y1 = found.boxes[index]
        more = 0.5 * max(x1 - x0, y1 - y0)
        left, top = int(max(0, x0 - more)), int(max(0, y0 - more))
        cut = Image(frame.pixels[top : int(y1 + more), left : int(x1 + more)])
        path = folder / f"{source.stem}_{name.replace(' ', '-')}.png"
        path.write_bytes(encode_png(cut))
        rows.append((str(path), f"{source.stem}: {name}", float(x0 + x1) / 2))
    return rows


def faceup(*arguments: object) -> str:
    """Run a command and return what a reader would type."""
    words = [str(argument) for argument in arguments]
    subprocess.run([sys.executable, "-m", "faceup", *words], cwd=ROOT, check=True)
    return " ".join(["faceup", *words])


def main() -> None:
    """Do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder with data/videos and data/london")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made; must not exist")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "archive.md")
    given = parser.parse_args()
    archive, mugs = given.work / "archive", given.work / "mugshots"
    archive.mkdir(parents=True)
    mugs.mkdir()
    frames, people = {}, []
    for video, names in VIDEOS.items():
        source = given.shared / "data" / "videos" / f"{video}.mp4"
        frames[video] = first_half(source, archive / f"{video}.mp4")
        people += last_faces(source, names, mugs)
    london = sorted((given.shared / "data" / "london" / "neutral").glob("*.jpg"))
    with (given.work / "gallery.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "subject", "sample"])
        writer.writerows([path, subject, Path(path).name] for path, subject, _ in people)
        writer.writerows([path.resolve(), f"london {path.stem}", path.name] for path in london)
    faceup("gallery", "build", given.work / "gallery", given.work / "gallery.csv", "--device", "cpu")
    tables = {}
    for sr in ("none", "bicubic", "sisn"):
        job = given.work / f"job-{sr}"
        settings = ["--sr", sr, "--every", "1", "--min-face-size", MIN_FACE, "--device", "cpu"]
        where = ["--gallery", given.work / "gallery", "--archive", archive, "--job", job]
        faceup("batch", *where, *settings, "--purpose", "docs/results/archive.md")
        tables[sr] = judged(pd.read_csv(job / "results" / "appearances.csv"), people)
        coverage = pd.read_csv(job / "results" / "coverage.csv")
    subjects = Gallery.open(given.work / "gallery").rows().subjects
    enrolled = (sum(not name.startswith("london ") for name in subjects), len(people))
    given.out.write_text(page(tables, coverage, frames, enrolled, len(london)), encoding="utf-8")
    print(f"wrote {given.out}")


def judged(rows: Any, people: list[tuple[str, str, float]]) -> Any:
    """Add who each appearance is: the person of the same video whose place in its last frame is nearest."""
    truth = []
    for row in rows.itertuples():
        centre = (row.best_x0 + row.best_x1) / 2
        here = [(abs(x - centre), subject) for _, subject, x in people if subject.startswith(f"{row.camera}:")]
        truth.append(min(here)[1])
    return rows.assign(person=truth)


def page(
    tables: dict[str, Any],
    coverage: Any,
    frames: dict[str, int],
    enrolled: tuple[int, int],
    distractors: int,
) -> str:
    """Return the document."""
    some = next(iter(tables.values()))
    searched = ", ".join(f"{row.input} {row.searched} of {row.wanted} frames" for row in coverage.itertuples())
    listed = ", ".join(f"{video} {count} frames" for video, count in frames.items())
    lines = [
        "# An archive of three short videos",
        "",
        "Made by `tools/show_archive.py`; nothing here is typed by hand. The archive is the first half of each video",
        f"({listed}); the gallery holds {enrolled[0]} of {enrolled[1]} people",
        "cut out of the last frames (of the others no face was found in the cut-out again: failures to enrol), and",
        f"{distractors} people of the Face Research Lab London Set as distractors.",
        "The same people, clothes, light and camera a second or two apart: this shows that the machinery works end to",
        "end, not how well people are recognised in the field. Faces are searched from 12 px on, in every frame.",
        "",
        f"Searched: {searched}.",
        "",
        "| SR | appearances | faces | candidate at rank 1 is the person | similarity of those, mean |",
        "|---|---|---|---|---|",
    ]
    for sr, table in tables.items():
        hit = table["person"] == table["subject"]
        mean = table[hit]["similarity"].mean()
        lines.append(f"| {sr} | {len(table)} | {table['frames'].sum()} | {hit.sum()}/{len(table)} | {mean:.3f} |")
    lines += ["", "One row is one passer-by: all frames of a person in one line.", ""]
    for sr, table in tables.items():
        lines += [f"## {sr}", "", "| person | from, s | to, s | frames | eyes, px | rank 1 | similarity |"]
        lines.append("|---|---|---|---|---|---|---|")
        for row in table.itertuples():
            right = row.subject if row.subject == row.person else f"**{row.subject}**"
            lines.append(
                f"| {row.person} | {row.start_s:.2f} | {row.end_s:.2f} | {row.frames} | {row.inter_eye_px:.1f} "
                f"| {right} | {row.similarity:.3f} |"
            )
        lines.append("")
    lines.append(f"Wrong candidates are bold. {len(some)} appearances are few: no rate is claimed.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
