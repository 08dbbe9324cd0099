"""SISN on the CPU: the official structure in eager PyTorch against faceup's engines and ONNX Runtime.

    python -m benchmarks.bench_sr_engine --json benchmarks/results/sr_engine.json

The official structure is a re-creation: the LR picture enlarged with nearest neighbours, its blocks moved to channels,
batch norms of their own, splits that are weighed and added one by one. It has the weights of the network that the
engines run. The full network has seeded random weights and batch norms with statistics and scales that are not those
of a fresh network; the compact one is the shipped `sisn-x4`. The floor is the network's multiply-adds at the rate of a
large matrix product, measured in the same rounds; an engine that convolves with fewer multiplications can go below it.
The bar is that of the quickest engine that is there: the code in C, or ncnn where it was not built.
`--quick` measures the full network on two threads only.
"""

from __future__ import annotations

import copy
import io
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import method
from benchmarks.method import Bar, Cell, Column, Table
from faceup.networks._common import bicubic
from faceup.networks.ncnn import INPUT, OUTPUT, ncnn_graph
from faceup.networks.sisn import Sisn, SisnConfig, SplitAttention, fold_head, fold_norms, load_sisn
from faceup.networks.sisn_native import sisn_in_c
from faceup.runtime.batching import by_size
from faceup.runtime.cost import multiply_adds
from faceup.runtime.engine import has_native
from faceup.runtime.native_sr import NativeSr
from faceup.runtime.ncnn_sr import NcnnSr
from faceup.runtime.torch_sr import TorchSr
from faceup.types import Image
from faceup.weights import store

WIDTH, HEIGHT = 42, 56
MATRIX = 1024
OFFICIAL, FLOOR = "official structure, eager torch", "arithmetic floor"
NATIVE, NCNN = "faceup, engine native", "faceup, engine ncnn"
TARGET = 3.0
Upscale = Callable[[list[Image]], list[Image]]


class SplitBySplit(nn.Module):
    """Split attention with the layers of `SplitAttention`; each split is summed and weighed by itself."""

    def __init__(self, layers: SplitAttention) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        own = self.layers
        splits = torch.split(F.relu_(own.bn0(own.conv(x))), own.channels, dim=1)
        pooled = F.adaptive_avg_pool2d(sum(splits[1:], splits[0]), 1)
        logits = own.conv1x1_2(F.relu_(own.bn1(own.conv1x1_1(pooled))))
        weights = logits.view(len(x), own.radix, own.channels, 1, 1).softmax(dim=1)
        weighed = [split * weights[:, k] for k, split in enumerate(splits)]
        return sum(weighed[1:], weighed[0])


