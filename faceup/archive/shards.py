"""Shards: the faces of one unit as a Parquet file, with what became of each of its inputs in the file's metadata."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from faceup.archive.faces import Face
from faceup.errors import DataError
from faceup.files import sha256_hex, shown, whole_or_not_at_all
from faceup.gallery.rows import need_pyarrow

_META = b"faceup"


@dataclass(slots=True)
class ItemReport:
    """What became of one input of a unit.

    Attributes:
        wanted: pictures or frames to search.
        searched: how many were.
        seconds: of video that the wanted frames stand for.
        seconds_searched: of those searched.
        faces: found in it.
        problem: why something was not searched.
    """

    wanted: int = 0
    searched: int = 0
    seconds: float = 0.0
    seconds_searched: float = 0.0
    faces: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A face and where it is from.

    Attributes:
        item: number of the input within the unit.
        pts: timestamp of the frame, None for a picture.
        placed: whether its box says where in the camera's view it is; not so in a crop.
        face: the face.
    """

    item: int
    pts: int | None
    placed: bool
    face: Face


@dataclass(slots=True)
class Shard:
    """The content of a shard.

    Attributes:
        rows: the faces, in the order of pictures or frames.
        items: one per input of the unit.
    """

    rows: list[ShardRow] = field(default_factory=list)
    items: list[ItemReport] = field(default_factory=list)


def to_bytes(rows: Sequence[ShardRow], items: Sequence[ItemReport], dimension: int) -> bytes:
    """Return a shard as a Parquet file; the same content gives the same bytes.

    Args:
        rows: the faces.
        items: one per input.
        dimension: of the embeddings.
    """
    pa = need_pyarrow()
    import pyarrow.parquet as pq

    faces = [row.face for row in rows]
    columns: dict[str, Any] = {
        "item": pa.array([row.item for row in rows], pa.int32()),
        "pts": pa.array([row.pts for row in rows], pa.int64()),
        "placed": pa.array([row.placed for row in rows], pa.bool_()),
        "box": _lists(pa, [face.box for face in faces], 4),
        "landmarks": _lists(pa, [face.landmarks.ravel() for face in faces], 10),
        "score": pa.array([face.score for face in faces], pa.float32()),
        "eye_px": pa.array([face.eye_px for face in faces], pa.float32()),
        "quality": pa.array([face.quality for face in faces], pa.float32()),
        "sr": pa.array([face.sr for face in faces], pa.bool_()),
        "again": pa.array([face.again for face in faces], pa.bool_()),
        "vector": _lists(pa, [face.vector for face in faces], dimension),
        "thumbnail": pa.array([face.thumbnail for face in faces], pa.binary()),
    }
    meta = {_META: json.dumps([asdict(item) for item in items], sort_keys=True).encode()}
    table = pa.table(columns).replace_schema_metadata(meta)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none")
    return sink.getvalue()


def _lists(pa: Any, rows: Sequence[Any], length: int) -> Any:
    flat = np.concatenate([np.zeros(0, np.float32), *rows]).astype(np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), length)


def from_bytes(data: bytes) -> Shard:
    """Read what `to_bytes` gave.

    Raises:
        DataError: it is no shard.
    """
    pa = need_pyarrow()
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
        items = [ItemReport(**item) for item in json.loads(table.schema.metadata[_META])]
        column = {name: table.column(name).combine_chunks() for name in table.column_names}
        arrays = {
            name: column[name].flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
            for name in ("box", "landmarks", "vector")
            if len(table)
        }
        plain = {name: column[name].to_pylist() for name in column if name not in ("box", "landmarks", "vector")}
        rows = [
            ShardRow(
                plain["item"][i],
                plain["pts"][i],
                plain["placed"][i],
                Face(
                    arrays["box"][i],
                    arrays["landmarks"][i].reshape(5, 2),
                    plain["score"][i],
                    plain["eye_px"][i],
                    plain["quality"][i],
                    plain["sr"][i],
                    plain["again"][i],
                    arrays["vector"][i],
                    plain["thumbnail"][i],
                ),
            )
            for i in range(len(table))
        ]
        return Shard(rows, items)
    except (pa.ArrowException, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"damaged ({error}).") from error


def place(job: Path, key: str) -> Path:
    """Return where a unit's shard lies."""
    return job / "shards" / key[:2] / f"{key}.parquet"


def write(job: Path, key: str, data: bytes) -> str:
    """Write a shard, whole or not at all, and return its sha256."""
    path = place(job, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_or_not_at_all(path) as temporary:
        temporary.write_bytes(data)
    return sha256_hex(data)


def read(job: Path, key: str, sha256: str) -> Shard:
    """Read a shard after checking its hash.

    Raises:
        DataError: missing or not what was written.
    """
    path = place(job, key)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read ({error.strerror or error}).") from error
    if sha256_hex(data) != sha256:
        raise DataError(f"{shown(path)}: not the bytes that were written.")
    try:
        return from_bytes(data)
    except DataError as error:
        raise DataError(f"{shown(path)}: {error}") from error
