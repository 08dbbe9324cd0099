"""Searches a large gallery on the CPU: faceup's search beside plain FAISS, and what IVF and HNSW miss.

    python -m benchmarks.bench_gallery --json benchmarks/results/gallery.json
    python -m benchmarks.bench_gallery --rows 200000 --kinds flat ivf hnsw

Embeddings are made up: each subject is a random direction, a gallery picture and a probe of the subject are that
direction and noise, scaled so that their cosine is about `--alike` (genuine pairs of MobileFaceNet have about 0.7 in
good pictures). Half of the probes are of enrolled people. Recall is the share of probes whose first subject is the
one that the exact search names; it is given for enrolled and for unknown people, because only the first matter to a
search that has a threshold. HNSW takes a quarter of an hour to build.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import method
from benchmarks.method import Bar, Cell, Column, Table
from faceup.gallery.index import Candidate, Searcher, build_index, index_to_bytes, need_faiss
from faceup.gallery.rows import Rows
from faceup.types import Floats

BLOCK = 65_536
LIMIT = 1.2
# In the second row of faceup's exact search; the search must then look at more rows to be sure of its subjects.
PICTURES = 4
SETTINGS: dict[str, list[dict[str, int]]] = {
    "flat": [{}],
    "ivf": [{"nprobe": n} for n in (16, 64, 256)],
    "hnsw": [{"ef_search": n} for n in (64, 256, 1024)],
}


def unit(vectors: Floats) -> Floats:
    """Return the rows scaled to unit length."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def noisy(rng: np.random.Generator, centres: Floats, alike: float) -> Floats:
    """Return vectors whose cosine with the centres is about sqrt(alike), so that two of them have about `alike`."""
    noise = unit(rng.standard_normal(centres.shape, dtype=np.float32))
    share = np.float32(np.sqrt(alike))
    return unit(share * centres + np.sqrt(1 - share**2) * noise)


