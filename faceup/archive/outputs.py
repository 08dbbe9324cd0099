"""The files of the results folder: appearances, faces, coverage, thumbnails; written row by row, not all in memory."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from faceup.archive.ledger import Ledger, Source
from faceup.archive.places import write_time
from faceup.archive.settings import ResultSettings
from faceup.archive.tracks import Sighting, Track
from faceup.files import csv_text
from faceup.gallery.index import Candidate
from faceup.gallery.rows import need_pyarrow
from faceup.types import BOX, LANDMARKS

BUFFER = 4096
THUMBNAILS_PER_FOLDER = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """One passer-by in front of one camera.

    Attributes:
        track: its tracklet.
        candidates: of the gallery, the most alike first.
        generated: whether its embedding comes from pixels that a network made up.
        thumbnail: path of its best picture within the results folder.
    """

    track: Track
    candidates: list[Candidate]
    generated: bool
    thumbnail: str


class Parquet:
    """A Parquet file that grows by rows; in memory are at most `BUFFER` of them."""

    def __init__(self, path: Path, fields: Sequence[tuple[str, str]], vector: int = 0) -> None:
        pa = need_pyarrow()
        import pyarrow.parquet as pq

        kinds = {
            "str": pa.string(),
            "int": pa.int64(),
            "float": pa.float64(),
            "bool": pa.bool_(),
            "time": pa.timestamp("us", tz="UTC"),
            "vector": pa.list_(pa.float32(), vector) if vector else None,
        }
        self._pa = pa
        self._schema = pa.schema([(name, kinds[kind]) for name, kind in fields])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        """Append a row."""
        self._rows.append(row)
        if len(self._rows) >= BUFFER:
            self._write()

    def _write(self) -> None:
        if self._rows:
            self._writer.write_table(self._pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []

    def __enter__(self) -> Parquet:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._write()
        self._writer.close()


FACE_FIELDS = [
    ("appearance", "int"),
    ("source", "str"),
    ("camera", "str"),
    ("pts", "int"),
    ("time_base_num", "int"),
    ("time_base_den", "int"),
    ("seconds", "float"),
    ("time", "time"),
    *((name, "float") for name in BOX),
    *((f"{name}_{axis}", "float") for name in LANDMARKS for axis in "xy"),
    ("score", "float"),
    ("inter_eye_px", "float"),
    ("quality", "float"),
    ("super_resolved", "bool"),
    ("found_again", "bool"),
]


def face_row(seen: Sighting, appearance: int, *, embedding: bool) -> dict[str, Any]:
    """Return one row of faces.parquet."""
    face = seen.face
    base = seen.time_base or (None, None)
    row = {
        "appearance": appearance,
        "source": seen.source,
        "camera": seen.camera,
        "pts": seen.pts,
        "time_base_num": base[0],
        "time_base_den": base[1],
        "seconds": seen.seconds,
        "time": seen.utc_us,
        **dict(zip(BOX, map(float, face.box), strict=True)),
        **{f"{n}_{a}": float(face.landmarks[i, k]) for i, n in enumerate(LANDMARKS) for k, a in enumerate("xy")},
        "score": face.score,
        "inter_eye_px": face.eye_px,
        "quality": face.quality,
        "super_resolved": face.sr,
        "found_again": face.again,
    }
    return {**row, "embedding": face.vector.tolist()} if embedding else row


APPEARANCE_FIELDS = [
    ("appearance", "int"),
    ("camera", "str"),
    ("start", "time"),
    ("end", "time"),
    ("start_source", "str"),
    ("start_s", "float"),
    ("end_source", "str"),
    ("end_s", "float"),
    ("frames", "int"),
    ("rank", "int"),
    ("subject", "str"),
    ("similarity", "float"),
    ("threshold", "float"),
    ("fmr", "float"),
    ("above_threshold", "bool"),
    ("gallery_picture", "str"),
    ("quality", "float"),
    ("inter_eye_px", "float"),
    ("generated", "bool"),
    ("best_source", "str"),
    ("best_pts", "int"),
    ("best_time_base_num", "int"),
    ("best_time_base_den", "int"),
    ("best_s", "float"),
    *((f"best_{name}", "float") for name in BOX),
    ("thumbnail", "str"),
]


def appearance_rows(seen: Appearance, settings: ResultSettings, thresholds: dict[str, float]) -> list[dict[str, Any]]:
    """Return the rows of one appearance: one per candidate, one without a candidate if there is none.

    Args:
        seen: the appearance.
        settings: with the threshold and its false match rate.
        thresholds: of subjects that have their own, from a watch list.
    """
    track = seen.track
    best = track.best[0]
    base = best.time_base or (None, None)
    common = {
        "appearance": track.number,
        "camera": track.first.camera,
        "start": track.first.utc_us,
        "end": track.last.utc_us,
        "start_source": track.first.source,
        "start_s": track.first.seconds,
        "end_source": track.last.source,
        "end_s": track.last.seconds,
        "frames": track.frames,
        "quality": best.face.quality,
        "inter_eye_px": best.face.eye_px,
        "generated": seen.generated,
        "best_source": best.source,
        "best_pts": best.pts,
        "best_time_base_num": base[0],
        "best_time_base_den": base[1],
        "best_s": best.seconds,
        **{f"best_{name}": float(value) for name, value in zip(BOX, best.face.box, strict=True)},
        "thumbnail": seen.thumbnail,
    }
    empty = dict.fromkeys(name for name, _ in APPEARANCE_FIELDS)
    rows = []
    for rank, candidate in enumerate(seen.candidates, start=1):
        threshold = thresholds.get(candidate.subject, settings.threshold)
        own = candidate.subject in thresholds
        rows.append(
            {
                **empty,
                **common,
                "rank": rank,
                "subject": candidate.subject,
                "similarity": candidate.cosine,
                "threshold": threshold,
                # A rate belongs to the threshold that it was measured at, and to no other.
                "fmr": settings.fmr if threshold == settings.threshold and not own else None,
                "above_threshold": None if threshold is None else candidate.cosine >= threshold,
                "gallery_picture": candidate.sample,
            }
        )
    return rows or [{**empty, **common}]


class Csv:
    """A CSV file that grows by rows; texts that a spreadsheet would run are defused."""

    def __init__(self, path: Path, fields: Sequence[tuple[str, str]]) -> None:
        self._stream: TextIO = path.open("w", encoding="utf-8", newline="")
        self._fields = fields
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow([name for name, _ in fields])

    def add(self, row: dict[str, Any]) -> None:
        """Append a row."""
        self._writer.writerow([_cell(row[name], kind) for name, kind in self._fields])

    def __enter__(self) -> Csv:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stream.close()


def _cell(value: Any, kind: str) -> str:
    if value is None:
        return ""
    if kind == "str":
        return csv_text(str(value))
    if kind == "time":
        return write_time(value)
    if kind == "bool":
        return str(int(value))
    return f"{value:.6f}" if kind == "float" else str(value)


COVERAGE_FIELDS = [
    ("input", "str"),
    ("kind", "str"),
    ("camera", "str"),
    ("start", "time"),
    ("status", "str"),
    ("reason", "str"),
    ("wanted", "int"),
    ("searched", "int"),
    ("minutes", "float"),
    ("minutes_searched", "float"),
    ("faces", "int"),
    ("sha256", "str"),
]


def coverage_row(source: Source, ledger: Ledger) -> dict[str, Any]:
    """Return one row of coverage.csv; `minutes` are empty for pictures.

    Status is `searched` when every wanted picture or frame was, `partly`, or `not_searched`.
    """
    searched, seconds, faces, reason = ledger.covered(source.name)
    why = [text for text in (source.problem, source.cut, reason, source.note) if text]
    whole = searched == source.wanted and not (source.problem or source.cut or reason)
    is_video = source.kind == "video"
    return {
        "input": source.name,
        "kind": source.kind,
        "camera": source.camera,
        "start": source.start_us,
        "status": "not_searched" if not searched else "searched" if whole else "partly",
        "reason": "; ".join(why),
        "wanted": source.wanted,
        "searched": searched,
        "minutes": source.seconds / 60 if is_video else None,
        "minutes_searched": seconds / 60 if is_video else None,
        "faces": faces,
        "sha256": source.sha256,
    }


def save_thumbnail(folder: Path, number: int, data: bytes) -> str:
    """Write the picture of an appearance and return its path within the results folder."""
    name = f"thumbnails/{number // THUMBNAILS_PER_FOLDER:05d}/{number:08d}.jpg"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return name
