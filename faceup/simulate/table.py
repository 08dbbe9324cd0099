"""simulation.csv: what was done to each picture, one line for each crop that was made or could not be made."""

from __future__ import annotations

import csv
import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faceup.errors import DataError
from faceup.files import csv_text, plain_text, shown

TABLE = "simulation.csv"
_DIGITS = {"achieved_eye_px": 3, "outside": 4, "blur_px": 3, "motion_px": 3, "motion_deg": 1}


@dataclass(frozen=True, slots=True)
class Row:
    """One crop that was made, or that could not be made: one line of simulation.csv, in its order of columns.

    Attributes:
        source: the high-definition picture, relative to the source folder.
        source_sha256: of its bytes; empty when it could not be read.
        output: the crop, relative to the output folder; empty unless `status` is `ok`.
        output_sha256: of its bytes.
        subject: whose face it is.
        camera: number of the simulated camera, from 1.
        distance: name of the preset.
        target_eye_px: distance between the eyes that the preset asks for; None for `hard`, which goes by the face box.
        achieved_eye_px: the detected eyes' distance in pixels of the crop.
        width: of the crop.
        height: of the crop.
        outside: share of the crop that lies beyond the source's border and shows its replicated edge, 0..1.
        blur_px: sigma of the Gaussian blur in pixels of the crop.
        motion_px: length of the streak of motion in pixels of the crop.
        motion_deg: direction of the streak, 0..180 degrees from the x axis towards the y axis.
        noise_luma: sigma of the noise that all channels share, in grey levels of 0..255.
        noise_chroma: sigma of the noise of Cb and of Cr.
        noise_rgb: sigma of the noise that is independent in R, G and B.
        jpeg_quality: of the crop's file.
        seed: as given.
        status: `ok`, `no_face`, `unreadable`, or `too_small` when the crop would have to enlarge the source.
        message: why it is not `ok`.
    """

    source: str
    source_sha256: str
    output: str
    output_sha256: str
    subject: str
    camera: int
    distance: str
    target_eye_px: float | None
    achieved_eye_px: float | None
    width: int
    height: int
    outside: float | None
    blur_px: float
    motion_px: float | None
    motion_deg: float | None
    noise_luma: float
    noise_chroma: float
    noise_rgb: float
    jpeg_quality: int
    seed: int
    status: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class SimulationSummary:
    """What `simulate` did.

    Attributes:
        out: the folder that holds the crops and simulation.csv.
        rows: one per picture, camera and distance, in that order.
        ignored: files of the source folder whose names are not those of pictures.
        counts: how many rows have each status.
    """

    out: Path
    rows: tuple[Row, ...]
    ignored: tuple[str, ...]
    counts: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", Counter(row.status for row in self.rows))


def write_table(folder: Path, rows: Sequence[Row]) -> None:
    """Write simulation.csv into `folder`: UTF-8, a header, one line per row, empty cells where there is no value."""
    columns = [column.name for column in dataclasses.fields(Row)]
    try:
        with (folder / TABLE).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([_cell(name, getattr(row, name)) for name in columns] for row in rows)
    except OSError as error:
        raise DataError(f"{TABLE}: cannot be written ({error.strerror or error}).") from error


def listed_outputs(folder: Path) -> set[str]:
    """Return the names of the crops that the simulation.csv of a folder lists, relative to the folder."""
    table = folder / TABLE
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            names = [row.get("output") or "" for row in csv.DictReader(stream)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{shown(table)}: cannot be read ({error}); its folder is not replaced.") from error
    return {plain_text(name) for name in names} - {""}


def _cell(name: str, value: str | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return csv_text(value)
    return f"{value:.{_DIGITS[name]}f}" if name in _DIGITS else str(value)
