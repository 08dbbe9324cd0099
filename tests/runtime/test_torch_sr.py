"""The torch engine the way a GPU runs it: with stand-ins for CUDA graphs on the CPU, and with graphs where a GPU is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from faceup import registry
from faceup.networks.rcan import Rcan, RcanConfig
from faceup.registry import Options
from faceup.runtime import cuda
from faceup.runtime.torch_sr import TorchSr
from faceup.types import Image
from tests.contracts import check_sr, pictures

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
Run = Callable[[Tensor], Tensor]


class FakeGraphs:
    """Stands for `cuda.capture`: has a fixed place for the input and the result of a shape, as a graph has."""

    def __init__(self) -> None:
        self.captured: list[int] = []
        self.replays = 0

    def __call__(self, run: Run, x: Tensor) -> Run:
        self.captured.append(len(x))
        given = x.clone()
        result = torch.zeros_like(run(given))  # a capture computes nothing

        def replay(x: Tensor) -> Tensor:
            assert x.shape == given.shape
            self.replays += 1
            result.copy_(run(given.copy_(x)))
            return result

        return replay


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> FakeGraphs:
    fake = FakeGraphs()
    monkeypatch.setattr(cuda, "capture", fake)
    return fake


class Twice(nn.Module):
    """Gives every pixel twice in both directions; memory runs out on more than `most` pictures at a time."""

    def __init__(self, most: int = 1000) -> None:
        super().__init__()
        self.most, self.batches = most, []  # type: ignore[var-annotated]

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8 GiB.")
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def noise(count: int, seed: int = 0) -> list[Image]:
    return [Image(p) for p in np.random.default_rng(seed).integers(0, 256, (count, 5, 4, 3), dtype=np.uint8)]


def assert_twice(large: list[Image], small: list[Image]) -> None:
    for got, image in zip(large, small, strict=True):
        np.testing.assert_array_equal(got.pixels, np.kron(image.pixels, np.ones((2, 2, 1), np.uint8)))


def small_rcan() -> Rcan:
    torch.manual_seed(0)
    return Rcan(RcanConfig(groups=1, blocks=1, channels=8, reduction=2, scale=2))


def test_the_way_of_a_gpu_keeps_the_contract(graphs: FakeGraphs) -> None:
    check_sr(TorchSr(small_rcan(), 2, "cpu", graphs=True))
    assert graphs.replays


def test_the_pictures_are_those_of_the_plain_way(graphs: FakeGraphs) -> None:
    plain, replayed = (TorchSr(small_rcan(), 2, "cpu", half=True, graphs=way) for way in (False, True))
    assert plain.replayed is None
    for seed in range(4):
        images = pictures([(12, 10), (12, 10), (5, 4)], seed)
        for a, b in zip(plain.upscale(images), replayed.upscale(images), strict=True):
            np.testing.assert_array_equal(a.pixels, b.pixels)
    assert (graphs.captured, graphs.replays) == ([2, 1], 6)


def test_a_shape_is_captured_when_it_comes_again_and_nothing_is_stale(graphs: FakeGraphs) -> None:
    sr = TorchSr(Twice(), 2, "cpu", graphs=True)
    batches = [noise(3, seed) for seed in range(5)]
    results = [sr.upscale(batch) for batch in batches]
    # Read only now: a result must not lie where the next batch goes.
    for large, small in zip(results, batches, strict=True):
        assert_twice(large, small)
    assert (graphs.captured, graphs.replays) == ([3], 4)


def test_shapes_that_come_once_are_not_captured(graphs: FakeGraphs) -> None:
    sr = TorchSr(Twice(), 2, "cpu", graphs=True)
    for count in range(1, 20):
        assert_twice(sr.upscale(noise(count)), noise(count))
    assert graphs.captured == []


def test_few_graphs_are_kept_those_used_last(graphs: FakeGraphs) -> None:
    sr = TorchSr(Twice(), 2, "cpu", graphs=True)
    for count in (1, 1, 2, 2, 3, 3, 4, 4, 1, 5, 5, 1, 3):
        assert_twice(sr.upscale(noise(count, count)), noise(count, count))
    assert graphs.captured == [1, 2, 3, 4, 5]
    assert cuda.GRAPHS == 4
    before = graphs.replays
    sr.upscale(noise(2))  # had to make room for the fifth
    assert graphs.replays == before


def test_shapes_that_push_each_other_out_are_not_captured_for_ever(graphs: FakeGraphs) -> None:
    sr = TorchSr(Twice(), 2, "cpu", graphs=True)
    for _ in range(40):
        for count in range(1, cuda.GRAPHS + 2):
            sr.upscale(noise(count))
    assert len(graphs.captured) <= 6 * (cuda.GRAPHS + 1)


def test_a_network_that_cannot_be_captured_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(run: Run, x: Tensor) -> Run:
        tried.append(len(x))
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(cuda, "capture", refuse)
    sr = TorchSr(Twice(), 2, "cpu", graphs=True)
    assert sr.replayed is not None
    for count in (1, 2, 1, 2, 1, 2):
        assert_twice(sr.upscale(noise(count)), noise(count))
    assert tried == [1]
    assert "capturing" in sr.replayed.failure


def test_memory_that_runs_out_halves_the_batch_and_frees_the_graphs(graphs: FakeGraphs) -> None:
    net = Twice(most=3)
    sr = TorchSr(net, 2, "cpu", graphs=True)
    for _ in range(2):
        sr.upscale(noise(1))
    assert (graphs.captured, graphs.replays) == ([1], 1)
    net.batches.clear()
    assert_twice(sr.upscale(noise(5)), noise(5))
    assert net.batches == [5, 2, 3]
    sr.upscale(noise(1))
    assert graphs.replays == 1, "the graph was not freed"


def test_a_batch_that_never_fits_does_not_end_the_graphs_of_those_that_do(graphs: FakeGraphs) -> None:
    net = Twice(most=3)
    sr = TorchSr(net, 2, "cpu", graphs=True)
    assert sr.replayed is not None
    for _ in range(4):
        assert_twice(sr.upscale(noise(5)), noise(5))
    assert sr.replayed.failure == ""
    # The whole batch is tried eagerly every time, its halves come as graphs whenever their memory was not wanted.
    assert 5 not in graphs.captured
    for _ in range(2):
        assert_twice(sr.upscale(noise(3)), noise(3))
    assert graphs.captured[-1] == 3
    assert graphs.replays


def test_the_graphs_of_one_network_make_room_for_another(graphs: FakeGraphs) -> None:
    one = TorchSr(Twice(), 2, "cpu", graphs=True)
    for _ in range(2):
        one.upscale(noise(1))
    assert graphs.captured == [1]
    replays = graphs.replays

    class Hungry(Twice):
        """Finds no memory while the other holds a graph."""

        def forward(self, x: Tensor) -> Tensor:
            if one.replayed is not None and one.replayed._graphs:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().forward(x)

    other = TorchSr(Hungry(), 2, "cpu", graphs=True)
    assert_twice(other.upscale(noise(1)), noise(1))
    one.upscale(noise(1))
    assert graphs.replays == replays, "the graph was not freed"


def test_memory_that_runs_out_in_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: Run, x: Tensor) -> Run:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(cuda, "capture", refuse)
    net = Twice(most=3)
    sr = TorchSr(net, 2, "cpu", graphs=True)
    for _ in range(3):
        assert_twice(sr.upscale(noise(5)), noise(5))
    assert net.batches == [5, 2, 3] * 3


def test_other_errors_reach_the_caller(graphs: FakeGraphs) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        TorchSr(Broken(), 2, "cpu", graphs=True).upscale(noise(2))


def test_the_cpu_needs_neither_graphs_nor_buffers() -> None:
    sr = TorchSr(Twice(), 2, "cpu")
    assert sr.replayed is None
    assert_twice(sr.upscale(noise(2)), noise(2))


# What follows needs a GPU. The network that cannot be captured comes last: before torch 2.12, a failed capture leaves
# torch's allocator in a state in which there are no others in the process.


@pytest.fixture
def free_gpu() -> Iterator[None]:
    yield
    torch.cuda.synchronize()


@on_gpu
@pytest.mark.usefixtures("free_gpu")
@pytest.mark.parametrize(("name", "scale"), [("sisn", 4), ("sisn-surveillance", 4), ("rcan", 4), ("srfbn", 4)])
def test_graphs_give_what_the_network_gives(name: str, scale: int) -> None:
    net = registry.build("sr", name, Options(scale, "cuda"))
    assert isinstance(net, TorchSr)
    eager = TorchSr(net.net, scale, "cuda", graphs=False)
    on_cpu = registry.build("sr", name, Options(scale, extra={"engine": "torch"}))
    stream = torch.cuda.current_stream()
    results = []
    for seed in range(4):
        images = pictures([(56, 42)] * 3 + [(13, 17)], seed)
        results.append((net.upscale(images), eager.upscale(images), on_cpu.upscale(images)))
    for ours, plain, full in results:
        for a, b, c in zip(ours, plain, full, strict=True):
            np.testing.assert_array_equal(a.pixels, b.pixels)
            assert np.abs(a.pixels.astype(int) - c.pixels).max() <= 2
    assert net.replayed is not None
    assert net.replayed.failure == ""
    assert len(net.replayed._graphs) == 2
    assert torch.cuda.current_stream() == stream


@on_gpu
@pytest.mark.usefixtures("free_gpu")
def test_buffers_are_page_locked() -> None:
    sr = TorchSr(Twice(), 2, "cuda")
    for count in (1, 4, 2, 4, 2, 1):
        assert_twice(sr.upscale(noise(count, count)), noise(count, count))
    assert sr._on_gpu is not None
    assert sr._on_gpu._sent.view((2, 3)).is_pinned()
    assert sr._on_gpu._back.view((2, 3)).is_pinned()


@on_gpu
@pytest.mark.usefixtures("free_gpu")
def test_memory_of_a_gpu_that_runs_out_halves_the_batch() -> None:
    class Greedy(Twice):
        """Takes for a picture a third of what the GPU has."""

        def forward(self, x: Tensor) -> Tensor:
            third = torch.cuda.get_device_properties(0).total_memory // 3
            torch.empty(len(x) * third, dtype=torch.uint8, device="cuda")
            return super().forward(x)

    sr = TorchSr(Greedy(), 2, "cuda")
    for seed in range(3):
        assert_twice(sr.upscale(noise(5, seed)), noise(5, seed))


@on_gpu
@pytest.mark.usefixtures("free_gpu")
def test_a_network_that_looks_at_values_runs_as_it_is_on_a_gpu() -> None:
    class Looking(Twice):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if float(x.mean()) > 0 else x

    sr = TorchSr(Looking(), 2, "cuda")
    stream = torch.cuda.current_stream()
    for seed in range(4):
        assert_twice(sr.upscale(noise(3, seed)), noise(3, seed))
    assert sr.replayed is not None
    assert sr.replayed.failure
    assert torch.cuda.current_stream() == stream