def made_up(rows: int, dimension: int, probes: int, alike: float) -> tuple[Floats, Floats, np.ndarray]:
    """Return gallery, probes, and the row of each probe's subject (-1: nobody's)."""
    rng = np.random.default_rng(0)
    gallery = np.empty((rows, dimension), np.float32)
    chosen = rng.choice(rows, probes // 2, replace=False)
    queries = np.empty((probes, dimension), np.float32)
    for start in range(0, rows, BLOCK):
        end = min(rows, start + BLOCK)
        centres = unit(rng.standard_normal((end - start, dimension), dtype=np.float32))
        gallery[start:end] = noisy(rng, centres, alike)
        here = np.flatnonzero((chosen >= start) & (chosen < end))
        queries[here] = noisy(rng, centres[chosen[here] - start], alike)
    queries[len(chosen) :] = unit(rng.standard_normal((probes - len(chosen), dimension), dtype=np.float32))
    return gallery, queries, np.concatenate([chosen, np.full(probes - len(chosen), -1)])


def named(count: int, vectors: Floats, pictures: int) -> Rows:
    """Return the rows of a gallery with so many pictures of every subject."""
    samples = tuple(str(i) for i in range(count))
    subjects = tuple(str(i // pictures) for i in range(count))
    return Rows(subjects, samples, ("",) * count, ("",) * count, vectors)


def measure(
    *,
    rows: int,
    dimension: int,
    probes: int,
    alike: float,
    top: int,
    kinds: list[str],
    rounds: int,
    threads: int,
    arguments: list[str] | None = None,
) -> dict[str, Any]:
    """Return the record."""
    faiss = need_faiss()
    faiss.omp_set_num_threads(threads)
    gallery, queries, truth = made_up(rows, dimension, probes, alike)
    enrolled = truth >= 0
    begun = time.perf_counter()
    plain = build_index(gallery, "flat")
    built = {"FAISS": time.perf_counter() - begun}
    sizes = {"FAISS": 4 * gallery.size}
    systems: dict[str, Callable[[], Any]] = {"FAISS IndexFlatIP alone": lambda: plain.search(queries, top)}
    several = f"faceup flat, {PICTURES} pictures a subject"
    indices = {"FAISS IndexFlatIP alone": "FAISS", several: "FAISS"}
    for kind in kinds:
        # faceup's exact search has the same index, so only what it does around FAISS differs.
        index, source = plain, "FAISS"
        if kind != "flat":
            begun = time.perf_counter()
            index, source = build_index(gallery, kind), kind
            built[kind], sizes[kind] = time.perf_counter() - begun, len(index_to_bytes(index))
        for extra in SETTINGS[kind]:
            searcher = Searcher(named(rows, gallery, 1), kind, index=index, **extra)
            label = " ".join(["faceup", kind, *(f"{key} {value}" for key, value in extra.items())])
            systems[label] = partial(_searched, searcher, extra, queries, top)
            indices[label] = source
        if kind == "flat":
            grouped = Searcher(named(rows, gallery, PICTURES), kind, index=index)
            systems[several] = partial(grouped.search, queries, top)
    scores, exact = plain.search(queries, top)
    seconds = method.interleaved(systems, rounds=rounds)
    of_plain = seconds["FAISS IndexFlatIP alone"]
    table: list[dict[str, Cell]] = []
    bars = []
    for label, search in systems.items():
        same = np.ones(probes, bool)
        if label.startswith("faceup"):
            divisor = PICTURES if label == several else 1
            same = agreement(search(), exact[:, 0] // divisor, scores[:, 0])
        times = method.median([a / b for a, b in zip(seconds[label], of_plain, strict=True)])
        if label.startswith("faceup flat"):
            bars.append(Bar(f"{label}, {rows:,} rows, takes FAISS's time", "at most", LIMIT, times, "times", 3))
        table.append(
            {
                "search": label,
                "built_s": built[indices[label]],
                "mib": sizes[indices[label]] / 2**20,
                "ms": method.samples(1000 * s / probes for s in seconds[label]),
                "times": times,
                "recall_enrolled": float(same[enrolled].mean()),
                "recall_unknown": float(same[~enrolled].mean()),
            }
        )
    columns = [
        Column("search", "search"),
        Column("built_s", "built, s", 1),
        Column("mib", "size, MiB", 0),
        Column("ms", "ms a probe", 2),
        Column("times", "times FAISS", 3),
        Column("recall_enrolled", "recall, enrolled", 4),
        Column("recall_unknown", "recall, unknown", 4),
    ]
    hit = float((exact[enrolled, 0] == truth[enrolled]).mean())
    return method.record(
        "gallery",
        f"Search of {rows:,} embeddings of {dimension} numbers for the best {top} subjects of {probes} probes at once.",
        [Table("Search", columns, table)],
        bars,
        inputs=f"made-up embeddings, two of a person have a cosine of about {alike:g}",
        inputs_sha256=method.digest([queries.tobytes(), gallery[: min(rows, BLOCK)].tobytes()]),
        rounds=rounds,
        warm_ups=1,
        threads=threads,
        notes=[
            f"The exact search names the subject of {hit:.4f} of the enrolled probes. faceup's flat search has FAISS's "
            "index, so the difference is what faceup does around it: best picture of each subject, exact cosines."
        ],
        arguments=arguments,
    )


def _searched(searcher: Searcher, extra: dict[str, int], queries: Floats, top: int) -> list[list[Candidate]]:
    """Search with the settings of this row; several rows share one index."""
    if "nprobe" in extra:
        searcher.index.nprobe = min(extra["nprobe"], searcher.index.nlist)
    return searcher.search(queries, top)


def agreement(found: list[list[Candidate]], subjects: np.ndarray, scores: Floats) -> np.ndarray:
    """Return for which probes the first subject is the exact search's; there the cosine must be its score, too."""
    first = np.array([int(candidates[0].subject) if candidates else -1 for candidates in found])
    same = first == subjects
    wrong = max((abs(c[0].cosine - s) for c, s, ok in zip(found, scores, same, strict=True) if ok), default=0.0)
    if wrong > 1e-5:
        raise SystemExit(f"a cosine differs by {wrong} from that of FAISS")
    return np.asarray(same)


def main() -> None:
    """Measure, print, write."""
    parser = method.options(__doc__, rounds=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--probes", type=int, default=100)
    parser.add_argument("--alike", type=float, default=0.5)
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--kinds", nargs="+", choices=list(SETTINGS), default=["flat"])
    given = vars(parser.parse_args())
    path = given.pop("json")
    method.publish(measure(**given), path)


if __name__ == "__main__":
    main()
