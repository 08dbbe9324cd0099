"""The search: FAISS for speed, exact scores for what it finds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceup.errors import ConfigError, DataError, unknown_name
from faceup.gallery.rows import Rows
from faceup.types import Floats

KINDS = ("flat", "ivf", "hnsw")
HNSW_LINKS = 32
NPROBE = 64
EF_SEARCH = 256
# Rows a cell from which the cells of an `ivf` index are learned.
TRAINING_ROWS = 64


@dataclass(frozen=True, slots=True)
class Candidate:
    """One subject that a face was compared with.

    Attributes:
        subject: its name.
        sample: the subject's gallery picture that is most alike.
        cosine: of the two embeddings, -1..1.
    """

    subject: str
    sample: str
    cosine: float


def need_faiss() -> Any:
    """Return the module faiss.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ConfigError("The search needs FAISS: pip install 'faceup[gallery]'.") from error
    return faiss


def build_index(vectors: Floats, kind: str) -> Any:
    """Return a FAISS index of inner products over the rows.

    Args:
        vectors: (N, D) float32 of unit length.
        kind: `flat`: exact; `ivf`: about 4 sqrt(N) cells, of which a search looks into `nprobe`; `hnsw`: a graph
            over the rows in half precision.
    """
    faiss = need_faiss()
    n, d = vectors.shape
    if kind == "flat":
        index = faiss.IndexFlatIP(d)
    elif kind == "ivf":
        # FAISS wants 39 rows a cell to train with; more cells than that would be noise.
        cells = max(1, min(int(4 * math.sqrt(n)), n // 39))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(d), d, cells, faiss.METRIC_INNER_PRODUCT)
        # FAISS takes up to 256 rows a cell; a million rows are then trained with for a quarter of an hour.
        index.cp.max_points_per_centroid = TRAINING_ROWS
        index.train(vectors if n else np.eye(1, d, dtype=np.float32))
    elif kind == "hnsw":
        # Half the bytes to read are a third of the time to build; the scores are computed anew from the embeddings.
        index = faiss.IndexHNSWSQ(d, faiss.ScalarQuantizer.QT_fp16, HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    else:
        raise unknown_name("index", kind, KINDS)
    if n:
        index.add(vectors)
    return index


def index_to_bytes(index: Any) -> bytes:
    """Return a FAISS index as bytes."""
    return bytes(need_faiss().serialize_index(index).tobytes())


def index_from_bytes(data: bytes, rows: int) -> Any:
    """Read a FAISS index whose bytes were checked against their hash.

    Raises:
        DataError: it is no index of so many rows.
    """
    try:
        index = need_faiss().deserialize_index(np.frombuffer(data, np.uint8))
    except RuntimeError as error:
        raise DataError(f"The gallery's index is damaged ({error}).") from error
    if index.ntotal != rows:
        raise DataError(f"The gallery's index has {index.ntotal} rows, the gallery {rows}.")
    return index


class Searcher:
    """Finds the subjects of a gallery that faces are most alike to.

    A subject's score is that of its best picture. Scores are computed anew from the embeddings for what the index
    finds, so they are the same with every kind of index; only `ivf` and `hnsw` may miss a subject.

    Args:
        rows: the gallery.
        kind: of the index.
        index: built already; else it is built now.
        nprobe: cells that a search of `ivf` looks into.
        ef_search: breadth of a search of `hnsw`.
    """

    def __init__(
        self, rows: Rows, kind: str = "flat", *, index: Any = None, nprobe: int = NPROBE, ef_search: int = EF_SEARCH
    ) -> None:
        self.rows, self.kind, self.ef_search = rows, kind, ef_search
        self.index = build_index(rows.vectors, kind) if index is None else index
        if kind == "ivf":
            self.index.nprobe = min(nprobe, self.index.nlist)
        self._sizes = sorted(Counter(rows.subjects).values(), reverse=True)

    @property
    def subjects(self) -> int:
        """How many subjects there are."""
        return len(self._sizes)

    def search(self, queries: Floats, top: int) -> list[list[Candidate]]:
        """Return, for every row of `queries`, at most `top` subjects, the most alike first.

        Args:
            queries: (Q, D) float32 of unit length.
            top: how many subjects, at least 1.
        """
        n = len(self.rows)
        if not n or not len(queries):
            return [[] for _ in queries]
        # So many pictures are sure to hold `top` subjects, even if those with the most pictures come first.
        wanted = min(n, sum(self._sizes[: top - 1]) + 1)
        if self.kind == "hnsw":
            self.index.hnsw.efSearch = max(self.ef_search, wanted)
        _, found = self.index.search(np.ascontiguousarray(queries, np.float32), wanted)
        return [self._best(query, ids[ids >= 0], top) for query, ids in zip(queries, found, strict=True)]

    def _best(self, query: Floats, ids: Sequence[int], top: int) -> list[Candidate]:
        # einsum and not a matrix product, whose last bit depends on how many rows there are.
        scores = np.clip(np.einsum("nd,d->n", self.rows.vectors[ids], query), -1, 1)
        best: dict[str, Candidate] = {}
        named = ((self.rows.subjects[i], self.rows.samples[i], float(s)) for i, s in zip(ids, scores, strict=True))
        for subject, sample, score in sorted(named, key=lambda row: (-row[2], row[0], row[1])):
            best.setdefault(subject, Candidate(subject, sample, score))
            if len(best) == top:
                break
        return list(best.values())
