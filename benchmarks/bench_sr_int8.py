"""SISN in 8 bits: ms a crop beside float32 and the official structure, and what it costs in PSNR and similarity.

    python -m benchmarks.bench_sr_int8 --shared SHARED --json benchmarks/results/sr_int8.json

All systems get the same crops; the official structure is that of `bench_sr_engine`. The float32 model of ONNX Runtime
is the very graph that the 8 bits are put in, which is quicker than what torch exports. The full network has seeded
random weights and ranges of the timed crops: it is there for the time only. What 8 bits cost is measured with the
shipped `sisn-x4` and its shipped ranges on pictures that were in no training, SHARED/data/faces256, numbers 1450 to
1481, reduced x4: PSNR against the original, and the cosine of the embedding (`mobilefacenet`) with that of the
original, each found by the detector. Without `--shared` those bars are not measured. Time has no bar here: where the
code in C is built, it is quicker in float32. `--quick` times the shipped network only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import method
from benchmarks.bench_embedder import aligned
from benchmarks.bench_sr_engine import (
    HEIGHT,
    NATIVE,
    NCNN,
    OFFICIAL,
    WIDTH,
    OfficialStructure,
    Upscale,
    calls_of,
    crops,
    eager,
    folded_copy,
    native,
    ncnn,
    random_net,
    shipped_net,
)
from benchmarks.method import Bar, Cell, Column, Table
from faceup.images import read_image, reduced_pair
from faceup.metrics.image_quality import psnr
from faceup.networks.sisn import Sisn, SisnConfig
from faceup.networks.sisn_int8 import Range, find_ranges, float_model, int8_model
from faceup.registry import Options, build
from faceup.runtime.engine import has_native
from faceup.runtime.int8_sr import Int8Sr
from faceup.types import Floats, Image
from faceup.weights.int8 import shipped_ranges
from tools.calibrate_int8 import load

FLOAT, EIGHT = "ONNX Runtime, same graph (float32)", "faceup, engine int8"
PSNR_LOSS, CHANGE = 0.1, 0.01
HELD_OUT = range(1450, 1482)


def systems(net: Sisn, ranges: Sequence[Range] | None) -> dict[str, Upscale]:
    """Return what is compared, for a network with nothing folded; None: ranges of some of the timed crops."""
    folded = folded_copy(net)
    scale, skip = net.config.scale, net.config.skip == "bicubic"
    if ranges is None:
        ranges = find_ranges(folded, [crop.pixels for crop in crops(2)], load)
    return {
        OFFICIAL: eager(OfficialStructure(net)),
        NCNN: ncnn(folded, scale),
        **({NATIVE: native(folded)} if has_native() else {}),
        FLOAT: Int8Sr(float_model(folded), scale, skip=skip).upscale,
        EIGHT: Int8Sr(int8_model(folded, ranges), scale, skip=skip).upscale,
    }


def timed(title: str, made: Mapping[str, Upscale], threads: int, batch: int, rounds: int) -> list[dict[str, Cell]]:
    """Return the rows of one case."""
    torch.set_num_threads(threads)
    images = crops(batch)
    seconds = method.interleaved(calls_of(made, images), rounds=rounds)
    middle = {name: method.median(times) for name, times in seconds.items()}
    best = min(ms for name, ms in middle.items() if name != EIGHT)
    return [
        {
            "network": title, "threads": threads, "batch": batch, "system": name,
            "ms": method.samples(1000 * second / batch for second in times), "times": best / middle[name],
            "official": middle[OFFICIAL] / middle[name],
        }
        for name, times in seconds.items()
    ]  # fmt: skip


def embeddings(images: Sequence[Image]) -> list[Floats | None]:
    """Return the embedding of each picture's face, None where none is found."""
    embedder = build("embed", "mobilefacenet", Options())
    return [None if face is None else embedder.embed([face])[0] for face in aligned(images)]


