"""SISN, MTCNN and MobileFaceNet on one NVIDIA GPU, each beside what people would run there without faceup.

    python -m benchmarks.bench_cuda --json benchmarks/results/cuda.json

Every call takes pictures as arrays on the host and ends with its results there.

SISN: the official structure (re-created, see `bench_sr_engine`) in eager torch with torch's defaults, faceup's engine
without CUDA graphs, and as it is. The floor is the network's multiply-adds at the rate of a large product of matrices
in fp16, measured in the same rounds. MTCNN: facenet-pytorch's `detect` and faceup's, on the crops of `bench_detector`.
MobileFaceNet: the module as it is loaded, with its norms folded, and faceup's, on the faces of `bench_embedder`.

What is compared is compared with float32 that the GPU does not round to TF32, which torch's defaults do in
convolutions. What fails says so in its place, and the rest is measured all the same; the record is written after each
part. `--quick` takes fewer batches and rounds. `--profile` prints what the GPU spends its time on in faceup's SISN and
measures nothing else.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import method
from benchmarks.bench_detector import BAR as DETECTOR_TARGET
from benchmarks.bench_detector import BAR_FROM, as_detections, differing
from benchmarks.bench_detector import crops as detector_crops
from benchmarks.bench_embedder import MOST_OFF, NAME, batched, faces, off
from benchmarks.bench_sr_engine import (
    HEIGHT,
    TARGET,
    WIDTH,
    OfficialStructure,
    crops,
    folded_copy,
    random_net,
    shipped_net,
)
from benchmarks.method import Bar, Cell, Column, Table
from faceup.detect.mtcnn import Mtcnn
from faceup.networks.mobilefacenet import fold_norms, load_mobilefacenet
from faceup.networks.sisn import Sisn, SisnConfig
from faceup.registry import Options, build
from faceup.runtime.cost import multiply_adds
from faceup.runtime.device import full_float32
from faceup.runtime.torch_sr import TorchSr
from faceup.types import AlignedFace, Floats, Image
from faceup.weights import store

OFFICIAL, EAGER, GRAPHS = "official structure, eager torch", "faceup, no graphs", "faceup"
FLOOR = "arithmetic floor"
MATRIX = {"cuda": 8192, "cpu": 256}
# A call of the recogniser embeds at least so many faces, so that it can be timed.
FACES_A_CALL = 32
WARM_UPS = 3

Row = Mapping[str, Cell]
Upscale = Callable[[Sequence[Image]], list[Image]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and how often.

    Attributes:
        device: `cuda`; `cpu` in tests.
        rounds: timed rounds.
        sr: crops a call of the networks for super-resolution.
        detect: crops a call of the detector.
        embed: faces a call of the recogniser.
    """

    device: str
    rounds: int
    sr: Sequence[int] = (1, 8, 64)
    detect: Sequence[int] = (1, 32, 128)
    embed: Sequence[int] = (1, 32, 256)


@dataclass(slots=True)
class Part:
    """What came of a part of the benchmark."""

    title: str
    columns: Sequence[Column]
    rows: list[Row] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)

    def attempt(self, case: str, call: Callable[[], Sequence[Row]], **known: Cell) -> bool:
        """Add the rows that a call returns, or one that says why it failed; tell whether it did not.

        Args:
            case: what is measured, for messages.
            call: measures it.
            known: cells of the row of a failure.
        """
        say(f"{self.title}: {case}")
        try:
            self.rows += call()
        except Exception as error:  # whatever it is, the other cases are to be measured
            traceback.print_exc()
            empty = {column.key: None for column in self.columns}
            self.rows.append({**empty, **known, "note": f"failed: {reason(error)}"})
            return False
        return True

    def table(self) -> Table:
        """Return the rows as a table."""
        return Table(self.title, self.columns, self.rows)


def reason(error: Exception) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


BEGUN = time.perf_counter()


def say(what: str) -> None:
    """Print what happens now."""
    print(f"[{time.perf_counter() - BEGUN:6.1f} s] {what}", flush=True)


# --- SISN ---


def official(net: Sisn, device: str) -> Upscale:
    """Return the official structure in eager torch; only bytes are moved between host and GPU."""
    placed = OfficialStructure(net).to(device)

    def run(images: Sequence[Image]) -> list[Image]:
        with torch.inference_mode():
            x = torch.from_numpy(np.stack([image.pixels for image in images])).to(device)
            y = placed(x.permute(0, 3, 1, 2).float()).clamp(0, 255).round().to(torch.uint8)
            return [Image(pixels) for pixels in y.permute(0, 2, 3, 1).contiguous().cpu().numpy()]

    return run


