"""The choice of the engine, and engines that give the same pictures."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from faceup import registry
from faceup.errors import ConfigError, StageError, WeightsError
from faceup.images import read_image
from faceup.metrics.image_quality import psnr
from faceup.native import library
from faceup.networks.ncnn import INPUT, OUTPUT, ncnn_graph
from faceup.networks.rcan import Rcan, RcanConfig
from faceup.registry import Options
from faceup.runtime import engine
from faceup.runtime.engine import engines
from faceup.runtime.int8_sr import Int8Sr
from faceup.runtime.native_sr import NativeSr
from faceup.runtime.ncnn_sr import NcnnSr
from faceup.runtime.side_by_side import PORTION
from faceup.runtime.torch_sr import BATCH_PIXELS, CPU_BATCH_PIXELS, TorchSr
from faceup.types import Image
from faceup.weights import int8, store
from tests.contracts import check_sr, pictures

needs_native = pytest.mark.skipif(library() is None, reason="the code in C was not built")
SHIPPED = [
    *[(name, scale, "ncnn", NcnnSr) for name, scale in [("sisn", 4), ("sisn", 8), ("rcan", 4), ("srfbn", 4)]],
    *[
        pytest.param(name, scale, "native", NativeSr, marks=needs_native)
        for name, scale in [("sisn", 4), ("sisn", 8), ("sisn-surveillance", 4)]
    ],
]
TORCH_ONLY = ["sparnet", "mtc"]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    there = set(str(request.param).split())
    monkeypatch.setitem(sys.modules, "ncnn", ModuleType("ncnn") if "ncnn" in there else None)
    monkeypatch.setattr(engine, "library", lambda: object() if "native" in there else None)


@pytest.mark.parametrize(
    ("installed", "wanted", "device", "expected"),
    [
        ("native ncnn", "auto", "cpu", ("native", "ncnn", "torch")),
        ("ncnn", "auto", "cpu", ("ncnn", "torch")),
        ("native", "auto", "cpu", ("native", "torch")),
        ("native ncnn", "auto", "cuda", ("torch",)),
        ("", "auto", "cpu", ("torch",)),
        ("native ncnn", "torch", "cpu", ("torch",)),
        ("native ncnn", "torch", "cuda", ("torch",)),
        ("native ncnn", "ncnn", "cpu", ("ncnn",)),
        ("native", "native", "cpu", ("native",)),
        ("", "int8", "cpu", ("int8",)),
    ],
    indirect=["installed"],
)
@pytest.mark.usefixtures("installed")
def test_engines_that_may_run_a_network(wanted: str, device: str, expected: tuple[str, ...]) -> None:
    assert engines(wanted, device) == expected


@pytest.mark.parametrize(
    ("installed", "wanted", "device", "message"),
    [
        ("native", "ncnn", "cpu", r"pip install 'faceup\[ncnn\]'"),
        ("ncnn", "native", "cpu", "'native' was not built: .* C compiler"),
        ("ncnn", "ncnn", "cuda", "runs on the CPU only"),
        ("native", "native", "cuda", "'native' runs on the CPU only"),
        ("", "int8", "cuda", "'int8' runs on the CPU only"),
        ("", "tensorrt", "cpu", "Unknown engine 'tensorrt'"),
        ("", 7, "cpu", "Unknown engine '7'"),
    ],
    indirect=["installed"],
)
@pytest.mark.usefixtures("installed")
def test_other_engines_are_refused(wanted: Any, device: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        engines(wanted, device)


def largest_difference(ours: list[Image], theirs: list[Image]) -> int:
    return max(int(np.abs(a.pixels.astype(int) - b.pixels).max()) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("name", "scale", "chosen", "kind"), SHIPPED)
def test_every_shipped_network_gives_the_same_picture(name: str, scale: int, chosen: str, kind: type) -> None:
    """Within one grey level of torch, at sizes smaller and larger than a tile of any fast convolution."""
    fast = registry.build("sr", name, Options(scale, extra={"engine": chosen}))
    plain = registry.build("sr", name, Options(scale, extra={"engine": "torch"}))
    assert (type(fast), type(plain)) == (kind, TorchSr)
    images = pictures([(56, 42), (1, 1), (1, 9), (7, 1), (13, 17), (56, 42)])
    images.append(Image(np.random.default_rng(0).integers(0, 256, (21, 19, 3), dtype=np.uint8)))
    expected = plain.upscale(images)
    assert largest_difference(fast.upscale(images), expected) <= 1
    assert min(int(image.pixels.std()) for image in (expected[0], expected[-1])) > 5


@pytest.mark.parametrize("name", TORCH_ONLY)
def test_what_ncnn_does_not_do_stays_with_torch(name: str) -> None:
    assert isinstance(registry.build("sr", name, Options()), TorchSr)
    with pytest.raises(ConfigError, match=r"cannot be run by ncnn .*; use engine 'torch'"):
        registry.build("sr", name, Options(extra={"engine": "ncnn"}))


@needs_native
def test_the_code_in_c_is_for_sisn() -> None:
    with pytest.raises(ConfigError, match=r"RCAN cannot be run by native \(only SISN .*\); use engine 'torch'"):
        registry.build("sr", "rcan", Options(extra={"engine": "native"}))
    assert isinstance(registry.build("sr", "rcan", Options()), NcnnSr)


def test_the_quickest_engine_that_is_there_runs_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(registry.build("sr", "sisn", Options()), NativeSr if library() else NcnnSr)
    monkeypatch.setattr(engine, "library", lambda: None)
    assert isinstance(registry.build("sr", "sisn", Options()), NcnnSr)
    monkeypatch.setitem(sys.modules, "ncnn", None)  # importing it fails
    assert isinstance(registry.build("sr", "sisn", Options()), TorchSr)


@pytest.fixture
def doubling() -> NcnnSr:
    """Moves 12 channels, four times each colour, into blocks: every pixel comes twice in both directions."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 12, 1, bias=False)
            self.conv.weight.data = torch.eye(3).repeat_interleave(4, dim=0)[:, :, None, None]
            self.shuffle = nn.PixelShuffle(2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.shuffle(self.conv(x))
            return y

    graph = ncnn_graph(Twice())
    return NcnnSr(graph.param, graph.weights, (INPUT, OUTPUT), 2, skip=False)


def test_ncnn_keeps_the_contract(doubling: NcnnSr) -> None:
    check_sr(doubling)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, PORTION + 3])
