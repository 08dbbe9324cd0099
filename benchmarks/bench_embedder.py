"""Times faceup's MobileFaceNet on the CPU beside the same network in torch, as a user would load it and at its best.

    python -m benchmarks.bench_embedder --shared SHARED --json benchmarks/results/embedder.json

All get the same aligned faces of 112 x 112 px as arrays, as many at once as a batch has, as many threads, and give unit
vectors. A timed call goes through all faces, batch by batch. The faces are those that MTCNN finds in the example
pictures or, with `--shared`, in the London photos of smiling people; they are repeated until they fill the largest
batch. "Plain" is the eager module as it is loaded; "folded" has the batch norms in the convolutions and its channels
last, which is what faceup runs on a GPU. Every row also says how far cosines with the plain vectors move when one side
is faceup's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import method
from benchmarks.method import Bar, Cell, Column, Table
from faceup.align import align
from faceup.detect import chosen_face
from faceup.embed.mobilefacenet import Network, torch_network
from faceup.images import at_most, read_image
from faceup.networks.mobilefacenet import fold_norms, load_mobilefacenet
from faceup.registry import Options, build
from faceup.types import AlignedFace, Floats, Image
from faceup.weights import store

NAME = "mobilefacenet"
BATCHES = (1, 32)
SIDE = 384
BAR, MOST_OFF = 1.25, 10


def aligned(images: Sequence[Image]) -> list[AlignedFace | None]:
    """Return the aligned face of each picture, None where none is found."""
    done: list[AlignedFace | None] = []
    for image, found in zip(images, build("detect", "mtcnn", Options()).detect(images), strict=True):
        chosen = chosen_face(found, image)
        done.append(None if chosen is None else align(image, found.landmarks[chosen]))
    return done


def faces(shared: Path | None, count: int) -> list[AlignedFace]:
    """Return at most so many aligned faces of the photos."""
    folder = method.ROOT / "examples" if shared is None else shared / "data" / "london" / "smiling"
    pictures = [at_most(read_image(path), SIDE) for path in sorted(folder.rglob("*.jpg"))[:count]]
    return [face for face in aligned(pictures) if face is not None]


def in_torch(net: Network) -> Callable[[Sequence[AlignedFace]], Floats]:
    """Return what makes unit vectors of faces by a network, one batch at a time."""

    def embed(batch: Sequence[AlignedFace]) -> Floats:
        bgr = np.stack([face.pixels for face in batch])[..., ::-1].transpose(0, 3, 1, 2)
        with torch.inference_mode():
            x = (torch.from_numpy(np.ascontiguousarray(bgr)).float() - 127.5) / 128
            return np.asarray(torch.nn.functional.normalize(net(x)).numpy())

    return embed


def systems() -> dict[str, Callable[[Sequence[AlignedFace]], Floats]]:
    """Return the systems; ONNX Runtime takes the threads that torch has now."""
    tensors = store.load(NAME).tensors
    folded = load_mobilefacenet(tensors).requires_grad_(False)
    fold_norms(folded)
    return {
        "plain": in_torch(load_mobilefacenet(tensors)),
        "folded": in_torch(torch_network(folded, torch.device("cpu"))),
        "own": build("embed", NAME, Options()).embed,
    }


def batched(
    embed: Callable[[Sequence[AlignedFace]], Floats], chosen: Sequence[AlignedFace], batch: int
) -> Callable[[], Floats]:
    """Return a call that embeds all faces, so many at once."""
    return lambda: np.concatenate([embed(chosen[start : start + batch]) for start in range(0, len(chosen), batch)])


def off(got: Floats, wanted: Floats) -> float:
    """Return how much a cosine with a row of `wanted` changes, at most, when the other row is one of `got`."""
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (got.astype(float), wanted.astype(float)))
    return float(np.abs(a @ b.T - b @ b.T).max())


def measure(
    given: Sequence[AlignedFace],
    batches: Sequence[int],
    threads: Sequence[int],
    *,
    rounds: int,
    inputs: str,
    arguments: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the record."""
    chosen = [given[i % len(given)] for i in range(max(batches))]
    tables, gains, apart = [], [], []
    for count in threads:
        method.set_threads(count)
        built = systems()
        rows: list[dict[str, Cell]] = []
        for size in batches:
            calls = {name: batched(embed, chosen, size) for name, embed in built.items()}
            seconds = method.interleaved(calls, rounds=rounds)
            middle = {name: method.median(values) for name, values in seconds.items()}
            gains.append(middle["folded"] / middle["own"])
            apart.append(1e6 * off(calls["own"](), calls["plain"]()))
            rows.append(
                {
                    "batch": size,
                    **{n: method.samples(1000 * s / len(chosen) for s in values) for n, values in seconds.items()},
                    "times_plain": middle["plain"] / middle["own"],
                    "times_folded": gains[-1],
                    "off": apart[-1],
                }
            )
        columns = [
            Column("batch", "batch", 0),
            Column("plain", "torch, plain, ms a face", 1),
            Column("folded", "torch, folded, ms a face", 1),
            Column("own", "faceup, ms a face", 1),
            Column("times_plain", "times as fast as plain"),
            Column("times_folded", "times as fast as folded"),
            Column("off", "largest change of a cosine, millionths"),
        ]
        tables.append(Table(f"Threads: {count}", columns, rows))
    return method.record(
        "embedder",
        "MobileFaceNet with the same weights on the CPU: as torch runs it, and as faceup does in ONNX Runtime.",
        tables,
        [
            Bar("faceup's recogniser, times as fast as torch with folded norms", "at least", BAR, min(gains)),
            Bar("largest change of a cosine with plain torch's vectors", "at most", MOST_OFF, max(apart), "millionths"),
        ],
        inputs=inputs,
        inputs_sha256=method.digest(face.pixels.tobytes() for face in chosen),
        rounds=rounds,
        warm_ups=1,
        threads=max(threads),
        arguments=arguments,
    )


def main() -> None:
    """Measure, print, write."""
    parser = method.options(__doc__, rounds=9, threads=None)
    parser.add_argument("--shared", type=Path, help="folder with data/london")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    given = parser.parse_args()
    counts = method.thread_counts(given.threads)
    chosen = faces(given.shared, max(given.batches))
    inputs = f"{len(chosen)} aligned faces ({'London, smiling' if given.shared else 'examples'})"
    method.publish(measure(chosen, given.batches, counts, rounds=given.rounds, inputs=inputs), given.json)


if __name__ == "__main__":
    main()