def engines(net: Sisn, device: str) -> dict[str, TorchSr]:
    """Return faceup's engine in its variants."""
    folded, scale = folded_copy(net), net.config.scale
    return {
        EAGER: TorchSr(copy.deepcopy(folded), scale, device, graphs=False),
        GRAPHS: TorchSr(copy.deepcopy(folded), scale, device),
    }


def product(device: str) -> Callable[[], None]:
    """Return what multiplies two large matrices, in fp16 on a GPU."""
    a = torch.randn(MATRIX[device], MATRIX[device], device=device)
    if device == "cuda":
        a = a.half()

    def run() -> None:
        a @ a
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def most_off(wanted: Sequence[Image], got: Sequence[Image]) -> int:
    """Return the largest difference in grey levels."""
    pairs = zip(wanted, got, strict=True)
    return max(int(np.abs(a.pixels.astype(int) - b.pixels).max()) for a, b in pairs)


def cost(net: Sisn) -> int:
    """Return the multiply-adds of a crop."""
    folded = folded_copy(net)
    return multiply_adds(lambda: folded(torch.zeros(1, 3, HEIGHT, WIDTH)))


def sr_case(part: Part, title: str, net: Sisn, work: int, batch: int, plan: Plan) -> list[Row]:
    """Return the rows of one network, of so many multiply-adds a crop (0: not known), and size of a call."""
    images, reference, made = crops(batch), official(net, plan.device), engines(net, plan.device)
    systems: dict[str, Upscale] = {OFFICIAL: reference, **{name: sr.upscale for name, sr in made.items()}}
    calls: dict[str, Callable[[], object]] = {name: partial(run, images) for name, run in systems.items()}
    if work:
        calls[FLOOR] = product(plan.device)
    seconds = method.interleaved(calls, rounds=plan.rounds, warm_ups=WARM_UPS)
    if work:
        share = batch * work / MATRIX[plan.device] ** 3
        seconds[FLOOR] = [second * share for second in seconds[FLOOR]]
    with full_float32():
        expected = reference(images)
    # Graphs are in use by now, so these are pictures of theirs.
    apart = {name: most_off(expected, run(images)) for name, run in systems.items()}
    failures = {name: sr.replayed.failure for name, sr in made.items() if sr.replayed and sr.replayed.failure}
    middle = {name: method.median(times) for name, times in seconds.items()}
    part.bars.append(sr_bar(title, batch, middle[OFFICIAL] / middle[GRAPHS]))
    return [
        {
            "network": title, "batch": batch, "system": name, "rate": method.rates(batch, times),
            "ms": 1000 * middle[name], "times": middle[OFFICIAL] / middle[name], "off": apart.get(name),
            "note": f"no graphs: {failures[name].splitlines()[0]}" if name in failures else None,
        }
        for name, times in seconds.items()
    ]  # fmt: skip


def sr_bar(title: str, batch: int, times: float | None) -> Bar:
    """Return the bar of a case."""
    what = f"SISN, {title}, {batch} crops a call: faceup over the {OFFICIAL}"
    return Bar(what, "at least", TARGET, times, "times")


def sr_part(nets: Mapping[str, Callable[[], Sisn]], plan: Plan) -> Part:
    """Measure the networks for super-resolution."""
    columns = [
        Column("network", "network"),
        Column("batch", "crops a call", 0),
        Column("system", "system"),
        Column("rate", "crops/s", 0),
        Column("ms", "ms a call", 2),
        Column("times", "times the official structure", 2),
        Column("off", "largest difference to float32, grey levels", 0),
        Column("note", "note"),
    ]
    part = Part(f"SISN, {WIDTH} x {HEIGHT} px x4", columns)
    for title, make in nets.items():
        net = make()
        try:
            work = cost(net)
        except Exception:  # as with the cases; there is no floor then
            traceback.print_exc()
            work = 0
        for batch in plan.sr:
            call = partial(sr_case, part, title, net, work, batch, plan)
            if not part.attempt(f"{title}, {batch} a call", call, network=title, batch=batch):
                part.bars.append(sr_bar(title, batch, None))
    return part


# --- MTCNN ---


def load_peer(device: str) -> Any:
    """Return facenet-pytorch's MTCNN on the device."""
    import facenet_pytorch

    return facenet_pytorch.MTCNN(keep_all=True, device=torch.device(device))