class OfficialStructure(nn.Module):
    """A SISN with the head on the enlarged picture, nothing folded; same mapping as the `Sisn` it is made of."""

    def __init__(self, net: Sisn) -> None:
        super().__init__()
        self.net = copy.deepcopy(net)
        for module in list(self.net.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, SplitAttention):
                    setattr(module, name, SplitBySplit(child))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) RGB 0..255 to (N, 3, sH, sW)."""
        net, s = self.net, self.net.config.scale
        head_in = net.sub_mean(x) / net.config.unit
        if net.config.head == "repo":
            large = net.sub_mean(F.interpolate(x, scale_factor=s, mode="nearest")) / net.config.unit
            n, _, height, width = large.shape
            blocks = large.view(n, 3, height // s, s, width // s, s).permute(0, 3, 5, 1, 2, 4)
            head_in = blocks.reshape(n, 3 * s * s, height // s, width // s)
        coarse = net.head(head_in)
        out = net.tail(net.body(coarse) + coarse) * net.config.unit
        return out + bicubic(x, s) if net.config.skip == "bicubic" else net.add_mean(out)


def random_net(config: SisnConfig) -> Sisn:
    """Return a network with seeded weights whose batch norms do something."""
    torch.manual_seed(method.SEED)
    net = Sisn(config).eval().requires_grad_(False)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            layer.weight.uniform_(0.3, 0.9)
            layer.bias.normal_(0, 0.1)
    return net


def shipped_net() -> Sisn:
    """Return the shipped network as it was trained, nothing folded."""
    loaded = store.load("sisn-x4")
    return load_sisn(loaded.tensors, SisnConfig(**json.loads(loaded.metadata["options"]))).requires_grad_(False)


def crops(count: int) -> list[Image]:
    """Return smooth random crops."""
    rng = np.random.default_rng(method.SEED)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 7, 5)).astype(np.float32))
    pixels = F.interpolate(coarse, size=(HEIGHT, WIDTH), mode="bicubic").clamp(0, 255).to(torch.uint8)
    return [Image(picture) for picture in pixels.permute(0, 2, 3, 1).contiguous().numpy()]


def eager(net: nn.Module) -> Upscale:
    """Return what gives all crops to a torch network as one batch."""

    def run(images: list[Image]) -> list[Image]:
        x = torch.from_numpy(np.stack([image.pixels for image in images])).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            return _images(net(x))

    return run


def onnx_runtime(net: nn.Module, threads: int) -> Upscale:
    """Return what runs a folded network by ONNX Runtime, exported by torch, one crop at a time."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is the older one
        torch.onnx.export(
            net, (torch.zeros(1, 3, HEIGHT, WIDTH),), file, dynamo=False, opset_version=18,
            input_names=["x"], output_names=["y"],
        )  # fmt: skip
    chosen = ort.SessionOptions()
    chosen.intra_op_num_threads = threads
    session = ort.InferenceSession(file.getvalue(), chosen, providers=["CPUExecutionProvider"])

    def one(images: Any) -> list[Image]:
        x = np.stack([image.pixels.transpose(2, 0, 1) for image in images]).astype(np.float32)
        return _images(torch.from_numpy(session.run(None, {"x": x})[0]))

    return lambda images: by_size(images, one, pixels=1)


def _images(y: Tensor) -> list[Image]:
    return [Image(pixels) for pixels in y.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()]


def ncnn(net: nn.Module, scale: int) -> Upscale:
    """Return faceup's engine `ncnn` for a folded network."""
    graph = ncnn_graph(net)
    return NcnnSr(graph.param, graph.weights, (INPUT, OUTPUT), scale, skip=graph.skip > 0).upscale


def native(net: Sisn) -> Upscale:
    """Return faceup's engine `native` for a folded network."""
    return NativeSr(sisn_in_c(net), net.without_skip).upscale


def folded_copy(net: Sisn) -> Sisn:
    """Return a copy with head and norms folded."""
    folded = copy.deepcopy(net)
    fold_head(folded)
    fold_norms(folded)
    return folded


def calls_of(made: Mapping[str, Upscale], images: Sequence[Image]) -> dict[str, Callable[[], object]]:
    """Return what is timed: every system with the same pictures."""
    return {name: partial(run, images) for name, run in made.items()}


def where(title: str, threads: int, batch: int) -> str:
    """Name a case of a bar."""
    return f"{title}, {threads} {'thread' if threads == 1 else 'threads'}, batch {batch}"


def systems(net: Sisn, threads: int) -> tuple[dict[str, Upscale], dict[str, float]]:
    """Return what is compared, and the seconds it takes to get each ready."""
    folded = folded_copy(net)
    scale = net.config.scale
    makers: dict[str, Callable[[], Upscale]] = {
        OFFICIAL: lambda: eager(OfficialStructure(net)),
        "faceup, engine torch": lambda: TorchSr(folded, scale, "cpu").upscale,
        NCNN: lambda: ncnn(folded, scale),
    }
    if has_native():
        makers[NATIVE] = lambda: native(folded)
    if net.config.skip == "none":  # torch's older exporter does not know the bicubic enlargement with antialiasing
        makers["ONNX Runtime"] = lambda: onnx_runtime(folded, threads)
    made, ready = {}, {}
    for name, make in makers.items():
        begun = time.perf_counter()
        made[name] = make()
        ready[name] = time.perf_counter() - begun
    return made, ready


