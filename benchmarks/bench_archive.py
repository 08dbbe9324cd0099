"""Measures what `faceup batch` costs a frame and a face, and plans 10,000 cameras from it in docs/scaling.md.

    python -m benchmarks.bench_archive --write docs/scaling.md --json benchmarks/results/archive.json

The film is made here: 1280 x 720 px, two faces of the example pictures in every frame, each about 40 px wide, H.264.
Times are CPU seconds of the process (all its threads), so that a busy machine does not change them much.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import method
from benchmarks.method import Cell, Column, Table
from faceup.archive import shards, video
from faceup.archive.batch import Batch
from faceup.archive.faces import FaceFinder
from faceup.archive.job import run_batch
from faceup.archive.settings import Every, FaceSettings, ResultSettings, parse_every
from faceup.archive.units import PART_FRAMES
from faceup.images import read_image, resize
from faceup.types import Image

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT, FACE_PX = 1280, 720, 40
MARKS = ("<!-- measured -->", "<!-- end -->")
MEANING = {
    "decode_s_per_mpx": "decode: CPU s per megapixel of stored video (H.264), to RGB",
    "search_s_per_frame": "search: CPU s per searched frame (detector, longer side at most 1024 px)",
    "face_s": "face: CPU s per face (cut out, SR, search again, align, embed)",
    "shard_bytes_per_face": "bytes of shards per face (embedding, thumbnail, geometry)",
    "shard_bytes_per_unit": "bytes of shards per unit without a face",
    "result_bytes_per_face": "bytes of faces.parquet per face, without embeddings",
    "result_bytes_per_appearance": "bytes of all other results per appearance",
    "finish_s_per_face": "CPU s per face of a run that only makes the results again, gallery included",
}


@dataclass(frozen=True, slots=True)
class Constants:
    """What was measured. CPU seconds are of one thread; sizes are bytes."""

    decode_s_per_mpx: float
    search_s_per_frame: float
    face_s: float
    shard_bytes_per_face: float
    shard_bytes_per_unit: float
    result_bytes_per_face: float
    result_bytes_per_appearance: float
    finish_s_per_face: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """The archive that is planned."""

    cameras: int = 10_000
    hours_a_day: float = 24
    stored_fps: float = 15
    searched_fps: float = 1
    megapixels: float = 2.07
    faces_per_frame: float = 0.05
    frames_per_appearance: float = 5


def film(path: Path, frames: int) -> None:
    """Write the film."""
    av = video.need_av()
    rng = np.random.default_rng(method.SEED)
    background = resize(Image(rng.integers(60, 160, (18, 32, 3)).astype(np.uint8)), WIDTH, HEIGHT).pixels
    faces = []
    for name in ("obama", "hopper"):
        picture = read_image(ROOT / "examples" / "gallery" / f"{name}_frontal.jpg")
        faces.append(resize(picture, 2 * FACE_PX, 2 * FACE_PX * picture.height // picture.width).pixels)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", 15
        for i in range(frames):
            pixels = background.copy()
            for number, face in enumerate(faces):
                x, y = 100 + 400 * number + 3 * i, 200 + 50 * number
                pixels[y : y + face.shape[0], x : x + face.shape[1]] = face
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 15)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def cpu(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return CPU seconds and result of a call."""
    begun = time.process_time()
    result = function()
    return time.process_time() - begun, result