def detect_case(part: Part, images: Sequence[Image], size: int, plan: Plan, *, with_peer: bool) -> list[Row]:
    """Return the row of one size of a call, with facenet-pytorch or without."""
    own = Mtcnn(plan.device)
    batch = [images[i % len(images)] for i in range(size)]
    stacked = np.stack([image.pixels for image in batch])
    calls: dict[str, Callable[[], object]] = {"own": partial(own.detect, batch)}
    row: dict[str, Cell] = {column.key: None for column in part.columns}
    if with_peer:
        peer = load_peer(plan.device)
        calls["peer"] = partial(peer.detect, stacked, landmarks=True)
    seconds = method.interleaved(calls, rounds=plan.rounds, warm_ups=2)
    found = own.detect(batch)
    if with_peer:
        with full_float32():
            wanted = as_detections(peer.detect(stacked, landmarks=True))
        row["apart"] = differing(wanted, found)
        row["tf32"] = differing(wanted, as_detections(peer.detect(stacked, landmarks=True)))
        row["times"] = method.median(seconds["peer"]) / method.median(seconds["own"])
    different = min(size, len(images))
    row["cpu"] = differing(Mtcnn("cpu").detect(batch[:different]), found[:different])
    return [{**row, "batch": size, **{name: method.rates(size, times) for name, times in seconds.items()}}]


def detect_part(images: Sequence[Image], plan: Plan) -> Part:
    """Measure the detector."""
    columns = [
        Column("batch", "crops a call", 0),
        Column("peer", "facenet-pytorch, crops/s", 0),
        Column("own", "faceup, crops/s", 0),
        Column("times", "times as fast"),
        Column("apart", "pictures that differ"),
        Column("tf32", "that differ between facenet-pytorch with TF32 and without"),
        Column("cpu", "that differ between faceup here and on the CPU"),
        Column("note", "note"),
    ]
    part = Part("MTCNN, crops of 168 x 224 px", columns)
    for size in plan.detect:
        case = partial(detect_case, part, images, size, plan)
        if not part.attempt(f"{size} a call", partial(case, with_peer=True), batch=size):
            part.attempt(f"{size} a call, faceup alone", partial(case, with_peer=False), batch=size)
    large = [row["times"] for row in part.rows if int(str(row["batch"])) >= BAR_FROM]
    measured = [times for times in large if isinstance(times, float)]
    what = f"faceup's detector on {BAR_FROM} crops a call and more, times as fast as facenet-pytorch's"
    part.bars.append(Bar(what, "at least", DETECTOR_TARGET, min(measured, default=None)))
    return part


# --- MobileFaceNet ---


def in_torch(net: nn.Module, device: str) -> Callable[[Sequence[AlignedFace]], Floats]:
    """Return what makes unit vectors of faces by a network; only bytes are moved to the GPU."""
    placed = net.to(device)

    def embed(batch: Sequence[AlignedFace]) -> Floats:
        with torch.inference_mode():
            x = torch.from_numpy(np.stack([face.pixels for face in batch])).to(device)
            x = (x.flip(3).permute(0, 3, 1, 2).float().contiguous() - 127.5) / 128
            return np.asarray(nn.functional.normalize(placed(x)).cpu().numpy())

    return embed


def recognisers(device: str) -> dict[str, Callable[[Sequence[AlignedFace]], Floats]]:
    """Return the systems."""
    tensors = store.load(NAME).tensors
    folded = load_mobilefacenet(tensors).requires_grad_(False)
    fold_norms(folded)
    return {
        "plain": in_torch(load_mobilefacenet(tensors).requires_grad_(False), device),
        "folded": in_torch(folded, device),
        "own": build("embed", NAME, Options(device=device)).embed,
    }


def embed_case(part: Part, given: Sequence[AlignedFace], size: int, plan: Plan) -> list[Row]:
    """Return the row of one size of a call."""
    chosen = [given[i % len(given)] for i in range(max(size, FACES_A_CALL))]
    calls = {name: batched(embed, chosen, size) for name, embed in recognisers(plan.device).items()}
    seconds = method.interleaved(calls, rounds=plan.rounds, warm_ups=WARM_UPS)
    middle = {name: method.median(times) for name, times in seconds.items()}
    with full_float32():
        wanted = calls["plain"]()
    return [
        {
            "batch": size,
            **{name: method.rates(len(chosen), times) for name, times in seconds.items()},
            "times": middle["plain"] / middle["own"],
            "off": 1e6 * off(calls["own"](), wanted),
            "off_tf32": 1e6 * off(calls["plain"](), wanted),
            "note": None,
        }
    ]


def embed_part(given: Sequence[AlignedFace], plan: Plan) -> Part:
    """Measure the recogniser."""
    columns = [
        Column("batch", "faces a batch", 0),
        Column("plain", "torch, plain, faces/s", 0),
        Column("folded", "torch, folded, faces/s", 0),
        Column("own", "faceup, faces/s", 0),
        Column("times", "times as fast as plain"),
        Column("off", "largest change of a cosine, millionths"),
        Column("off_tf32", "of plain torch's with TF32, millionths"),
        Column("note", "note"),
    ]
    part = Part("MobileFaceNet", columns)
    for size in plan.embed:
        part.attempt(f"{size} a batch", partial(embed_case, part, given, size, plan), batch=size)
    moved = [row["off"] for row in part.rows]
    measured = [value for value in moved if isinstance(value, float)]
    what = "faceup's recogniser: largest change of a cosine with plain torch's vectors in float32"
    part.bars.append(Bar(what, "at most", MOST_OFF, max(measured, default=None), "millionths"))
    return part