def cost(
    originals: Sequence[Image], made: Mapping[str, Upscale], scale: int
) -> tuple[list[dict[str, Cell]], float, float]:
    """Return the rows of what 8 bits cost, the loss of PSNR in dB, and the largest change of a similarity."""
    pairs = [reduced_pair(original, scale) for original in originals]
    faces = embeddings([hr for hr, _ in pairs])
    rows: list[dict[str, Cell]] = []
    decibels, cosines = {}, {}
    for name in (FLOAT, EIGHT):
        out = made[name]([lr for _, lr in pairs])
        decibels[name] = np.array([psnr(image, hr) for image, (hr, _) in zip(out, pairs, strict=True)])
        cosines[name] = np.array(
            [np.nan if a is None or b is None else float(a @ b) for a, b in zip(embeddings(out), faces, strict=True)]
        )
        both = np.isfinite(cosines[name])
        rows.append(
            {
                "system": name, "psnr": float(decibels[name].mean()), "cosine": float(cosines[name][both].mean()),
                "found": f"{both.sum()}/{len(pairs)}",
            }
        )  # fmt: skip
    change = cosines[EIGHT] - cosines[FLOAT]
    rows.append(
        {
            "system": "mean change", "psnr": float((decibels[EIGHT] - decibels[FLOAT]).mean()),
            "cosine": float(np.nanmean(change)), "found": None,
        }
    )  # fmt: skip
    largest = float(np.nanmax(np.abs(change)))
    worst = float((decibels[EIGHT] - decibels[FLOAT]).min())
    rows.append({"system": "largest change", "psnr": worst, "cosine": largest, "found": None})
    return rows, float((decibels[FLOAT] - decibels[EIGHT]).mean()), largest


def measure(
    nets: Mapping[str, tuple[Sisn, Sequence[Range] | None]],
    cases: Sequence[tuple[int, int]],
    originals: Sequence[Image],
    *,
    rounds: int,
    arguments: list[str] | None = None,
) -> dict[str, Any]:
    """Return the record.

    Args:
        nets: title to a network with nothing folded and its ranges; what 8 bits cost is measured with the last one.
        cases: CPU threads and crops a call to time with.
        originals: pictures in no training; without any, the cost is not measured.
        rounds: timed rounds.
        arguments: of the command line.
    """
    rows: list[dict[str, Cell]] = []
    for title, (net, ranges) in nets.items():
        made = systems(net, ranges)
        for count, batch in cases:
            rows += timed(title, made, count, batch, rounds)
    tables = [
        Table(
            "Time",
            [
                Column("network", "network"),
                Column("threads", "threads", 0),
                Column("batch", "crops a call", 0),
                Column("system", "system"),
                Column("ms", "ms a crop", 1),
                Column("times", "times the quickest in float32", 2),
                Column("official", "times the official structure", 2),
            ],
            rows,
        )
    ]
    loss = change = None
    if originals:
        told, loss, change = cost(originals, made, net.config.scale)
        columns = [
            Column("system", title),
            Column("psnr", "PSNR, dB", 3),
            Column("cosine", "cosine with the original", 4),
            Column("found", "faces found in both"),
        ]
        tables.append(Table("What 8 bits cost", columns, told))
    bars = [
        Bar("8 bits: loss of PSNR", "at most", PSNR_LOSS, loss, "dB", 4),
        Bar("8 bits: largest change of a similarity", "at most", CHANGE, change, "", 4),
    ]
    return method.record(
        "sr_int8",
        f"SISN at {WIDTH} x {HEIGHT} px x4 on the CPU in 8 bits, beside the official structure and float32.",
        tables,
        bars,
        inputs=f"smooth random crops of {WIDTH} x {HEIGHT} px; for the cost: {len(originals)} original pictures",
        inputs_sha256=method.digest(
            image.pixels.tobytes() for image in [*crops(max(batch for _, batch in cases)), *originals]
        ),
        rounds=rounds,
        warm_ups=1,
        threads=max(count for count, _ in cases),
        notes=[
            "Weights have 7 bits, because AVX2 without VNNI adds pairs of products in 16 bits. A processor with VNNI "
            "needs fewer instructions for the same sums."
        ],
        arguments=arguments,
    )


def main() -> None:
    """Measure, print, write."""
    parser = method.options(__doc__, rounds=5, threads=None)
    parser.add_argument("--shared", type=Path, help="folder with data/faces256, for what 8 bits cost")
    parser.add_argument("--quick", action="store_true", help="the shipped network only")
    given = parser.parse_args()
    nets: dict[str, tuple[Sisn, Sequence[Range] | None]] = {}
    if not given.quick:
        nets["full (G 10, I 10, C 64)"] = random_net(SisnConfig()), None
    nets["sisn-x4, as shipped"] = shipped_net(), shipped_ranges("sisn-x4")
    folder = given.shared / "data" / "faces256" if given.shared else None
    originals = [read_image(folder / f"{number:04}.jpg") for number in HELD_OUT] if folder else []
    # With one thread, eight crops are eight times one.
    cases = [(1, 1), (2, 1), (2, 8)]
    cases = [(given.threads, batch) for batch in (1, 8)] if given.threads else cases
    method.publish(measure(nets, cases, originals, rounds=given.rounds), given.json)


if __name__ == "__main__":
    main()