def test_pictures_side_by_side_keep_their_order(doubling: NcnnSr, threads: int, count: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        images = pictures([(3 + i % 4, 5) for i in range(count)])
        for image, out in zip(images, doubling.upscale(images), strict=True):
            np.testing.assert_array_equal(out.pixels, np.kron(image.pixels, np.ones((2, 2, 1), np.uint8)))
    finally:
        torch.set_num_threads(before)


class _Failing:
    """Stands for ncnn's network: at most one picture at a time fits, or none."""

    def __init__(self, status: int) -> None:
        self.status = status

    def create_extractor(self) -> Any:
        return SimpleNamespace(input=lambda *_: None, extract=lambda _: (self.status, None))


@pytest.mark.parametrize(("status", "error"), [(-100, MemoryError), (-1, StageError)])
def test_a_picture_that_ncnn_fails_on(doubling: NcnnSr, status: int, error: type[Exception]) -> None:
    doubling._nets = {1: _Failing(status), torch.get_num_threads(): _Failing(status)}
    with pytest.raises(error):
        doubling.upscale(pictures([(4, 4), (4, 4)]))


def test_weights_that_ncnn_does_not_load_are_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StageError, match="install another version, or uninstall it"):
        NcnnSr("7767517\n1 1\nNoSuchLayer one 0 1 in\n", b"", (INPUT, OUTPUT), 2, skip=False)
    capfd.readouterr()  # ncnn says something of its own


def test_fp16_with_channels_last_as_on_a_gpu() -> None:
    """The path of CUDA, on the CPU: the same picture up to what fp16 rounds. (The CPU has no bicubic skip in fp16.)"""
    torch.manual_seed(0)
    net = Rcan(RcanConfig(groups=1, blocks=1, channels=8, reduction=2, scale=2))
    full, half = TorchSr(copy.deepcopy(net), 2, "cpu"), TorchSr(net, 2, "cpu", half=True)
    seen: list[Tensor] = []
    half.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = pictures([(12, 10), (12, 10), (5, 4)])
    assert largest_difference(half.upscale(images), full.upscale(images)) <= 1
    assert {x.dtype for x in seen} == {torch.float16}
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)


@pytest.mark.parametrize(("given", "kept"), [(BATCH_PIXELS, CPU_BATCH_PIXELS), (100, 100)])
def test_batches_on_the_cpu_are_small(given: int, kept: int) -> None:
    assert TorchSr(nn.Identity(), 1, "cpu", given).batch_pixels == kept


def test_sisn_in_8_bits() -> None:
    """Near what torch gives: the option is for those who take a little noise for speed."""
    eight = registry.build("sr", "sisn", Options(extra={"engine": "int8"}))
    assert isinstance(eight, Int8Sr)
    plain = registry.build("sr", "sisn", Options(extra={"engine": "torch"}))
    root = Path(__file__).resolve().parents[2] / "examples"
    faces = [read_image(path) for path in sorted((root / "probes").glob("*_paper.jpg"))]
    images = [*faces, *pictures([(1, 1), (7, 1), (13, 17)])]
    ours, theirs = eight.upscale(images), plain.upscale(images)
    assert all(45 < psnr(a, b) < np.inf for a, b in zip(ours[: len(faces)], theirs[: len(faces)], strict=True))
    assert [image.pixels.shape for image in ours] == [image.pixels.shape for image in theirs]
    check_sr(eight)


@pytest.mark.parametrize(
    ("name", "scale", "message"),
    [("rcan", 4, "rcan x4 cannot"), ("sisn", 8, "sisn x8 cannot"), ("sisn-surveillance", 4, "surveillance x4 cannot")],
)
def test_networks_without_ranges_are_refused_in_8_bits(name: str, scale: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        registry.build("sr", name, Options(scale, extra={"engine": "int8"}))


def test_a_file_is_refused_in_8_bits(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    path.write_bytes(store.checked_bytes("sisn-x4"))
    with pytest.raises(ConfigError, match="SISN x4 from a file cannot"):
        registry.build("sr", "sisn", Options(weights=path, extra={"engine": "int8"}))


def test_ranges_of_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "spec", lambda name: SimpleNamespace(sha256="0" * 64))
    with pytest.raises(WeightsError, match="found with other weights"):
        int8.shipped_ranges("sisn-x4")