# --- the whole ---


def networks(*, quick: bool = False) -> dict[str, Callable[[], Sisn]]:
    """Return what makes the networks for super-resolution."""
    full = {"full (G 10, I 10, C 64)": lambda: random_net(SisnConfig())}
    return full if quick else {**full, "sisn-x4, as shipped": shipped_net}


def measure(
    nets: Mapping[str, Callable[[], Sisn]],
    plan: Plan,
    *,
    shared: Path | None = None,
    threads: int = 1,
    written: Callable[[dict[str, Any]], object] = lambda _: None,
    arguments: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the record.

    Args:
        nets: title to what makes the network.
        plan: what is measured.
        shared: folder with data/london; None: the pictures of examples/.
        threads: of the CPU.
        written: gets the record as far as it goes after each part.
        arguments: of the command line.
    """
    images: list[Image] = []
    given: list[AlignedFace] = []

    def detect() -> Part:
        images.extend(detector_crops(shared)[: max(plan.detect)])
        return detect_part(images, plan)

    def embed() -> Part:
        given.extend(faces(shared, max(plan.embed)))
        return embed_part(given, plan)

    done: list[Part] = []
    told: dict[str, Any] = {}
    parts: dict[str, Callable[[], Part]] = {
        "SISN": partial(sr_part, nets, plan), "MTCNN": detect, "MobileFaceNet": embed,
    }  # fmt: skip
    for title, run in parts.items():
        try:
            done.append(run())
        except Exception as error:  # of what comes before the cases, e.g. a package that is missing
            traceback.print_exc()
            done.append(Part(title, [Column("note", "note")], [{"note": f"failed: {reason(error)}"}]))
        pixels = [item.pixels for some in (crops(max(plan.sr)), images, given) for item in some]
        told = method.record(
            "cuda",
            "SISN, MTCNN and MobileFaceNet on one NVIDIA GPU, from arrays on the host to results on the host.",
            [part.table() for part in done],
            [bar for part in done for bar in part.bars],
            inputs=f"smooth random crops of {WIDTH} x {HEIGHT} px; {len(images)} crops and {len(given)} faces of "
            f"{'London, smiling' if shared else 'examples/'}, repeated to the size of a call",
            inputs_sha256=method.digest(array.tobytes() for array in pixels),
            rounds=plan.rounds,
            warm_ups=WARM_UPS,
            threads=threads,
            notes=[
                "Differences are to float32 that is not rounded to TF32. The official structure, facenet-pytorch and "
                "plain torch are timed with torch's defaults, which round in convolutions."
            ],
            arguments=arguments,
        )
        written(told)
    return told


def profile(device: str, batch: int = 64) -> None:
    """Print what the GPU spends its time on in a call of faceup's full SISN, without graphs."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    sr, images = engines(random_net(SisnConfig()), device)[EAGER], crops(batch)
    for _ in range(WARM_UPS):
        sr.upscale(images)
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profiled(activities=kinds) as found:
        sr.upscale(images)
    by = "self_cuda_time_total" if device == "cuda" else "self_cpu_time_total"
    print(found.key_averages().table(sort_by=by, row_limit=25, max_name_column_width=90), flush=True)


def main() -> None:
    """Measure, print, write."""
    parser = method.options(__doc__, rounds=9)
    parser.add_argument("--shared", type=Path, help="folder with data/london")
    parser.add_argument("--quick", action="store_true", help="fewer batches, three rounds, the full SISN alone")
    parser.add_argument("--profile", action="store_true", help="print where the time goes in SISN, nothing else")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help=argparse.SUPPRESS)  # for tests
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("bench_cuda measures an NVIDIA GPU, and torch finds none here.")
    method.set_threads(given.threads)
    if given.profile:
        profile(given.device)
        return
    plan = Plan(given.device, given.rounds)
    if given.quick:
        plan = Plan(given.device, min(given.rounds, 3), sr=(1, 64), detect=(1, 32), embed=(1, 256))

    def written(done: Mapping[str, Any]) -> None:
        if given.json is not None:
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(done, indent=2) + "\n", encoding="utf-8")

    # Every timed call is preceded by a collection, which takes a tenth of a second while it goes through all of torch.
    gc.freeze()
    done = measure(networks(quick=given.quick), plan, shared=given.shared, threads=given.threads, written=written)
    say("done")
    method.publish(done, given.json)


if __name__ == "__main__":
    main()
