"""Searches a large gallery on the CPU: faceup's search against plain FAISS, and what IVF and HNSW miss.

    python benchmarks/bench_gallery.py --rows 1000000 --threads 2 --json bench_gallery.json

Embeddings are made up: each subject is a random direction, a gallery picture and a probe of the subject are that
direction and noise, scaled so that their cosine is about `--alike` (genuine pairs of MobileFaceNet have about 0.7 in
good pictures). Half of the probes are of enrolled people. Recall is the share of probes whose first subject is the
one that the exact search names; it is given for enrolled and for unknown people, because only the first matter to a
search that has a threshold.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from faceup.gallery.index import Searcher, build_index, index_to_bytes, need_faiss
from faceup.gallery.rows import Rows

FORMAT = {"bench": "gallery", "format": 1}
BLOCK = 65_536


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return the rows scaled to unit length."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def noisy(rng: np.random.Generator, centres: np.ndarray, alike: float) -> np.ndarray:
    """Return vectors whose cosine with the centres is about sqrt(alike), so that two of them have about `alike`."""
    noise = unit(rng.standard_normal(centres.shape, dtype=np.float32))
    share = np.float32(np.sqrt(alike))
    return unit(share * centres + np.sqrt(1 - share**2) * noise)


def made_up(rows: int, dimension: int, probes: int, alike: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def timed(function: Any) -> tuple[float, Any]:
    """Return seconds and result of a call."""
    begun = time.perf_counter()
    result = function()
    return time.perf_counter() - begun, result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--probes", type=int, default=1000)
    parser.add_argument("--alike", type=float, default=0.5)
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kinds", nargs="*", default=["flat", "ivf", "hnsw"])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    faiss = need_faiss()
    faiss.omp_set_num_threads(given.threads)
    gallery, queries, truth = made_up(given.rows, given.dimension, given.probes, given.alike)
    names = tuple(str(i) for i in range(given.rows))
    rows = Rows(names, names, ("",) * given.rows, ("",) * given.rows, gallery)
    enrolled = truth >= 0

    plain = faiss.IndexFlatIP(given.dimension)
    plain.add(gallery)
    seconds, (scores, exact) = timed(lambda: plain.search(queries, given.top))
    table = [row("FAISS IndexFlatIP alone", 0.0, 4.0 * gallery.size, seconds, given.probes, 1.0, 1.0)]
    hit = float((exact[enrolled, 0] == truth[enrolled]).mean())

    for kind in given.kinds:
        built, index = timed(lambda kind=kind: build_index(gallery, kind))
        size = len(index_to_bytes(index))
        settings: list[dict[str, int]] = [{}]
        if kind == "ivf":
            settings = [{"nprobe": n} for n in (16, 64, 256)]
        if kind == "hnsw":
            settings = [{"ef_search": n} for n in (64, 256, 1024)]
        for extra in settings:
            searcher = Searcher(rows, kind, index=index, **extra)
            seconds, found = timed(lambda searcher=searcher: searcher.search(queries, given.top))
            first = np.array([int(candidates[0].subject) if candidates else -1 for candidates in found])
            same = first == exact[:, 0]
            label = f"faceup {kind} " + " ".join(f"{key} {value}" for key, value in extra.items())
            table.append(row(label, built, size, seconds, given.probes, same[enrolled].mean(), same[~enrolled].mean()))
            wrong = max(
                (abs(c[0].cosine - s) for c, s, ok in zip(found, scores[:, 0], same, strict=True) if ok), default=0.0
            )
            assert wrong < 1e-5, "scores differ from FAISS's own"
    print(f"{given.rows} x {given.dimension}, {given.probes} probes, top {given.top}, {given.threads} threads,")
    print(f"{platform.processor() or platform.machine()}, faiss {faiss.__version__}; exact search names the subject of")
    print(f"{hit:.4f} of the enrolled probes.\n")
    print(
        "| search | built, s | size, MiB | ms a probe | recall, enrolled | recall, unknown |\n|---|---|---|---|---|---|"
    )
    for line in table:
        print(
            f"| {line['search']} | {line['built_s']:.1f} | {line['bytes'] / 2**20:.0f} | {line['ms_per_probe']:.2f} "
            f"| {line['recall_enrolled']:.4f} | {line['recall_unknown']:.4f} |"
        )
    if given.json:
        about = {"rows": given.rows, "dimension": given.dimension, "probes": given.probes, "threads": given.threads}
        about |= {"alike": given.alike, "top": given.top, "faiss": faiss.__version__, "exact_rank1": hit}
        given.json.write_text(json.dumps({**FORMAT, **about, "rows_of_table": table}, indent=2) + "\n")


def row(search: str, built: float, size: float, seconds: float, probes: int, enrolled: float, other: float) -> dict:
    """Return one line of the table."""
    return {
        "search": search.strip(),
        "built_s": float(built),
        "bytes": int(size),
        "ms_per_probe": 1000 * seconds / probes,
        "recall_enrolled": float(enrolled),
        "recall_unknown": float(other),
    }


if __name__ == "__main__":
    main()
