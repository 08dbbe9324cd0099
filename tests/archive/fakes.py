"""A cheap detector and recogniser as a real plug-in package, and archives that suit them.

The detector finds the coloured squares of `scene`, the recogniser turns colours into vectors. They are installed as the
package of another project would be, by entry points on the search path, so that worker processes find them as well.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image as PilImage

from faceup import registry
from faceup.archive.batch import Batch
from faceup.archive.settings import FaceSettings, ResultSettings, parse_every
from faceup.types import Image

RED, GREEN, BLUE, YELLOW = (250, 20, 20), (20, 250, 20), (20, 20, 250), (250, 250, 20)
COLOURS = {"red": RED, "green": GREEN, "blue": BLUE, "yellow": YELLOW}

# Timestamps of a camera that does not keep its pace.
UNEVEN_MS = [70 * i if i % 3 else 70 * i - 20 for i in range(1, 21)]

PLUGIN = """
import os
import time

import numpy as np

from faceup.types import BackendInfo, Detections

INFO = BackendInfo("squares", "1", "Apache-2.0", "finds coloured squares", False)
POINTS = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]], np.float32)


class Squares:
    dimension = 8

    def detect(self, images):
        return [self._one(image.pixels) for image in images]

    def _one(self, pixels):
        bright = (pixels[:, :, 0] > 140) | (pixels[:, :, 1] > 140) | (pixels[:, :, 2] > 140)
        columns = np.flatnonzero(np.diff(np.concatenate([[0], bright.any(axis=0).view(np.int8), [0]])))
        boxes = []
        for x0, x1 in columns.reshape(-1, 2):
            rows = np.flatnonzero(bright[:, x0:x1].any(axis=1))
            if x1 - x0 >= 6 and len(rows) >= 6:
                boxes.append([x0 - 0.5, rows[0] - 0.5, x1 - 0.5, rows[-1] + 0.5])
        if not boxes:
            return Detections.none()
        boxes = np.array(boxes, np.float32)
        corner, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
        return Detections(boxes, np.full(len(boxes), 0.9, np.float32), corner + POINTS * size)

    def embed(self, faces):
        if (flag := os.environ.get("FACEUP_TEST_DIE")) and faces:
            try:
                os.unlink(flag)
            except FileNotFoundError:
                pass
            else:
                os.kill(os.getpid(), 9)
        time.sleep(float(os.environ.get("FACEUP_TEST_SLOW", "0")))
        rows = np.zeros((len(faces), 8), np.float32)
        for row, face in zip(rows, faces):
            row[:3] = face.pixels[40:100, 40:72].reshape(-1, 3).mean(axis=0)
            row[3] = 20
        return rows / np.linalg.norm(rows, axis=1, keepdims=True) if len(rows) else rows


def build(options):
    return Squares()
"""


def install(folder: Path) -> Path:
    """Write the plug-in package into a folder that can be put on the search path."""
    info = folder / "faceup_squares-1.dist-info"
    info.mkdir(parents=True)
    (folder / "faceup_squares.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faceup-squares\nVersion: 1\n")
    points = "".join(f"[faceup.{stage}]\nsquares = faceup_squares\n" for stage in ("detect", "embed"))
    (info / "entry_points.txt").write_text(points)
    return folder


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """Make this process find the plug-in."""
    sys.path.insert(0, str(folder))
    registry._found.cache_clear()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        registry._found.cache_clear()


def scene(squares: Sequence[tuple[tuple[int, int, int], int, int, int]], width: int = 160, height: int = 90) -> Image:
    """A dark picture with squares, each (colour, x, y, side)."""
    pixels = np.full((height, width, 3), 30, np.uint8)
    for colour, x, y, side in squares:
        pixels[y : y + side, x : x + side] = colour
    return Image(pixels)


def save(path: Path, image: Image) -> Path:
    """Write a picture; the ending tells the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PilImage.fromarray(image.pixels).save(path)
    return path


def film(
    path: Path, frames: Sequence[Image], times_ms: Sequence[int] | None = None, *, codec: str = "mpeg4", gop: int = 12
) -> Path:
    """Write a video with these timestamps, by default 40 ms apart."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    times = list(times_ms) if times_ms is not None else [40 * i for i in range(len(frames))]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt, stream.gop_size = "yuvj420p" if codec == "mjpeg" else "yuv420p", gop
        stream.bit_rate = 2_000_000
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image.pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def walk(count: int, colour: tuple[int, int, int] = RED, *, side: int = 40, step: int = 2) -> list[Image]:
    """Frames in which one square crosses the picture."""
    return [scene([(colour, 4 + i * step % (150 - side), 30, side)]) for i in range(count)]


def gallery(folder: Path, names: Sequence[str] = tuple(COLOURS)) -> Path:
    """One picture of each named colour."""
    for name in names:
        save(folder / f"{name}_1.png", scene([(COLOURS[name], 50, 20, 60)]))
    return folder


def archive(folder: Path, pictures: int = 60) -> Path:
    """Three cameras: pictures of small squares in two, a video in the third."""
    colours = list(COLOURS.values())
    for number, camera in enumerate(("gate", "yard")):
        for i in range(pictures):
            squares = [(colours[(i // 5) % 4], 2 + i % 40, 8 + i % 7 + number, 24 + i % 3)]
            save(folder / camera / f"{i:04d}.png", scene(squares if i % 9 else [], 80, 45))
    film(folder / "hall" / "walk.mp4", [*walk(30, RED), *[scene([])] * 70, *walk(30, BLUE)])
    film(folder / "hall" / "walk2.mkv", walk(20, GREEN), UNEVEN_MS)
    return folder


def batch(folder: Path, archives: Sequence[Path], job: str = "job", **changes: object) -> Batch:
    """A batch with the fake networks; `changes` go to Batch, ResultSettings or FaceSettings, whoever knows them."""
    kinds = (FaceSettings, ResultSettings)
    parts = [{key: value for key, value in changes.items() if key in kind.__slots__} for kind in kinds]
    rest = {key: value for key, value in changes.items() if not any(key in part for part in parts)}
    faces = FaceSettings(**{"sr": "bicubic", "scale": 2, "detector": "squares", "recognizer": "squares", **parts[0]})  # type: ignore[arg-type]
    values = {"every": parse_every("1"), "gallery": folder / "gallery", **rest}
    return Batch(archives=archives, job=folder / job, faces=faces, results=ResultSettings(**parts[1]), **values)  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