def compare(
    title: str, net: Sisn, threads: int, batch: int, rounds: int
) -> tuple[list[dict[str, Cell]], dict[str, float]]:
    """Return the rows of one network, number of threads and batch, and how many times faster than the first each is."""
    torch.set_num_threads(threads)
    images = crops(batch)
    made, ready = systems(net, threads)
    expected = [image.pixels.astype(int) for image in made[OFFICIAL](images)]
    off = {
        name: max(int(np.abs(e - got.pixels).max()) for e, got in zip(expected, run(images), strict=True))
        for name, run in made.items()
    }
    a = torch.rand(MATRIX, MATRIX)
    seconds = method.interleaved({**calls_of(made, images), FLOOR: lambda: a @ a}, rounds=rounds)
    x = torch.zeros(1, 3, HEIGHT, WIDTH)
    folded = copy.deepcopy(net)
    fold_head(folded)
    share = multiply_adds(lambda: folded(x)) / MATRIX**3
    each = {
        name: [second * share if name == FLOOR else second / batch for second in times]
        for name, times in seconds.items()
    }
    faster = {name: method.median(each[OFFICIAL]) / method.median(times) for name, times in each.items()}
    rows: list[dict[str, Cell]] = [
        {
            "network": title, "threads": threads, "batch": batch, "system": name,
            "ms": method.samples(1000 * second for second in times), "times": faster[name],
            "ready": ready.get(name), "off": off.get(name),
        }
        for name, times in each.items()
    ]  # fmt: skip
    worst = {f"off {name}": float(value) for name, value in off.items()}
    return rows, {**faster, **worst}


def measure(
    nets: dict[str, Sisn], threads: list[int], batches: list[int], *, rounds: int, arguments: list[str] | None = None
) -> dict[str, Any]:
    """Return the record."""
    rows: list[dict[str, Cell]] = []
    bars = []
    for title, net in nets.items():
        for count in threads:
            for batch in batches:
                found, told = compare(title, net, count, batch, rounds)
                rows += found
                case = where(title, count, batch)
                name = NATIVE if NATIVE in told else NCNN
                bars.append(Bar(f"{case}: {name} over the {OFFICIAL}", "at least", TARGET, told[name], "times"))
                bars.append(Bar(f"{case}: largest difference", "at most", 1, told[f"off {name}"], "grey levels", 0))
    columns = [
        Column("network", "network"),
        Column("threads", "threads", 0),
        Column("batch", "crops a call", 0),
        Column("system", "system"),
        Column("ms", "ms a crop", 0),
        Column("times", "times the official structure", 2),
        Column("ready", "made ready, s", 2),
        Column("off", "largest difference, grey levels", 0),
    ]
    return method.record(
        "sr_engine",
        f"SISN at {WIDTH} x {HEIGHT} px x4 on the CPU: the official structure in eager torch and faceup's engines.",
        [Table("Engines", columns, rows)],
        bars,
        inputs=f"smooth random crops of {WIDTH} x {HEIGHT} px",
        inputs_sha256=method.digest(image.pixels.tobytes() for image in crops(max(batches))),
        rounds=rounds,
        warm_ups=1,
        threads=max(threads),
        notes=[
            "The official structure gets all crops of a call as one batch. Compare a row with those of its own "
            "network, threads and batch only."
        ],
        arguments=arguments,
    )


def main() -> None:
    """Measure, print, write."""
    parser = method.options(__doc__, rounds=7, threads=None)
    parser.add_argument("--quick", action="store_true", help="the full network on two threads only")
    given = parser.parse_args()
    nets = {"full (G 10, I 10, C 64)": random_net(SisnConfig())}
    if not given.quick:
        nets["sisn-x4, as shipped"] = shipped_net()
    threads = [2] if given.quick and not given.threads else method.thread_counts(given.threads)
    method.publish(measure(nets, threads, [1, 8], rounds=given.rounds), given.json)


if __name__ == "__main__":
    main()
