"""The rows of a gallery: one enrolled picture each, and their form on disk (Parquet)."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from faceup.errors import ConfigError, DataError
from faceup.types import Floats

NAMES = ("subjects", "samples", "pictures", "retain_until")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Enrolled pictures.

    Attributes:
        subjects: N names.
        samples: N names of pictures, unique within the gallery.
        pictures: N sha256 of the picture files, lower-case hex.
        retain_until: N dates YYYY-MM-DD, the last day on which the row may be used; empty: no limit.
        vectors: (N, D) float32 of unit length.
    """

    subjects: tuple[str, ...]
    samples: tuple[str, ...]
    pictures: tuple[str, ...]
    retain_until: tuple[str, ...]
    vectors: Floats

    def __post_init__(self) -> None:
        lengths = {len(column) for column in (*self.names(), self.vectors)}
        if len(lengths) != 1 or self.vectors.ndim != 2 or self.vectors.dtype != np.float32:
            raise DataError("The rows of a gallery do not fit together.")
        if len(self) and not np.allclose(np.linalg.norm(self.vectors, axis=1), 1, atol=1e-3):
            raise DataError("A gallery holds an embedding that is not of unit length.")

    def __len__(self) -> int:
        return len(self.subjects)

    def taken(self, mask: npt.NDArray[np.bool_]) -> Rows:
        """Return the rows where `mask` is true."""
        return rows_of(
            [[name for name, kept in zip(names, mask, strict=True) if kept] for names in self.names()],
            self.vectors[mask],
        )

    def expired(self, today: date) -> npt.NDArray[np.bool_]:
        """Return (N,) whether the retention date lies before `today`."""
        return np.array([bool(until) and until < today.isoformat() for until in self.retain_until], dtype=bool)

    def unexpired(self, today: date) -> tuple[Rows, int]:
        """Return the rows that may be used today, and how many are past their retention date."""
        gone = self.expired(today)
        return (self.taken(~gone), int(gone.sum())) if gone.any() else (self, 0)

    def of_subjects(self, only: Collection[str]) -> Rows:
        """Return the rows of some subjects.

        Raises:
            DataError: one has none.
        """
        if missing := sorted(set(only) - set(self.subjects)):
            raise DataError(f"{len(missing)} subjects are not in the gallery, e.g. {missing[0]!r}.")
        return self.taken(np.isin(np.array(self.subjects, dtype=object), list(only)))

    def names(self) -> tuple[tuple[str, ...], ...]:
        """Return the columns but the embeddings, in the order of `NAMES`."""
        return self.subjects, self.samples, self.pictures, self.retain_until


def rows_of(names: Sequence[Sequence[str]], vectors: Floats) -> Rows:
    """Return rows from the columns that `Rows.names` gives."""
    subjects, samples, pictures, retain_until = map(tuple, names)
    return Rows(subjects, samples, pictures, retain_until, vectors)


def joined(parts: Sequence[Rows], dimension: int) -> Rows:
    """Return the rows of several parts as one."""
    vectors = np.concatenate([np.zeros((0, dimension), np.float32), *(part.vectors for part in parts)])
    return rows_of([[name for part in parts for name in part.names()[i]] for i in range(len(NAMES))], vectors)


def checked_date(text: str) -> str:
    """Return a date YYYY-MM-DD, or the empty text.

    Raises:
        ConfigError: anything else.
    """
    try:
        if text and (not re.fullmatch(r"\d{4}-\d\d-\d\d", text) or not date.fromisoformat(text)):
            raise ValueError(text)
    except ValueError as error:
        raise ConfigError(f"A retention date is YYYY-MM-DD, got {text!r}.") from error
    return text


def need_pyarrow() -> Any:
    """Return the module pyarrow.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise ConfigError("Galleries and archives need pyarrow: pip install 'faceup[archive,gallery]'.") from error
    return pyarrow


def to_bytes(rows: Rows) -> bytes:
    """Return the rows as a Parquet file."""
    pa = need_pyarrow()
    import pyarrow.parquet as pq

    flat = pa.array(rows.vectors.ravel())
    arrays = [pa.array(values, pa.string()) for values in rows.names()]
    vectors = pa.FixedSizeListArray.from_arrays(flat, rows.vectors.shape[1])
    sink = io.BytesIO()
    table = pa.Table.from_arrays([*arrays, vectors], [*NAMES, "vector"])
    pq.write_table(table, sink, compression="none", use_dictionary=["subjects", "retain_until"])
    return sink.getvalue()


def from_bytes(data: bytes, dimension: int) -> Rows:
    """Read what `to_bytes` gave.

    Raises:
        DataError: it is no such file, or its embeddings are not of `dimension`.
    """
    pa = need_pyarrow()
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
        names = [table.column(name).to_pylist() for name in NAMES]
        column = table.column("vector").combine_chunks()
        vectors = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        return rows_of(names, np.ascontiguousarray(vectors.reshape(len(table), dimension)))
    except (pa.ArrowException, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"A part of the gallery is damaged ({error}).") from error
