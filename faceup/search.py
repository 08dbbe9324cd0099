"""Search of a large gallery in blocks: what is kept of more comparisons than memory and files can hold.

For every probe: its own person's gallery pictures, the best picture of each of the `OTHERS` most similar other people,
the rank of its own person, and how many of the other people's scores (each the best of a person's pictures) fall in
each bin of the cosine.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceup.errors import DataError
from faceup.files import shown
from faceup.metrics.binned import BINS, bins_of
from faceup.types import Embeddings, Floats

OTHERS = 20
# Scores of so many comparisons are in memory at once.
BLOCK = 8_000_000
FILE = "searches.npz"
MAX_BYTES = 4 * 2**30


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """What is kept of all comparisons of each of the P probes.

    Attributes:
        rank: (P,) rank of the own person among people, 0 without a comparison.
        impostors: (P, `BINS`) how many other people's scores fall in each bin.
    """

    rank: npt.NDArray[np.int64]
    impostors: npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Comparisons that are kept one by one, probe by probe.

    Attributes:
        probe: (N,) number of the probe.
        gallery: (N,) number of the gallery picture.
        cosine: (N,) NaN where no comparison could be made.
        rank: (N,) as of `faceup.match.ranks`, 0 where no comparison could be made.
    """

    probe: npt.NDArray[np.intp]
    gallery: npt.NDArray[np.intp]
    cosine: Floats
    rank: npt.NDArray[np.int64]


class _Gallery:
    """The embeddings sorted by person, and where each person's are."""

    def __init__(self, gallery: Embeddings, subjects: Sequence[str]) -> None:
        names, person = np.unique(np.asarray(subjects, dtype=object), return_inverse=True)
        self.number = {str(name): k for k, name in enumerate(names)}
        order = np.argsort(person, kind="stable")
        bounds = np.searchsorted(person[order], np.arange(len(names) + 1))
        # Pictures of a person by number, those without a face with them.
        self.pictures = [order[bounds[k] : bounds[k + 1]] for k in range(len(names))]
        self.usable = order[~gallery.failed[order]]
        self.vectors = gallery.vectors[self.usable]
        self.of = person[self.usable]
        self.people, self.starts = np.unique(self.of, return_index=True)
        self.ends = np.append(self.starts[1:], len(self.usable))
        self.place = np.full(len(subjects), -1, np.intp)
        self.place[self.usable] = np.arange(len(self.usable))
        self.column = np.full(len(names), -1, np.intp)
        self.column[self.people] = np.arange(len(self.people))


def search(
    gallery: Embeddings, probes: Embeddings, gallery_subjects: Sequence[str], probe_subjects: Sequence[str]
) -> tuple[Kept, Searched]:
    """Compare every probe with the whole gallery and keep what the module says.

    Args:
        gallery: embeddings, of which at least one is not failed.
        probes: likewise, any of which may be failed.
        gallery_subjects: whose pictures they are.
        probe_subjects: likewise, empty for unknown people.
    """
    known = _Gallery(gallery, gallery_subjects)
    own = np.array([known.number.get(subject, -1) if subject else -1 for subject in probe_subjects], np.intp)
    found = Searched(np.zeros(len(own), np.int64), np.zeros((len(own), BINS), np.uint32))
    parts: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats, npt.NDArray[np.int64]]] = []
    step = max(1, BLOCK // len(known.usable))
    for start in range(0, len(own), step):
        chosen = slice(start, start + step)
        vectors = np.where(probes.failed[chosen, None], 0, probes.vectors[chosen])
        scores = np.clip(vectors @ known.vectors.T, -1, 1).astype(np.float32)
        best = np.maximum.reduceat(scores, known.starts, axis=1)
        for i in range(len(scores)):
            probe = start + i
            failed = bool(probes.failed[probe])
            if not failed:
                found.rank[probe], found.impostors[probe] = _person(known, best[i], int(own[probe]))
            pictures, cosine, rank = _kept(known, scores[i], best[i], int(own[probe]), failed=failed)
            parts.append((np.full(len(pictures), probe, np.intp), pictures, cosine, rank))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Kept(columns[0], columns[1], columns[2], columns[3]), found


def _person(known: _Gallery, best: Floats, own: int) -> tuple[int, npt.NDArray[np.int64]]:
    """Return the rank of the own person and the histogram of the others."""
    counts = np.bincount(bins_of(best), minlength=BINS)
    column = known.column[own] if own >= 0 else -1
    if column < 0:
        return 0, counts
    counts[bins_of(best[column])] -= 1
    return int((best >= best[column]).sum()), counts


def _kept(
    known: _Gallery, scores: Floats, best: Floats, own: int, *, failed: bool
) -> tuple[npt.NDArray[np.intp], Floats, npt.NDArray[np.int64]]:
    """Return gallery pictures, cosines and ranks: the own person's, then the best others'."""
    mine = known.pictures[own] if own >= 0 else np.zeros(0, np.intp)
    if failed:
        return mine, np.full(len(mine), np.nan, np.float32), np.zeros(len(mine), np.int64)
    columns = np.arange(len(best))
    if own >= 0 and known.column[own] >= 0:
        columns = np.delete(columns, known.column[own])
    others = best[columns]
    if len(columns) > OTHERS:
        few = np.argpartition(-others, OTHERS - 1)[:OTHERS]
        columns, others = columns[few], others[few]
    columns = columns[np.lexsort((columns, -others))]
    tops = [known.starts[c] + int(np.argmax(scores[known.starts[c] : known.ends[c]])) for c in columns]
    places = np.concatenate([known.place[mine], np.array(tops, np.intp)])
    made = places >= 0
    cosine = np.where(made, scores[places], np.float32(np.nan)).astype(np.float32)
    rank = np.zeros(len(places), np.int64)
    if made.any():
        # Nothing below the lowest of them has a part in their ranks.
        ahead = np.sort(scores[scores >= cosine[made].min()])
        rank[made] = 1 + len(ahead) - np.searchsorted(ahead, cosine[made], side="left")
        for k in np.flatnonzero(made):
            column = known.column[known.of[places[k]]]
            rank[k] -= int((scores[known.starts[column] : known.ends[column]] >= cosine[k]).sum())
    return np.concatenate([mine, known.usable[np.array(tops, np.intp)]]), cosine, rank


def write_searches(path: Path, searches: Mapping[str, Searched]) -> None:
    """Write what is kept of the searches of each SR system, in their order, as arrays in one compressed file."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for k, kept in enumerate(searches.values()):
        arrays |= {f"rank_{k}": kept.rank, f"impostors_{k}": kept.impostors}
    np.savez_compressed(path, allow_pickle=False, **arrays)


def read_searches(path: Path, labels: Sequence[str], probes: int) -> dict[str, Searched]:
    """Read what `write_searches` wrote.

    Raises:
        DataError: it cannot be read, is far too large, or has not the arrays of these SR systems and probes.
    """
    out = {}
    try:
        with zipfile.ZipFile(path) as content:
            if sum(member.file_size for member in content.infolist()) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            for k, label in enumerate(labels):
                kept = Searched(arrays[f"rank_{k}"], arrays[f"impostors_{k}"])
                shapes = kept.rank.shape, kept.impostors.shape
                whole = all(array.dtype.kind in "iu" for array in (kept.rank, kept.impostors))
                if shapes != ((probes,), (probes, BINS)) or not whole:
                    raise ValueError(f"arrays of the shapes {shapes} for {probes} probes")
                out[label] = kept
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{shown(path)}: not what a run writes ({error}). Do the run again.") from error
    return out