def size(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measured(frames: int, sr: str, device: str) -> Constants:
    """Measure on a film of so many frames."""
    with tempfile.TemporaryDirectory(prefix="faceup-bench-") as name:
        work = Path(name)
        (work / "archive").mkdir()
        film(work / "archive" / "film.mp4", frames)
        found = video.inventory(work / "archive" / "film.mp4")
        chosen = tuple(video.wanted(found, Every()))
        part = video.Part(work / "archive" / "film.mp4", found.pts[0], chosen, found.timed)
        decode_s, pictures = cpu(lambda: [image for _, image in part])
        settings = FaceSettings(sr=sr, device=device)
        finder = FaceFinder(settings)
        finder.find(pictures[:1])  # The first call is slower.
        search_s, _ = cpu(lambda: finder.detector.detect(pictures))
        all_s, faces = cpu(lambda: finder.find(pictures))
        count = sum(map(len, faces))
        if not count:
            raise SystemExit("no face was found in the film")
        empty = len(shards.to_bytes([], [shards.ItemReport()], finder.embedder.dimension))
        batch = Batch(
            ROOT / "examples" / "gallery",
            [work / "archive"],
            work / "job",
            settings,
            ResultSettings(),
            parse_every("1"),
        )
        run_batch(batch)
        again = Batch(**{**{f: getattr(batch, f) for f in Batch.__slots__}, "resume": True})
        finish_s, totals = cpu(lambda: run_batch(again))
        results = work / "job" / "results"
        rows = (results / "faces.parquet").stat().st_size
        return Constants(
            decode_s_per_mpx=decode_s / (frames * WIDTH * HEIGHT / 1e6),
            search_s_per_frame=search_s / frames,
            face_s=max(all_s - search_s, 0) / count,
            shard_bytes_per_face=(size(work / "job" / "shards") - empty) / count,
            shard_bytes_per_unit=float(empty),
            result_bytes_per_face=rows / count,
            result_bytes_per_appearance=(size(results) - rows) / totals.appearances,
            finish_s_per_face=finish_s / count,
        )


def plan(c: Constants, f: Fleet) -> list[tuple[str, str, str]]:
    """Return what one day of the fleet costs: name, formula, value."""
    day = f.cameras * f.hours_a_day * 3600
    searched, stored = day * f.searched_fps, day * f.stored_fps
    faces = searched * f.faces_per_frame
    appearances = faces / f.frames_per_appearance
    units = searched / PART_FRAMES
    decode = stored * f.megapixels * c.decode_s_per_mpx / 3600
    search = searched * c.search_s_per_frame / 3600
    embed = faces * c.face_s / 3600
    shard = faces * c.shard_bytes_per_face + units * c.shard_bytes_per_unit
    results = faces * c.result_bytes_per_face + appearances * c.result_bytes_per_appearance
    return [
        ("frames searched", "cameras x hours x 3600 x searched fps", f"{searched:.3g}"),
        ("faces", "frames searched x faces per frame", f"{faces:.3g}"),
        ("appearances", "faces / frames per appearance", f"{appearances:.3g}"),
        ("units, shards", f"frames searched / {PART_FRAMES}", f"{units:.3g}"),
        ("decoding, CPU core hours", "stored frames x megapixels x decode", f"{decode:,.0f}"),
        ("searching, CPU core hours", "frames searched x search", f"{search:,.0f}"),
        ("SR, second search, embedding, CPU core hours", "faces x face", f"{embed:,.0f}"),
        ("cores to keep up", "sum of the hours / 24", f"{(decode + search + embed) / 24:,.0f}"),
        ("shards, GiB", "faces x bytes per face + units x bytes per unit", f"{shard / 2**30:,.0f}"),
        ("results, GiB", "faces x bytes per face + appearances x bytes per appearance", f"{results / 2**30:,.0f}"),
    ]


def block(c: Constants, fleet: Fleet, about: str) -> str:
    """Return the part of docs/scaling.md that is made here."""
    lines = [MARKS[0], f"Measured: {about}.", "", "| constant | value |", "|---|---|"]
    lines += [f"| {MEANING[key]} | {value:.4g} |" for key, value in asdict(c).items()]
    told = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in asdict(fleet).items())
    lines += ["", f"One day of: {told}.", "", "| what | formula | value |", "|---|---|---|"]
    lines += [f"| {name} | {formula} | {value} |" for name, formula, value in plan(c, fleet)]
    return "\n".join([*lines, MARKS[1]])


def recorded(c: Constants, *, frames: int, sr: str, device: str, arguments: list[str] | None = None) -> dict[str, Any]:
    """Return the record."""
    rows: list[dict[str, Cell]] = [{"what": MEANING[key], "value": f"{v:.4g}"} for key, v in asdict(c).items()]
    return method.record(
        "archive",
        "What `faceup batch` costs a frame and a face; docs/scaling.md plans a fleet of cameras from it.",
        [Table("Constants", [Column("what", "constant"), Column("value", "value")], rows)],
        inputs=f"{frames} frames of {WIDTH} x {HEIGHT} px, H.264, two faces each; SR {sr}, device {device}",
        rounds=1,
        warm_ups=1,
        threads=1,
        arguments=arguments,
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--sr", default="sisn")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--write", type=Path, help="document whose measured part is replaced")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    import torch

    method.set_threads(1)
    constants = measured(given.frames, given.sr, given.device)
    done = recorded(constants, frames=given.frames, sr=given.sr, device=given.device)
    method.publish(done, given.json)
    if given.write:
        about = (
            f"{given.frames} frames of {WIDTH} x {HEIGHT} px with two faces each, SR {given.sr}, device "
            f"{given.device}, one thread of {done['machine']['processor']}, torch {torch.__version__.split('+')[0]}"
        )
        before, rest = given.write.read_text(encoding="utf-8").split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        given.write.write_text(before + block(constants, Fleet(), about) + after, encoding="utf-8")


if __name__ == "__main__":
    main()
